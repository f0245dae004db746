/* test_tensorboard.c - event files: every byte of a record, read by the formats' own rules, and
 * what is in the events.  PyPI's tensorboard reads them in `make test-peers`.
 */
#include "run/tensorboard.h"
#include "test/scratch.h"

#include <dirent.h>
#include <math.h>

/* RFC 3720, B.4, and the check value of the catalogues */
static void test_crc(void **state)
{
    static const uint8_t zeros[32];
    uint8_t ones[32], ascending[32];
    (void)state;
    for (int i = 0; i < 32; i++) {
        ones[i] = 0xff;
        ascending[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(zeros, 32), 0x8a9136aa);
    assert_int_equal(crc32c(ones, 32), 0x62a8ab43);
    assert_int_equal(crc32c(ascending, 32), 0x46dd794e);
}

/* ---- reading ---- */

typedef struct {
    const uint8_t *at, *end;
} reader;

static uint64_t take_varint(reader *r)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(r->at < r->end && shift < 70);
        value |= (uint64_t)(*r->at & 127) << shift;
        if (*r->at++ < 128) return value;
    }
}

static reader take_part(reader *r, uint64_t n)
{
    assert_true(n <= (uint64_t)(r->end - r->at));
    reader part = {r->at, r->at + n};
    r->at += n;
    return part;
}

/* A record's bytes, both of its check sums seen to. */
static reader take_record(reader *r)
{
    uint64_t length;
    uint32_t crc[2];
    reader head = take_part(r, 12);
    memcpy(&length, head.at, 8);
    memcpy(&crc[0], head.at + 8, 4);
    reader body = take_part(r, length), tail = take_part(r, 4);
    memcpy(&crc[1], tail.at, 4);
    const uint32_t want[2] = {crc32c(head.at, 8), crc32c(body.at, length)};
    for (int i = 0; i < 2; i++) {
        uint32_t plain = crc[i] - 0xa282ead8u;
        assert_int_equal(plain >> 17 | plain << 15, want[i]);
    }
    return body;
}

typedef struct {
    int64_t step;
    bool versioned, started;
    int n;
    char tag[8][40];
    float value[8];
} event;

static void take_value(reader r, event *e)
{
    assert_int_equal(take_varint(&r), 1 << 3 | 2);
    uint64_t n = take_varint(&r);
    reader tag = take_part(&r, n);
    assert_true(n < sizeof e->tag[0] && e->n < 8);
    memcpy(e->tag[e->n], tag.at, n);
    assert_int_equal(take_varint(&r), 2 << 3 | 5);
    reader number = take_part(&r, 4);
    memcpy(&e->value[e->n++], number.at, 4);
    assert_true(r.at == r.end);
}

static event take_event(reader r)
{
    event e = {.step = -1};
    double seconds = 0;
    while (r.at < r.end) {
        uint64_t key = take_varint(&r);
        if (key == (1 << 3 | 1)) {
            reader number = take_part(&r, 8);
            memcpy(&seconds, number.at, 8);
        } else if (key == 2 << 3) {
            e.step = (int64_t)take_varint(&r);
        } else {
            reader part = take_part(&r, take_varint(&r));
            if (key == (3 << 3 | 2)) e.versioned = !memcmp(part.at, "brain.Event:2", 13);
            if (key == (7 << 3 | 2)) e.started = part.at[0] == 8 && part.at[1] == 1;
            while (key == (5 << 3 | 2) && part.at < part.end) {
                assert_int_equal(take_varint(&part), 1 << 3 | 2);
                uint64_t n = take_varint(&part);
                take_value(take_part(&part, n), &e);
            }
        }
    }
    assert_true(seconds > 1.7e9 && seconds < 1e11);
    return e;
}

static uint8_t *read_only_file(void **state, const char *directory, size_t *n)
{
    char *path = scratch_path(state, directory), *file = NULL;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        if (!strncmp(entry->d_name, "events.out.tfevents.", 20)) {
            assert_null(file); /* one */
            assert_true(asprintf(&file, "%s/%s", path, entry->d_name) > 0);
        }
    closedir(d);
    assert_non_null(file);
    uint8_t *bytes = file_read(file, n);
    free(file);
    free(path);
    return bytes;
}

/* ---- events ---- */

static void test_events(void **state)
{
    char *path = scratch_path(state, "board");
    tensorboard *t;
    size_t n;
    const tensorboard_scalar some[] = {{"loss/train", 1.5}, {"none", NAN}, {"lr", 3e-4}};
    ok(tensorboard_open(path, 1, &t));
    ok(tensorboard_add(t, 1, some, 3));
    ok(tensorboard_add(t, INT64_C(1) << 40, some, 1));
    ok(tensorboard_add(NULL, 1, some, 3));
    uint8_t *bytes = read_only_file(state, "board", &n); /* there before it is closed */
    tensorboard_close(t);
    reader r = {bytes, bytes + n};
    event e = take_event(take_record(&r));
    assert_true(e.versioned && e.step == 0 && !e.n);
    e = take_event(take_record(&r));
    assert_true(e.step == 1 && e.n == 2 && !e.started);
    assert_string_equal(e.tag[0], "loss/train");
    assert_string_equal(e.tag[1], "lr");
    assert_true(e.value[0] == 1.5f && e.value[1] == 3e-4f);
    e = take_event(take_record(&r));
    assert_true(e.step == INT64_C(1) << 40 && e.n == 1 && e.value[0] == 1.5f);
    assert_true(r.at == r.end);
    free(bytes);
    free(path);
}

/* What an earlier process said of this step and later ones is void. */
static void test_resumed(void **state)
{
    char *path = scratch_path(state, "board");
    tensorboard *t;
    size_t n;
    ok(tensorboard_open(path, 300, &t));
    tensorboard_close(t);
    uint8_t *bytes = read_only_file(state, "board", &n);
    reader r = {bytes, bytes + n};
    assert_true(take_event(take_record(&r)).versioned);
    event e = take_event(take_record(&r));
    assert_true(e.started && e.step == 300 && r.at == r.end);
    free(bytes);
    free(path);
}

static void test_refused(void **state)
{
    char *path = scratch_path(state, "board");
    tensorboard *t;
    file_write(path, "x", 1);
    fails(tensorboard_open(path, 1, &t), "--tensorboard", "board");
    free(path);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_remove)
    const struct CMUnitTest tests[] = {TEST(test_crc), TEST(test_events), TEST(test_resumed),
                                       TEST(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_bpe.c - the tokenizer against rules worked by hand, and against the plainest way to learn
 * and encode: scan everything, merge, scan again.  Texts at random and damaged files; LONG=1:
 * twenty times as many. */
#include "test/long.h"
#include "test/scratch.h"

#include <stdbool.h>

#include "base/rng.h"
#include "data/bpe/bpe.h"
#include "data/bpe/bpe_internal.h"

static uint32_t random_below(uint64_t index, uint32_t n)
{
    uint32_t bits[4];
    rng_bits(7, RNG_TEST, index, bits);
    return bits[0] % n;
}

/* n bytes that are `first` + 0..kinds-1, and now and then a space. */
static void random_text(uint64_t which, uint8_t *text, size_t n, uint8_t first, uint32_t kinds)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t r = random_below((which << 20) + i, 8 * kinds);
        text[i] = (uint8_t)(r < kinds ? ' ' : first + r % kinds);
    }
}

static error *learn(const char *text, int64_t size, bpe **v)
{
    return bpe_learn((const uint8_t *)text, strlen(text), size, v);
}

/* ---- the plain way ---- */

/* Replaces (left, right) by token in a chunk of *n tokens, from left to right. */
static void plain_merge(uint32_t *tokens, size_t *n, bpe_merge m, uint32_t token)
{
    size_t to = 0;
    for (size_t from = 0; from < *n; from++) {
        bool here = from + 1 < *n && tokens[from] == m.left && tokens[from + 1] == m.right;
        tokens[to++] = here ? token : tokens[from];
        if (here) from++;
    }
    *n = to;
}

static size_t plain_encode(const bpe *v, const uint8_t *text, size_t n, int32_t *ids)
{
    size_t count = 0;
    for (size_t at = 0, length; at < n; at += length) {
        length = bpe_chunk(text + at, n - at);
        uint32_t tokens[512];
        size_t k = length;
        assert_true(k <= 512);
        for (size_t i = 0; i < k; i++)
            tokens[i] = text[at + i];
        for (int32_t i = 0; i < v->size - BPE_BYTES; i++)
            plain_merge(tokens, &k, v->merges[i], (uint32_t)(BPE_BYTES + i));
        for (size_t i = 0; i < k; i++)
            ids[count++] = (int32_t)tokens[i];
    }
    return count;
}

enum { PLAIN_IDS = 300 };

/* The pair to merge next in chunks of tokens; its count, 0 if there is none. */
static int64_t plain_best(uint32_t (*tokens)[512], const size_t *lengths, size_t n, bpe_merge *best)
{
    static int64_t counts[PLAIN_IDS][PLAIN_IDS];
    memset(counts, 0, sizeof counts);
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i + 1 < lengths[c]; i++)
            counts[tokens[c][i]][tokens[c][i + 1]]++;
    int64_t most = 0;
    for (uint32_t a = 0; a < PLAIN_IDS; a++)
        for (uint32_t b = 0; b < PLAIN_IDS; b++)
            if (counts[a][b] > most) {
                most = counts[a][b];
                *best = (bpe_merge){a, b};
            }
    return most;
}

static void check_learning(const uint8_t *text, size_t n, int n_merges)
{
    static uint32_t tokens[512][512];
    static size_t lengths[512];
    size_t n_chunks = 0;
    for (size_t at = 0; at < n; at += lengths[n_chunks++]) {
        assert_true(n_chunks < 512);
        lengths[n_chunks] = bpe_chunk(text + at, n - at);
        for (size_t i = 0; i < lengths[n_chunks]; i++)
            tokens[n_chunks][i] = text[at + i];
    }
    bpe *v;
    ok(bpe_learn(text, n, BPE_BYTES + n_merges, &v));
    for (int i = 0; i < n_merges; i++) {
        bpe_merge best = {0, 0};
        assert_true(plain_best(tokens, lengths, n_chunks, &best) >= 2);
        assert_int_equal(v->merges[i].left, best.left);
        assert_int_equal(v->merges[i].right, best.right);
        for (size_t c = 0; c < n_chunks; c++)
            plain_merge(tokens[c], &lengths[c], best, (uint32_t)(BPE_BYTES + i));
    }
    bpe_close(v);
}

/* ---- tests ---- */

static void check_chunks(const char *text, const char *bars)
{
    size_t n = strlen(text), at = 0;
    char cut[200] = "";
    while (at < n) {
        size_t length = bpe_chunk((const uint8_t *)text + at, n - at);
        strncat(cut, text + at, length);
        at += length;
        if (at < n) strcat(cut, "|");
    }
    assert_string_equal(cut, bars);
}

static void test_cutting(void **state)
{
    (void)state;
    check_chunks("In the beginning", "In| the| beginning");
    check_chunks("a  b", "a| | b");
    check_chunks("a \n b", "a| \n| b");
    check_chunks("one.\n\ntwo", "one|.|\n\n|two");
    check_chunks("don't x=12, (3)", "don|'|t| x|=|12|,| (|3|)");
    check_chunks("na\xc3\xafve \xe2\x82\xac", "na\xc3\xafve| \xe2\x82\xac");
    check_chunks("end ", "end| ");
    check_chunks("  ", "  ");
    check_chunks(" 7up", " 7|up");
    check_chunks("a\x80\xff\x7f"
                 "b@[`{",
                 "a\x80\xff|\x7f|b|@[`{"); /* just outside the letters */
    assert_int_equal(bpe_chunk(NULL, 0), 0);
}

static void test_long_runs_are_cut(void **state)
{
    (void)state;
    size_t n = 200000;
    uint8_t *text = malloc(n);
    memset(text, 'x', n);
    assert_int_equal(bpe_chunk(text, n), 65536);
    memset(text, ' ', n);
    assert_int_equal(bpe_chunk(text, n), 65536);
    free(text);
}

static void test_bytes(void **state)
{
    (void)state;
    bpe *v;
    ok(bpe_bytes(&v));
    assert_int_equal(bpe_size(v), 256);
    uint8_t text[256];
    int32_t ids[256];
    for (int i = 0; i < 256; i++)
        text[i] = (uint8_t)i;
    size_t n;
    ok(bpe_encode(v, text, 256, ids, &n));
    assert_int_equal(n, 256);
    for (int i = 0; i < 256; i++)
        assert_int_equal(ids[i], i);
    bpe_close(v);
}

/* "aaabdaaabac": (a,a) occurs 4 times, overlaps included.  Then "aa a b d aa a b a c": (a,b) and
 * (aa,a) twice each, and (a,b) has the lower left id.  Then "aa ab d aa ab a c": (aa,ab) twice. */
static void test_learning_by_hand(void **state)
{
    (void)state;
    bpe *v;
    ok(learn("aaabdaaabac", 259, &v));
    assert_int_equal(bpe_size(v), 259);
    const bpe_merge wanted[] = {{'a', 'a'}, {'a', 'b'}, {256, 257}};
    assert_memory_equal(v->merges, wanted, sizeof wanted);
    size_t n;
    assert_memory_equal(bpe_token(v, 258, &n), "aaab", 4);
    assert_int_equal(n, 4);

    int32_t ids[11];
    const int32_t expected[] = {258, 'd', 258, 'a', 'c'};
    ok(bpe_encode(v, (const uint8_t *)"aaabdaaabac", 11, ids, &n));
    assert_int_equal(n, 5);
    assert_memory_equal(ids, expected, sizeof expected);
    bpe_close(v);
    fails(learn("aaabdaaabac", 260, &v), "bpe:260", "bpe:259 or less");
}

/* All pairs occur twice: the lowest left id wins, then the lowest right id. */
static void test_ties(void **state)
{
    (void)state;
    bpe *v;
    ok(learn("yz.yz.by.by.bc.bc.", 259, &v));
    const bpe_merge wanted[] = {{'b', 'c'}, {'b', 'y'}, {'y', 'z'}};
    assert_memory_equal(v->merges, wanted, sizeof wanted);
    bpe_close(v);
}

static void test_merges_stay_inside_chunks(void **state)
{
    (void)state;
    bpe *v;
    fails(learn("a.a.a.a.a.a.", 257, &v), "bpe:257", "--vocab bytes"); /* each chunk is one byte */
}

static void test_learning_is_the_plain_way(void **state)
{
    (void)state;
    static uint8_t text[600];
    for (uint64_t attempt = 0; attempt < (uint64_t)tries(60, 1000); attempt++) {
        random_text(attempt, text, sizeof text, 'a', 1 + (uint32_t)attempt % 4);
        check_learning(text, sizeof text, attempt % 4 == 0 ? 4 : 20);
    }
}

static void test_encoding_is_the_plain_way(void **state)
{
    (void)state;
    enum { N = 400 };
    static uint8_t text[N];
    static int32_t ids[N], plain[N];
    for (uint64_t attempt = 0; attempt < (uint64_t)tries(60, 1000); attempt++) {
        uint32_t kinds = 2 + (uint32_t)attempt % 3;
        bpe *v;
        random_text(attempt, text, N, 'a', kinds);
        ok(bpe_learn(text, N, 280, &v));
        random_text(100000 + attempt, text, N, 'a', kinds);
        size_t n, n_plain = plain_encode(v, text, N, plain);
        ok(bpe_encode(v, text, N, ids, &n));
        assert_int_equal(n, n_plain);
        assert_memory_equal(ids, plain, n * sizeof *ids);
        bpe_close(v);
    }
}

static void check_round_trip(const bpe *v, const uint8_t *text, size_t n)
{
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    uint8_t *back;
    size_t n_ids, n_back;
    ok(bpe_encode(v, text, n, ids, &n_ids));
    assert_true(n_ids <= n);
    ok(bpe_decode(v, ids, n_ids, &back, &n_back));
    assert_int_equal(n_back, n);
    if (n > 0) assert_memory_equal(back, text, n);
    free(back);
    free(ids);
}

static const char hard_text[] =
    "In the beginning God created the heaven and the earth.\r\n\tAnd  the   earth was without form,"
    " na\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e \xf0\x9f\x99\x82\xf0\x9f\x99\x82 "
    "\xff\xfe\x80 don't we'll 1234567890 3.14159 --------- ((((()))))\n\n\n   \n x\v\f\x01\x02 the "
    "the the the "
    "the "
    "God God earth earth aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ";

static void test_round_trips(void **state)
{
    (void)state;
    bpe *v;
    size_t n_hard = sizeof hard_text; /* with its zero byte */
    ok(bpe_learn((const uint8_t *)hard_text, n_hard, 280, &v));
    check_round_trip(v, (const uint8_t *)hard_text, n_hard);
    check_round_trip(v, NULL, 0);
    uint8_t text[200];
    for (uint64_t attempt = 0; attempt < (uint64_t)tries(5000, 100000); attempt++) {
        size_t n = random_below(attempt << 10 | 1023, sizeof text);
        for (size_t i = 0; i < n; i++) { /* half of it any byte, half of it pieces of the text */
            uint64_t index = attempt << 10 | i;
            uint32_t r = random_below(index, 512);
            text[i] = r < 256 ? (uint8_t)r : (uint8_t)hard_text[(r + i) % n_hard];
        }
        check_round_trip(v, text, n);
    }
    bpe_close(v);
}

/* A chunk of k bytes must not cost k^2: half a megabyte in a few chunks is done at once. */
static void test_long_chunks(void **state)
{
    (void)state;
    size_t n = 1 << 19;
    uint8_t *text = malloc(n);
    for (size_t i = 0; i < n; i++)
        text[i] = (uint8_t)('a' + random_below(i, 4));
    bpe *v;
    ok(bpe_learn(text, n, 400, &v));
    check_round_trip(v, text, n);
    bpe_close(v);

    memset(text, 'a', n); /* tokens of 2, 4, ..., 1024 bytes, and then no longer ones */
    ok(bpe_learn(text, n, 266, &v));
    int32_t *ids = malloc(n * sizeof *ids);
    size_t count;
    ok(bpe_encode(v, text, n, ids, &count));
    assert_int_equal(count, n / 1024);
    check_round_trip(v, text, n);
    bpe_close(v);
    fails(bpe_learn(text, n, 267, &v), "bpe:267", "bpe:266 or less");
    free(ids);
    free(text);
}

static void test_sizes_that_cannot_be(void **state)
{
    (void)state;
    bpe *v;
    const int64_t sizes[] = {INT64_MIN, -1, 0, 256, BPE_MAX_SIZE + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        fails(learn("aaaa", sizes[i], &v), "cannot be learned", "choose 257 to 1048576");
    fails(learn("", 257, &v), "bpe:257", "more text");
}

static void test_decoding_unknown_ids(void **state)
{
    (void)state;
    bpe *v;
    uint8_t *bytes;
    size_t n;
    ok(bpe_bytes(&v));
    const int32_t large[] = {65, 256}, negative[] = {-1};
    fails(bpe_decode(v, large, 2, &bytes, &n), "token 1 is 256", "256 tokens");
    fails(bpe_decode(v, negative, 1, &bytes, &n), "token 0 is -1", "256 tokens");
    bpe_close(v);
}

static void test_file_round_trip(void **state)
{
    char *path = scratch_path(state, "a.vocab"), *again = scratch_path(state, "b.vocab");
    bpe *v, *w;
    ok(learn(hard_text, 280, &v));
    ok(bpe_save(v, path));
    ok(bpe_open(path, &w));
    assert_int_equal(bpe_size(w), 280);
    assert_memory_equal(v->merges, w->merges, 24 * sizeof *v->merges);
    assert_memory_equal(v->bytes, w->bytes, v->start[280]);
    bpe_close(w);
    bpe_close(v);

    ok(learn(hard_text, 280, &v)); /* learning again gives the same file */
    ok(bpe_save(v, again));
    bpe_close(v);
    size_t n, n_again;
    uint8_t *a = file_read(path, &n), *b = file_read(again, &n_again);
    assert_int_equal(n, n_again);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);

    ok(bpe_bytes(&v)); /* a vocabulary without merges, over the old file */
    ok(bpe_save(v, path));
    bpe_close(v);
    ok(bpe_open(path, &v));
    assert_int_equal(bpe_size(v), 256);
    bpe_close(v);
    free(path);
    free(again);
}

static void test_damaged_files(void **state)
{
    static const struct {
        const char *content, *complaint;
    } cases[] = {
        {"", "not a vocabulary"},
        {"#version: 0.2\n", "not a vocabulary"},
        {"regrad-vocab x 256\n", "first line"},
        {"regrad-vocab 1 256", "first line"},
        {"regrad-vocab 1 -256\n", "first line"},
        {"regrad-vocab 1 99999999999999999999\n", "first line"},
        {"regrad-vocab 3 256\n", "version 3"},
        {"regrad-vocab 2 256\n", "claims 256 tokens"},
        {"regrad-vocab 2 258\n", "ends after 0 of 1"},
        {"regrad-vocab 2 258\n1 2\n3 4\n", "continues"},
        {"regrad-vocab 1 255\n", "claims 255 tokens"},
        {"regrad-vocab 1 1048577\n", "claims 1048577 tokens"},
        {"regrad-vocab 1 1048576\n1 2\n", "too many for its"},
        {"regrad-vocab 1 258\n1 2\n", "ends after 1 of 2"},
        {"regrad-vocab 1 257\n1 2", "line 2"},
        {"regrad-vocab 1 257\n1 2 3\n", "line 2"},
        {"regrad-vocab 1 257\n 1 2\n", "line 2"},
        {"regrad-vocab 1 257\n1 -2\n", "line 2"},
        {"regrad-vocab 1 257\n1 2\n3 4\n", "continues"},
        {"regrad-vocab 1 257\n1 256\n", "must both be smaller"},
        {"regrad-vocab 1 258\n1 2\n257 3\n", "must both be smaller"},
        {"regrad-vocab 1 258\n1 2\n1 2\n", "join the same two"},
        {"regrad-vocab 1 267\n97 97\n256 256\n257 257\n258 258\n259 259\n260 260\n261 261\n"
         "262 262\n"
         "263 263\n264 264\n265 265\n",
         "more than 1024"},
    };
    char *path = scratch_path(state, "damaged.vocab");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bpe *v;
        file_write(path, cases[i].content, strlen(cases[i].content));
        fails(bpe_open(path, &v), "damaged.vocab", cases[i].complaint);
    }
    free(path);
}

/* Doubling tokens again and again must not fill the memory. */
static void test_overlong_vocabulary(void **state)
{
    char *path = scratch_path(state, "long.vocab");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    enum { N = 300000 };
    fprintf(f, "regrad-vocab 1 %d\n", 256 + N);
    for (int i = 0; i < 9; i++) /* 256..264: 2, 4, ..., 512 bytes */
        fprintf(f, "%d %d\n", i ? 255 + i : 97, i ? 255 + i : 97);
    for (int i = 9; i < N; i++) /* 513 bytes each */
        fprintf(f, "264 %d\n", i - 9 < 256 ? i - 9 : 0);
    fclose(f);
    bpe *v;
    fails(bpe_open(path, &v), "long.vocab", "more than 64 MiB together");
    free(path);
}

static void test_unreachable_paths(void **state)
{
    bpe *v;
    char *missing = scratch_path(state, "missing.vocab");
    char *nowhere = scratch_path(state, "no/such/dir.vocab");
    fails(bpe_open(missing, &v), "missing.vocab", "No such file");
    fails(bpe_open(*state, &v), *state, "not a regular file");
    ok(bpe_bytes(&v));
    fails(bpe_save(v, nowhere), "dir.vocab", "directory exists");
    bpe_close(v);
    free(missing);
    free(nowhere);
}

/* Every cut and some flips of every byte: an error, or a vocabulary that still round-trips. */
static void test_cut_and_flipped(void **state)
{
    char *path = scratch_path(state, "fuzz.vocab");
    bpe *v;
    ok(learn("the cat sat on the mat, the rat on the cat; that hat, that mat", 266, &v));
    ok(bpe_save(v, path));
    bpe_close(v);
    size_t n;
    uint8_t *good = file_read(path, &n), *bad = malloc(n);
    for (size_t i = 0; i < n; i++) {
        file_write(path, good, i);
        fails(bpe_open(path, &v), "fuzz.vocab", "");
    }
    int accepted = 0;
    uint32_t each = (uint32_t)tries(4, 80), attempts = each * (uint32_t)n;
    for (uint32_t attempt = 0; attempt < attempts; attempt++) {
        memcpy(bad, good, n);
        bad[attempt / each] ^= (uint8_t)(1 + random_below(attempt, 255));
        if (attempt % each == 0) bad[attempt / each] = (uint8_t)('0' + attempt / each % 10);
        file_write(path, bad, n);
        error *e = bpe_open(path, &v);
        if (e) assert_int_equal(error_kind_of(e), ERR_USER);
        error_free(e);
        if (e) continue;
        check_round_trip(v, (const uint8_t *)hard_text, sizeof hard_text);
        bpe_close(v);
        accepted++;
    }
    assert_true(accepted > 0 && accepted < (int)attempts); /* both ways were tried */
    free(good);
    free(bad);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cutting),
        cmocka_unit_test(test_long_runs_are_cut),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_learning_by_hand),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_merges_stay_inside_chunks),
        cmocka_unit_test(test_learning_is_the_plain_way),
        cmocka_unit_test(test_encoding_is_the_plain_way),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_long_chunks),
        cmocka_unit_test(test_sizes_that_cannot_be),
        cmocka_unit_test(test_decoding_unknown_ids),
        cmocka_unit_test(test_file_round_trip),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_overlong_vocabulary),
        cmocka_unit_test(test_unreachable_paths),
        cmocka_unit_test(test_cut_and_flipped),
    };
    return cmocka_run_group_tests_name("bpe", tests, scratch_make, scratch_remove);
}

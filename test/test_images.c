/* test_images.c - images as a source: formats, sizes, what is random, workers, bad images.
 *
 * Pictures come from small_images.h (a formula), so what a file holds is known to the byte.
 */
#include "test/scratch.h"

#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <zlib.h>

#include "data/images/image_source.h"
#include "data/prefetch.h"
#include "test/small_images.h"

enum { N = 23, H = 6, W = 9, CLASSES = 5, SIZE = H * W };

static const image_options plain = {.wish = {.channels = 1, .classes = CLASSES},
                                    .height = H,
                                    .width = W,
                                    .training = true,
                                    .seed = 3};

static source *open_source(const char *path, image_options o)
{
    source *s;
    ok(image_source_open(&path, 1, &o, &s));
    return s;
}

static error *try_source(const char *path, image_options o)
{
    source *s = NULL;
    error *e = image_source_open(&path, 1, &o, &s);
    source_close(s);
    return e;
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static size_t read_bytes(const char *path, uint8_t *to, size_t most)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(to, 1, most, f);
    fclose(f);
    return n;
}

static float value_of(uint8_t byte)
{
    return (float)byte / 127.5f - 1;
}

/* ---- idx ---- */

static void check_in_order(const char *path)
{
    float x[SIZE], t[CLASSES];
    image_options o = plain;
    o.training = false;
    source *s = open_source(path, o);
    assert_int_equal(s->count, N);
    assert_true(s->ends);
    for (int64_t i = 0; i < N; i++) {
        ok(source_read(s, i, 1, x, t));
        int64_t label = small_label(i, CLASSES);
        for (int64_t k = 0; k < SIZE; k++)
            assert_true(fabsf(x[k] - value_of(small_pixel(i, label, 0, k / W, k % W))) < 1e-6f);
        for (int64_t k = 0; k < CLASSES; k++)
            assert_true(t[k] == (k == label));
    }
    ok(source_read(s, N, 1, x, t)); /* past the end: nothing */
    for (int64_t k = 0; k < CLASSES; k++)
        assert_true(t[k] == 0);
    source_close(s);
}

static void gzip(const char *from, const char *to)
{
    static uint8_t bytes[1 << 16];
    size_t n = read_bytes(from, bytes, sizeof bytes);
    gzFile f = gzopen(to, "wb");
    assert_int_equal(gzwrite(f, bytes, (unsigned)n), (int)n);
    assert_int_equal(gzclose(f), Z_OK);
}

static void test_idx(void **state)
{
    (void)state;
    small_images_write(".", "a", N, 1, H, W, CLASSES);
    check_in_order("a-images-idx3-ubyte");
    gzip("a-images-idx3-ubyte", "b-images-idx3-ubyte.gz");
    gzip("a-labels-idx1-ubyte", "b-labels-idx1-ubyte.gz");
    check_in_order("b-images-idx3-ubyte.gz");
}

/* Each thing that can be wrong with a pair of files is said, and where. */
static void test_bad_idx(void **state)
{
    (void)state;
    static uint8_t images[1 << 16], labels[1000], spoilt[1 << 16];
    small_images_write(".", "c", N, 1, H, W, CLASSES);
    size_t n = read_bytes("c-images-idx3-ubyte", images, sizeof images);
    size_t m = read_bytes("c-labels-idx1-ubyte", labels, sizeof labels);
    fails(try_source("absent-images", plain), "absent-images", "No such file");
    write_bytes("d-images-idx3-ubyte", images, n);
    fails(try_source("d-images-idx3-ubyte", plain), "d-labels-idx1-ubyte", "No such file");
    write_bytes("d-labels-idx1-ubyte", labels, m - 1);
    fails(try_source("d-images-idx3-ubyte", plain), "d-labels-idx1-ubyte", "cut");
    write_bytes("d-labels-idx1-ubyte", labels, m);
    write_bytes("d-images-idx3-ubyte", images, n - 1);
    fails(try_source("d-images-idx3-ubyte", plain), "d-images-idx3-ubyte", "cut");
    memcpy(spoilt, images, n);
    spoilt[7]++; /* one image more */
    write_bytes("d-images-idx3-ubyte", spoilt, n);
    fails(try_source("d-images-idx3-ubyte", plain), "23 labels", "24 images");
    memcpy(spoilt, images, n);
    spoilt[11] = 0; /* no height */
    write_bytes("d-images-idx3-ubyte", spoilt, n);
    fails(try_source("d-images-idx3-ubyte", plain), "d-images-idx3-ubyte", "size 1 is 0");
    write_bytes("d-images-idx3-ubyte", "hello", 5);
    fails(try_source("d-images-idx3-ubyte", plain), "d-images-idx3-ubyte",
          "not a known image file");
    static const uint8_t damaged[] = {0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0}; /* no method of gzip's */
    write_bytes("d-images-idx3-ubyte", damaged, sizeof damaged);
    fails(try_source("d-images-idx3-ubyte", plain), "d-images-idx3-ubyte",
          "cannot be read: unknown compression");
    write_bytes("e", images, n);
    fails(try_source("e", plain), "'e'", "labels");
    image_options colours = plain;
    colours.wish.channels = 3;
    fails(try_source("c-images-idx3-ubyte", colours), "1 channel", "--channels 1");
}

/* Labels out of range: refused by name, or counted and left out. */
static void test_labels_out_of_range(void **state)
{
    (void)state;
    char why[400];
    image_options o = plain;
    small_images_write(".", "f", N, 1, H, W, CLASSES);
    o.wish.classes = CLASSES - 1;
    int64_t bad = 0;
    for (int64_t i = 0; i < N; i++)
        bad += small_label(i, CLASSES) == CLASSES - 1;
    assert_true(bad > 0 && bad < N);
    fails(try_source("f-images-idx3-ubyte", o), "label 4", "--classes");
    o.wish.bad = BAD_ANY;
    source *s = open_source("f-images-idx3-ubyte", o);
    assert_int_equal(s->count, N - bad);
    assert_int_equal(source_bad(s, why, sizeof why), bad);
    assert_non_null(strstr(why, "label 4"));
    source_close(s);
}

/* ---- CIFAR ---- */

static void test_cifar(void **state)
{
    (void)state;
    enum { PIXELS = 3 * 32 * 32, IMAGES = 4 };
    static uint8_t bytes[IMAGES * (PIXELS + 2)];
    static float x[PIXELS], t[100];
    for (int labels = 1; labels <= 2; labels++) {
        uint8_t *p = bytes;
        image_options o = {
            .wish = {.channels = 3, .classes = labels == 1 ? 10 : 100}, .height = 32, .width = 32};
        for (int i = 0; i < IMAGES; i++) {
            if (labels == 2) *p++ = 19; /* the coarse label does not count */
            *p++ = (uint8_t)(labels == 2 ? 90 + i : i);
            for (int k = 0; k < PIXELS; k++)
                *p++ = (uint8_t)(i * 50 + k % 101);
        }
        write_bytes("cifar.bin", bytes, (size_t)(p - bytes));
        source *s = open_source("cifar.bin", o);
        assert_int_equal(s->count, IMAGES);
        ok(source_read(s, 2, 1, x, t));
        assert_true(t[labels == 2 ? 92 : 2] == 1);
        for (int k = 0; k < PIXELS; k++)
            assert_true(fabsf(x[k] - value_of((uint8_t)(100 + k % 101))) < 1e-6f);
        source_close(s);
    }
}

/* ---- what is random ---- */

static void read_all(source *s, int64_t from, int64_t count, int64_t at_once, float *x, float *t)
{
    for (int64_t i = 0; i < count; i += at_once)
        ok(source_read(s, from + i, at_once, x + i * SIZE, t + i * CLASSES));
}

enum { READ = 48 };
static float x1[READ * SIZE], x2[READ * SIZE], t1[READ * CLASSES], t2[READ * CLASSES];

static void train_with(image_options o, int64_t from, int64_t at_once, float *x, float *t)
{
    source *s = open_source("g-images-idx3-ubyte", o);
    read_all(s, from, READ, at_once, x, t);
    source_close(s);
}

static image_options everything(void)
{
    image_options o = plain;
    o.crop = 2;
    o.flip = true;
    o.mixup = 0.4;
    o.smoothing = 0.1;
    return o;
}

/* A sample depends on its number alone: not on how many are read at once,
 * nor on where one begins. */
static void test_samples_by_number(void **state)
{
    (void)state;
    small_images_write(".", "g", N, 1, H, W, CLASSES);
    train_with(everything(), 0, 1, x1, t1);
    train_with(everything(), 0, 16, x2, t2);
    assert_memory_equal(x1, x2, sizeof x1);
    assert_memory_equal(t1, t2, sizeof t1);
    train_with(everything(), 24, 8, x2, t2);
    assert_memory_equal(x1 + 24 * SIZE, x2, 24 * SIZE * sizeof *x1);
    image_options other = everything();
    other.seed++;
    train_with(other, 0, 1, x2, t2);
    assert_memory_not_equal(x1, x2, sizeof x1);
}

/* Every image once in an epoch, in an order of its own in the next. */
static void test_epochs(void **state)
{
    (void)state;
    small_images_write(".", "g", N, 1, H, W, CLASSES);
    train_with(plain, 0, 1, x1, t1);
    for (int64_t i = 0; i < N; i++) {
        int found = 0;
        for (int64_t k = 0; k < N; k++)
            found += !memcmp(x1 + i * SIZE, x1 + (N + k) * SIZE, SIZE * sizeof *x1);
        assert_int_equal(found, 1);
    }
    assert_memory_not_equal(x1, x1 + N * SIZE, N * SIZE * sizeof *x1);
}

/* Shifted and turned images are the plain ones, shifted and turned; each
 * happens, and not always. */
static void test_crop_and_flip(void **state)
{
    (void)state;
    int seen[5][5][2] = {0};
    image_options o = plain;
    small_images_write(".", "g", N, 1, H, W, CLASSES);
    train_with(plain, 0, 1, x1, t1);
    o.crop = 2;
    o.flip = true;
    train_with(o, 0, 1, x2, t2);
    assert_memory_equal(t1, t2, sizeof t1);
    for (int64_t i = 0; i < READ; i++) {
        int matches = 0;
        for (int k = 0; k < 50; k++) {
            int64_t down = k / 10 - 2, right = k / 2 % 5 - 2;
            bool flip = k % 2, same = true;
            for (int64_t p = 0; p < SIZE && same; p++) {
                int64_t y = p / W + down, x = (flip ? W - 1 - p % W : p % W) + right;
                bool inside = y >= 0 && y < H && x >= 0 && x < W;
                same = x2[i * SIZE + p] == (inside ? x1[i * SIZE + y * W + x] : -1);
            }
            if (same) seen[down + 2][right + 2][flip]++;
            matches += same;
        }
        assert_int_equal(matches, 1);
    }
    int flipped = 0, moved = 0;
    for (int k = 0; k < 50; k++) {
        int n = seen[k / 10][k / 2 % 5][k % 2];
        flipped += k % 2 ? n : 0;
        moved += k / 2 == 12 ? 0 : n;
    }
    assert_in_range(flipped, 10, 38); /* of 48: 5 sigma */
    assert_in_range(moved, 35, 48);
}

/* Mixed targets sum to 1, and mix the images in the same parts; the parts are Beta's. */
static void test_mixup(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    static float x[SIZE], t[CLASSES];
    double sum = 0, squares = 0;
    int n = 0;
    image_options o = plain;
    o.mixup = 0.5;
    small_images_write(".", "g", N, 1, H, W, CLASSES);
    source *s = open_source("g-images-idx3-ubyte", o);
    for (int64_t i = 0; i < MANY; i++) {
        ok(source_read(s, i, 1, x, t));
        double mass = 0;
        for (int64_t k = 0; k < CLASSES; k++)
            mass += (double)t[k];
        assert_true(fabs(mass - 1) < 1e-6);
        for (int64_t k = 0; k < CLASSES; k++)
            if (t[k] > 0 && t[k] < 0.9999f) {
                /* the line of class k is bright in that part: 127 of 255 more than the noise */
                double line = 0;
                for (int64_t j = 0; j < W; j++)
                    line += (double)(x[k * W + j] + 1) * 127.5;
                assert_true(fabs(line / W - 63.5 - 127 * (double)t[k]) < 80);
                sum += (double)t[k];
                squares += (double)(t[k] * t[k]);
                n++;
            }
    }
    source_close(s);
    /* Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)) = 1/8; pairs are not independent */
    assert_true(n > MANY);
    assert_true(fabs(sum / n - 0.5) < 0.02);
    assert_true(fabs(squares / n - 0.25 - 0.125) < 0.02);
}

static void test_smoothing(void **state)
{
    (void)state;
    image_options o = plain;
    small_images_write(".", "g", N, 1, H, W, CLASSES);
    train_with(plain, 0, 1, x1, t1);
    o.smoothing = 0.2;
    train_with(o, 0, 1, x2, t2);
    assert_memory_equal(x1, x2, sizeof x1);
    for (int i = 0; i < READ * CLASSES; i++)
        assert_true(fabsf(t2[i] - (0.8f * t1[i] + 0.2f / CLASSES)) < 1e-6f);
}

/* Evaluation sees the images as they are, whatever training does. */
static void test_evaluation_is_plain(void **state)
{
    (void)state;
    image_options o = everything(), bare = plain;
    small_images_write(".", "g", N, 1, H, W, CLASSES);
    o.training = bare.training = false;
    train_with(o, 0, 1, x1, t1);
    train_with(bare, 0, 1, x2, t2);
    assert_memory_equal(x1, x2, sizeof x1);
    assert_memory_equal(t1, t2, sizeof t1);
}

/* ---- workers ---- */

static void test_workers_change_nothing(void **state)
{
    (void)state;
    small_images_write(".", "g", N, 1, H, W, CLASSES);
    train_with(everything(), 0, 8, x1, t1);
    for (int workers = 1; workers <= 4; workers += 3) {
        source *s;
        ok(prefetch_open(open_source("g-images-idx3-ubyte", everything()), workers, 8, 8,
                         SIZE * sizeof(float), CLASSES * sizeof(float), &s));
        assert_int_equal(s->count, N);
        for (int again = 0; again < 2; again++) { /* the second time from the beginning */
            memset(x2, 0, sizeof x2);
            read_all(s, 0, READ, 8, x2, t2);
            assert_memory_equal(x1, x2, sizeof x1);
            assert_memory_equal(t1, t2, sizeof t1);
        }
        read_all(s, 16, READ - 16, 8, x2, t2); /* resumed somewhere */
        assert_memory_equal(x1 + 16 * SIZE, x2, (READ - 16) * SIZE * sizeof *x1);
        ok(source_read(s, 5, 3, x2, t2)); /* something else in between */
        assert_memory_equal(x1 + 5 * SIZE, x2, 3 * SIZE * sizeof *x1);
        source_close(s);
    }
}

/* ---- fingerprints ---- */

static uint64_t print_of(const char *path)
{
    fingerprint f;
    source *s = open_source(path, plain);
    ok(source_fingerprint(s, NULL, &f));
    source_close(s);
    return f.value;
}

static void test_fingerprint(void **state)
{
    (void)state;
    static uint8_t images[1 << 16];
    small_images_write(".", "h", N, 1, H, W, CLASSES);
    uint64_t before = print_of("h-images-idx3-ubyte");
    assert_true(before == print_of("h-images-idx3-ubyte"));
    size_t n = read_bytes("h-images-idx3-ubyte", images, sizeof images);
    images[n - 1] ^= 1;
    write_bytes("h-images-idx3-ubyte", images, n);
    assert_true(before != print_of("h-images-idx3-ubyte"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx),
        cmocka_unit_test(test_bad_idx),
        cmocka_unit_test(test_labels_out_of_range),
        cmocka_unit_test(test_cifar),
        cmocka_unit_test(test_samples_by_number),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_crop_and_flip),
        cmocka_unit_test(test_mixup),
        cmocka_unit_test(test_smoothing),
        cmocka_unit_test(test_evaluation_is_plain),
        cmocka_unit_test(test_workers_change_nothing),
        cmocka_unit_test(test_fingerprint),
    };
    return cmocka_run_group_tests_name("images", tests, scratch_enter, scratch_leave);
}

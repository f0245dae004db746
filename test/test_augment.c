/* test_augment.c - what is done to pictures in training: by fixed parameters as torchvision
 * and PIL do it, to the bit (golden/augment.py); what is drawn, by its distribution; and
 * each option by what it does.
 */
#include "test/scratch.h"
#include "test/golden.h"

#include <math.h>
#include <stdbool.h>
#include <zlib.h>

#include "base/rng.h"
#include "data/images/rand_augment.h"
#include "data/images/resize.h"
#include "data/images/image_source.h"
#include "data/prefetch.h"
#include "test/small_images.h"

enum { H = 13, W = 17, RAND_H = 20, RAND_W = 24, RAND_BYTES = RAND_H * RAND_W * 3 };

static golden *g;

static const double *record(const char *name, int64_t *n)
{
    const double *v;
    ok(golden_get(g, name, &v, n));
    return v;
}

static void same(const char *name, const uint8_t *got, int64_t n)
{
    int64_t count;
    const double *want = record(name, &count);
    assert_int_equal(count, n + 2);
    for (int64_t i = 0; i < n; i++)
        if (got[i] != (int)want[2 + i])
            fail_msg("%s: byte %lld is %d, want %g", name, (long long)i, got[i], want[2 + i]);
}

static void start(const char *kind, uint8_t *pixels)
{
    int64_t n;
    const double *v = record(kind, &n);
    for (int64_t i = 0; i < n - 2; i++)
        pixels[i] = (uint8_t)v[2 + i];
}

static void test_enhance(void **state)
{
    (void)state;
    static const char *const whats[] = {"brightness", "contrast", "saturation"};
    static const double factors[] = {0, 0.35, 0.8, 1, 1.25, 1.9};
    uint8_t pixels[H * W * 3];
    for (int colours = 0; colours < 2; colours++)
        for (int k = 0; k < 18; k++) {
            char name[60];
            const char *kind = colours ? "colours" : "grey";
            if (!colours && k / 6 == 2) continue;
            snprintf(name, sizeof name, "%s.%s.%g", kind, whats[k / 6], factors[k % 6]);
            start(kind, pixels);
            augment_enhance((enhancement)(k / 6), factors[k % 6], pixels, H * W, colours ? 3 : 1);
            same(name, pixels, H * W * (colours ? 3 : 1));
        }
}

static void test_resized_crop(void **state)
{
    (void)state;
    static const int boxes[][4] = {{0, 0, 13, 17}, {2, 3, 7, 9}, {5, 1, 1, 16}, {4, 0, 9, 17}};
    uint8_t pixels[H * W * 3], out[8 * 8 * 3];
    start("colours", pixels);
    for (int i = 0; i < 8; i++) {
        const int *b = boxes[i / 2];
        char name[80];
        snprintf(name, sizeof name, "crop.%d.%d.%d.%d.8.%s", b[0], b[1], b[2], b[3],
                 i % 2 ? "bicubic" : "bilinear");
        view part = view_part((view){pixels, H, W, 3, 3 * W}, b[0], b[1], b[2], b[3]);
        window w = {8, 8, 0, 0, 8, 8};
        ok(picture_resize(part, &w, (resample_kernel)(i % 2), out));
        same(name, out, sizeof out);
    }
}

/* ---- RandAugment ---- */

static const char *const rand_names[RAND_OPERATIONS] = {
    [RAND_IDENTITY] = "Identity",
    [RAND_SHEAR_X] = "ShearX",
    [RAND_SHEAR_Y] = "ShearY",
    [RAND_TRANSLATE_X] = "TranslateX",
    [RAND_TRANSLATE_Y] = "TranslateY",
    [RAND_ROTATE] = "Rotate",
    [RAND_BRIGHTNESS] = "Brightness",
    [RAND_SATURATION] = "Color",
    [RAND_CONTRAST] = "Contrast",
    [RAND_SHARPNESS] = "Sharpness",
    [RAND_POSTERIZE] = "Posterize",
    [RAND_SOLARIZE] = "Solarize",
    [RAND_AUTOCONTRAST] = "AutoContrast",
    [RAND_EQUALIZE] = "Equalize",
};

/* The step that is drawn for this operation, the other way round for a negative magnitude. */
static rand_step drawn_step(rand_operation what, int magnitude, int64_t height, int64_t width)
{
    for (uint64_t i = 0; i < 10000; i++) {
        rand_step step[RAND_AT_ONCE];
        rand_augment_draw((draws){5, RNG_RAND, i}, abs(magnitude), height, width, step);
        for (int k = 0; k < RAND_AT_ONCE; k++)
            if (step[k].what == what && (what >= RAND_POSTERIZE || step[k].value == 0 ||
                                         (step[k].value < 0) == (magnitude < 0)))
                return step[k];
    }
    fail_msg("%s is never drawn", rand_names[what]);
    return (rand_step){0};
}

/* What is drawn and applied makes torchvision's bytes. */
static void test_rand_operations(void **state)
{
    (void)state;
    static const int magnitudes[] = {-9, 9, 30, 16};
    uint8_t colours[RAND_BYTES], pixels[RAND_BYTES], before[RAND_BYTES], room[RAND_BYTES];
    start("rand", colours);
    for (int i = 1; i < RAND_OPERATIONS; i++)
        for (int k = 0; k < 8; k++) {
            char name[60];
            const double *want;
            int64_t count, n = k & 1 ? RAND_BYTES : RAND_BYTES / 3;
            int magnitude = magnitudes[k / 2];
            snprintf(name, sizeof name, "rand.%s.%s.%d", k & 1 ? "colours" : "grey", rand_names[i],
                     magnitude);
            error *e = golden_get(g, name, &want, &count);
            assert_true(!e || magnitude != 9 || (i == RAND_SATURATION && !(k & 1)));
            error_free(e);
            if (e) continue;
            for (int64_t j = 0; j < n; j++)
                pixels[j] = before[j] = colours[k & 1 ? j : 3 * j];
            rand_step step = drawn_step((rand_operation)i, magnitude, RAND_H, RAND_W);
            rand_augment_apply(&step, pixels, RAND_H, RAND_W, k & 1 ? 3 : 1, room);
            if ((double)crc32(0, pixels, (unsigned)n) != *want) fail_msg("%s differs", name);
            assert_memory_not_equal(pixels, before, (size_t)n);
        }
}

/* Of every magnitude: torchvision's table (in float), of which shifts are whole pixels.  A
 * threshold decides about a value of pixels, so those are exact. */
static void test_rand_magnitudes(void **state)
{
    (void)state;
    static const int64_t sides[] = {32, 224};
    for (int i = RAND_SHEAR_X; i <= RAND_SOLARIZE; i++)
        for (int k = 0; k < 2; k++) {
            char name[60];
            int64_t n;
            snprintf(name, sizeof name, "magnitudes.%s.%lld", rand_names[i], (long long)sides[k]);
            const double *table = record(name, &n);
            assert_int_equal(n, RAND_MOST_MAGNITUDE + 1);
            for (int m = 1; m <= RAND_MOST_MAGNITUDE; m++) {
                bool whole = i == RAND_TRANSLATE_X || i == RAND_TRANSLATE_Y;
                double want = whole ? trunc(table[m]) : table[m];
                double got = drawn_step((rand_operation)i, m, sides[k], sides[k]).value;
                if (!(fabs(got - want) <= (i >= RAND_POSTERIZE ? 0 : 1e-6 * want)))
                    fail_msg("%s[%d] is %.9g, want %.9g", name, m, got, want);
            }
        }
}

/* Each operation as often as another, and both ways. */
static void test_rand_draws(void **state)
{
    (void)state;
    enum { N = 7000 };
    int count[RAND_OPERATIONS] = {0}, less = 0, signs = 0;
    for (uint64_t i = 0; i < N; i++) {
        rand_step step[RAND_AT_ONCE];
        rand_augment_draw((draws){5, RNG_RAND, i}, 9, 331, 662, step);
        for (int k = 0; k < RAND_AT_ONCE; k++) {
            rand_operation what = step[k].what;
            assert_true(what >= 0 && what < RAND_OPERATIONS);
            count[what]++;
            signs += what > RAND_IDENTITY && what < RAND_POSTERIZE;
            less += step[k].value < 0;
            assert_true(step[k].value >= 0 || what < RAND_POSTERIZE);
            if (what == RAND_TRANSLATE_X) assert_true(fabs(step[k].value) == 90);
            if (what == RAND_TRANSLATE_Y) assert_true(fabs(step[k].value) == 45);
        }
    }
    for (int i = 0; i < RAND_OPERATIONS; i++)
        assert_true(abs(count[i] - RAND_AT_ONCE * N / RAND_OPERATIONS) < 150);
    assert_true(abs(2 * less - signs) < 300);
}

/* ---- what is drawn ---- */

static bool lies_in(box b, int64_t height, int64_t width)
{
    return b.top >= 0 && b.left >= 0 && b.height >= 0 && b.width >= 0 &&
           b.top + b.height <= height && b.left + b.width <= width;
}

/* Areas from the least to all, shapes from 3/4 to 4/3 (but for rounding, and the middle
 * of what is too long). */
static void test_crops(void **state)
{
    (void)state;
    enum { N = 4000, SIDE = 200 };
    double sum = 0, shapes = 0, smallest = 1, largest = 0;
    for (uint64_t i = 0; i < N; i++) {
        box b = augment_crop((draws){5, RNG_CROP, i}, SIDE, SIDE, 0.08);
        assert_true(lies_in(b, SIDE, SIDE) && b.height > 0 && b.width > 0);
        double area = (double)(b.height * b.width) / (SIDE * SIDE),
               shape = log((double)b.width / (double)b.height);
        assert_true(area > 0.075 && fabs(shape) < log(4.0 / 3) + 0.02);
        sum += area;
        shapes += shape;
        smallest = fmin(smallest, area);
        largest = fmax(largest, area);
    }
    /* even from 0.08 to 1, but of the largest some do not fit */
    assert_true(sum / N > 0.48 && sum / N < 0.55);
    assert_true(fabs(shapes / N) < 0.01 && smallest < 0.09 && largest > 0.95);
    box b = augment_crop((draws){5, RNG_CROP, 1}, 10, 1000, 1); /* nothing fits: the middle */
    assert_true(b.height == 10 && b.width == 13 && b.top == 0 && b.left == 493);
}

static void test_rectangles(void **state)
{
    (void)state;
    enum { N = 4000, SIDE = 100 };
    int erased = 0;
    double cut = 0;
    for (uint64_t i = 0; i < N; i++) {
        box b = augment_erase((draws){5, RNG_ERASE, i}, SIDE, SIDE, 0.25);
        assert_true(lies_in(b, SIDE, SIDE));
        double area = (double)(b.height * b.width) / (SIDE * SIDE);
        assert_true(area < 0.35);
        erased += b.height > 0;
        if (b.height) assert_true(area > 0.015);
        b = augment_cut((draws){5, RNG_CUT, i}, SIDE, SIDE, 0.75);
        assert_true(lies_in(b, SIDE, SIDE) && b.height <= 50 && b.width <= 50);
        cut += (double)(b.height * b.width) / (SIDE * SIDE);
    }
    assert_true(abs(erased - N / 4) < 150);
    /* a side of half the image about any pixel keeps 7/8 of itself on average */
    assert_true(fabs(cut / N - 0.25 * 49 / 64) < 0.01);
}

/* ---- each option ---- */

enum { IMAGES = 12, SIDE = 9, SIZE = SIDE * SIDE, CLASSES = 5, READ = 40 };

static image_options plain(void)
{
    return (image_options){.wish = {.channels = 1, .classes = CLASSES},
                           .height = SIDE,
                           .width = SIDE,
                           .training = true,
                           .seed = 3};
}

static void read_with(image_options o, int workers, float *x, float *t)
{
    const char *path = "x-images-idx3-ubyte";
    source *s;
    ok(image_source_open(&path, 1, &o, &s));
    if (workers)
        ok(prefetch_open(s, workers, 8, 8, SIZE * sizeof(float), CLASSES * sizeof(float), &s));
    for (int64_t i = 0; i < READ; i += 8)
        ok(source_read(s, i, 8, x + i * SIZE, t + i * CLASSES));
    source_close(s);
}

static float x1[READ * SIZE], x2[READ * SIZE], t1[READ * CLASSES], t2[READ * CLASSES];

/* Each changes training and not evaluation, by the sample's number alone. */
static void test_options(void **state)
{
    (void)state;
    for (int k = 0; k < 6; k++) {
        image_options o = plain();
        if (k == 0) o.crop_least = 0.3;
        if (k == 1) o.jitter = 0.4;
        if (k == 2) o.erase = 0.5;
        if (k == 3) o.rand_magnitude = 9;
        if (k == 4) o.cutmix = 1;
        if (k == 5) o.cutmix = o.mixup = 0.8, o.crop_least = 0.3, o.jitter = 0.4, o.erase = 0.5;
        if (k == 5) o.rand_magnitude = 15;
        read_with(plain(), 0, x1, t1);
        read_with(o, 0, x2, t2);
        assert_memory_not_equal(x1, x2, sizeof x1);
        assert_int_equal(memcmp(t1, t2, sizeof t1) != 0, k > 3);
        read_with(o, 3, x1, t1);
        assert_memory_equal(x1, x2, sizeof x1);
        assert_memory_equal(t1, t2, sizeof t1);
        image_options e = plain();
        e.training = o.training = false;
        read_with(e, 0, x1, t1);
        read_with(o, 0, x2, t2);
        assert_memory_equal(x1, x2, sizeof x1);
        assert_memory_equal(t1, t2, sizeof t1);
    }
}

/* Every pixel of a sample is one image's or the other's, and the label says how many are whose. */
static void test_cutmix(void **state)
{
    (void)state;
    image_options o = plain();
    read_with(o, 0, x1, t1);
    o.cutmix = 1;
    read_with(o, 0, x2, t2);
    int mixed = 0;
    for (int i = 0; i < READ; i++) {
        int own = 0, label = 0;
        double sum = 0;
        for (int k = 0; k < CLASSES; k++) {
            sum += (double)t2[i * CLASSES + k];
            if (t1[i * CLASSES + k] == 1) label = k;
        }
        for (int p = 0; p < SIZE; p++)
            own += x1[i * SIZE + p] == x2[i * SIZE + p];
        assert_true(fabs(sum - 1) < 1e-6);
        double said = (double)t2[i * CLASSES + label] * SIZE; /* of the label: also the other's */
        assert_true(own >= said - 0.5 || said > SIZE - 0.5);
        mixed += own < SIZE;
    }
    assert_true(mixed > READ / 2);
}

static void test_erased(void **state)
{
    (void)state;
    image_options o = plain();
    read_with(o, 0, x1, t1);
    o.erase = 1;
    read_with(o, 0, x2, t2);
    int erased = 0;
    for (int i = 0; i < READ; i++) {
        int zeros = 0;
        for (int p = 0; p < SIZE; p++) {
            assert_true(x2[i * SIZE + p] == x1[i * SIZE + p] || x2[i * SIZE + p] == 0);
            zeros += x2[i * SIZE + p] == 0;
        }
        erased += zeros > 0;
    }
    assert_true(erased > READ * 3 / 4);
}

static int enter(void **state)
{
    error *e = golden_open("test/golden/augment.txt", &g);
    if (e) return error_report("test_augment", e);
    if (scratch_make(state) || chdir(*state)) return 1;
    small_images_write(".", "x", IMAGES, 1, SIDE, SIDE, CLASSES);
    return 0;
}

static int leave(void **state)
{
    golden_free(g);
    return chdir("/") || scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enhance),    cmocka_unit_test(test_resized_crop),
        cmocka_unit_test(test_crops),      cmocka_unit_test(test_rectangles),
        cmocka_unit_test(test_options),    cmocka_unit_test(test_cutmix),
        cmocka_unit_test(test_erased),     cmocka_unit_test(test_rand_operations),
        cmocka_unit_test(test_rand_draws), cmocka_unit_test(test_rand_magnitudes),
    };
    return cmocka_run_group_tests_name("augment", tests, enter, leave);
}

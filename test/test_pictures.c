/* test_pictures.c - pictures as Pillow and torchvision give them, to the bit (golden/pictures.py),
 * and what is refused or only warned of.
 */
#include "test/scratch.h"
#include "test/golden.h"

#include <stdbool.h>

#include "data/images/picture.h"
#include "data/images/resize.h"

static golden *g;

static const double *record(const char *name, const char *what, int64_t *n)
{
    char full[100];
    const double *values;
    snprintf(full, sizeof full, "%s%s%s", name, *what ? "." : "", what);
    error *e = golden_get(g, full, &values, n);
    if (!e) return values;
    error_free(e);
    return NULL;
}

static uint8_t *bytes_of(const double *values, int64_t n)
{
    uint8_t *b = malloc((size_t)n + 1);
    assert_non_null(b);
    for (int64_t i = 0; i < n; i++)
        b[i] = (uint8_t)values[i];
    return b;
}

/* want: height, width, pixels */
static void same(const char *name, view v, const double *want, int64_t n)
{
    int bad = 0, most = 0;
    if (v.height != (int64_t)want[0] || v.width != (int64_t)want[1])
        fail_msg("%s: %lld x %lld", name, (long long)v.height, (long long)v.width);
    assert_int_equal(n, 2 + v.height * v.width * v.channels);
    for (int64_t i = 0; i < v.height; i++)
        for (int64_t j = 0; j < v.width * v.channels; j++) {
            int d = abs(v.pixels[i * v.stride + j] - (int)want[2 + i * v.width * v.channels + j]);
            bad += d > 0;
            most = d > most ? d : most;
        }
    if (bad)
        fail_msg("%s: %d of %lld bytes differ, by up to %d", name, bad, (long long)n - 2, most);
}

static void decoded(const char *name, const char *what, int64_t channels, bool upright)
{
    int64_t n, size;
    picture p;
    const double *want = record(name, what, &n), *file = record(name, "file", &size);
    if (!file) fail_msg("no %s", name);
    uint8_t *bytes = bytes_of(file, size);
    error *e = picture_decode(bytes, (size_t)size, channels, upright, &p);
    if (record(name, "refused", &n)) {
        fails(e, "", "");
    } else if (want) {
        if (e) fail_msg("%s: %s", name, error_text(e));
        same(name, picture_view(&p), want, n);
        free(p.pixels);
    } else
        fail_msg("no %s.%s", name, what);
    free(bytes);
}

static void decoded_all(const char *const *names)
{
    for (; *names; names++) {
        decoded(*names, "rgb", 3, false);
        decoded(*names, "l", 1, false);
    }
}

static void test_png(void **state)
{
    (void)state;
#ifndef WITH_PNG
    skip();
#endif
    static const char *const names[] = {
        "png_grey",      "png_grey_gama",     "png_grey_1",     "png_grey_2",    "png_grey_4",
        "png_grey_16",   "png_grey_16_gama",  "png_rgb",        "png_rgb_gama",  "png_rgb_16",
        "png_palette",   "png_palette_clear", "png_grey_alpha", "png_rgb_alpha", "png_rgb_alpha_16",
        "png_rgb_clear", "png_interlaced",    "png_exif",       "png_cut",       NULL};
    decoded_all(names);
    decoded("png_exif", "upright", 3, true);
}

static void test_jpeg(void **state)
{
    (void)state;
#ifndef WITH_JPEG
    skip();
#endif
    static const char *const names[] = {"jpeg_grey",        "jpeg_420",
                                        "jpeg_444",         "jpeg_422",
                                        "jpeg_progressive", "jpeg_rgb",
                                        "jpeg_cmyk",        "jpeg_ycck",
                                        "jpeg_trailing",    "jpeg_extraneous",
                                        "jpeg_cut",         "jpeg_jfif_9",
                                        "jpeg_no_end",      NULL};
    decoded_all(names);
}

/* Of a progressive file libjpeg allocates all coefficients before the first row, so what the head
 * claims is held against the file's size before that: libjpeg never comes to miss the tables that
 * this one lacks.  It claims little more than is plausible, which harms nobody. */
static void test_large_head(void **state)
{
    (void)state;
#ifndef WITH_JPEG
    skip();
#endif
    static const uint8_t file[] = {0xff, 0xd8, 0xff, 0xc2, 0, 17,   8, 3, 0x20, 3,    0x20,
                                   3,    1,    0x22, 0,    2, 0x11, 0, 3, 0x11, 0,    0xff,
                                   0xda, 0,    8,    1,    1, 0,    0, 0, 0,    0xff, 0xd9};
    picture p;
    fails(picture_decode(file, sizeof file, 3, false, &p), "800 x 800 pixels in 33 bytes",
          "damaged");
}

static void test_orientation(void **state)
{
    (void)state;
#ifndef WITH_JPEG
    skip();
#endif
    char name[40];
    for (int k = 1; k <= 9; k++) { /* 9 is none */
        snprintf(name, sizeof name, "jpeg_exif_%d", k);
        decoded(name, "rgb", 3, false);
        decoded(name, "upright", 3, true);
    }
}

static void test_webp(void **state)
{
    (void)state;
#ifndef WITH_WEBP
    skip();
#endif
    static const char *const names[] = {
        "webp_lossy",  "webp_lossless", "webp_grey", "webp_alpha", "webp_alpha_lossless",
        "webp_moving", "webp_trailing", "webp_cut",  "webp_odd",   "webp_cut_head",
        "webp_exif_6", "webp_exif_9",   NULL};
    decoded_all(names);
    decoded("webp_exif_6", "upright", 3, true);
    decoded("webp_exif_9", "upright", 3, true);
}

/* A flat picture takes hardly any bytes, so a head may claim a lot, but not everything: this one a
 * little more. */
static void test_large_webp(void **state)
{
    (void)state;
#ifndef WITH_WEBP
    skip();
#endif
    static const uint8_t file[] = {'R',  'I', 'F', 'F', 26,   0,    0, 0, 'W',  'E',  'B',  'P',
                                   'V',  'P', '8', 'L', 13,   0,    0, 0, 0x2f, 0x33, 0xc8, 0x0c,
                                   0x02, 0,   0,   0,   0xfe, 0xff, 0, 0, 0,    0};
    picture p;
    fails(picture_decode(file, sizeof file, 3, false, &p), "2100 x 2100 pixels in 34 bytes",
          "damaged");
}

/* What libjpeg warns of, it has read. */
static void test_warnings(void **state)
{
    (void)state;
#ifndef WITH_JPEG
    skip();
#endif
    static const struct {
        const char *name, *warning;
    } cases[] = {
        {"jpeg_420", NULL}, {"jpeg_extraneous", "extraneous bytes"}, {"jpeg_jfif_9", "revision"}};
    for (int i = 0; i < 3; i++) {
        int64_t n;
        picture p;
        const double *file = record(cases[i].name, "file", &n);
        uint8_t *bytes = bytes_of(file, n);
        ok(picture_decode(bytes, (size_t)n, 3, false, &p));
        assert_int_equal(p.warnings > 0, i > 0);
        if (i) assert_non_null(strstr(p.warning, cases[i].warning));
        free(p.pixels);
        free(bytes);
    }
}

/* EXIF that lies about its sizes says nothing. */
static void test_broken_exif(void **state)
{
    (void)state;
    uint8_t tiff[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0};
    assert_int_equal(exif_orientation(tiff, sizeof tiff), 6);
    for (size_t n = 0; n < sizeof tiff; n++)
        assert_int_equal(exif_orientation(tiff, n), 0);
    tiff[8] = tiff[9] = 255; /* entries */
    assert_int_equal(exif_orientation(tiff, sizeof tiff), 6);
    tiff[4] = 255; /* where the directory is */
    assert_int_equal(exif_orientation(tiff, sizeof tiff), 0);
}

static view resize_source(uint8_t **bytes)
{
    int64_t n;
    const double *values = record("resize", "", &n);
    *bytes = bytes_of(values, n);
    return (view){*bytes + 2, (int64_t)values[0], (int64_t)values[1], 3, 3 * (int64_t)values[1]};
}

static const char *const kernels[] = {"bilinear", "bicubic"};

/* The whole, and parts of it, which must be the same. */
static void test_resize(void **state)
{
    (void)state;
    static const int sizes[][2] = {{23, 37}, {23, 16}, {12, 37}, {16, 16},
                                   {5, 7},   {40, 61}, {1, 1},   {46, 9}};
    uint8_t *bytes, out[61 * 40 * 3], part[61 * 40 * 3];
    view from = resize_source(&bytes);
    for (int i = 0; i < 16; i++) {
        char name[60];
        int64_t n, rows = sizes[i / 2][0], columns = sizes[i / 2][1];
        snprintf(name, sizeof name, "%dx%d.%s", sizes[i / 2][0], sizes[i / 2][1], kernels[i % 2]);
        const double *want = record("resize", name, &n);
        assert_non_null(want);
        window w = {rows, columns, 0, 0, rows, columns};
        ok(picture_resize(from, &w, (resample_kernel)(i % 2), out));
        view all = {out, rows, columns, 3, 3 * columns};
        same(name, all, want, n);
        if (rows < 4 || columns < 4) continue;
        w = (window){rows, columns, 2, 1, rows - 3, columns - 2};
        ok(picture_resize(from, &w, (resample_kernel)(i % 2), part));
        view inner = view_part(all, 2, 1, rows - 3, columns - 2);
        for (int64_t y = 0; y < inner.height; y++)
            assert_memory_equal(inner.pixels + y * inner.stride, part + y * inner.width * 3,
                                (size_t)inner.width * 3);
    }
    free(bytes);
}

static void test_covering(void **state)
{
    (void)state;
    static const struct {
        int size, percent;
    } cases[] = {{16, 100}, {15, 100}, {14, 87}, {30, 90}};
    uint8_t *bytes, out[30 * 30 * 3];
    view from = resize_source(&bytes);
    for (int i = 0; i < 8; i++) {
        char name[60];
        int64_t n, size = cases[i / 2].size;
        snprintf(name, sizeof name, "%d.%d.%s", cases[i / 2].size, cases[i / 2].percent,
                 kernels[i % 2]);
        const double *want = record("eval", name, &n);
        assert_non_null(want);
        window w =
            window_covering(from.height, from.width, size, size, cases[i / 2].percent / 100.0);
        ok(picture_resize(from, &w, (resample_kernel)(i % 2), out));
        same(name, (view){out, size, size, 3, 3 * size}, want, n);
    }
    free(bytes);
}

static int enter(void **state)
{
    (void)state;
    error *e = golden_open("test/golden/pictures.txt", &g);
    if (e) error_free(e);
    return e != NULL;
}

static int leave(void **state)
{
    (void)state;
    golden_free(g);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png),        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_webp),       cmocka_unit_test(test_large_webp),
        cmocka_unit_test(test_large_head), cmocka_unit_test(test_orientation),
        cmocka_unit_test(test_warnings),   cmocka_unit_test(test_broken_exif),
        cmocka_unit_test(test_resize),     cmocka_unit_test(test_covering),
    };
    return cmocka_run_group_tests_name("pictures", tests, enter, leave);
}

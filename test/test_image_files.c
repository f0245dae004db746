/* test_image_files.c - directories of JPEG and PNG files: decoding, scaling, and everything that
 * can be wrong with a file.
 */
#include "test/scratch.h"

#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <zlib.h>

#include "data/images/image_source.h"

#ifdef WITH_JPEG
#include <jpeglib.h>
#endif
#ifdef WITH_PNG
#include <png.h>
#endif

enum { SIDE = 16, SIZE = SIDE * SIDE, CLASSES = 3 };

static image_options plain(int64_t channels)
{
    return (image_options){
        .wish = {.channels = channels, .classes = CLASSES}, .height = SIDE, .width = SIDE};
}

/* A picture of one colour. */
static uint8_t *flat(int h, int w, int channels, const uint8_t *colour)
{
    uint8_t *p = malloc((size_t)(h * w * channels));
    assert_non_null(p);
    for (int i = 0; i < h * w * channels; i++)
        p[i] = colour[i % channels];
    return p;
}

#ifdef WITH_PNG
static void write_png(const char *path, const uint8_t *pixels, int h, int w, png_uint_32 format)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)w,
                       .height = (png_uint_32)h,
                       .format = format};
    assert_true(png_image_write_to_file(&image, path, 0, pixels, 0, NULL));
}
#else
#define PNG_FORMAT_GRAY 0
#define PNG_FORMAT_RGB  2
#define PNG_FORMAT_RGBA 3
static void write_png(const char *path, const uint8_t *pixels, int h, int w, unsigned format)
{
    (void)path, (void)pixels, (void)h, (void)w, (void)format;
    skip();
}
#endif

#ifdef WITH_JPEG
static void write_jpeg(const char *path, const uint8_t *pixels, int h, int w, int channels)
{
    struct jpeg_compress_struct c = {0};
    struct jpeg_error_mgr manager;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    c.err = jpeg_std_error(&manager);
    jpeg_create_compress(&c);
    jpeg_stdio_dest(&c, f);
    c.image_width = (unsigned)w;
    c.image_height = (unsigned)h;
    c.input_components = channels;
    c.in_color_space = channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 95, TRUE);
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        JSAMPROW line =
            (JSAMPROW)(uintptr_t)(pixels + (size_t)c.next_scanline * (size_t)(w * channels));
        jpeg_write_scanlines(&c, &line, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    assert_int_equal(fclose(f), 0);
}
#else
static void write_jpeg(const char *path, const uint8_t *pixels, int h, int w, int channels)
{
    (void)path, (void)pixels, (void)h, (void)w, (void)channels;
    skip();
}
#endif

static void flat_png(const char *path, int h, int w, uint8_t grey)
{
    uint8_t *p = flat(h, w, 1, &grey);
    write_png(path, p, h, w, PNG_FORMAT_GRAY);
    free(p);
}

static void make_classes(const char *root, const char *const names[CLASSES])
{
    char path[200];
    assert_int_equal(mkdir(root, 0777), 0);
    for (int i = 0; i < CLASSES; i++) {
        snprintf(path, sizeof path, "%s/%s", root, names[i]);
        assert_int_equal(mkdir(path, 0777), 0);
    }
}

static source *open_source(const char *path, image_options o)
{
    source *s;
    ok(image_source_open(&path, 1, &o, &s));
    return s;
}

static void expect_flat(source *s, int64_t i, int64_t channels, const double *want, int64_t label)
{
    static float x[3 * SIZE], t[CLASSES];
    ok(source_read(s, i, 1, x, t));
    for (int64_t k = 0; k < channels * SIZE; k++) {
        double got = ((double)x[k] + 1) * 127.5;
        if (fabs(got - want[k / SIZE]) > 2.5) /* JPEG rounds */
            fail_msg("image %d: value %d is %.1f, want %.1f", (int)i, (int)k, got, want[k / SIZE]);
    }
    for (int64_t k = 0; k < CLASSES; k++)
        assert_true(t[k] == (k == label));
}

/* ---- what is right ---- */

static const char *const abc[CLASSES] = {"a", "b", "c"};

/* Both formats, colours and grey, larger and smaller, other shapes; in the order of the names. */
static void test_formats(void **state)
{
    (void)state;
    const uint8_t red[] = {200, 30, 60}, clear[] = {200, 30, 60, 0};
    make_classes("formats", abc);
    uint8_t *p = flat(40, 25, 3, red);
    write_jpeg("formats/a/2.jpg", p, 40, 25, 3);
    write_png("formats/a/1.png", p, 40, 25, PNG_FORMAT_RGB);
    write_jpeg("formats/b/x", p, 5, 7, 3); /* small, and without a name that says what it is */
    free(p);
    flat_png("formats/c/grey.png", 16, 16, 77);
    p = flat(20, 20, 4, clear);
    write_png("formats/c/transparent.png", p, 20, 20, PNG_FORMAT_RGBA);
    free(p);
    assert_int_equal(creat("formats/c/.hidden", 0666) < 0, 0);

    const double want[] = {200, 30, 60}, grey[] = {77, 77, 77};
    const double luma[] = {0.299 * 200 + 0.587 * 30 + 0.114 * 60};
    source *s = open_source("formats", plain(3));
    assert_int_equal(s->count, 5);
    expect_flat(s, 0, 3, want, 0);
    expect_flat(s, 1, 3, want, 0);
    expect_flat(s, 2, 3, want, 1);
    expect_flat(s, 3, 3, grey, 2);
    expect_flat(s, 4, 3, want, 2); /* what is transparent has a colour, too */
    source_close(s);
    s = open_source("formats", plain(1));
    expect_flat(s, 0, 1, luma, 0);
    source_close(s);
}

/* Scaling: an image of the wanted size is left as it is; half the size is the mean of pixels
 * around; a wide one loses both sides alike. */
static void test_scaling(void **state)
{
    (void)state;
    static uint8_t p[64 * 64];
    static float x[SIZE], t[CLASSES];
    make_classes("scaling", abc);
    for (int i = 0; i < SIZE; i++)
        p[i] = (uint8_t)(i * 7);
    write_png("scaling/a/same.png", p, SIDE, SIDE, PNG_FORMAT_GRAY);
    for (int i = 0; i < 32 * 64; i++) /* the middle half of the columns is bright */
        p[i] = i % 64 >= 16 && i % 64 < 48 ? 255 : 0;
    write_png("scaling/b/wide.png", p, 32, 64, PNG_FORMAT_GRAY);
    for (int i = 0; i < 64 * 64; i++) /* falls from left to right */
        p[i] = (uint8_t)(i % 64 * 4);
    write_png("scaling/c/ramp.png", p, 64, 64, PNG_FORMAT_GRAY);

    source *s = open_source("scaling", plain(1));
    ok(source_read(s, 0, 1, x, t));
    for (int i = 0; i < SIZE; i++)
        assert_true(fabsf(x[i] - ((float)(uint8_t)(i * 7) / 127.5f - 1)) < 1e-6f);
    ok(source_read(s, 1, 1, x, t));
    for (int i = 0; i < SIZE; i++)
        if (i % SIDE > 0 && i % SIDE < SIDE - 1) assert_true(x[i] > 0.99f);
    ok(source_read(s, 2, 1, x, t));
    for (int i = 0; i < SIZE; i++) {
        double want = (4 * (i % SIDE) + 1.5) * 4; /* of the four columns that it covers */
        if (i % SIDE > 0 && i % SIDE < SIDE - 1)
            assert_true(fabs(((double)x[i] + 1) * 127.5 - want) <= 1);
    }
    source_close(s);
}

/* ---- what is wrong ---- */

static void cut(const char *from, const char *to, double part)
{
    size_t n;
    uint8_t *bytes = file_read(from, &n);
    file_write(to, bytes, (size_t)((double)n * part));
    free(bytes);
}

static void noise(const char *png, const char *jpeg)
{
    static uint8_t p[64 * 64 * 3];
    uint32_t h = 1;
    for (size_t i = 0; i < sizeof p; i++)
        p[i] = (uint8_t)((h = h * 1664525 + 1013904223) >> 24);
    write_png(png, p, 64, 64, PNG_FORMAT_RGB);
    write_jpeg(jpeg, p, 64, 64, 3);
}

/* Image i, or the next that can be read, is of one colour. */
static void expect_instead(source *s, int64_t i, uint8_t grey, int64_t label)
{
    labelled got;
    ok(images_read(image_source_set(s), i, true, &got));
    assert_int_equal(got.label, label);
    assert_int_equal(got.view.pixels[0], grey);
    free(got.owned);
}

/* Each bad file is refused by name; or counted, and the next good one taken in its place in
 * training, none in evaluation. */
static void one_bad(const char *root, const char *file, const char *word)
{
    static float x[SIZE], t[CLASSES];
    char why[400];
    source *s = open_source(root, plain(1));
    fails(source_read(s, 1, 1, x, t), file, word);
    source_close(s);
    image_options o = plain(1);
    o.wish.bad = BAD_UNREADABLE;
    s = open_source(root, o);
    for (int again = 0; again < 2; again++) {
        expect_instead(s, 1, 99, 2);
        ok(source_read(s, 1, 1, x, t));
        for (int k = 0; k < CLASSES; k++)
            assert_true(t[k] == 0);
        assert_int_equal(s->left_out, again + 1);
        assert_int_equal(source_bad(s, why, sizeof why), 1); /* once */
        assert_non_null(strstr(why, file));
    }
    source_close(s);
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *root, *word;
    } cases[] = {{"cutjpeg", "image"}, {"cutpng", "image"}, {"text", "neither JPEG, PNG nor WebP"},
                 {"empty", "0 bytes"}, {"head", "image"},   {"zero", "image"}};
    noise("noise.png", "noise.jpg");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[100];
        make_classes(cases[i].root, abc);
        snprintf(path, sizeof path, "%s/a/1.png", cases[i].root);
        flat_png(path, 4, 4, 10);
        snprintf(path, sizeof path, "%s/c/1.png", cases[i].root);
        flat_png(path, 4, 4, 99);
        snprintf(path, sizeof path, "%s/b/bad.png", cases[i].root);
        if (i == 0) cut("noise.jpg", path, 0.5);
        if (i == 1) cut("noise.png", path, 0.5);
        if (i == 2) file_write(path, "this is a text", 14);
        if (i == 3) file_write(path, "", 0);
        if (i == 4) cut("noise.jpg", path, 0.01);
        if (i == 5) { /* a width of 0 in the header */
            size_t n;
            uint8_t *bytes = file_read("noise.png", &n);
            memset(bytes + 16, 0, 4);
            file_write(path, bytes, n);
            free(bytes);
        }
        one_bad(cases[i].root, "bad.png", cases[i].word);
    }
}

/* A set of which nothing is left says why. */
static void test_nothing_left(void **state)
{
    (void)state;
    static float x[SIZE], t[CLASSES];
    make_classes("nothing", abc);
    for (int i = 0; i < CLASSES; i++) {
        char path[40];
        snprintf(path, sizeof path, "nothing/%s/x.jpg", abc[i]);
        file_write(path, "this is a text", 14);
    }
    image_options o = plain(1);
    o.wish.bad = BAD_ANY;
    source *s = open_source("nothing", o);
    ok(source_read(s, 0, 1, x, t)); /* an evaluation of nothing */
    source_close(s);
    o.training = true;
    s = open_source("nothing", o);
    fails(source_read(s, 0, 1, x, t), "not one of 3 images", "neither JPEG");
    source_close(s);
}

static error *try_source(const char *path, image_options o)
{
    source *s = NULL;
    error *e = image_source_open(&path, 1, &o, &s);
    source_close(s);
    return e;
}

static void test_directories(void **state)
{
    (void)state;
    char why[400];
    image_options o = plain(1);
    make_classes("sparse", abc);
    flat_png("sparse/a/1.png", 4, 4, 10);
    flat_png("sparse/c/1.png", 4, 4, 99);
    fails(try_source("sparse", o), "'sparse/b'", "no images");
    o.wish.bad = BAD_ANY;
    source *s = open_source("sparse", o);
    assert_int_equal(s->count, 2);
    assert_int_equal(source_bad(s, why, sizeof why), 1);
    assert_non_null(strstr(why, "sparse/b"));
    const double last[] = {99};
    expect_flat(s, 1, 1, last, 2); /* an empty class keeps its number */
    source_close(s);
    o.wish.classes = 4;
    fails(try_source("sparse", o), "3 class directories", "--classes 3");
    fails(try_source("sparse/a", o), "no class directories", "for each class");
}

static void directory(const char *path)
{
    assert_int_equal(mkdir(path, 0777), 0);
}

/* The order of torchvision's ImageFolder: classes, their directories by path ('-' comes before
 * '/'), files by name.  What is no picture is told with a number, a link to nothing by its name. */
static void test_walk(void **state)
{
    (void)state;
    static const char *const order[] = {"walk/a/2.png",        "walk/a/d-/8.png",
                                        "walk/a/d/deep/1.PNG", "walk/a/linked/only",
                                        "walk/b/1.png",        "walk/c/1.png"};
    char text[400];
    make_classes("walk", abc);
    directory("walk/a/d");
    directory("walk/a/d/deep");
    directory("walk/a/d-");
    directory("elsewhere");
    flat_png("elsewhere/only", 4, 4, 1);
    assert_int_equal(symlink("../../elsewhere", "walk/a/linked"), 0);
    for (int i = 0; i < 6; i++)
        if (i != 3) flat_png(order[i], 4, 4, 1);
    file_write("walk/a/notes.txt", "no picture", 10);
    file_write("walk/b/Thumbs.db", "no picture", 10);
    file_write("walk/readme", "no picture", 10);
    file_write("walk/c/.hidden.png", "", 0);
    source *s = open_source("walk", plain(1));
    assert_int_equal(s->count, 6);
    for (int i = 0; i < 6; i++) {
        images_describe(image_source_set(s), i, text, sizeof text);
        assert_string_equal(text, order[i]);
    }
    const char *passed = images_passed_over(image_source_set(s));
    assert_non_null(strstr(passed, "3 files"));
    assert_non_null(strstr(passed, "walk/readme"));
    assert_non_null(strstr(passed, "1 hidden"));
    source_close(s);
    assert_int_equal(symlink("nowhere", "walk/a/9.png"), 0);
    fails(try_source("walk", plain(1)), "'walk/a/9.png'", "leads nowhere");
    image_options o = plain(1);
    o.wish.bad = BAD_UNREADABLE;
    s = open_source("walk", o);
    assert_int_equal(s->count, 6);
    assert_int_equal(source_bad(s, text, sizeof text), 1);
    assert_non_null(strstr(text, "walk/a/9.png"));
    source_close(s);
    assert_int_equal(unlink("walk/a/9.png"), 0);
    assert_int_equal(symlink("..", "walk/a/up"), 0);
    fails(try_source("walk", plain(1)), "walk/a/up/a/up", "deep");
}

/* What is evaluated has the training's classes, by their names. */
static void test_names(void **state)
{
    (void)state;
    static const char *const bcd[CLASSES] = {"b", "c", "d"};
    const char *const roots[] = {"t[12]"};
    const double one[] = {1};
    image_names names;
    make_classes("t1", abc);
    make_classes("t2", bcd);
    ok(image_names_find(roots, 1, &names));
    assert_int_equal(names.n, 4);
    for (int i = 0; i < 4; i++)
        assert_true(names.name[i][0] == 'a' + i && !names.name[i][1]);
    names.n = 3;
    flat_png("t2/d/1.png", 4, 4, 1);
    flat_png("t2/b/1.png", 4, 4, 1);
    flat_png("t2/c/1.png", 4, 4, 1);
    image_options o = plain(1);
    o.wish.names = &names;
    fails(try_source("t2", o), "'t2/d' is not a class", "a to c");
    assert_int_equal(unlink("t2/d/1.png") | rmdir("t2/d"), 0);
    source *s = open_source("t2", o);
    expect_flat(s, 0, 1, one, 1);
    expect_flat(s, 1, 1, one, 2);
    source_close(s);
    names.n = 4;
    image_names_free(&names);
}

static uint64_t print_of(const char *path)
{
    fingerprint f;
    source *s = open_source(path, plain(1));
    ok(source_fingerprint(s, NULL, &f));
    source_close(s);
    return f.value;
}

/* Other contents under the same names, of the same size or not; another name. */
static void test_fingerprint(void **state)
{
    (void)state;
    static const long at[] = {0, 9999, 15000, 40000, 79999};
    static uint8_t bytes[80000];
    make_classes("print", abc);
    flat_png("print/a/1.png", 4, 4, 10);
    flat_png("print/b/1.png", 4, 4, 10);
    file_write("print/c/1.png", bytes, sizeof bytes);
    uint64_t before = print_of("print");
    assert_true(before == print_of("print"));
    for (int i = 0; i < 5; i++) {
        size_t n = i < 3 ? 15001 : sizeof bytes;
        file_write("print/c/1.png", bytes, n);
        before = print_of("print");
        bytes[at[i]] ^= 1;
        file_write("print/c/1.png", bytes, n);
        assert_true(before != print_of("print"));
        before = print_of("print");
        file_write("print/c/1.png", bytes, n - 1);
        assert_true(before != print_of("print"));
    }
    before = print_of("print");
    assert_int_equal(rename("print/c/1.png", "print/c/2.png"), 0);
    assert_true(before != print_of("print"));
}

/* ---- shards of WebDataset ---- */

static void add_member(FILE *f, char type, const char *name, const void *bytes, size_t n)
{
    static const char zeros[512];
    char header[512] = {0};
    unsigned sum = 0;
    snprintf(header, 100, "%s", name);
    memcpy(header + 100, "0000644", 8);
    snprintf(header + 124, 12, "%011zo", n);
    header[156] = type;
    memcpy(header + 257, "ustar\00000", 8);
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    assert_int_equal(fwrite(header, 1, 512, f), 512);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fwrite(zeros, 1, (512 - n % 512) % 512, f), (512 - n % 512) % 512);
}

static void add_picture(FILE *f, const char *name, uint8_t grey)
{
    size_t n;
    flat_png("one.png", 5, 7, grey);
    uint8_t *bytes = file_read("one.png", &n);
    add_member(f, '0', name, bytes, n);
    free(bytes);
}

/* Three samples: with a directory and others' members between, the label first or last, names that
 * go on in a header of pax or GNU tar.  `label`: of the last one. */
static void write_shard(const char *path, const char *label)
{
    static const char pax[] = "8 x=\0\0\0\n20 mtime=1700000.25\n16 path=s/2.x.y\n16 path=s/2.cls\n";
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    add_member(f, '5', "s/", "", 0);
    add_picture(f, "s/1.WEBP", 10);
    add_member(f, '0', "s/1.json", "{}", 2);
    add_member(f, '0', "s/1.cls", "2", 1);
    add_member(f, 'x', "pax", pax, sizeof pax - 1);
    add_member(f, '0', "cut", "0\n", 2);
    add_member(f, 'L', "long", "s/2.png", 8);
    add_picture(f, "cut", 90);
    add_member(f, '0', "s/._3.png", "hidden", 6);
    add_picture(f, "s/3.png", 200);
    if (label) add_member(f, '0', "s/3.cls", label, strlen(label));
    for (int i = 0; i < 1024; i++)
        fputc(0, f);
    assert_int_equal(fclose(f), 0);
}

static void shard_fails(const char *path, const char *what)
{
    image_options o = plain(1);
    source *s;
    fails(image_source_open(&path, 1, &o, &s), path, what);
}

static void test_shards(void **state)
{
    (void)state;
    static const double grey[] = {10, 90, 200};
    static const int label[] = {2, 0, 1};
    size_t n;
    write_shard("w.tar", "1\n");
    source *s = open_source("w.tar", plain(1));
    assert_int_equal(s->count, 3);
    for (int i = 0; i < 3; i++)
        expect_flat(s, i, 1, &grey[i], label[i]);
    source_close(s);
    uint8_t *bytes = file_read("w.tar", &n);
    uint64_t before = print_of("w.tar");
    bytes[1100] ^= 1; /* in the first picture */
    file_write("v.tar", bytes, n);
    assert_true(before != print_of("v.tar"));
    bytes[1024] ^= 1; /* no PNG any more, and of all that are in it, it is this one */
    file_write("spoilt.tar", bytes, n);
    bytes[1024] ^= 1;
    static float pixels[3 * SIZE], target[CLASSES];
    s = open_source("spoilt.tar", plain(1));
    fails(source_read(s, 0, 1, pixels, target), "spoilt.tar, byte 1024'",
          "neither JPEG, PNG nor WebP");
    source_close(s);
    file_write("cut.tar", bytes, 1024 + 20);
    shard_fails("cut.tar", "longer than the file");
    file_write("head.tar", bytes, 512 + 20);
    shard_fails("head.tar", "a header that is cut");
    bytes[512 + 3] ^= 1; /* of the second header's name */
    file_write("sum.tar", bytes, n);
    shard_fails("sum.tar", "checksum");
    free(bytes);
}

/* A sample whose label is missing, no number or out of range is an error, or is skipped. */
static void test_shard_labels(void **state)
{
    (void)state;
    static const struct {
        const char *path, *label, *what;
    } all[] = {{"none.tar", NULL, "'s/3' has no label"},
               {"word.tar", "two", "'s/3' has a label (.cls) that is not a number"},
               {"long.tar", "000000000000000000001", "'s/3' has a label"},
               {"less.tar", "-1", "'s/3' has a label"},
               {"far.tar", "3", "label 3"}};
    image_options skipping = plain(1);
    skipping.wish.bad = BAD_ANY;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char why[200];
        write_shard(all[i].path, all[i].label);
        shard_fails(all[i].path, all[i].what);
        source *s = open_source(all[i].path, skipping);
        assert_true(s->count == 2 && source_bad(s, why, sizeof why) == 1);
        assert_non_null(strstr(why, all[i].what));
        source_close(s);
    }
}

static void test_compressed_shard(void **state)
{
    (void)state;
    size_t n;
    write_shard("plain.tar", "1");
    uint8_t *bytes = file_read("plain.tar", &n);
    gzFile f = gzopen("plain.tar.gz", "wb");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, bytes, (unsigned)n), n);
    assert_int_equal(gzclose(f), Z_OK);
    free(bytes);
    shard_fails("plain.tar.gz", "decompress it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_scaling),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_directories),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_shard_labels),
        cmocka_unit_test(test_compressed_shard),
    };
    return cmocka_run_group_tests_name("image files", tests, scratch_enter, scratch_leave);
}

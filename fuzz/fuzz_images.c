/* fuzz_images.c - files of images: data/images/images.h (idx, CIFAR, shards of tar), and single
 * pictures (JPEG, PNG, WebP, EXIF).
 *
 * An idx file's labels lie beside it: `labels`, enough for a few.  Headers of tar get their
 * checksum here, or nearly every change of one would end there.
 */
#include "data/images/image_source.h"
#include "data/images/picture.h"
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef WITH_JPEG
#include <jpeglib.h>
#endif
#ifdef WITH_PNG
#include <png.h>
#endif
#ifdef WITH_WEBP
#include <webp/encode.h>
#endif

enum { LABELS = 4, SIDE = 8, CLASSES = 10, BLOCK = 512 };

static const char *with_labels(const uint8_t *bytes, size_t n)
{
    static const uint8_t four[] = {0, 0, 8, 1, 0, 0, 0, LABELS, 0, 1, 2, 3};
    memory_file("labels", four, sizeof four);
    return memory_file("images", bytes, n);
}

/* A picture is all there, in the wanted colours, whichever way it is turned. */
static void try_picture(const uint8_t *bytes, size_t n, int64_t channels, bool upright)
{
    picture p;
    if (exif_orientation(bytes, n) > 8) abort();
    if (!fuzz_fine(picture_decode(bytes, n, channels, upright, &p))) return;
    volatile uint8_t sum = 0;
    if (p.height < 1 || p.width < 1 || p.channels != channels) abort();
    for (int64_t i = 0; i < p.height * p.width * channels; i++)
        sum = (uint8_t)(sum + p.pixels[i]);
    free(p.pixels);
}

static void try_set(const char *path, int64_t channels, bool skip)
{
    image_options o = {
        .wish = {.channels = channels, .classes = CLASSES, .bad = skip ? BAD_ANY : BAD_FAIL},
        .height = SIDE,
        .width = SIDE};
    float inputs[3 * SIDE * SIDE], targets[CLASSES];
    source *s;
    fingerprint print;
    if (!fuzz_fine(image_source_open(&path, 1, &o, &s))) return;
    for (int64_t i = 0; i < s->count; i++)
        if (fuzz_fine(source_read(s, i, 1, inputs, targets)))
            for (int k = 0; k < CLASSES; k++)
                if (targets[k] < 0 || targets[k] > 1) abort();
    fuzz_fine(source_fingerprint(s, NULL, &print));
    source_close(s);
}

static void set_checksum(uint8_t *header)
{
    char text[8];
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += header[i];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(header + 148, text, sizeof text);
}

/* Of every block that calls itself a header. */
static void set_checksums(uint8_t *bytes, size_t n)
{
    for (size_t at = 0; at + BLOCK <= n; at += BLOCK)
        if (!memcmp(bytes + at + 257, "ustar", 5)) set_checksum(bytes + at);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    int64_t channels = n & 2 ? 3 : 1; /* one way for each length: lengths change all the time */
    uint8_t *set = malloc(n + 1);
    if (!set) return 0;
    memcpy(set, bytes, n);
    set_checksums(set, n);
    try_picture(bytes, n, channels, n & 4);
    try_set(with_labels(set, n), channels, n & 1);
    free(set);
    return 0;
}

/* Whole pictures, of 5 x 3 pixels: what the decoders go through once the first bytes fit. */
static const uint8_t pixels[3 * 5 * 8] = {0, 255, 128, 7, 200, 31, 90};

#ifdef WITH_JPEG
static void jpeg(J_COLOR_SPACE space, int components, bool progressive)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr fails; /* which exits */
    unsigned char *made = NULL;
    unsigned long size = 0;
    c.err = jpeg_std_error(&fails);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &made, &size);
    c.image_width = 5;
    c.image_height = 3;
    c.input_components = components;
    c.in_color_space = space;
    jpeg_set_defaults(&c);
    if (progressive) jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < 3; y++) {
        JSAMPROW row = (JSAMPROW)(size_t)pixels + y;
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    fuzz_keep(made, size);
    free(made);
}
#endif

#ifdef WITH_PNG
static void png(uint32_t format)
{
    static const uint8_t map[4 * 256];
    png_image image = {.version = PNG_IMAGE_VERSION, .width = 5, .height = 3, .format = format};
    char made[4000];
    png_alloc_size_t size = sizeof made;
    if (format & PNG_FORMAT_FLAG_COLORMAP) image.colormap_entries = 256;
    if (!png_image_write_to_memory(&image, made, &size, 0, pixels, 0, map)) abort();
    fuzz_keep(made, size);
}
#endif

#ifdef WITH_WEBP
/* An extended file: the picture between its head and an orientation.  Flags may come to claim that
 * it moves. */
static void webp_extended(const uint8_t *picture, size_t n)
{
    static const uint8_t head[] = {'R', 'I', 'F', 'F', 0,   0,   0,  0, 'W', 'E',
                                   'B', 'P', 'V', 'P', '8', 'X', 10, 0, 0,   0,
                                   8,   0,   0,   0,   4,   0,   0,  2, 0,   0},
                         exif[] = {'E', 'X', 'I', 'F', 22,   0, 0, 0, 'M', 'M', 0, 42, 0, 0, 0,
                                   8,   0,   1,   1,   0x12, 0, 3, 0, 0,   0,   1, 0,  6, 0, 0};
    uint8_t file[600];
    size_t riff = 12, size = sizeof head + n - riff;
    if (size + sizeof exif > sizeof file) abort();
    memcpy(file, head, sizeof head);
    memcpy(file + sizeof head, picture + riff, n - riff);
    memcpy(file + size, exif, sizeof exif);
    size += sizeof exif;
    file[4] = (size - 8) & 255, file[5] = (uint8_t)((size - 8) >> 8);
    fuzz_keep(file, size);
}

static void webp(bool lossless)
{
    uint8_t *made = NULL;
    size_t n = lossless ? WebPEncodeLosslessRGBA(pixels, 5, 3, 20, &made)
                        : WebPEncodeRGB(pixels, 5, 3, 15, 50, &made);
    if (!n) abort();
    fuzz_keep(made, n);
    webp_extended(made, n);
    WebPFree(made);
}
#endif

static void whole_pictures(void)
{
#ifdef WITH_WEBP
    webp(false);
    webp(true);
#endif
#ifdef WITH_JPEG
    jpeg(JCS_RGB, 3, false);
    jpeg(JCS_RGB, 3, true);
    jpeg(JCS_GRAYSCALE, 1, false);
    jpeg(JCS_CMYK, 4, false);
#endif
#ifdef WITH_PNG
    png(PNG_FORMAT_RGB);
    png(PNG_FORMAT_GRAY);
    png(PNG_FORMAT_RGBA);
    png(PNG_FORMAT_RGB_COLORMAP);
    png(PNG_FORMAT_LINEAR_RGB_ALPHA);
#endif
}

/* ---- a shard of WebDataset ---- */

/* A member of at most a block at *n, which is moved behind it. */
static void add_member(uint8_t *to, size_t *n, char type, const char *name, const void *bytes,
                       size_t size)
{
    char *header = (char *)to + *n;
    snprintf(header, 100, "%s", name);
    snprintf(header + 124, 12, "%011zo", size);
    header[156] = type;
    memcpy(header + 257, "ustar", 5);
    memcpy(header + BLOCK, bytes, size);
    *n += size ? 2 * BLOCK : BLOCK;
}

/* Two samples, whose names go on in headers of pax and of GNU tar; one way for each remainder. */
static void shards(const uint8_t *picture, size_t size)
{
    static const char pax[] = "9 size=1\n16 path=d/a.cls\n";
    uint8_t made[8 * 2 * BLOCK + 4] = {0};
    size_t n = 0;
    add_member(made, &n, '5', "d/", "", 0);
    add_member(made, &n, 'x', "pax", pax, sizeof pax - 1);
    add_member(made, &n, '0', "cut", "1", 1);
    add_member(made, &n, 'L', "long", "d/a.png", 8);
    add_member(made, &n, '0', "cut", picture, size);
    add_member(made, &n, '0', "d/b.png", picture, size);
    add_member(made, &n, '0', "d/b.cls", "2\n", 2);
    for (size_t more = 0; more < 4; more++)
        fuzz_keep(made, n + more);
}

void fuzz_seed(void)
{
    whole_pictures();
    uint8_t idx[16 + LABELS * 6] = {0, 0, 8, 3, 0, 0, 0, LABELS, 0, 0, 0, 2, 0, 0, 0, 3};
    uint8_t deep[20 + LABELS * 6] = {0, 0, 8, 4, 0, 0, 0, LABELS, 0, 0,
                                     0, 3, 0, 0, 0, 1, 0, 0,      0, 2};
    static uint8_t cifar[2 * 3073];
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0,    0,    0,
                                  13,   'I', 'H', 'D', 'R',  0,    0,    0,    1,    0,    0,
                                  0,    1,   8,   0,   0,    0,    0,    0x3a, 0x7e, 0x9b, 0x55};
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xdb, 0, 3, 0, 0xff, 0xd9};
    static const uint8_t tiff[] = {'M',  'M', 0, 42, 0, 0, 0, 8, 0, 1, 1,
                                   0x12, 0,   3, 0,  0, 0, 1, 0, 6, 0, 0};
    shards(png, sizeof png);
    fuzz_keep(idx, sizeof idx);
    fuzz_keep(deep, sizeof deep);
    fuzz_keep(cifar, sizeof cifar);
    fuzz_keep(png, sizeof png);
    fuzz_keep(jpeg, sizeof jpeg);
    fuzz_keep(tiff, sizeof tiff);
}

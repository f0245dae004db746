/* fuzz_images.c - files of images: data/images/images.h (idx, CIFAR), and single pictures (JPEG, PNG, EXIF).
 *
 * An idx file's labels lie beside it: `labels`, enough for a few.
 */
#include "data/images/image_source.h"
#include "data/images/picture.h"
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS = 4, SIDE = 8, CLASSES = 10 };

static const char *with_labels(const uint8_t *bytes, size_t n)
{
    static const uint8_t four[] = {0, 0, 8, 1, 0, 0, 0, LABELS, 0, 1, 2, 3};
    memory_file("labels", four, sizeof four);
    return memory_file("images", bytes, n);
}

/* A picture is all there, in the wanted colours, whichever way it is turned. */
static void try_picture(const uint8_t *bytes, size_t n)
{
    for (int k = 0; k < 4; k++) {
        picture p;
        int64_t channels = k & 1 ? 3 : 1;
        if (!fuzz_fine(picture_decode(bytes, n, channels, k & 2, &p))) continue;
        volatile uint8_t sum = 0;
        if (p.height < 1 || p.width < 1 || p.channels != channels) abort();
        for (int64_t i = 0; i < p.height * p.width * channels; i++)
            sum = (uint8_t)(sum + p.pixels[i]);
        free(p.pixels);
    }
    if (exif_orientation(bytes, n) > 8) abort();
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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *path = with_labels(bytes, n);
    try_picture(bytes, n);
    try_set(path, 1, n % 2);
    try_set(path, 3, n % 2);
    return 0;
}

void fuzz_seed(void)
{
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
    fuzz_keep(idx, sizeof idx);
    fuzz_keep(deep, sizeof deep);
    fuzz_keep(cifar, sizeof cifar);
    fuzz_keep(png, sizeof png);
    fuzz_keep(jpeg, sizeof jpeg);
    fuzz_keep(tiff, sizeof tiff);
}

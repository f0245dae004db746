/* fuzz_images.c - files of images: data/images/images.h (idx, CIFAR), and single pictures (JPEG, PNG).
 *
 * An idx file's labels lie beside it, so both are links in a directory of their own: `images` to the
 * bytes, `labels` to labels enough for a few.
 */
#include "data/images/images_internal.h"
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LABELS = 4, SIDE = 8 };

static const char *link_to(const char *bytes)
{
    static char directory[] = "/tmp/regrad-fuzz-XXXXXX", images[60], labels[60];
    if (!*images) {
        static const uint8_t four[] = {0, 0, 8, 1, 0, 0, 0, LABELS, 0, 1, 2, 3};
        if (!mkdtemp(directory)) abort();
        snprintf(images, sizeof images, "%s/images", directory);
        snprintf(labels, sizeof labels, "%s/labels", directory);
        FILE *f = fopen(labels, "wb");
        if (!f || fwrite(four, 1, sizeof four, f) != sizeof four || fclose(f)) abort();
    }
    unlink(images);
    if (symlink(bytes, images)) abort();
    return images;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *file = fuzz_file(bytes, n), *path = link_to(file);
    picture p;
    image_set *s;
    image_wish wish = {SIDE, SIDE, 1, 10, n % 2};
    if (fuzz_fine(picture_decode(file, &p))) {
        uint8_t sum = 0;
        for (int64_t i = 0; i < p.height * p.width * p.channels; i++)
            sum = (uint8_t)(sum + p.pixels[i]); /* all of it is there */
        free(p.pixels);
        if (p.height < 1 || p.width < 1) abort();
        (void)sum;
    }
    for (int colours = 1; colours <= 3; colours += 2) {
        uint8_t all[3 * SIDE * SIDE];
        int64_t label;
        wish.channels = colours;
        if (!fuzz_fine(images_open(&path, 1, &wish, &s))) continue;
        for (int64_t i = 0; i < images_count(s); i++)
            if (fuzz_fine(images_read(s, i, all, &label)) && (label < 0 || label > 9)) abort();
        images_close(s);
    }
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
    fuzz_keep(idx, sizeof idx);
    fuzz_keep(deep, sizeof deep);
    fuzz_keep(cifar, sizeof cifar);
    fuzz_keep(png, sizeof png);
    fuzz_keep(jpeg, sizeof jpeg);
}

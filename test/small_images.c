/* small_images.c - see small_images.h */
#include "test/small_images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int64_t small_label(int64_t i, int64_t classes)
{
    uint32_t bits[4];
    rng_bits(11, RNG_TEST, (uint64_t)i, bits);
    return (int64_t)(bits[0] % (uint64_t)classes);
}

uint8_t small_pixel(int64_t i, int64_t label, int64_t c, int64_t y, int64_t x)
{
    uint32_t bits[4];
    rng_bits(12, RNG_TEST, (uint64_t)(((i * 4 + c) * 64 + y) * 64 + x), bits);
    return (uint8_t)(bits[0] % 128 + (y == label % 64 ? 127 : 0));
}

static void put_32(FILE *f, int64_t x)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        fputc((int)(x >> shift & 255), f);
}

static FILE *create(const char *directory, const char *name, const char *rest)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s-%s", directory, name, rest);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    return f;
}

void small_images_create(const char *directory, const char *name, int64_t n, int64_t channels,
                         int64_t height, int64_t width, FILE **images, FILE **labels)
{
    *images = create(directory, name, "images-idx3-ubyte");
    *labels = create(directory, name, "labels-idx1-ubyte");
    put_32(*images, channels > 1 ? 0x804 : 0x803);
    put_32(*images, n);
    if (channels > 1) put_32(*images, channels);
    put_32(*images, height);
    put_32(*images, width);
    put_32(*labels, 0x801);
    put_32(*labels, n);
}

void small_images_write(const char *directory, const char *name, int64_t n, int64_t channels,
                        int64_t height, int64_t width, int64_t classes)
{
    FILE *images, *labels;
    small_images_create(directory, name, n, channels, height, width, &images, &labels);
    for (int64_t i = 0; i < n; i++) {
        int64_t label = small_label(i, classes);
        fputc((int)label, labels);
        for (int64_t c = 0; c < channels; c++)
            for (int64_t y = 0; y < height; y++)
                for (int64_t x = 0; x < width; x++)
                    fputc(small_pixel(i, label, c, y, x), images);
    }
    assert_int_equal(fclose(images), 0);
    assert_int_equal(fclose(labels), 0);
}

static void put_chunk(FILE *f, const char *kind, const uint8_t *data, size_t n)
{
    uLong sum = crc32(crc32(0, (const Bytef *)kind, 4), data, (uInt)n);
    put_32(f, (int64_t)n);
    fwrite(kind, 1, 4, f);
    fwrite(data, 1, n, f);
    put_32(f, (int64_t)sum);
}

void small_png_write(const char *path, int height, int width, uint8_t grey)
{
    enum { MOST = 1 << 16 };
    static uint8_t rows[MOST], packed[MOST];
    uint8_t head[13] = {0, 0, (uint8_t)(height >> 8), (uint8_t)height,
                        0, 0, (uint8_t)(width >> 8),  (uint8_t)width,
                        8};
    size_t n = (size_t)(height * (width + 1));
    uLongf length = MOST;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(n < MOST);
    memset(rows, grey, n);
    for (int i = 0; i < height; i++)
        rows[i * (width + 1)] = 0; /* filter: none */
    assert_int_equal(compress(packed, &length, rows, n), Z_OK);
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, f);
    put_chunk(f, "IHDR", head, sizeof head);
    put_chunk(f, "IDAT", packed, length);
    put_chunk(f, "IEND", packed, 0);
    assert_int_equal(fclose(f), 0);
}

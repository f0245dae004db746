/* rand_augment.c - see rand_augment.h */
#include "data/images/rand_augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { VALUES = 256 };

typedef struct {
    uint8_t *pixels;
    int64_t height, width, channels;
} image;

/* ---- what is drawn ---- */

void rand_augment_draw(draws d, int magnitude, int64_t height, int64_t width,
                       rand_step out[RAND_AT_ONCE])
{
    double part = (double)magnitude / RAND_MOST_MAGNITUDE;
    const double values[RAND_OPERATIONS] = {
        [RAND_SHEAR_X] = 0.3 * part,
        [RAND_SHEAR_Y] = 0.3 * part,
        [RAND_TRANSLATE_X] = floor(150.0 / 331 * (double)width * part),
        [RAND_TRANSLATE_Y] = floor(150.0 / 331 * (double)height * part),
        [RAND_ROTATE] = 30 * part,
        [RAND_BRIGHTNESS] = 0.9 * part,
        [RAND_SATURATION] = 0.9 * part,
        [RAND_CONTRAST] = 0.9 * part,
        [RAND_SHARPNESS] = 0.9 * part,
        [RAND_POSTERIZE] = 8 - rint(4 * part),
        [RAND_SOLARIZE] =
            255.0 / RAND_MOST_MAGNITUDE * (RAND_MOST_MAGNITUDE - magnitude), /* exact */
    };
    for (uint64_t k = 0; k < RAND_AT_ONCE; k++) {
        uint32_t bits[4];
        rng_bits(d.seed, d.stream, d.sample * RAND_AT_ONCE + k, bits);
        out[k].what = (rand_operation)((double)bits[0] * 0x1p-32 * RAND_OPERATIONS);
        bool either = out[k].what < RAND_POSTERIZE; /* these go both ways */
        out[k].value = either && bits[1] >> 31 ? -values[out[k].what] : values[out[k].what];
    }
}

/* ---- shapes ---- */

static int64_t fixed(double x)
{
    return (int64_t)floor(x * 65536 + 0.5);
}

/* Pixel (x, y) becomes the one at (a0 x + a1 y + a2, a3 x + a4 y + a5), in 16 bits behind the
 * point, as Pillow's transform computes it. */
static void transform(const image *m, const double a[6], uint8_t *room)
{
    size_t pixel = (size_t)m->channels, bytes = (size_t)(m->height * m->width) * pixel;
    int64_t row_x = fixed(a[2] + a[0] * 0.5 + a[1] * 0.5),
            row_y = fixed(a[5] + a[3] * 0.5 + a[4] * 0.5);
    memcpy(room, m->pixels, bytes);
    memset(m->pixels, 0, bytes);
    for (int64_t i = 0; i < m->height; i++, row_x += fixed(a[1]), row_y += fixed(a[4])) {
        int64_t x = row_x, y = row_y;
        for (int64_t j = 0; j < m->width; j++, x += fixed(a[0]), y += fixed(a[3])) {
            int64_t from_x = x >> 16, from_y = y >> 16;
            if (from_x < 0 || from_x >= m->width || from_y < 0 || from_y >= m->height) continue;
            memcpy(m->pixels + (size_t)(i * m->width + j) * pixel,
                   room + (size_t)(from_y * m->width + from_x) * pixel, pixel);
        }
    }
}

/* About the centre. */
static void rotate(const image *m, double degrees, uint8_t *room)
{
    const double digits = 1e15; /* as many has Pillow */
    double angle = -degrees * M_PI / 180, c = round(cos(angle) * digits) / digits,
           s = round(sin(angle) * digits) / digits, x = (double)m->width / 2,
           y = (double)m->height / 2;
    if (degrees != 0)
        transform(m, (const double[]){c, s, x - c * x - s * y, -s, c, y + s * x - c * y}, room);
}

/* ---- tables ---- */

static void map_values(const image *m, int64_t channel, const uint8_t table[VALUES])
{
    for (int64_t i = channel; i < m->height * m->width * m->channels; i += m->channels)
        m->pixels[i] = table[m->pixels[i]];
}

static void map_all(const image *m, const uint8_t table[VALUES])
{
    for (int64_t c = 0; c < m->channels; c++)
        map_values(m, c, table);
}

static void posterize(const image *m, int bits)
{
    uint8_t table[VALUES];
    for (int v = 0; v < VALUES; v++)
        table[v] = (uint8_t)(v & ~((1 << (8 - bits)) - 1));
    map_all(m, table);
}

static void solarize(const image *m, double threshold)
{
    uint8_t table[VALUES];
    for (int v = 0; v < VALUES; v++)
        table[v] = (uint8_t)(v < threshold ? v : VALUES - 1 - v);
    map_all(m, table);
}

/* The least value of a channel becomes 0, the largest 255. */
static void autocontrast(const image *m, int64_t channel, const int64_t count[VALUES])
{
    int low = 0, high = VALUES - 1;
    uint8_t table[VALUES];
    while (low < high && !count[low])
        low++;
    while (high > low && !count[high])
        high--;
    if (low == high) return;
    double scale = 255.0 / (high - low), offset = -low * scale;
    for (int v = 0; v < VALUES; v++) {
        double to = v * scale + offset;
        table[v] = (uint8_t)(to < 0 ? 0 : to > 255 ? 255 : to);
    }
    map_values(m, channel, table);
}

/* All values become equally frequent, as far as that goes. */
static void equalize(const image *m, int64_t channel, const int64_t count[VALUES])
{
    int last = VALUES - 1;
    uint8_t table[VALUES];
    while (last > 0 && !count[last])
        last--;
    int64_t step = (m->height * m->width - count[last]) / 255, sum = step / 2;
    if (!step) return;
    for (int v = 0; v < VALUES; v++) {
        table[v] = (uint8_t)(sum / step < VALUES ? sum / step : VALUES - 1);
        sum += count[v];
    }
    map_values(m, channel, table);
}

static void by_counts(const image *m,
                      void (*change)(const image *, int64_t, const int64_t count[VALUES]))
{
    for (int64_t c = 0; c < m->channels; c++) {
        int64_t count[VALUES] = {0};
        for (int64_t i = c; i < m->height * m->width * m->channels; i += m->channels)
            count[m->pixels[i]]++;
        change(m, c, count);
    }
}

/* ---- sharpness ---- */

/* The mean of the pixel, five times, and its neighbours; the border stays. */
static int smoothed(const image *m, const uint8_t *from, int64_t i, int64_t j, int64_t c)
{
    int sum = 0;
    for (int64_t y = i - 1; y <= i + 1; y++)
        for (int64_t x = j - 1; x <= j + 1; x++)
            sum += from[(y * m->width + x) * m->channels + c];
    sum += 4 * from[(i * m->width + j) * m->channels + c];
    return (2 * sum + 13) / 26;
}

static void sharpen(const image *m, double factor, uint8_t *room)
{
    memcpy(room, m->pixels, (size_t)(m->height * m->width * m->channels));
    for (int64_t i = 1; i < m->height - 1; i++)
        for (int64_t j = 1; j < m->width - 1; j++)
            for (int64_t c = 0; c < m->channels; c++) {
                uint8_t *p = m->pixels + (i * m->width + j) * m->channels + c;
                *p = augment_blend(smoothed(m, room, i, j, c), *p, factor);
            }
}

void rand_augment_apply(const rand_step *step, uint8_t *pixels, int64_t height, int64_t width,
                        int64_t channels, uint8_t *room)
{
    image m = {pixels, height, width, channels};
    double v = step->value;
    switch (step->what) {
    case RAND_SHEAR_X:
        transform(&m, (const double[]){1, v, 0, 0, 1, 0}, room);
        break;
    case RAND_SHEAR_Y:
        transform(&m, (const double[]){1, 0, 0, v, 1, 0}, room);
        break;
    case RAND_TRANSLATE_X:
        transform(&m, (const double[]){1, 0, -v, 0, 1, 0}, room);
        break;
    case RAND_TRANSLATE_Y:
        transform(&m, (const double[]){1, 0, 0, 0, 1, -v}, room);
        break;
    case RAND_ROTATE:
        rotate(&m, v, room);
        break;
    case RAND_BRIGHTNESS:
        augment_enhance(BRIGHTNESS, 1 + v, pixels, height * width, channels);
        break;
    case RAND_SATURATION:
        augment_enhance(SATURATION, 1 + v, pixels, height * width, channels);
        break;
    case RAND_CONTRAST:
        augment_enhance(CONTRAST, 1 + v, pixels, height * width, channels);
        break;
    case RAND_SHARPNESS:
        sharpen(&m, 1 + v, room);
        break;
    case RAND_POSTERIZE:
        posterize(&m, (int)v);
        break;
    case RAND_SOLARIZE:
        solarize(&m, v);
        break;
    case RAND_AUTOCONTRAST:
        by_counts(&m, autocontrast);
        break;
    case RAND_EQUALIZE:
        by_counts(&m, equalize);
        break;
    default:
        break;
    }
}

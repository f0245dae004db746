/* augment.c - see augment.h */
#include "data/images/augment.h"

#include <math.h>

#include "base/rng.h"

enum { TRIES = 10, MOST_INDEX = 16 };

static void four(draws d, uint64_t index, double out[4])
{
    uint32_t bits[4];
    rng_bits(d.seed, d.stream, d.sample * MOST_INDEX + index, bits);
    for (int i = 0; i < 4; i++)
        out[i] = (double)bits[i] * 0x1p-32;
}

/* From 0 to n, both included. */
static int64_t offset_in(double u, int64_t n)
{
    return (int64_t)(u * (double)(n + 1));
}

/* ---- rectangles ---- */

/* A rectangle of this area, with a shape (width by height) whose logarithm is uniform between -most
 * and most. */
static box draw_box(const double u[4], double area, double most, int64_t height, int64_t width)
{
    double shape = exp((2 * u[1] - 1) * most);
    box b = {.height = lrint(sqrt(area / shape)), .width = lrint(sqrt(area * shape))};
    b.top = offset_in(u[2], height - b.height);
    b.left = offset_in(u[3], width - b.width);
    return b;
}

box augment_crop(draws d, int64_t height, int64_t width, double least)
{
    double u[4], all = (double)(height * width), most = log(4.0 / 3);
    for (uint64_t k = 0; k < TRIES; k++) {
        four(d, k, u);
        box b = draw_box(u, all * (least + (1 - least) * u[0]), most, height, width);
        if (b.height > 0 && b.width > 0 && b.height <= height && b.width <= width) return b;
    }
    box b = {.height = height, .width = width};
    double shape = (double)width / (double)height;
    if (shape < 3.0 / 4) b.height = lrint((double)width / (3.0 / 4));
    if (shape > 4.0 / 3) b.width = lrint((double)height * (4.0 / 3));
    b.top = (height - b.height) / 2;
    b.left = (width - b.width) / 2;
    return b;
}

box augment_erase(draws d, int64_t height, int64_t width, double p)
{
    double u[4], all = (double)(height * width);
    four(d, TRIES, u);
    for (uint64_t k = 0; k < TRIES && u[0] < p; k++) {
        double v[4];
        four(d, k, v);
        box b = draw_box(v, all * (0.02 + (1.0 / 3 - 0.02) * v[0]), log(1 / 0.3), height, width);
        if (b.height > 0 && b.width > 0 && b.height < height && b.width < width) return b;
    }
    return (box){0};
}

static int64_t within(int64_t x, int64_t most)
{
    return x < 0 ? 0 : x > most ? most : x;
}

box augment_cut(draws d, int64_t height, int64_t width, double lambda)
{
    double u[4], part = sqrt(1 - lambda);
    four(d, 0, u);
    int64_t h = (int64_t)((double)height * part), w = (int64_t)((double)width * part),
            y = offset_in(u[0], height - 1), x = offset_in(u[1], width - 1);
    int64_t top = within(y - h / 2, height), left = within(x - w / 2, width);
    return (box){top, left, within(y + h / 2, height) - top, within(x + w / 2, width) - left};
}

/* ---- colours ---- */

uint8_t augment_blend(int a, int b, double factor)
{
    float x = (float)a + (float)factor * (float)(b - a);
    return (uint8_t)(x <= 0 ? 0 : x >= 255 ? 255 : x);
}

static int grey_of(const uint8_t *p, int64_t channels)
{
    if (channels == 1) return p[0];
    return (int)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >> 16);
}

static int mean_grey(const uint8_t *pixels, int64_t n, int64_t channels)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += grey_of(pixels + i * channels, channels);
    return (int)(sum / (double)n + 0.5);
}

void augment_enhance(enhancement what, double factor, uint8_t *pixels, int64_t n, int64_t channels)
{
    int grey = what == CONTRAST ? mean_grey(pixels, n, channels) : 0;
    for (int64_t i = 0; i < n; i++) {
        uint8_t *p = pixels + i * channels;
        if (what == SATURATION) grey = grey_of(p, channels);
        for (int64_t c = 0; c < channels; c++)
            p[c] = augment_blend(grey, p[c], factor);
    }
}

void augment_jitter(draws d, double strength, uint8_t *pixels, int64_t n, int64_t channels)
{
    static const uint8_t orders[6][ENHANCEMENTS] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    double u[4];
    four(d, 0, u);
    const uint8_t *order = orders[(int)(u[3] * 6)];
    for (int k = 0; k < ENHANCEMENTS; k++) {
        double low = fmax(0, 1 - strength), factor = low + (1 + strength - low) * u[order[k]];
        augment_enhance((enhancement)order[k], factor, pixels, n, channels);
    }
}

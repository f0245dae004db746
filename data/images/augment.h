/* augment.h - data augmentation; each function with fixed parameters, and how these are drawn.
 * With the same parameters the bytes equal those of torchvision and PIL.
 */
#ifndef REGRAD_AUGMENT_H
#define REGRAD_AUGMENT_H

#include "data/images/picture.h"

#include <stdbool.h>
#include <stdint.h>

/* A rectangle of pixels. */
typedef struct {
    int64_t top, left, height, width;
} box;

/* Four numbers in [0, 1), number `index` of a sample's stream. */
typedef struct {
    uint64_t seed, stream, sample;
} draws;

/* RandomResizedCrop (Szegedy et al. 2015): a part of the image with an area from `least` to 1 and a
 * shape from 3/4 to 4/3; after ten tries that do not fit, the center. */
box augment_crop(draws d, int64_t height, int64_t width, double least);

/* RandomErasing (Zhong et al. 2017), as in timm: an area from 0.02 to 1/3 of the image, a shape
 * from 0.3 to 1/0.3; nothing (height 0) with probability 1 - p, or after ten tries. */
box augment_erase(draws d, int64_t height, int64_t width, double p);

/* CutMix (Yun et al. 2019), as in timm: a rectangle around a random pixel, with an area of 1 -
 * lambda of the image before it is clipped. */
box augment_cut(draws d, int64_t height, int64_t width, double lambda);

/* PIL's ImageEnhance, by a factor: 1 changes nothing, 0 gives black; the mean gray; gray. */
typedef enum { BRIGHTNESS, CONTRAST, SATURATION, ENHANCEMENTS } enhancement;
void augment_enhance(enhancement what, double factor, uint8_t *pixels, int64_t n, int64_t channels);

/* a + factor (b - a), in float, clamped, like PIL's blend. */
uint8_t augment_blend(int a, int b, double factor);

/* ColorJitter: all three, in random order, each by a factor from 1 - strength to 1 + strength. */
void augment_jitter(draws d, double strength, uint8_t *pixels, int64_t n, int64_t channels);

#endif

/* augment.h - how a picture is changed in training; each function by fixed parameters, and how
 * those are drawn.  With the same parameters bytes are those of torchvision and PIL.
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

/* Four numbers from 0 to below 1, number `index` of a sample's stream. */
typedef struct {
    uint64_t seed, stream, sample;
} draws;

/* RandomResizedCrop (Szegedy et al. 2015): a part of the picture of an area from `least` to 1, of a
 * shape from 3/4 to 4/3; after ten tries that do not fit, the middle. */
box augment_crop(draws d, int64_t height, int64_t width, double least);

/* RandomErasing (Zhong et al. 2017), as timm draws it: an area from 0.02 to 1/3 of the image, of a
 * shape from 0.3 to 1/0.3; nothing (height 0) with probability 1 - p, or after ten tries. */
box augment_erase(draws d, int64_t height, int64_t width, double p);

/* CutMix (Yun et al. 2019), as timm draws it: a rectangle about any pixel whose area is 1 - lambda
 * of the image before what sticks out is cut off. */
box augment_cut(draws d, int64_t height, int64_t width, double lambda);

/* PIL's ImageEnhance, by a factor: 1 leaves all as it is, 0 leaves black;
 * grey of the mean; grey. */
typedef enum { BRIGHTNESS, CONTRAST, SATURATION, ENHANCEMENTS } enhancement;
void augment_enhance(enhancement what, double factor, uint8_t *pixels, int64_t n, int64_t channels);

/* ColorJitter: all three, in an order that is drawn, each by a factor from 1 -
 * strength to 1 + strength. */
void augment_jitter(draws d, double strength, uint8_t *pixels, int64_t n, int64_t channels);

#endif

/* rand_augment.h - RandAugment (Cubuk et al. 2019): two of fourteen operations, drawn for each
 * sample, all of one magnitude from 1 to 30, with the ranges of torchvision's RandAugment.
 *
 * With the same parameters bytes are Pillow's: shears, shifts and rotations take the nearest pixel,
 * and black comes in.
 */
#ifndef REGRAD_RAND_AUGMENT_H
#define REGRAD_RAND_AUGMENT_H

#include "data/images/augment.h"

typedef enum {
    RAND_IDENTITY,
    RAND_SHEAR_X,     /* value: pixels per row */
    RAND_SHEAR_Y,     /* pixels per column */
    RAND_TRANSLATE_X, /* pixels, whole */
    RAND_TRANSLATE_Y,
    RAND_ROTATE,     /* degrees, counterclockwise */
    RAND_BRIGHTNESS, /* factor - 1 of ImageEnhance */
    RAND_SATURATION,
    RAND_CONTRAST,
    RAND_SHARPNESS,
    RAND_POSTERIZE, /* bits that are kept */
    RAND_SOLARIZE,  /* pixels from this value on are inverted */
    RAND_AUTOCONTRAST,
    RAND_EQUALIZE,
    RAND_OPERATIONS
} rand_operation;

enum { RAND_MOST_MAGNITUDE = 30, RAND_AT_ONCE = 2 };

typedef struct {
    rand_operation what;
    double value;
} rand_step;

/* The steps of a sample of height x width pixels. */
void rand_augment_draw(draws d, int magnitude, int64_t height, int64_t width,
                       rand_step out[RAND_AT_ONCE]);

/* One step, in place; room: of the same size. */
void rand_augment_apply(const rand_step *step, uint8_t *pixels, int64_t height, int64_t width,
                        int64_t channels, uint8_t *room);

#endif

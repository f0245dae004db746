/* image_options.h - how images become samples (data/images/image_source.h), as plain values: who
 * only holds them needs nothing of pictures and their files. */
#ifndef REGRAD_IMAGE_OPTIONS_H
#define REGRAD_IMAGE_OPTIONS_H

#include "base/resample.h"

#include <stdbool.h>
#include <stdint.h>

/* Names of classes; class k is name[k]. */
typedef struct {
    char **name; /* (n) */
    int64_t n;
} image_names;

/* What happens to an image that cannot be decoded, and to an invalid label. */
typedef enum {
    BAD_FAIL,       /* an error */
    BAD_UNREADABLE, /* an image that cannot be decoded is skipped and counted */
    BAD_ANY         /* also a label out of range, and a class without images */
} bad_policy;

/* The model's input. */
typedef struct {
    int64_t channels, classes;
    const image_names *names; /* ? class directories are numbered by these */
    bad_policy bad;
    bool upright;    /* rotated as EXIF says */
    bool unlabelled; /* paths are pictures, and directories of them at any depth; without labels
                     * (class 0) */
} image_wish;

typedef struct {
    image_wish wish;
    int64_t height, width;  /* size of the model's input; images are scaled to cover it, and
                             * cropped */
    resample_kernel kernel; /* by which */
    double crop_part;       /* fraction of the scaled image that is kept, like timm's crop_pct; 0:
                             * 1 */
    double mean[3], std[3]; /* per channel, for values from 0 to 1; std 0: 1/2 and 1/2 */
    double split; /* fraction held out for evaluation; the rest is trained on; 0: all are both */
    bool training;
    uint64_t seed;
    int64_t crop;      /* random crop: shifts by up to that many pixels; black is filled in */
    bool flip;         /* random horizontal flip */
    double crop_least; /* RandomResizedCrop's smallest area; 0: off */
    double jitter;     /* ColorJitter of brightness, contrast and saturation by that much; 0: off */
    int64_t rand_magnitude; /* RandAugment, 1 to 30; 0: off */
    double erase;           /* probability of random erasing, after normalization */
    double cutmix; /* alpha: CutMix with Beta(alpha, alpha); 0: off.  With mixup each is used half
                    * of the time */
    double mixup;  /* alpha: mixup with Beta(alpha, alpha) (Zhang et al. 2018); 0: off */
    double smoothing; /* label smoothing (training only) */
} image_options;

#endif

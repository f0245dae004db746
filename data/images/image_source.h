/* image_source.h - labelled images (images.h) as a source, with data augmentation.
 *
 * A sample's inputs are f32 (channels, height, width), (byte / 255 - mean) / std; its targets f32
 * (classes): the weight of each class.  In training, sample s is
 *
 *     image  perm(seed, epoch)[s % N]   -->  fit or crop, jitter, flip, shift, erase  \
 *                                                                        mixed or cut in  ->  inputs, targets
 *     image  any, drawn by s            -->  fit or crop, jitter, flip, shift, erase  /
 *
 * where everything random is drawn by (seed, s): the same for any batch, any number of workers, and
 * when a run is resumed.  Evaluation takes the images in order, unchanged, once; one that cannot be
 * decoded is skipped: its inputs and targets are zero.
 */
#ifndef REGRAD_IMAGE_SOURCE_H
#define REGRAD_IMAGE_SOURCE_H

#include "data/images/images.h"
#include "data/images/resize.h"
#include "data/source.h"

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

error *image_source_open(const char *const *paths /* (n) */, int n, const image_options *options,
                         source **out) NODISCARD;

/* The images of a source that image_source_open made. */
image_set *image_source_set(source *s);

#endif

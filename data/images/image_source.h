/* image_source.h - labelled images (images.h) as a source, changed a little each time.
 *
 * A sample's inputs are f32 (channels, height, width), (byte / 255 - mean) / std; its targets f32
 * (classes): how much of each class it is.  In training, sample s is
 *
 *     image  perm(seed, epoch)[s % N]   -->  fit or crop, jitter, flip, shift, erase  \
 *                                                                        mixed or cut in  ->  inputs, targets
 *     image  any, drawn by s            -->  fit or crop, jitter, flip, shift, erase  /
 *
 * where all that is drawn is drawn by (seed, s): the same for any batch, any number of workers, and
 * when a run is resumed.  Evaluation takes the images in order, as they are, once; one that cannot be
 * decoded is left out: its inputs and targets are zero.
 */
#ifndef REGRAD_IMAGE_SOURCE_H
#define REGRAD_IMAGE_SOURCE_H

#include "data/images/images.h"
#include "data/images/resize.h"
#include "data/source.h"

typedef struct {
    image_wish wish;
    int64_t height, width;  /* that the model takes; others are scaled to cover it, and cut */
    resample_kernel kernel; /* by which */
    double crop_part;       /* of the scaled image that much is kept, as timm's crop_pct; 0: 1 */
    double mean[3], std[3]; /* of each channel, of values from 0 to 1; std 0: 1/2 and 1/2 */
    bool training;
    uint64_t seed;
    int64_t crop;      /* shifts by up to that many pixels up, down, left, right; black comes in */
    bool flip;         /* left for right, one time in two */
    double crop_least; /* RandomResizedCrop's smallest part of a picture's area; 0: not */
    double jitter;     /* ColorJitter of brightness, contrast and saturation by that much; 0: not */
    double erase;      /* how often a rectangle is erased, after normalization */
    double cutmix; /* alpha: a rectangle of another image by Beta(alpha, alpha); 0: not.  With mixup
                        * it is one or the other, each half of the time */
    double mixup;  /* alpha: mixes two images by Beta(alpha, alpha) (Zhang et al. 2018); 0: not */
    double smoothing; /* this part of each target is spread over all classes (training only) */
} image_options;

error *image_source_open(const char *const *paths /* (n) */, int n, const image_options *options,
                         source **out) NODISCARD;

/* Of a source that image_source_open made: the images. */
image_set *image_source_set(source *s);

#endif

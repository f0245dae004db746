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

#include "data/images/image_options.h"
#include "data/images/images.h"
#include "data/source.h"

error *image_source_open(const char *const *paths /* (n) */, int n, const image_options *options,
                         source **out) NODISCARD;

/* The images of a source that image_source_open made. */
image_set *image_source_set(source *s);

#endif

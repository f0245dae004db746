/* classifier.h - a trained image model, ready to classify: its memory planned, its weights read.
 *
 *     classifier_plan     plans memory for that many images at a time, by recording
 *     classifier_commit   allocates it on a device, reads the weights
 *     classifier_run      pixels (images, channels, height, width) -> logits (images, classes)
 */
#ifndef REGRAD_CLASSIFIER_H
#define REGRAD_CLASSIFIER_H

#include "model/model.h"

typedef struct classifier classifier;

error *classifier_plan(const model_kind *kind, const model_config *c, int64_t images,
                       classifier **out) NODISCARD;
/* path: as for vit_read.  The head must be in it. */
error *classifier_commit(classifier *k, device *dev, const char *path, bool widen) NODISCARD;
error *classifier_run(classifier *k, const float *pixels, float *logits) NODISCARD;
void classifier_destroy(classifier *k); /* NULL is ignored */

#endif

/* inference.h - a trained model in use: its memory, and the programs that continue and score text
 * or classify images.
 *
 *   inference_plan     builds the model and records "sample", "texts", "score" or "predict" over the
 *                      null device, for the kind of device that it will run on
 *   inference_commit   allocates the memory on a device and reads the parameters
 *
 * The plan holds parameters, KV caches and the activations of a few tokens; nothing of training.
 */
#ifndef REGRAD_INFERENCE_H
#define REGRAD_INFERENCE_H

#include "infer/decoder.h"
#include "infer/scorer.h"
#include "infer/text_batch.h"
#include "io/adapter_file.h"
#include "io/model_file.h"

/* The job. */
typedef struct {
    int64_t stride;               /* > 0: score, with the scorer's stride; 0: generate */
    int64_t images;               /* > 0: classify that many at once */
    int64_t texts;                /* > 0: generate that many texts at once (infer/text_batch.h) */
    dtype type;                   /* of parameters and activations; DT_NONE is F32 */
    const adapter_file *adapters; /* ? beside the model; must outlive it */
    const device_kind *on;
} inference_job;

typedef struct {
    const model_kind *kind;
    model_config config;
    inference_job job;
    device null;
    arena *arena;
    tensor room; /* workspace lent to the device; absent if it needs none */
    params params;
    runtime r;
    model *model;
    decoder decoder; /* the job's one of these three */
    text_batch batch;
    scorer scorer;
    batch images;   /* or these: pixels, and */
    tensor classes; /* (images, classes) logits */
} inference;

error *inference_plan(const model_kind *kind, const model_config *c, inference_job job,
                      inference **out) NODISCARD;
error *inference_commit(inference *inf, device *dev, const weights *w, float_cast cast) NODISCARD;
/* Of an image model; path: as for vit_read.  The head must be in it. */
error *inference_commit_images(inference *inf, device *dev, const char *path, bool widen) NODISCARD;
/* pixels (images, channels, height, width) -> logits (images, classes) */
error *inference_classify(inference *inf, const float *pixels, float *logits) NODISCARD;
void inference_destroy(inference *inf); /* before the device is closed; NULL is ignored */

#endif

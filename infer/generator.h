/* generator.h - a trained model at work: its memory, and the programs that continue and score text.
 *
 *   generator_plan     builds the model and records "sample" or "score" over the null device, for the
 *                      kind of device that it will run on
 *   generator_commit   takes the memory on a device and reads the parameters
 *
 * The plan holds parameters, caches and the activations of a few tokens; nothing of training.
 */
#ifndef REGRAD_GENERATOR_H
#define REGRAD_GENERATOR_H

#include "infer/decoder.h"
#include "infer/scorer.h"
#include "io/adapter_file.h"
#include "io/model_file.h"

typedef struct {
    const model_kind *kind;
    model_config config;
    const adapter_file *adapters; /* ? */
    device null;
    arena *arena;
    tensor room; /* lent to the device; absent if it needs none */
    params params;
    run r;
    model *model;
    bool scores;
    decoder decoder; /* unless it scores */
    scorer scorer;
} generator;

/* adapters: ? beside the model; they must outlive it.  stride: 0 to generate, else the scorer's. */
error *generator_plan(const model_kind *kind, const model_config *c, const adapter_file *adapters,
                      int64_t stride, const device_kind *on, generator **out) NODISCARD;
error *generator_commit(generator *g, device *dev, const weights *w, bool widen) NODISCARD;
void generator_destroy(generator *g); /* before the device is closed; NULL is fine */

#endif

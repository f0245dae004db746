/* sampler.h - text from the model under training: the prompt, then token after token.
 *
 * Each token is drawn from softmax(logits / temperature) with a counter-based random number, so a
 * sample depends on seed, step and parameters alone.  The whole window is computed for each token;
 * a cache of keys and values belongs to a generator, not to a glance at a training run.
 */
#ifndef REGRAD_SAMPLER_H
#define REGRAD_SAMPLER_H

#include "data/bpe.h"
#include "train/trainer.h"

typedef struct {
    bpe *vocab;
    int32_t *tokens; /* (T) the window */
    int32_t *prompt; /* encoded */
    size_t n_prompt;
    float *logits; /* (V) */
} sampler;

/* PREFIX.vocab for training data called PREFIX_train.bin; a user error for other names. */
error *vocab_path(const options *o, char *path, size_t size) NODISCARD;

/* Opens the vocabulary that belongs to the training data: PREFIX.vocab beside PREFIX_train.bin. */
error *sampler_open(const options *o, sampler *out) NODISCARD;
void sampler_close(sampler *s);

/* Prints one sample of o->sample_tokens tokens to stdout. */
error *sampler_show(sampler *s, trainer *t, int64_t step) NODISCARD;

#endif

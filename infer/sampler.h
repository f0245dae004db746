/* sampler.h - text from the model under training: the prompt, then token after token.
 *
 * Each token is drawn from softmax(logits / 0.8) with a counter-based random number, so a sample
 * depends on seed, step and parameters alone.  Decoding and drawing are those of ./generate.
 */
#ifndef REGRAD_SAMPLER_H
#define REGRAD_SAMPLER_H

#include "data/bpe/bpe.h"
#include "infer/choose_token.h"
#include "train/trainer.h"

typedef struct {
    bpe *vocab;
    int32_t *prompt; /* encoded */
    size_t n_prompt;
    float *logits; /* (V) */
    picker picker;
} sampler;

/* PREFIX.vocab for training data called PREFIX_train.bin; a user error for other names. */
error *vocab_path(const options *o, char *path, size_t size) NODISCARD;

/* Opens the vocabulary that belongs to the training data: PREFIX.vocab beside PREFIX_train.bin. */
error *sampler_open(const options *o, sampler *out) NODISCARD;
void sampler_close(sampler *s);

/* Prints one sample of o->sample_tokens tokens to stdout. */
error *sampler_show(sampler *s, trainer *t, int64_t step) NODISCARD;

#endif

/* sampler.h - samples from the model under training: the prompt, then one token at a time.
 *
 * Each token is drawn from softmax(logits / 0.8) with a counter-based random number, so a sample
 * depends only on seed, step and parameters.  Decoding and drawing are those of ./generate.
 */
#ifndef REGRAD_SAMPLER_H
#define REGRAD_SAMPLER_H

#include "data/bpe/bpe.h"
#include "infer/choose_token.h"
#include "infer/decoder.h"

typedef struct {
    const char *tokenizer; /* its file */
    const char *prompt;
    int64_t vocab;  /* tokens that the model has */
    int64_t window; /* the decoder's window */
    int64_t tokens; /* per sample */
    uint64_t seed;
} sampler_options;

typedef struct {
    bpe *vocab;
    const char *text; /* the prompt ... */
    int32_t *prompt;  /* ... encoded */
    size_t n_prompt;
    int64_t tokens;
    float *logits; /* (V) */
    chooser chooser;
} sampler;

/* User errors: there is no such tokenizer, it has more tokens than the model, a prompt that fills
 * the window. */
error *sampler_open(const sampler_options *o, sampler *out) NODISCARD;
void sampler_close(sampler *s);

/* Prints one sample to stdout, or the beginning of one if `stop`, which is called after each token,
 * returns true. */
error *sampler_show(sampler *s, decoder *d, int64_t step, bool (*stop)(void *context),
                    void *context) NODISCARD;

#endif

/* sampler.c - see sampler.h */
#include "infer/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

error *sampler_open(const sampler_options *o, sampler *out)
{
    *out = (sampler){.text = o->prompt, .tokens = o->tokens};
    TRY(bpe_open(o->tokenizer, &out->vocab));
    size_t n = strlen(o->prompt);
    int32_t size = bpe_size(out->vocab);
    error *e = NULL;
    if (size > o->vocab)
        e = user_error("%s has %d tokens, the model only %lld: use --vocab %d", o->tokenizer, size,
                       (long long)o->vocab, size);
    choice_rule rule = {.temperature = 0.8, .top_p = 1, .seed = o->seed};
    if (!e) e = chooser_open(&rule, size, &out->chooser);
    if (!e) e = alloc_array(&out->logits, (unsigned long)o->vocab, sizeof *out->logits);
    if (!e) e = alloc_array(&out->prompt, bpe_most_tokens(out->vocab, n + 1), sizeof *out->prompt);
    if (!e) e = bpe_encode(out->vocab, (const uint8_t *)o->prompt, n, out->prompt, &out->n_prompt);
    if (!e && out->n_prompt == 0) { /* no prompt: starts from a line break */
        e = bpe_encode(out->vocab, (const uint8_t *)"\n", 1, out->prompt, &out->n_prompt);
    }
    if (!e && out->n_prompt >= (size_t)o->window)
        e = user_error("--prompt has %zu tokens, more than fit beside an answer in --seq %lld",
                       out->n_prompt, (long long)o->window);
    if (e) sampler_close(out);
    return e;
}

void sampler_close(sampler *s)
{
    bpe_close(s->vocab);
    chooser_close(&s->chooser);
    free(s->prompt);
    free(s->logits);
    *s = (sampler){0};
}

static error *one_token(sampler *s, decoder *d, uint64_t index)
{
    int32_t id;
    size_t n;
    TRY(decoder_next(d, s->logits));
    TRY(choose_token(&s->chooser, s->logits, index, &id));
    const uint8_t *bytes = bpe_token(s->vocab, id, &n);
    fwrite(bytes, 1, n, stdout);
    decoder_push(d, &id, 1);
    return NULL;
}

error *sampler_show(sampler *s, decoder *d, int64_t step, bool (*stop)(void *context),
                    void *context)
{
    printf("--- sample after step %lld ---\n%s", (long long)step, s->text);
    decoder_begin(d);
    decoder_push(d, s->prompt, (int64_t)s->n_prompt);
    for (int64_t i = 0; i < s->tokens && !(i > 0 && stop(context)); i++) /* one, as planned */
        TRY(one_token(s, d, (uint64_t)step << 24 | (uint64_t)i));
    decoder_end(d);
    printf("\n---\n");
    fflush(stdout);
    return device_status(d->r->dev);
}

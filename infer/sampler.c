/* sampler.c - see sampler.h */
#include "infer/sampler.h"
#include "base/files.h"

#include <stdlib.h>
#include <string.h>

error *vocab_path(const options *o, char *path, size_t size)
{
    static const char tail[] = "_train";
    const char *data = o->train_data.pattern[0], *end = NULL;
    for (const char *p = strstr(data, tail); p; p = strstr(p + 1, tail))
        end = p;
    if (!end)
        return user_error("--sample-every: %s is not named PREFIX_train.bin, so PREFIX.vocab is "
                          "not known; use --sample-every 0",
                          data);
    snprintf(path, size, "%.*s.vocab", (int)(end - data), data);
    return NULL;
}

error *sampler_open(const options *o, sampler *out)
{
    char path[PATH_LENGTH];
    *out = (sampler){0};
    TRY(vocab_path(o, path, sizeof path));
    TRY(bpe_open(path, &out->vocab));
    size_t n = strlen(o->prompt);
    error *e = NULL;
    if (bpe_size(out->vocab) > o->model.vocab)
        e = user_error("%s has %d tokens, the model only %lld: use --vocab %d", path,
                       bpe_size(out->vocab), (long long)o->model.vocab, bpe_size(out->vocab));
    pick_rule rule = {.temperature = 0.8, .top_p = 1, .seed = (uint64_t)o->seed};
    if (!e) e = picker_open(&rule, bpe_size(out->vocab), &out->picker);
    if (!e) e = alloc_array(&out->logits, (unsigned long)o->model.vocab, sizeof *out->logits);
    if (!e) e = alloc_array(&out->prompt, n + 2, sizeof *out->prompt);
    if (!e) e = bpe_encode(out->vocab, (const uint8_t *)o->prompt, n, out->prompt, &out->n_prompt);
    if (!e && out->n_prompt == 0) { /* nothing to start from: a line break */
        e = bpe_encode(out->vocab, (const uint8_t *)"\n", 1, out->prompt, &out->n_prompt);
    }
    if (!e && out->n_prompt >= (size_t)o->seq)
        e = user_error("--prompt has %zu tokens, more than fit beside an answer in --seq %lld",
                       out->n_prompt, (long long)o->seq);
    if (e) sampler_close(out);
    return e;
}

void sampler_close(sampler *s)
{
    bpe_close(s->vocab);
    picker_close(&s->picker);
    free(s->prompt);
    free(s->logits);
    *s = (sampler){0};
}

static error *one_token(sampler *s, decoder *d, uint64_t index)
{
    int32_t id;
    size_t n;
    TRY(decoder_next(d, s->logits));
    TRY(pick_token(&s->picker, s->logits, index, &id));
    const uint8_t *bytes = bpe_token(s->vocab, id, &n);
    fwrite(bytes, 1, n, stdout);
    decoder_push(d, &id, 1);
    return NULL;
}

error *sampler_show(sampler *s, trainer *t, int64_t step)
{
    decoder *d = &t->decoder;
    printf("--- sample after step %lld ---\n%s", (long long)step, t->o->prompt);
    decoder_begin(d);
    decoder_push(d, s->prompt, (int64_t)s->n_prompt);
    for (int64_t i = 0; i < t->o->sample_tokens; i++)
        TRY(one_token(s, d, (uint64_t)step << 24 | (uint64_t)i));
    decoder_end(d);
    printf("\n---\n");
    fflush(stdout);
    return device_status(t->r.dev);
}

/* sampler.c - see sampler.h */
#include "train/sampler.h"
#include "core/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double temperature = 0.8;

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
    char path[4096];
    *out = (sampler){0};
    TRY(vocab_path(o, path, sizeof path));
    TRY(bpe_open(path, &out->vocab));
    size_t n = strlen(o->prompt);
    error *e = NULL;
    if (bpe_size(out->vocab) > o->model.vocab)
        e = user_error("%s has %d tokens, the model only %lld: use --vocab %d", path,
                       bpe_size(out->vocab), (long long)o->model.vocab, bpe_size(out->vocab));
    if (!e) e = alloc_array(&out->tokens, (unsigned long)o->seq, sizeof *out->tokens);
    if (!e) e = alloc_array(&out->logits, (unsigned long)o->model.vocab, sizeof *out->logits);
    if (!e) e = alloc_array(&out->prompt, n + 1, sizeof *out->prompt);
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
    free(s->tokens);
    free(s->prompt);
    free(s->logits);
    *s = (sampler){0};
}

/* u in [0, 1) picks a token of the vocabulary's n. */
static int32_t draw(float *logits, int32_t n, double u)
{
    float most = logits[0];
    double sum = 0;
    for (int32_t i = 1; i < n; i++)
        if (logits[i] > most) most = logits[i];
    for (int32_t i = 0; i < n; i++)
        sum += exp((double)(logits[i] - most) / temperature);
    double left = u * sum;
    for (int32_t i = 0; i < n; i++) {
        left -= exp((double)(logits[i] - most) / temperature);
        if (left < 0) return i;
    }
    return n - 1;
}

error *sampler_show(sampler *s, trainer *t, int64_t step)
{
    const options *o = t->o;
    int64_t used = (int64_t)s->n_prompt;
    memset(s->tokens, 0, (size_t)o->seq * sizeof *s->tokens);
    memcpy(s->tokens, s->prompt, s->n_prompt * sizeof *s->tokens);
    printf("--- sample after step %lld ---\n%s", (long long)step, o->prompt);
    for (int64_t i = 0; i < o->sample_tokens; i++) {
        if (used == o->seq) { /* the window moves on by half */
            int64_t half = o->seq / 2;
            used = half > 0 ? half : 1;
            memmove(s->tokens, s->tokens + o->seq - used, (size_t)used * sizeof *s->tokens);
        }
        TRY(trainer_next(t, s->tokens, used - 1, s->logits));
        double u = rng_uniform((uint64_t)o->seed, RNG_SAMPLE, (uint64_t)step << 24 | (uint64_t)i);
        int32_t next = draw(s->logits, bpe_size(s->vocab), u);
        size_t n;
        const uint8_t *bytes = bpe_token(s->vocab, next, &n);
        fwrite(bytes, 1, n, stdout);
        if (o->seq > 1)
            s->tokens[used++] = next;
        else
            s->tokens[0] = next;
    }
    printf("\n---\n");
    fflush(stdout);
    return NULL;
}

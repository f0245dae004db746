/* presets.c - the models by name, and what sizes are allowed. */
#include "core/nearest.h"
#include "model/config.h"

#include <stdio.h>
#include <string.h>

#define GPT2(name_, layers_, heads_, width_, context_, vocab_)                                     \
    {                                                                                              \
        .name = name_, .layers = layers_, .heads = heads_, .width = width_, .kv_heads = heads_,    \
        .head_size = (width_) / (heads_), .inner = 4 * (width_), .context = context_,              \
        .vocab = vocab_, .norm_eps = 1e-5, .act = ACT_GELU_TANH, .bias = BLOCK_BIASES,             \
        .embedding_scale = 1, .tied = true, .causal = true, .names = &gpt2_names                   \
    }

static const model_config presets[] = {
    /*    name         layers heads width context vocabulary */
    GPT2("gpt-nano", 2, 2, 64, 64, 2048),          GPT2("gpt-micro", 4, 4, 192, 128, 2048),
    GPT2("gpt-mini", 6, 6, 384, 256, 2048),        GPT2("gpt2-124m", 12, 12, 768, 1024, 50257),
    GPT2("gpt2-350m", 24, 16, 1024, 1024, 50257),  GPT2("gpt2-774m", 36, 20, 1280, 1024, 50257),
    GPT2("gpt2-1558m", 48, 25, 1600, 1024, 50257), GPT2("gpt3-6.7b", 32, 32, 4096, 2048, 50257),
    GPT2("gpt3-13b", 40, 40, 5120, 2048, 50257),
};

enum { PRESETS = sizeof presets / sizeof *presets };

const model_config *preset_at(int i)
{
    return i < PRESETS ? &presets[i] : NULL;
}

model_config gpt_config(const char *name, int64_t layers, int64_t heads, int64_t width,
                        int64_t context, int64_t vocab)
{
    model_config c = GPT2("", layers, heads, width, context, vocab);
    snprintf(c.name, sizeof c.name, "%s", name);
    return c;
}

int64_t classifier_rows(const model_config *c, int64_t rows, dtype type, int64_t *ld)
{
    enum { MOST_BYTES = 32 << 20, MOST_ROWS = 1024, ALIGN = 16 };
    *ld = (c->vocab + ALIGN - 1) / ALIGN * ALIGN;
    int64_t fit = MOST_BYTES / (*ld * (int64_t)dtype_size(type));
    if (fit > MOST_ROWS) fit = MOST_ROWS;
    if (fit < 1) fit = 1;
    int64_t chunks = (rows + fit - 1) / fit;
    return (rows + chunks - 1) / chunks;
}

error *preset_find(const char *name, model_config *out)
{
    const char *names[PRESETS];
    for (int i = 0; i < PRESETS; i++) {
        names[i] = presets[i].name;
        if (!strcmp(name, presets[i].name)) {
            *out = presets[i];
            return NULL;
        }
    }
    return user_error(
        "--model %s: there is no such model; the nearest is %s (--help lists them all)", name,
        nearest_name(name, names, PRESETS));
}

/* What hangs together, and is not given by options of the command line. */
static error *check_options(const model_config *c)
{
    const struct {
        bool fine;
        const char *must;
    } rules[] = {
        {c->head_size >= 1 && c->inner >= 1, "heads and the MLP have a width"},
        {c->kv_heads >= 1 && c->heads % c->kv_heads == 0, "key heads divide the heads"},
        {c->norm == NORM_LAYER || !c->bias.norms, "an RMSNorm has no bias"},
        {c->norm == NORM_RMS || !c->norm_plus_one, "only an RMSNorm multiplies by 1 + w"},
        {c->positions != POSITIONS_ROTARY || (c->rotary.size >= 2 && c->rotary.size % 2 == 0 &&
                                              c->rotary.size <= c->head_size && c->rotary.base > 0),
         "an even part of each head is turned, by a positive base"},
        {c->positions != POSITIONS_ALIBI || c->causal, "ALiBi is for causal attention"},
        {c->act != ACT_NONE, "the MLP has an activation"},
        {!c->tied || !c->bias.head, "a tied head has no bias"},
        {c->norm == NORM_LAYER && !c->qk_norm && !c->embedding_norm,
         "norms are LayerNorms before attention, MLP and head: the block has no others yet"},
        {c->positions == POSITIONS_LEARNED && c->embedding_scale == 1,
         "positions are learned and embeddings not scaled: the block has nothing else yet"},
        {!c->gated && c->residual == RESIDUAL_SEQUENTIAL && !c->bias.head,
         "the MLP is not gated and follows attention, and the head has no bias, yet"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!rules[i].fine)
            return user_error("model %s does not hang together: it must be that %s", c->name,
                              rules[i].must);
    return NULL;
}

error *config_check(const model_config *c)
{
    const struct {
        const char *option;
        int64_t value, most;
    } sizes[] = {
        {"layers", c->layers, 1000},     {"heads", c->heads, 100000},
        {"width", c->width, 1000000},    {"context", c->context, 100000000},
        {"vocab", c->vocab, 2000000000},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most)
            return user_error("--%s %lld: must be between 1 and %lld", sizes[i].option,
                              (long long)sizes[i].value, (long long)sizes[i].most);
    if (c->width % c->heads && c->head_size == c->width / c->heads)
        return user_error("--heads %lld does not divide --width %lld: choose a width that is a "
                          "multiple of the heads",
                          (long long)c->heads, (long long)c->width);
    return check_options(c);
}

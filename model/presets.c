/* presets.c - the models by name, and what sizes are allowed. */
#include "base/nearest.h"
#include "model/families.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROW(name_, layers_, heads_, kv_, head_, width_, inner_, context_, vocab_, ...)             \
    {                                                                                              \
        .name = name_, .layers = layers_, .heads = heads_, .kv_heads = kv_, .head_size = head_,    \
        .width = width_, .inner = inner_, .context = context_, .vocab = vocab_, __VA_ARGS__        \
    }
#define GPT2(name_, layers_, heads_, width_, context_, vocab_)                                     \
    ROW(name_, layers_, heads_, heads_, (width_) / (heads_), width_, 4 * (width_), context_,       \
        vocab_, GPT2_OPTIONS)
/* So many numbers of a head turn, by angles of this base. */
#define TURN(size_, base_) .rotary.size = size_, .rotary.base = base_
#define TIED               .tied = true
/* Gemma: the root of the width */
#define SCALE(root_) .embedding_scale = root_

static const model_config presets[] = {
    /*   name         layers heads width context vocabulary */
    GPT2("gpt-nano", 2, 2, 64, 64, 2048),
    GPT2("gpt-micro", 4, 4, 192, 128, 2048),
    GPT2("gpt-mini", 6, 6, 384, 256, 2048),
    GPT2("gpt2-124m", 12, 12, 768, 1024, 50257),
    GPT2("gpt2-350m", 24, 16, 1024, 1024, 50257),
    GPT2("gpt2-774m", 36, 20, 1280, 1024, 50257),
    GPT2("gpt2-1558m", 48, 25, 1600, 1024, 50257),
    GPT2("gpt3-6.7b", 32, 32, 4096, 2048, 50257),
    GPT2("gpt3-13b", 40, 40, 5120, 2048, 50257),

    /*  name        layers heads kv size width inner context vocabulary, options */
    ROW("llama-nano", 2, 4, 2, 16, 64, 176, 64, 2048, LLAMA_OPTIONS, TURN(16, 1e4)),
    ROW("llama2-7b", 32, 32, 32, 128, 4096, 11008, 4096, 32000, LLAMA_OPTIONS, TURN(128, 1e4)),
    ROW("llama2-13b", 40, 40, 40, 128, 5120, 13824, 4096, 32000, LLAMA_OPTIONS, TURN(128, 1e4)),
    ROW("vicuna-7b", 32, 32, 32, 128, 4096, 11008, 4096, 32000, LLAMA_OPTIONS, TURN(128, 1e4)),
    ROW("vicuna-13b", 40, 40, 40, 128, 5120, 13824, 4096, 32000, LLAMA_OPTIONS, TURN(128, 1e4)),

    /* 0.5b and 1.8b are those of Qwen 1.5 */
    ROW("qwen-nano", 2, 4, 4, 16, 64, 176, 64, 2048, QWEN2_OPTIONS, TURN(16, 1e6)),
    ROW("qwen-0.5b", 24, 16, 16, 64, 1024, 2816, 32768, 151936, QWEN2_OPTIONS, TURN(64, 1e6), TIED),
    ROW("qwen-1.8b", 24, 16, 16, 128, 2048, 5504, 32768, 151936, QWEN2_OPTIONS, TURN(128, 1e6)),
    ROW("qwen2.5-nano", 2, 4, 2, 16, 64, 176, 64, 2048, QWEN2_OPTIONS, TURN(16, 1e6), TIED),
    ROW("qwen2.5-0.5b", 24, 14, 2, 64, 896, 4864, 32768, 151936, QWEN2_OPTIONS, TURN(64, 1e6),
        TIED),
    ROW("qwen3-nano", 2, 4, 2, 32, 64, 176, 64, 2048, QWEN3_OPTIONS, TURN(32, 1e6), TIED),
    ROW("qwen3-0.6b", 28, 16, 8, 128, 1024, 3072, 40960, 151936, QWEN3_OPTIONS, TURN(128, 1e6),
        TIED),

    ROW("gemma-nano", 2, 4, 1, 32, 64, 256, 64, 2048, GEMMA_OPTIONS, TURN(32, 1e4), SCALE(8)),
    ROW("gemma-2b", 18, 8, 1, 256, 2048, 16384, 8192, 256000, GEMMA_OPTIONS, TURN(256, 1e4),
        SCALE(45.254833995939045)),
    ROW("gemma-7b", 28, 16, 16, 256, 3072, 24576, 8192, 256000, GEMMA_OPTIONS, TURN(256, 1e4),
        SCALE(55.42562584220407)),

    ROW("bloom-nano", 2, 4, 4, 16, 64, 256, 64, 2048, BLOOM_OPTIONS),
    ROW("bloom-560m", 24, 16, 16, 64, 1024, 4096, 2048, 250880, BLOOM_OPTIONS),
    ROW("bloom-3b", 30, 32, 32, 80, 2560, 10240, 2048, 250880, BLOOM_OPTIONS),
    ROW("bloom-7b", 30, 32, 32, 128, 4096, 16384, 2048, 250880, BLOOM_OPTIONS),

    ROW("phi-nano", 2, 4, 4, 16, 64, 256, 64, 2048, PHI_OPTIONS, TURN(8, 1e4)),
    ROW("phi-1.5", 24, 32, 32, 64, 2048, 8192, 2048, 51200, PHI_OPTIONS, TURN(32, 1e4)),
    ROW("phi-2", 32, 32, 32, 80, 2560, 10240, 2048, 51200, PHI_OPTIONS, TURN(32, 1e4)),

    ROW("falcon-nano", 2, 4, 1, 16, 64, 256, 64, 2048, FALCON_OPTIONS, TURN(16, 1e4)),
    ROW("falcon-7b", 32, 71, 1, 64, 4544, 18176, 2048, 65024, FALCON_OPTIONS, TURN(64, 1e4)),

    ROW("chatglm-nano", 2, 4, 2, 16, 64, 176, 64, 2048, CHATGLM_OPTIONS, TURN(8, 1e4)),
    ROW("chatglm3-6b", 28, 32, 2, 128, 4096, 13696, 8192, 65024, CHATGLM_OPTIONS, TURN(64, 1e4)),
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

static int64_t scaled(int64_t of, int64_t from, int64_t to)
{
    return (of * to + from / 2) / from;
}

model_config config_resized(const model_config *from, const model_config *sizes)
{
    model_config c = *from;
    if (sizes->layers) c.layers = sizes->layers;
    if (sizes->context) c.context = sizes->context;
    if (sizes->vocab) c.vocab = sizes->vocab;
    if (!sizes->heads && !sizes->width) return c;
    if (sizes->heads) c.heads = sizes->heads;
    if (sizes->width) c.width = sizes->width;
    c.kv_heads = from->kv_heads == from->heads ? c.heads : from->kv_heads;
    int64_t all = from->heads * from->head_size; /* the width, unless heads are apart from it */
    c.head_size = all == from->width ? c.width / c.heads
                                     : (scaled(all, from->width, c.width) / c.heads + 1) / 2 * 2;
    c.inner = scaled(from->inner, from->width, c.width);
    c.rotary.size = scaled(from->rotary.size, from->head_size, c.head_size) / 2 * 2;
    if (from->embedding_scale != 1) c.embedding_scale = sqrt((double)c.width);
    return c;
}

double config_parameters(const model_config *c)
{
    double width = (double)c->width, heads = (double)c->heads + (double)c->kv_heads;
    double attention = 2 * heads * (double)c->head_size,
           mlp = (c->gated ? 3 : 2) * (double)c->inner;
    double rows = (double)c->vocab * (c->tied || c->patch ? 1 : 2);
    if (c->positions == POSITIONS_LEARNED) rows += (double)c->context;
    return width * (rows + (double)c->layers * (attention + mlp));
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
        {c->embedding_scale > 0, "embeddings are multiplied by a positive number"},
        {!c->tied || !c->bias.head, "a tied head has no bias"},
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

/* presets.c - models by name: families (families.h) with sizes. */
#include "base/nearest.h"
#include "model/families.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW(name_, layers_, heads_, kv_, head_, width_, inner_, context_, vocab_, ...)             \
    {                                                                                              \
        .name = name_, .layers = layers_, .heads = heads_, .kv_heads = kv_, .head_size = head_,    \
        .width = width_, .inner = inner_, .context = context_, .vocab = vocab_, __VA_ARGS__        \
    }
#define GPT2(name_, layers_, heads_, width_, context_, vocab_)                                     \
    ROW(name_, layers_, heads_, heads_, (width_) / (heads_), width_, 4 * (width_), context_,       \
        vocab_, GPT2_OPTIONS)
/* How many elements of a head are rotated, and the RoPE base. */
#define ROPE(size_, base_) .rotary.size = size_, .rotary.base = base_
#define TIED               .tied = true
/* Gemma: the root of the width */
#define SCALE(root_) .embedding_scale = root_

#define WINDOW(keys_) .window = keys_
/* Gemma 3: RoPE in layers with a window; that of the others in its larger models */
#define LOCAL     .rotary.local_base = 1e4
#define EIGHTFOLD .rotary.scaling.factor = 8

static const model_config texts[] = {
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
    ROW("llama-nano", 2, 4, 2, 16, 64, 176, 64, 2048, LLAMA_OPTIONS, ROPE(16, 1e4)),
    ROW("llama2-7b", 32, 32, 32, 128, 4096, 11008, 4096, 32000, LLAMA_OPTIONS, ROPE(128, 1e4)),
    ROW("llama2-13b", 40, 40, 40, 128, 5120, 13824, 4096, 32000, LLAMA_OPTIONS, ROPE(128, 1e4)),
    ROW("vicuna-7b", 32, 32, 32, 128, 4096, 11008, 4096, 32000, LLAMA_OPTIONS, ROPE(128, 1e4)),
    ROW("vicuna-13b", 40, 40, 40, 128, 5120, 13824, 4096, 32000, LLAMA_OPTIONS, ROPE(128, 1e4)),
    ROW("llama2-70b", 80, 64, 8, 128, 8192, 28672, 4096, 32000, LLAMA_OPTIONS, ROPE(128, 1e4)),
    ROW("tinyllama-1.1b", 22, 32, 4, 64, 2048, 5632, 2048, 32000, LLAMA_OPTIONS, ROPE(64, 1e4)),
    ROW("llama3-nano", 2, 4, 2, 16, 64, 176, 64, 2048, LLAMA_OPTIONS, ROPE(16, 5e5),
        LLAMA3_SCALING(8), TIED),
    ROW("llama3-8b", 32, 32, 8, 128, 4096, 14336, 8192, 128256, LLAMA_OPTIONS, ROPE(128, 5e5)),
    ROW("llama3.1-8b", 32, 32, 8, 128, 4096, 14336, 131072, 128256, LLAMA_OPTIONS, ROPE(128, 5e5),
        LLAMA3_SCALING(8)),
    ROW("llama3.1-70b", 80, 64, 8, 128, 8192, 28672, 131072, 128256, LLAMA_OPTIONS, ROPE(128, 5e5),
        LLAMA3_SCALING(8)),
    ROW("llama3.1-405b", 126, 128, 8, 128, 16384, 53248, 131072, 128256, LLAMA_OPTIONS,
        ROPE(128, 5e5), LLAMA3_SCALING(8)),
    ROW("llama3.2-1b", 16, 32, 8, 64, 2048, 8192, 131072, 128256, LLAMA_OPTIONS, ROPE(64, 5e5),
        LLAMA3_SCALING(32), TIED),
    ROW("llama3.2-3b", 28, 24, 8, 128, 3072, 8192, 131072, 128256, LLAMA_OPTIONS, ROPE(128, 5e5),
        LLAMA3_SCALING(32), TIED),

    ROW("mistral-7b", 32, 32, 8, 128, 4096, 14336, 32768, 32768, LLAMA_OPTIONS, ROPE(128, 1e6)),
    ROW("mistral-nemo-12b", 40, 32, 8, 128, 5120, 14336, 131072, 131072, LLAMA_OPTIONS,
        ROPE(128, 1e6)),
    ROW("mistral-small-24b", 40, 32, 8, 128, 5120, 32768, 32768, 131072, LLAMA_OPTIONS,
        ROPE(128, 1e8)),

    ROW("smollm2-135m", 30, 9, 3, 64, 576, 1536, 8192, 49152, LLAMA_OPTIONS, ROPE(64, 1e5), TIED),
    ROW("smollm2-360m", 32, 15, 5, 64, 960, 2560, 8192, 49152, LLAMA_OPTIONS, ROPE(64, 1e5), TIED),
    ROW("smollm2-1.7b", 24, 32, 32, 64, 2048, 8192, 8192, 49152, LLAMA_OPTIONS, ROPE(64, 1.3e5),
        TIED),
    ROW("smollm3-nano", 4, 4, 2, 16, 64, 176, 64, 2048, SMOLLM3_OPTIONS, ROPE(16, 1e4), TIED),
    ROW("smollm3-3b", 36, 16, 4, 128, 2048, 11008, 65536, 128256, SMOLLM3_OPTIONS, ROPE(128, 5e6),
        TIED),

    /* 0.5b and 1.8b are those of Qwen 1.5 */
    ROW("qwen-nano", 2, 4, 4, 16, 64, 176, 64, 2048, QWEN2_OPTIONS, ROPE(16, 1e6)),
    ROW("qwen-0.5b", 24, 16, 16, 64, 1024, 2816, 32768, 151936, QWEN2_OPTIONS, ROPE(64, 1e6), TIED),
    ROW("qwen-1.8b", 24, 16, 16, 128, 2048, 5504, 32768, 151936, QWEN2_OPTIONS, ROPE(128, 1e6)),
    ROW("qwen2.5-nano", 2, 4, 2, 16, 64, 176, 64, 2048, QWEN2_OPTIONS, ROPE(16, 1e6), TIED),
    ROW("qwen2.5-0.5b", 24, 14, 2, 64, 896, 4864, 32768, 151936, QWEN2_OPTIONS, ROPE(64, 1e6),
        TIED),
    ROW("qwen2.5-1.5b", 28, 12, 2, 128, 1536, 8960, 131072, 151936, QWEN2_OPTIONS, ROPE(128, 1e6),
        TIED),
    ROW("qwen2.5-3b", 36, 16, 2, 128, 2048, 11008, 32768, 151936, QWEN2_OPTIONS, ROPE(128, 1e6),
        TIED),
    ROW("qwen2.5-7b", 28, 28, 4, 128, 3584, 18944, 131072, 152064, QWEN2_OPTIONS, ROPE(128, 1e6)),
    ROW("qwen2.5-14b", 48, 40, 8, 128, 5120, 13824, 131072, 152064, QWEN25_LARGE, ROPE(128, 1e6)),
    ROW("qwen2.5-32b", 64, 40, 8, 128, 5120, 27648, 131072, 152064, QWEN25_LARGE, ROPE(128, 1e6)),
    ROW("qwen2.5-72b", 80, 64, 8, 128, 8192, 29568, 131072, 152064, QWEN25_LARGE, ROPE(128, 1e6)),
    ROW("qwen3-nano", 2, 4, 2, 32, 64, 176, 64, 2048, QWEN3_OPTIONS, ROPE(32, 1e6), TIED),
    ROW("qwen3-0.6b", 28, 16, 8, 128, 1024, 3072, 40960, 151936, QWEN3_OPTIONS, ROPE(128, 1e6),
        TIED),
    ROW("qwen3-1.7b", 28, 16, 8, 128, 2048, 6144, 40960, 151936, QWEN3_OPTIONS, ROPE(128, 1e6),
        TIED),
    ROW("qwen3-4b", 36, 32, 8, 128, 2560, 9728, 40960, 151936, QWEN3_OPTIONS, ROPE(128, 1e6), TIED),
    ROW("qwen3-8b", 36, 32, 8, 128, 4096, 12288, 40960, 151936, QWEN3_OPTIONS, ROPE(128, 1e6)),
    ROW("qwen3-14b", 40, 40, 8, 128, 5120, 17408, 40960, 151936, QWEN3_OPTIONS, ROPE(128, 1e6)),
    ROW("qwen3-32b", 64, 64, 8, 128, 5120, 25600, 40960, 151936, QWEN3_OPTIONS, ROPE(128, 1e6)),

    ROW("gemma-nano", 2, 4, 1, 32, 64, 256, 64, 2048, GEMMA_OPTIONS, ROPE(32, 1e4), SCALE(8)),
    ROW("gemma-2b", 18, 8, 1, 256, 2048, 16384, 8192, 256000, GEMMA_OPTIONS, ROPE(256, 1e4),
        SCALE(45.254833995939045)),
    ROW("gemma-7b", 28, 16, 16, 256, 3072, 24576, 8192, 256000, GEMMA_OPTIONS, ROPE(256, 1e4),
        SCALE(55.42562584220407)),

    ROW("gemma2-nano", 2, 4, 2, 32, 64, 256, 64, 2048, GEMMA2_OPTIONS, GEMMA2_CAPS, ROPE(32, 1e4),
        SCALE(8), WINDOW(16)),
    ROW("gemma2-2b", 26, 8, 4, 256, 2304, 9216, 8192, 256000, GEMMA2_OPTIONS, GEMMA2_CAPS,
        ROPE(256, 1e4), SCALE(48), WINDOW(4096)),
    ROW("gemma2-9b", 42, 16, 8, 256, 3584, 14336, 8192, 256000, GEMMA2_OPTIONS, GEMMA2_CAPS,
        ROPE(256, 1e4), SCALE(59.866518188383062), WINDOW(4096)),
    ROW("gemma2-27b", 46, 32, 16, 128, 4608, 36864, 8192, 256000, GEMMA2_OPTIONS, GEMMA2_CAPS,
        ROPE(128, 1e4), SCALE(67.882250993908555), WINDOW(4096), .query_scalar = 144),

    ROW("gemma3-nano", 6, 4, 1, 32, 64, 256, 64, 2048, GEMMA3_OPTIONS, ROPE(32, 1e6), LOCAL,
        SCALE(8), WINDOW(16)),
    ROW("gemma3-270m", 18, 4, 1, 256, 640, 2048, 32768, 262144, GEMMA3_OPTIONS, ROPE(256, 1e6),
        LOCAL, SCALE(25.298221281347036), WINDOW(512)),
    ROW("gemma3-1b", 26, 4, 1, 256, 1152, 6912, 32768, 262144, GEMMA3_OPTIONS, ROPE(256, 1e6),
        LOCAL, SCALE(33.941125496954278), WINDOW(512)),
    ROW("gemma3-4b", 34, 8, 4, 256, 2560, 10240, 131072, 262208, GEMMA3_OPTIONS, ROPE(256, 1e6),
        LOCAL, SCALE(50.596442562694072), WINDOW(1024), EIGHTFOLD),
    ROW("gemma3-12b", 48, 16, 8, 256, 3840, 15360, 131072, 262208, GEMMA3_OPTIONS, ROPE(256, 1e6),
        LOCAL, SCALE(61.967733539318672), WINDOW(1024), EIGHTFOLD),
    ROW("gemma3-27b", 62, 32, 16, 128, 5376, 21504, 131072, 262208, GEMMA3_OPTIONS, ROPE(128, 1e6),
        LOCAL, SCALE(73.321211119293437), WINDOW(1024), EIGHTFOLD, .query_scalar = 168),

    ROW("bloom-nano", 2, 4, 4, 16, 64, 256, 64, 2048, BLOOM_OPTIONS),
    ROW("bloom-560m", 24, 16, 16, 64, 1024, 4096, 2048, 250880, BLOOM_OPTIONS),
    ROW("bloom-3b", 30, 32, 32, 80, 2560, 10240, 2048, 250880, BLOOM_OPTIONS),
    ROW("bloom-7b", 30, 32, 32, 128, 4096, 16384, 2048, 250880, BLOOM_OPTIONS),

    ROW("phi-nano", 2, 4, 4, 16, 64, 256, 64, 2048, PHI_OPTIONS, ROPE(8, 1e4)),
    ROW("phi-1.5", 24, 32, 32, 64, 2048, 8192, 2048, 51200, PHI_OPTIONS, ROPE(32, 1e4)),
    ROW("phi-2", 32, 32, 32, 80, 2560, 10240, 2048, 51200, PHI_OPTIONS, ROPE(32, 1e4)),
    ROW("phi3-nano", 2, 4, 2, 16, 64, 176, 64, 2048, PHI3_OPTIONS, ROPE(16, 1e4)),
    ROW("phi-4", 40, 40, 10, 128, 5120, 17920, 16384, 100352, PHI3_OPTIONS, ROPE(128, 2.5e5)),

    ROW("olmo2-nano", 2, 4, 2, 16, 64, 176, 64, 2048, OLMO2_OPTIONS, ROPE(16, 5e5)),
    ROW("olmo2-1b", 16, 16, 16, 128, 2048, 8192, 4096, 100352, OLMO2_OPTIONS, ROPE(128, 5e5)),
    ROW("olmo2-7b", 32, 32, 32, 128, 4096, 11008, 4096, 100352, OLMO2_OPTIONS, ROPE(128, 5e5)),
    ROW("olmo2-13b", 40, 40, 40, 128, 5120, 13824, 4096, 100352, OLMO2_OPTIONS, ROPE(128, 5e5)),
    ROW("olmo2-32b", 64, 40, 8, 128, 5120, 27648, 4096, 100352, OLMO2_OPTIONS, ROPE(128, 5e5)),

    ROW("neox-nano", 2, 4, 4, 16, 64, 256, 64, 2048, NEOX_OPTIONS, ROPE(4, 1e4)),
    ROW("pythia-70m", 6, 8, 8, 64, 512, 2048, 2048, 50304, NEOX_OPTIONS, ROPE(16, 1e4)),
    ROW("pythia-160m", 12, 12, 12, 64, 768, 3072, 2048, 50304, NEOX_OPTIONS, ROPE(16, 1e4)),
    ROW("pythia-410m", 24, 16, 16, 64, 1024, 4096, 2048, 50304, NEOX_OPTIONS, ROPE(16, 1e4)),
    ROW("pythia-1b", 16, 8, 8, 256, 2048, 8192, 2048, 50304, NEOX_OPTIONS, ROPE(64, 1e4)),
    ROW("pythia-1.4b", 24, 16, 16, 128, 2048, 8192, 2048, 50304, NEOX_OPTIONS, ROPE(32, 1e4)),
    ROW("pythia-2.8b", 32, 32, 32, 80, 2560, 10240, 2048, 50304, NEOX_OPTIONS, ROPE(20, 1e4)),
    ROW("pythia-6.9b", 32, 32, 32, 128, 4096, 16384, 2048, 50432, NEOX_OPTIONS, ROPE(32, 1e4)),
    ROW("pythia-12b", 36, 40, 40, 128, 5120, 20480, 2048, 50688, NEOX_OPTIONS, ROPE(32, 1e4)),

    ROW("falcon-nano", 2, 4, 1, 16, 64, 256, 64, 2048, FALCON_OPTIONS, ROPE(16, 1e4)),
    ROW("falcon-7b", 32, 71, 1, 64, 4544, 18176, 2048, 65024, FALCON_OPTIONS, ROPE(64, 1e4)),

    ROW("chatglm-nano", 2, 4, 2, 16, 64, 176, 64, 2048, CHATGLM_OPTIONS, ROPE(8, 1e4)),
    ROW("chatglm3-6b", 28, 32, 2, 128, 4096, 13696, 8192, 65024, CHATGLM_OPTIONS, ROPE(64, 1e4)),
};

/* The ViTs of the papers and of timm (images of 224 x 224, 1000 classes; epsilon 1e-6, exact gelu),
 * and two for small images (28 x 28, grayscale, 10 classes). */
#define VIT(name_, layers_, heads_, width_, inner_, patch_, size_, channels_, classes_)            \
    {                                                                                              \
        .name = name_, .layers = layers_, .heads = heads_, .width = width_, .inner = inner_,       \
        .patch = patch_, .image_height = size_, .image_width = size_, .channels = channels_,       \
        .vocab = classes_, .kv_heads = heads_, .head_size = (width_) / (heads_),                   \
        .context = ((size_) / (patch_)) * ((size_) / (patch_)) + 1, .norm_eps = 1e-6,              \
        .act = ACT_GELU_ERF, .bias = BLOCK_BIASES, .embedding_scale = 1, .names = &vit_names       \
    }

/* ConvNeXt (Liu et al. 2022) as in the paper and in timm; timm's nano with the paper's stem. */
#define CONVNEXT(name_, width_, s1_, s2_, s3_, s4_, patch_, size_, channels_, classes_)            \
    {                                                                                              \
        .name = name_, .layers = (s1_) + (s2_) + (s3_) + (s4_), .heads = 1, .kv_heads = 1,         \
        .width = width_, .head_size = width_, .inner = 4 * (width_), .patch = patch_,              \
        .image_height = size_, .image_width = size_, .channels = channels_, .vocab = classes_,     \
        .context = ((size_) / (patch_)) * ((size_) / (patch_)), .norm_eps = 1e-6,                  \
        .act = ACT_GELU_ERF, .bias = BLOCK_BIASES, .embedding_scale = 1, .names = &vit_names,      \
        .mean_pool = true, .stage = {                                                              \
            s1_,                                                                                   \
            s2_,                                                                                   \
            s3_,                                                                                   \
            s4_                                                                                    \
        }                                                                                          \
    }

/* WRN-depth-k (Zagoruyko, Komodakis 2016), depth 6 n + 4: 16 k, 32 k and 64 k channels, n blocks in
 * each stage; for CIFAR's images. */
#define WIDE(name_, blocks_, k_)                                                                   \
    {                                                                                              \
        .name = name_, .layers = 3 * (blocks_), .heads = 1, .kv_heads = 1, .width = 16 * (k_),     \
        .head_size = 16 * (k_), .inner = 16 * (k_), .patch = 1, .image_height = 32,                \
        .image_width = 32, .channels = 3, .vocab = 10, .context = 32 * 32, .norm = NORM_BATCH,     \
        .norm_eps = 1e-5, .act = ACT_GELU_ERF, .bias = BLOCK_BIASES, .embedding_scale = 1,         \
        .names = &vit_names, .mean_pool = true, .stage = {                                         \
            blocks_,                                                                               \
            blocks_,                                                                               \
            blocks_                                                                                \
        }                                                                                          \
    }

static const model_config images[] = {
    /*  name        layers heads width inner patch size channels classes */
    VIT("vit-nano/4", 4, 4, 64, 128, 4, 28, 1, 10),
    VIT("vit-micro/4", 6, 4, 128, 256, 4, 28, 1, 10),
    VIT("vit-tiny/16", 12, 3, 192, 768, 16, 224, 3, 1000),
    VIT("vit-s/32", 12, 6, 384, 1536, 32, 224, 3, 1000),
    VIT("vit-s/16", 12, 6, 384, 1536, 16, 224, 3, 1000),
    VIT("vit-b/32", 12, 12, 768, 3072, 32, 224, 3, 1000),
    VIT("vit-b/16", 12, 12, 768, 3072, 16, 224, 3, 1000),
    VIT("vit-l/32", 24, 16, 1024, 4096, 32, 224, 3, 1000),
    VIT("vit-l/16", 24, 16, 1024, 4096, 16, 224, 3, 1000),
    VIT("vit-h/14", 32, 16, 1280, 5120, 14, 224, 3, 1000),
    VIT("vit-g/14", 40, 16, 1408, 6144, 14, 224, 3, 1000),
    /*       name          width  blocks of the stages   patch size channels classes */
    CONVNEXT("convnext-micro/2", 32, 2, 2, 4, 2, 2, 28, 1, 10),
    CONVNEXT("convnext-nano", 80, 2, 2, 8, 2, 4, 224, 3, 1000),
    CONVNEXT("convnext-t", 96, 3, 3, 9, 3, 4, 224, 3, 1000),
    CONVNEXT("convnext-s", 96, 3, 3, 27, 3, 4, 224, 3, 1000),
    CONVNEXT("convnext-b", 128, 3, 3, 27, 3, 4, 224, 3, 1000),
    CONVNEXT("convnext-l", 192, 3, 3, 27, 3, 4, 224, 3, 1000),
    CONVNEXT("convnext-xl", 256, 3, 3, 27, 3, 4, 224, 3, 1000),
    /*   name        blocks k */
    WIDE("wrn-10-1", 1, 1),
    WIDE("wrn-16-4", 2, 4),
    WIDE("wrn-28-2", 4, 2),
    WIDE("wrn-28-10", 4, 10),
};

#define LIST(rows)                                                                                 \
    {                                                                                              \
        rows, (int)(sizeof(rows) / sizeof *(rows))                                                 \
    }

const preset_list text_presets = LIST(texts), image_presets = LIST(images);

model_config gpt_config(const char *name, int64_t layers, int64_t heads, int64_t width,
                        int64_t context, int64_t vocab)
{
    model_config c = GPT2("", layers, heads, width, context, vocab);
    snprintf(c.name, sizeof c.name, "%s", name);
    return c;
}

static error *no_such_preset(const preset_list *list, const char *name)
{
    const char **names;
    TRY(alloc_array(&names, (size_t)list->n, sizeof *names));
    for (int i = 0; i < list->n; i++)
        names[i] = list->row[i].name;
    error *e = user_error("--model %s: unknown model; the nearest is %s (--help lists them all)",
                          name, nearest_name(name, names, (size_t)list->n));
    free(names);
    return e;
}

error *preset_find(const preset_list *list, const char *name, model_config *out)
{
    for (int i = 0; i < list->n; i++)
        if (!strcmp(name, list->row[i].name)) {
            *out = list->row[i];
            return NULL;
        }
    return no_such_preset(list, name);
}

char *preset_names(const preset_list *list)
{
    size_t room = 1;
    for (int i = 0; i < list->n; i++)
        room += strlen(list->row[i].name) + 2;
    char *text = malloc(room), *at = text;
    for (int i = 0; text && i < list->n; i++)
        at += sprintf(at, "%s%s", i ? ", " : "", list->row[i].name);
    return text;
}

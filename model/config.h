/* config.h - a transformer as a row of options.
 *
 * There is one block; what differs between families is here, and a family is a row of these options
 * with a map of names (names.h).  Presets are rows of a table (presets.c); sizes given on the
 * command line override them.
 *
 *               norm   positions  residual     activation       biases            else
 *     GPT-2     layer  learned    sequential   gelu             all               tied
 *     LLaMA     rms    rotary     sequential   silu, gated      none              grouped heads
 *     Qwen      rms    rotary     sequential   silu, gated      q, k, v           (3: norms of q, k)
 *     ChatGLM   rms    rotary *   sequential   silu, gated      q, k, v           two key heads
 *     Gemma     rms+1  rotary     sequential   gelu, gated      none              tied, scaled
 *     BLOOM     layer  ALiBi      sequential   gelu             all               tied, embedding norm
 *     Falcon    layer  rotary     parallel     gelu (erf)       norms             tied, one key head
 *     Phi       layer  rotary *   parallel     gelu             all               head with a bias
 *
 * *: of a part of each head.
 */
#ifndef REGRAD_MODEL_CONFIG_H
#define REGRAD_MODEL_CONFIG_H

#include "core/ops.h"
#include "model/tensor_names.h"

typedef enum { NORM_LAYER, NORM_RMS } norm_kind;

/* Learned vectors added to the embedding; rotations of queries and keys (Su et al. 2021); a penalty
 * on distance in the scores (Press et al. 2022); nothing. */
typedef enum {
    POSITIONS_LEARNED,
    POSITIONS_ROTARY,
    POSITIONS_ALIBI,
    POSITIONS_NONE
} positions_kind;

/* x = x + attention(norm1(x)), then x + mlp(norm2(x)); or both of the same x: through a norm each,
 * or through norm1 alone. */
typedef enum { RESIDUAL_SEQUENTIAL, RESIDUAL_PARALLEL, RESIDUAL_PARALLEL_ONE_NORM } residual_kind;

/* What has a bias. */
typedef struct {
    bool norms; /* all LayerNorms; an RMSNorm has none */
    bool qkv, project, up, down, head;
} biases;

/* A GPT-2 or ViT block's: everything; the head is the model's affair. */
#define BLOCK_BIASES                                                                               \
    {                                                                                              \
        .norms = true, .qkv = true, .project = true, .up = true, .down = true                      \
    }

/* Pairs of a head's first `size` numbers turn by angles position * base^(-2i/size), i < size/2:
 * numbers 2i and 2i + 1 if interleaved, else i and i + size/2. */
typedef struct {
    int64_t size; /* even; at most head_size */
    double base;
    bool interleaved;
} rotary_form;

typedef struct {
    char name[32];
    const model_names *names;
    int64_t layers, heads, width;
    int64_t kv_heads;  /* key and value heads; = heads without grouping */
    int64_t head_size; /* = width / heads unless said otherwise */
    int64_t inner;     /* width of the MLP */
    int64_t context;   /* longest sequence; for images their patches, and the class token */
    int64_t vocab;     /* tokens; for images classes */
    norm_kind norm;
    double norm_eps;
    bool norm_plus_one; /* NORM_RMS: multiplied by 1 + w; else by w */
    positions_kind positions;
    rotary_form rotary; /* with POSITIONS_ROTARY */
    activation act;
    bool gated; /* the MLP is down(act(gate x) * up x); else down(act(up x)) */
    biases bias;
    residual_kind residual;
    bool qk_norm;           /* an RMSNorm of each query and key head, before positions */
    bool embedding_norm;    /* a norm behind the embedding */
    double embedding_scale; /* tokens' embeddings are multiplied by it; 1: as they are */
    bool tied;              /* the head is the token embedding */
    bool causal;            /* a token sees itself and those before it */
    /* images: 0 for text */
    int64_t image_height, image_width, channels, patch; /* pixels; patches are square */
    bool mean_pool; /* the classifier sees the mean of all positions, not a class token */
} model_config;

/* GPT-2's options with the given sizes; everything derived (inner, head_size ...) filled in. */
model_config gpt_config(const char *name, int64_t layers, int64_t heads, int64_t width,
                        int64_t context, int64_t vocab);

/* A ViT's options over the sizes that are given in c (inner 0: four times the width): everything
 * derived is filled in.  User error when patches do not cover the image. */
error *vit_config(model_config *c) NODISCARD;
/* The ViT preset of that name, and preset i, or NULL behind the last. */
error *vit_preset_find(const char *name, model_config *out) NODISCARD;
const model_config *vit_preset_at(int i);

/* The preset of that name; user error naming the nearest one if there is none. */
error *preset_find(const char *name, model_config *out) NODISCARD;
/* Preset i, or NULL behind the last. */
const model_config *preset_at(int i);

/* The same family in other sizes: layers, heads, width, context, vocab of `sizes`, where they are
 * not 0.  What is derived keeps its proportions. */
model_config config_resized(const model_config *from, const model_config *sizes);

/* How many parameters its matrices have. */
double config_parameters(const model_config *c);

/* Rows of logits that the classifier holds at a time for a batch of `rows`: at most 32 MiB, and no
 * more than 1024 rows, as more make its products no faster; in equal chunks.  *ld is a row's length
 * with padding. */
int64_t classifier_rows(const model_config *c, int64_t rows, dtype type, int64_t *ld);

/* Refuses sizes that cannot be: heads that do not divide the width, zero, negative, absurd ones. */
error *config_check(const model_config *c) NODISCARD;

#endif

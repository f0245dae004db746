/* config.h - a transformer as a set of options.
 *
 * There is one block.  The differences between model families are here: a family is a row of these
 * options (families.h) with a map of tensor names (tensor_names.h), a preset is a family with sizes
 * (presets.c), and sizes given on the command line override a preset's.
 *
 * Code that must know all fields reads them from one table (MODEL_FIELDS below): limits,
 * config.json (model/hf/), what a resumed run may not change (run/), `--plan --json`.  A new option
 * of the block is a member, its row in the table, and the code that uses it.
 */
#ifndef REGRAD_MODEL_CONFIG_H
#define REGRAD_MODEL_CONFIG_H

#include "core/ops.h"
#include "core/rope.h"
#include "model/tensor_names.h"

#include <cjson/cJSON.h>
#include <math.h>

/* The last two are of a network of 3 x 3 convolutions (model/resnet.c). */
typedef enum { NORM_LAYER, NORM_RMS, NORM_BATCH, NORM_GROUP } norm_kind;

/* Learned vectors added to the embedding; RoPE (Su et al. 2021); ALiBi, a penalty on distance in
 * the scores (Press et al. 2022); nothing. */
typedef enum {
    POSITIONS_LEARNED,
    POSITIONS_ROTARY,
    POSITIONS_ALIBI,
    POSITIONS_NONE
} positions_kind;

/* x = x + attention(norm1(x)), then x + mlp(norm2(x)); or both of the same x: through a norm each,
 * or through norm1 alone. */
typedef enum { RESIDUAL_SEQUENTIAL, RESIDUAL_PARALLEL, RESIDUAL_PARALLEL_ONE_NORM } residual_kind;

/* Where a branch f has its norms: x + f(norm(x)); x + norm(f(x)); x + norm(f(norm(x))). */
typedef enum { NORMS_BEFORE, NORMS_AFTER, NORMS_BOTH } norms_place;

/* QK norms (RMSNorm), before positions: none; per head, with shared weights; over all queries of a
 * token, and over all its keys. */
typedef enum { QK_NORM_NONE, QK_NORM_HEADS, QK_NORM_WHOLE } qk_norm_kind;

/* What has a bias. */
typedef struct {
    bool norms; /* all LayerNorms; an RMSNorm never has one */
    bool qkv, project, up, down, head;
} biases;

/* As in a GPT-2 or ViT block: everything; the head is up to the model. */
#define BLOCK_BIASES                                                                               \
    {                                                                                              \
        .norms = true, .qkv = true, .project = true, .up = true, .down = true                      \
    }

/* Pairs among a head's first `size` elements turn by angles position * base^(-2i/size), i < size/2:
 * elements 2i and 2i + 1 if interleaved, else i and i + size/2. */
typedef struct {
    int64_t size; /* even; at most head_size */
    double base;
    bool interleaved;
    rope_scaling scaling; /* core/rope.h */
    int64_t skip;         /* layers skip - 1, 2 skip - 1, ... have no rotation; 0: all have */
    double local_base;    /* for layers with a window, unscaled; 0: the same as the others */
} rotary_form;

enum { CONV_STAGES = 4, RESNET_STEM = 16 /* channels before the first stage */ };

/* Special tokens as a config.json names them, kept from the file that was read to those that are
 * written: no number of the model depends on them. */
enum { TOKEN_ROLES = 3, MOST_TOKEN_IDS = 16 };
typedef struct {
    bool said, list; /* the field is there; it is an array */
    int n;           /* 0: it is null, or an empty array */
    int32_t id[MOST_TOKEN_IDS];
} token_ids;
typedef enum { TOKEN_BEGIN, TOKEN_END, TOKEN_PAD } token_role;

typedef struct {
    char name[32];
    const model_names *names;
    int64_t layers, heads, width;
    int64_t kv_heads;  /* key and value heads; = heads without GQA */
    int64_t head_size; /* = width / heads by default */
    int64_t inner;     /* width of the MLP */
    int64_t context;   /* longest sequence; for images patches, and the class token */
    int64_t vocab;     /* tokens; for images classes */
    norm_kind norm;
    double norm_eps;
    bool norm_plus_one; /* NORM_RMS: multiplied by 1 + w; else by w */
    norms_place norms;  /* NORMS_AFTER, NORMS_BOTH: RMSNorms, in a sequential block */
    positions_kind positions;
    rotary_form rotary; /* with POSITIONS_ROTARY */
    activation act;
    bool gated; /* the MLP is down(act(gate x) * up x); else down(act(up x)) */
    biases bias;
    residual_kind residual;
    qk_norm_kind qk_norm;
    bool embedding_norm;    /* a norm after the embedding */
    double embedding_scale; /* factor of the token embeddings; 1: none */
    bool tied;              /* tied: the head is the token embedding */
    bool causal;            /* causal: a token sees itself and earlier ones */
    int64_t window;         /* how many tokens it sees, itself included; 0: all */
    int64_t window_skip;    /* layers skip - 1, 2 skip - 1, ... have no window; 0: all have */
    double query_scalar;    /* scores are divided by its square root; 0: head_size */
    double attention_cap;   /* scores are cap * tanh(score / cap); 0: no cap */
    double logit_cap;       /* the same for logits */
    /* images: 0 for text */
    int64_t image_height, image_width, channels, patch; /* pixels; patches are square */
    bool mean_pool; /* the classifier sees the mean over all positions, not a class token */
    /* a convolutional network: blocks per stage; 0: a transformer.  The first stage has `width`
     * channels, each further one twice as many, on a quarter of the pixels.  Four stages:
     * model/convnext.c; three: model/resnet.c */
    int64_t stage[CONV_STAGES];
    token_ids tokens[TOKEN_ROLES];
} model_config;

static inline int64_t patch_count(const model_config *c)
{
    return (c->image_height / c->patch) * (c->image_width / c->patch);
}

/* Is it a network of residual blocks of 3 x 3 convolutions? */
static inline bool is_residual_network(const model_config *c)
{
    return c->stage[0] && !c->stage[CONV_STAGES - 1];
}

/* Is there a norm before each branch, and one after it? */
static inline bool norms_before(const model_config *c)
{
    return c->norms != NORMS_AFTER;
}

static inline bool norms_after(const model_config *c)
{
    return c->norms != NORMS_BEFORE;
}

/* Does some token of the longest sequence not see all before it?  A published window may be as long
 * as the sequence or longer: it stays in `window`, for config.json and for a longer context. */
static inline bool has_windows(const model_config *c)
{
    return c->window && c->window < c->context;
}

/* ---- the fields as a table ---- */

typedef enum {
    FIELD_SIZE,    /* int64_t */
    FIELD_NUMBER,  /* double, least <= x <= most */
    FIELD_EPSILON, /* double, least < x < most */
    FIELD_FLAG,    /* bool */
    FIELD_CHOICE,  /* an enum */
    FIELD_BIASES   /* biases, one bit each, in order */
} field_type;

/* One row for each member but name, names and tokens; if several fields of two models differ, the
 * first one is reported.
 *
 *   id, type      the name in checkpoints and in JSON
 *   member        of model_config
 *   least, most   limits; a size that may be 0 is optional
 *   before        its value in checkpoints written before the field existed: GPT-2's.
 *                 NAN: then it is not compared
 *   json          its usual name in config.json; NULL: implied by model_type
 *   other         how to describe a model whose value differs
 */
/* clang-format off */
#define MODEL_FIELDS(X)                                                                            \
    /* id, type               member              least most  before  json, other */               \
    X(causal, FLAG,           causal,             0, 1,       1, NULL,                             \
      "attention in both directions")                                                              \
    X(bias, BIASES,           bias,               0, 63,      31, NULL, "other biases")            \
    X(kv_heads, SIZE,         kv_heads,           1, 1e5,     0, "num_key_value_heads",            \
      "grouped keys and values")                                                                   \
    X(head_size, SIZE,        head_size,          1, 1e7,     0, "head_dim",                       \
      "heads of a size of their own")                                                              \
    X(act, CHOICE,            act,                1, ACT_SILU, ACT_GELU_TANH, "hidden_act",        \
      "another activation")                                                                        \
    X(norm, CHOICE,           norm,               0, NORM_GROUP, 0, NULL, "another norm")          \
    X(norm_plus_one, FLAG,    norm_plus_one,      0, 1,       0, NULL, "another norm")             \
    X(gated, FLAG,            gated,              0, 1,       0, NULL, "another kind of MLP")      \
    X(inner, SIZE,            inner,              1, 1e7,     0, "intermediate_size",              \
      "another inner width")                                                                       \
    X(positions, CHOICE,      positions,          0, POSITIONS_NONE, 0, NULL, "other positions")   \
    X(rotary_size, SIZE,      rotary.size,        0, 1e7,     0, NULL, "other rotations")          \
    X(rotary_base, NUMBER,    rotary.base,        1, 1e30,    0, "rope_theta", "other rotations")  \
    X(rotary_interleaved, FLAG, rotary.interleaved, 0, 1,     0, NULL, "other rotations")          \
    X(rope_factor, NUMBER,    rotary.scaling.factor, 0, 1e6,  0, NULL, "other rotations")          \
    X(rope_low, NUMBER,       rotary.scaling.low, 0, 1e6,     0, NULL, "other rotations")          \
    X(rope_high, NUMBER,      rotary.scaling.high, 0, 1e6,    0, NULL, "other rotations")          \
    X(rope_context, NUMBER,   rotary.scaling.context, 0, 1e9, 0, NULL, "other rotations")          \
    X(rotary_skip, SIZE,      rotary.skip,        0, 1000,    0, NULL, "other rotations")          \
    X(rotary_local_base, NUMBER, rotary.local_base, 0, 1e30,  0, "rope_local_base_freq",           \
      "other rotations")                                                                           \
    X(window, SIZE,           window,             0, 1e8,     0, "sliding_window",                 \
      "attention in windows")                                                                      \
    X(window_skip, SIZE,      window_skip,        0, 1000,    0, NULL, "windows in other layers")  \
    X(query_scalar, NUMBER,   query_scalar,       0, 1e7,     0, "query_pre_attn_scalar",          \
      "another scale of scores")                                                                   \
    X(attention_cap, NUMBER,  attention_cap,      0, 1e6,     0, "attn_logit_softcapping",         \
      "a soft cap of scores")                                                                      \
    X(logit_cap, NUMBER,      logit_cap,          0, 1e6,     0, "final_logit_softcapping",        \
      "a soft cap of logits")                                                                      \
    X(residual, CHOICE,       residual,           0, RESIDUAL_PARALLEL_ONE_NORM, 0, NULL,          \
      "another residual stream")                                                                   \
    X(norms, CHOICE,          norms,              0, NORMS_BOTH, 0, NULL,                          \
      "norms at other places")                                                                     \
    X(qk_norm, CHOICE,        qk_norm,            0, QK_NORM_WHOLE, 0, NULL,                       \
      "other norms of queries and keys")                                                           \
    X(embedding_norm, FLAG,   embedding_norm,     0, 1,       0, NULL, "another embedding")        \
    X(embedding_scale, EPSILON, embedding_scale,  0, 1e30,    1, NULL, "another embedding")        \
    X(tied, FLAG,             tied,               0, 1,       1, "tie_word_embeddings",            \
      "another head")                                                                              \
    X(layers, SIZE,           layers,             1, 1000,    0, "num_hidden_layers",              \
      "other sizes")                                                                               \
    X(heads, SIZE,            heads,              1, 1e5,     0, "num_attention_heads",            \
      "other sizes")                                                                               \
    X(width, SIZE,            width,              1, 1e6,     0, "hidden_size", "other sizes")     \
    X(context, SIZE,          context,            1, 1e8,     0, "max_position_embeddings",        \
      "other sizes")                                                                               \
    X(vocab, SIZE,            vocab,              1, 2e9,     0, "vocab_size", "other sizes")      \
    X(norm_eps, EPSILON,      norm_eps,           0, 1,       1e-5, "rms_norm_eps", "other sizes") \
    X(image_height, SIZE,     image_height,       0, 16384,   NAN, NULL, "images")                 \
    X(image_width, SIZE,      image_width,        0, 16384,   NAN, NULL, "images")                 \
    X(channels, SIZE,         channels,           0, 3,       NAN, NULL, "images")                 \
    X(patch, SIZE,            patch,              0, 16384,   NAN, NULL, "images")                 \
    X(mean_pool, FLAG,        mean_pool,          0, 1,       NAN, NULL, "images")                 \
    X(stage_1, SIZE,          stage[0],           0, 1000,    NAN, NULL, "other stages")           \
    X(stage_2, SIZE,          stage[1],           0, 1000,    NAN, NULL, "other stages")           \
    X(stage_3, SIZE,          stage[2],           0, 1000,    NAN, NULL, "other stages")           \
    X(stage_4, SIZE,          stage[3],           0, 1000,    NAN, NULL, "other stages")

/* clang-format on */

#define MODEL_FIELD_ID(id, ...) MODEL_##id,
typedef enum { MODEL_FIELDS(MODEL_FIELD_ID) MODEL_FIELD_COUNT } model_field_id;
#undef MODEL_FIELD_ID

typedef struct {
    const char *name;
    field_type type;
    size_t at; /* in model_config */
    double least, most, before;
    const char *json, *other;
} model_field;

extern const model_field model_fields[MODEL_FIELD_COUNT];

/* Any field as a number: a flag is 0 or 1, biases are bits. */
double config_value(const model_config *c, const model_field *field);
/* The first field that differs, or NULL. */
const model_field *config_difference(const model_config *a, const model_config *b);
/* All fields by name, as numbers; and the values of those that older checkpoints lack.  Free it
 * with cJSON_Delete; NULL: out of memory. */
cJSON *config_json(const model_config *c);
/* The reverse, for the fields that the object has; user errors name `path` and the field. */
error *config_from_json(const char *path, const cJSON *json, model_config *c) NODISCARD;
cJSON *config_json_before(void);

/* ---- presets ---- */

typedef struct {
    const model_config *row;
    int n;
} preset_list;

extern const preset_list text_presets, image_presets;

/* The preset with that name; user error that suggests the nearest one if there is none. */
error *preset_find(const preset_list *list, const char *name, model_config *out) NODISCARD;
/* "gpt-nano, gpt-micro, ...", for --help; free it.  NULL: out of memory. */
char *preset_names(const preset_list *list);

/* ---- configurations ---- */

/* GPT-2's options with the given sizes; everything derived (inner, head_size ...) is filled in. */
model_config gpt_config(const char *name, int64_t layers, int64_t heads, int64_t width,
                        int64_t context, int64_t vocab);

/* A ViT's options over the values in c: sizes (inner 0: four times the width); norm, activation and
 * biases (norm_eps 0: as in the paper).  Everything derived is filled in.  User error if patches do
 * not cover the image. */
error *vit_config(model_config *c) NODISCARD;
/* The same for a convolutional network: over sizes, stages and classes. */
error *convnext_config(model_config *c) NODISCARD;
error *resnet_config(model_config *c) NODISCARD;
/* Calls the one that fits c: decided by its stages. */
error *image_config(model_config *c) NODISCARD;

/* The same family in other sizes: layers, heads, width, context, vocab of `sizes`, where they are
 * not 0.  Derived values keep their proportions. */
model_config config_resized(const model_config *from, const model_config *sizes);

/* Number of parameters in its matrices. */
double config_parameters(const model_config *c);

/* Rows per chunk of the classifier's logits, for a batch of `rows`: limited to that many MiB, and
 * to 1024 rows for each 64 MiB, as more make its products no faster; in equal chunks.  *ld is the
 * padded length of a row. */
int64_t classifier_rows(const model_config *c, int64_t most_mib, int64_t rows, dtype type,
                        int64_t *ld);

/* Refuses values outside the table's limits, and fields that contradict each other. */
error *config_check(const model_config *c) NODISCARD;

#endif

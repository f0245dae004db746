/* config.h - a transformer as a row of options.
 *
 * There is one block; what differs between families is here.  Presets are rows of a table
 * (presets.c); sizes given on the command line override them.
 */
#ifndef REGRAD_MODEL_CONFIG_H
#define REGRAD_MODEL_CONFIG_H

#include "core/ops.h"
#include "model/recompute.h"

typedef struct {
    char name[32];
    int64_t layers, heads, width;
    int64_t kv_heads;  /* key and value heads; = heads without grouping */
    int64_t head_size; /* = width / heads unless said otherwise */
    int64_t inner;     /* width of the MLP */
    int64_t context;   /* longest sequence; for images their patches, and the class token */
    int64_t vocab;     /* tokens; for images classes */
    double norm_eps;
    activation act;
    bool bias;   /* projections and norms have a bias */
    bool tied;   /* the head is the token embedding */
    bool causal; /* a token sees itself and those before it */
    /* images: 0 for text */
    int64_t image_height, image_width, channels, patch; /* pixels; patches are square */
    bool mean_pool;   /* the classifier sees the mean of all positions, not a class token */
    double drop_path; /* how often the last block's branches are left out; the first's: never */
    recompute_plan recompute; /* how backward gets what it reads; changes no bit */
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

/* Rows of logits that the classifier holds at a time for a batch of `rows`: at most 32 MiB, and no
 * more than 1024 rows, as more make its products no faster; in equal chunks.  *ld is a row's length
 * with padding. */
int64_t classifier_rows(const model_config *c, int64_t rows, dtype type, int64_t *ld);

/* Refuses sizes that cannot be: heads that do not divide the width, zero, negative, absurd ones. */
error *config_check(const model_config *c) NODISCARD;

#endif

/* config.h - a transformer as a row of options.
 *
 * There is one block; what differs between families is here.  Presets are rows of a table
 * (presets.c); sizes given on the command line override them.
 */
#ifndef REGRAD_MODEL_CONFIG_H
#define REGRAD_MODEL_CONFIG_H

#include "core/ops.h"

typedef struct {
    char name[32];
    int64_t layers, heads, width;
    int64_t kv_heads;  /* key and value heads; = heads without grouping */
    int64_t head_size; /* = width / heads unless said otherwise */
    int64_t inner;     /* width of the MLP */
    int64_t context;   /* longest sequence */
    int64_t vocab;
    double norm_eps;
    activation act;
    bool bias;   /* projections and norms have a bias */
    bool tied;   /* the head is the token embedding */
    bool causal; /* a token sees itself and those before it */
} model_config;

/* GPT-2's options with the given sizes; everything derived (inner, head_size ...) filled in. */
model_config gpt_config(const char *name, int64_t layers, int64_t heads, int64_t width,
                        int64_t context, int64_t vocab);

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

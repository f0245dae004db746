/* hf_vit.c - config.json of Hugging Face's ViT (ViTConfig), field by field; see hf_internal.h.
 *
 * It is not a row among the families of hf_families.c, which are decoders of text; the table, and what is
 * refused, are of the same kind.
 */
#include "model/hf/hf_internal.h"

#include <stdio.h>
#include <string.h>

#define NAMED(id, name, unset)                                                                     \
    {                                                                                              \
        name, NULL, HF_OPTION, MODEL_##id, 0, unset                                                \
    }
#define OTHER(kind, name, at, unset)                                                               \
    {                                                                                              \
        name, NULL, kind, 0, at, unset                                                             \
    }

static const hf_field fields[] = {
    NAMED(width, "hidden_size", 768),
    NAMED(layers, "num_hidden_layers", 12),
    NAMED(heads, "num_attention_heads", 12),
    NAMED(inner, "intermediate_size", 3072),
    NAMED(image_height, "image_size", 224),
    NAMED(patch, "patch_size", 16),
    NAMED(channels, "num_channels", 3),
    NAMED(act, "hidden_act", ACT_GELU_ERF),
    NAMED(norm_eps, "layer_norm_eps", 1e-12),
    OTHER(HF_FLAG, "qkv_bias", offsetof(hf_model, qkv_bias), true),
    OTHER(HF_DROPOUT, "hidden_dropout_prob", 0, 0),
    OTHER(HF_DROPOUT, "attention_probs_dropout_prob", 0, 0),
};

/* Of the pooler and of the reconstruction of masked images, which are not read; other names of what the
 * classes are. */
static const char *const harmless[] = {
    "encoder_stride", "pooler_act", "pooler_output_size", "num_labels", "image_mean",
    "image_std",      NULL};

static const hf_family family = {.type = "vit",
                                 .fields = fields,
                                 .n_fields = sizeof fields / sizeof *fields,
                                 .harmless = harmless};

error *hf_vit_read(const char *path, const cJSON *json, model_config *out)
{
    hf_source s = {.path = path, .json = json};
    hf_model m = {.c = *out};
    TRY(hf_read_fields(&s, &family, &m));
    model_config *c = &m.c;
    c->image_width = c->image_height;
    c->bias = (biases)BLOCK_BIASES;
    c->bias.qkv = m.qkv_bias;
    c->mean_pool = false;
    const cJSON *labels = hf_get(&s, "id2label");
    if (cJSON_IsObject(labels) && cJSON_GetArraySize(labels) > 0)
        c->vocab = cJSON_GetArraySize(labels);
    snprintf(c->name, sizeof c->name, "%s", family.type);
    TRY(error_context(vit_config(c), "%s", path));
    *out = *c;
    return NULL;
}

/* hf_image.c - config.json of Hugging Face's ViT (ViTConfig) and ConvNeXt (ConvNextConfig), field
 * by field; see hf_internal.h.
 *
 * They are not rows among the families of hf_families.c, which are decoders of text; the tables,
 * and what is refused, are of the same kind.
 */
#include "model/hf/hf_internal.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMED(id, name, unset)                                                                     \
    {                                                                                              \
        name, NULL, HF_OPTION, MODEL_##id, 0, unset                                                \
    }
#define OTHER(kind, name, at, unset)                                                               \
    {                                                                                              \
        name, NULL, kind, 0, at, unset                                                             \
    }

/* ---- ViT ---- */

static const hf_field vit_fields[] = {
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

/* Of the pooler and of the reconstruction of masked images, which are not read; other names of what
 * the classes are. */
static const char *const vit_harmless[] = {
    "encoder_stride", "pooler_act", "pooler_output_size", "num_labels", "image_mean",
    "image_std",      NULL};

static error *decode_vit(const hf_source *s, hf_model *m)
{
    (void)s;
    m->c.bias = (biases)BLOCK_BIASES;
    m->c.bias.qkv = m->qkv_bias;
    m->c.mean_pool = false;
    memset(m->c.stage, 0, sizeof m->c.stage);
    return NULL;
}

/* ---- ConvNeXt ---- */

/* layer_norm_eps is that of the norm before the classifier alone: all others have 1e-6 there,
 * whatever the file says. */
static const hf_field convnext_fields[] = {
    NAMED(image_height, "image_size", 224),    NAMED(patch, "patch_size", 4),
    NAMED(channels, "num_channels", 3),        NAMED(act, "hidden_act", ACT_GELU_ERF),
    NAMED(norm_eps, "layer_norm_eps", 1e-12),  OTHER(HF_MUST, "num_stages", 0, CONV_STAGES),
    OTHER(HF_DROPOUT, "drop_path_rate", 0, 0), OTHER(HF_ELSEWHERE, "hidden_sizes", 0, 0),
    OTHER(HF_ELSEWHERE, "depths", 0, 0),       OTHER(HF_ELSEWHERE, "layer_scale_init_value", 0, 0),
};

/* Of a backbone that detects objects; other names of what the classes are. */
static const char *const convnext_harmless[] = {"out_features", "out_indices", "stage_names",
                                                "num_labels", NULL};

/* A list with a whole number for each stage; absent: `unset`. */
static error *read_list(const hf_source *s, const char *name, const int64_t *unset, int64_t *out)
{
    const cJSON *list = hf_get(s, name);
    memcpy(out, unset, CONV_STAGES * sizeof *out);
    if (!list) return NULL;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != CONV_STAGES)
        return hf_refuse(s, name, "but must be a list of four numbers");
    for (int i = 0; i < CONV_STAGES; i++) {
        const cJSON *item = cJSON_GetArrayItem(list, i);
        double x = cJSON_IsNumber(item) ? item->valuedouble : 0;
        if (!(x >= 1 && x <= 1e6) || x != (double)(int64_t)x)
            return hf_refuse(s, name, "but must be a list of whole numbers");
        out[i] = (int64_t)x;
    }
    return NULL;
}

static error *decode_convnext(const hf_source *s, hf_model *m)
{
    static const int64_t widths[] = {96, 192, 384, 768}, depths[] = {3, 3, 9, 3};
    int64_t width[CONV_STAGES];
    TRY(read_list(s, "hidden_sizes", widths, width));
    TRY(read_list(s, "depths", depths, m->c.stage));
    for (int i = 1; i < CONV_STAGES; i++)
        if (width[i] != 2 * width[i - 1])
            return hf_refuse(s, "hidden_sizes", "but each must be twice the one before");
    m->c.width = width[0];
    m->c.norm = NORM_LAYER;
    const cJSON *scale = hf_get(s, "layer_scale_init_value");
    if (scale && !(cJSON_IsNumber(scale) && scale->valuedouble > 0))
        return hf_refuse(s, "layer_scale_init_value",
                         "but must be more than 0: blocks have a scale");
    return NULL;
}

/* ---- both ---- */

#define FAMILY(name, class)                                                                        \
    {                                                                                              \
        .type = #name, .architecture = class, .fields = name##_fields,                             \
        .n_fields = sizeof name##_fields / sizeof *name##_fields, .harmless = name##_harmless,     \
        .decode = decode_##name                                                                    \
    }

enum { VIT, CONVNEXT };
static const hf_family families[] = {FAMILY(vit, "ViTForImageClassification"),
                                     FAMILY(convnext, "ConvNextForImageClassification")};

static error *read_model(const hf_source *s, const hf_family *family, model_config *out)
{
    hf_model m = {.c = *out};
    TRY(hf_read_fields(s, family, &m));
    TRY(family->decode(s, &m));
    model_config *c = &m.c;
    c->image_width = c->image_height;
    const cJSON *labels = hf_get(s, "id2label");
    if (cJSON_IsObject(labels) && cJSON_GetArraySize(labels) > 0)
        c->vocab = cJSON_GetArraySize(labels);
    snprintf(c->name, sizeof c->name, "%s", family->type);
    TRY(error_context(image_config(c), "%s", s->path));
    *out = *c;
    return NULL;
}

static const hf_family *family_of(const cJSON *json)
{
    const char *type = cJSON_GetStringValue(hf_get(&(hf_source){.json = json}, "model_type"));
    for (size_t i = 0; type && i < sizeof families / sizeof *families; i++)
        if (!strcmp(type, families[i].type)) return &families[i];
    return NULL;
}

bool hf_is_image(const cJSON *json)
{
    return family_of(json);
}

error *hf_image_read(const char *path, const cJSON *json, bool *known, model_config *out)
{
    const hf_source s = {.path = path, .json = json};
    const hf_family *f = family_of(json);
    *known = f;
    return f ? read_model(&s, f, out) : NULL;
}

/* ---- writing ---- */

/* What transformers' models have not; or NULL. */
static const char *lacks(const model_config *c)
{
    model_config plain = *c;
    if (is_residual_network(c)) return "the blocks of a wide residual network";
    if (c->image_width != c->image_height) return "images that are not square";
    if (c->stage[0]) return NULL;
    if (c->mean_pool) return "--pool mean";
    plain.bias = (biases)BLOCK_BIASES;
    plain.bias.qkv = c->bias.qkv;
    const model_field *other = config_difference(c, &plain);
    return other ? other->other : NULL;
}

/* The four numbers; or the first, doubled in each stage. */
static bool add_list(cJSON *json, const char *name, const int64_t *x, bool doubled)
{
    double values[CONV_STAGES];
    for (int i = 0; i < CONV_STAGES; i++)
        values[i] = (double)(doubled ? *x << i : x[i]);
    return json_add(json, name, cJSON_CreateDoubleArray(values, CONV_STAGES));
}

/* Both ways, as transformers wants it. */
static bool add_labels(cJSON *json, const model_config *c, char *const *names)
{
    cJSON *names_of = cJSON_AddObjectToObject(json, "id2label");
    cJSON *numbers_of = cJSON_AddObjectToObject(json, "label2id");
    bool ok = names_of && numbers_of;
    for (int64_t i = 0; ok && i < c->vocab; i++) {
        char number[24], label[40];
        snprintf(number, sizeof number, "%lld", (long long)i);
        snprintf(label, sizeof label, "LABEL_%lld", (long long)i);
        const char *name = names ? names[i] : label;
        ok = cJSON_AddStringToObject(names_of, number, name) &&
             (json_get(numbers_of, name) || cJSON_AddNumberToObject(numbers_of, name, (double)i));
    }
    return ok;
}

static bool add_all(cJSON *json, const model_config *c, char *const *names, const char *type)
{
    const hf_family *f = &families[c->stage[0] ? CONVNEXT : VIT];
    const hf_model m = {.c = *c, .qkv_bias = c->bias.qkv};
    cJSON *kinds = cJSON_AddArrayToObject(json, "architectures");
    return kinds && cJSON_AddItemToArray(kinds, cJSON_CreateString(f->architecture)) &&
           cJSON_AddStringToObject(json, "model_type", f->type) && hf_write_fields(json, f, &m) &&
           (!c->stage[0] || (add_list(json, "hidden_sizes", &c->width, true) &&
                             add_list(json, "depths", c->stage, false))) &&
           add_labels(json, c, names) && cJSON_AddStringToObject(json, "torch_dtype", type);
}

error *hf_image_text(const model_config *c, char *const *names, const char *type, char **out)
{
    const char *lack = lacks(c);
    if (lack)
        return user_error("model %s has %s, which transformers' models of images cannot express",
                          c->name, lack);
    cJSON *json = cJSON_CreateObject();
    return json_text(json, json && add_all(json, c, names, type), "config.json", out);
}

/* hf_convnext.c - config.json of Hugging Face's ConvNeXt (ConvNextConfig), field by field; see
 * hf_internal.h, and hf_vit.c for why it is no row of hf_families.c.
 *
 * layer_norm_eps is that of the norm before the classifier alone: all others have 1e-6 there, whatever the file says.
 */
#include "model/hf/hf_internal.h"

#include <stdio.h>
#include <string.h>

#define NAMED(id, name, unset)                                                                     \
    {                                                                                              \
        name, NULL, HF_OPTION, MODEL_##id, 0, unset                                                \
    }
#define OTHER(kind, name, unset)                                                                   \
    {                                                                                              \
        name, NULL, kind, 0, 0, unset                                                              \
    }

static const hf_field fields[] = {
    NAMED(channels, "num_channels", 3),       NAMED(patch, "patch_size", 4),
    NAMED(image_height, "image_size", 224),   NAMED(act, "hidden_act", ACT_GELU_ERF),
    NAMED(norm_eps, "layer_norm_eps", 1e-12), OTHER(HF_MUST, "num_stages", CONV_STAGES),
    OTHER(HF_DROPOUT, "drop_path_rate", 0),   OTHER(HF_ELSEWHERE, "hidden_sizes", 0),
    OTHER(HF_ELSEWHERE, "depths", 0),         OTHER(HF_ELSEWHERE, "layer_scale_init_value", 0),
};

/* Of a backbone that detects objects; other names of what the classes are. */
static const char *const harmless[] = {"out_features", "out_indices", "stage_names", "num_labels",
                                       NULL};

static const hf_family family = {.type = "convnext",
                                 .fields = fields,
                                 .n_fields = sizeof fields / sizeof *fields,
                                 .harmless = harmless};

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

static error *read_stages(const hf_source *s, model_config *c)
{
    static const int64_t widths[] = {96, 192, 384, 768}, depths[] = {3, 3, 9, 3};
    int64_t width[CONV_STAGES];
    TRY(read_list(s, "hidden_sizes", widths, width));
    TRY(read_list(s, "depths", depths, c->stage));
    for (int i = 1; i < CONV_STAGES; i++)
        if (width[i] != 2 * width[i - 1])
            return hf_refuse(s, "hidden_sizes", "but each must be twice the one before");
    c->width = width[0];
    const cJSON *scale = hf_get(s, "layer_scale_init_value");
    if (scale && !(cJSON_IsNumber(scale) && scale->valuedouble > 0))
        return hf_refuse(s, "layer_scale_init_value",
                         "but must be more than 0: blocks have a scale");
    return NULL;
}

error *hf_convnext_read(const char *path, const cJSON *json, model_config *out)
{
    hf_source s = {.path = path, .json = json};
    hf_model m = {.c = *out};
    TRY(hf_read_fields(&s, &family, &m));
    model_config *c = &m.c;
    TRY(read_stages(&s, c));
    c->image_width = c->image_height;
    c->norm = NORM_LAYER;
    const cJSON *labels = hf_get(&s, "id2label");
    if (cJSON_IsObject(labels) && cJSON_GetArraySize(labels) > 0)
        c->vocab = cJSON_GetArraySize(labels);
    snprintf(c->name, sizeof c->name, "%s", family.type);
    TRY(error_context(convnext_config(c), "%s", path));
    *out = *c;
    return NULL;
}

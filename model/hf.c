/* hf.c - see hf.h */
#include "model/hf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *path;
    const cJSON *json;
} source;

/* The field, or NULL when it is absent or null. */
static const cJSON *field(const source *s, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(s->json, name);
    return cJSON_IsNull(item) ? NULL : item;
}

/* "PATH: FIELD is VALUE, WHY" */
static error *refuse(const source *s, const char *name, const char *why)
{
    char value[100] = "not what it should be";
    cJSON_PrintPreallocated((cJSON *)(size_t)field(s, name), value, sizeof value, false);
    return user_error("%s: %s is %.60s, %s", s->path, name, value, why);
}

static error *size_field(const source *s, const char *name, int64_t unset, int64_t *out)
{
    const cJSON *item = field(s, name);
    *out = unset;
    if (!item) return NULL;
    double value = cJSON_IsNumber(item) ? item->valuedouble : 0;
    if (!(value >= 1 && value <= 2e9) || value != floor(value))
        return refuse(s, name, "but must be a whole number from 1 to 2000000000");
    *out = (int64_t)value;
    return NULL;
}

static error *flag_field(const source *s, const char *name, bool unset, bool *out)
{
    const cJSON *item = field(s, name);
    *out = item ? cJSON_IsTrue(item) : unset;
    return item && !cJSON_IsBool(item) ? refuse(s, name, "but must be true or false") : NULL;
}

/* ---- reading ---- */

static error *read_sizes(const source *s, model_config *c)
{
    int64_t layers, heads, width, context, old_context, vocab, inner;
    TRY(size_field(s, "n_layer", 12, &layers));
    TRY(size_field(s, "n_head", 12, &heads));
    TRY(size_field(s, "n_embd", 768, &width));
    TRY(size_field(s, "n_ctx", 1024, &old_context));
    TRY(size_field(s, "n_positions", old_context, &context));
    if (field(s, "n_ctx") && old_context != context)
        return refuse(s, "n_ctx", "but n_positions is another number: which is the context?");
    TRY(size_field(s, "vocab_size", 50257, &vocab));
    TRY(size_field(s, "n_inner", 4 * width, &inner));
    if (inner > 10000000) return refuse(s, "n_inner", "but must be at most 10000000");
    if (width % heads) return refuse(s, "n_head", "which does not divide n_embd");
    *c = gpt_config("gpt2", layers, heads, width, context, vocab);
    c->inner = inner;
    return error_context(config_check(c), "%s", s->path);
}

static error *read_activation(const source *s, model_config *c)
{
    const cJSON *item = field(s, "activation_function");
    const char *name = item ? cJSON_GetStringValue(item) : "gelu_new";
    c->act = ACT_NONE;
    if (name && (!strcmp(name, "gelu_new") || !strcmp(name, "gelu_pytorch_tanh")))
        c->act = ACT_GELU_TANH;
    else if (name && !strcmp(name, "gelu"))
        c->act = ACT_GELU_ERF;
    if (c->act != ACT_NONE) return NULL;
    return refuse(s, "activation_function", "but must be gelu_new, gelu_pytorch_tanh or gelu");
}

static error *read_epsilon(const source *s, model_config *c)
{
    const cJSON *item = field(s, "layer_norm_epsilon");
    if (!item) return NULL;
    c->norm_eps = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (c->norm_eps > 0 && c->norm_eps < 1) return NULL;
    return refuse(s, "layer_norm_epsilon", "but must be a number between 0 and 1");
}

/* Variants of attention that change the function, and weights that are not what they seem. */
static error *refuse_variants(const source *s)
{
    static const struct {
        const char *name;
        bool must;
    } flags[] = {{"scale_attn_weights", true},
                 {"scale_attn_by_inverse_layer_idx", false},
                 {"add_cross_attention", false},
                 {"is_encoder_decoder", false}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        bool value;
        TRY(flag_field(s, flags[i].name, flags[i].must, &value));
        if (value != flags[i].must)
            return refuse(s, flags[i].name, "which this GPT cannot express");
    }
    if (field(s, "quantization_config"))
        return user_error("%s: quantization_config: quantized weights cannot be read; take the "
                          "model as it was before",
                          s->path);
    return NULL;
}

error *hf_config_read(const char *path, const cJSON *json, model_config *out)
{
    source s = {path, json};
    const cJSON *type = field(&s, "model_type");
    if (!type)
        return user_error("%s has no model_type: it is no configuration of Hugging Face's", path);
    if (!cJSON_IsString(type) || strcmp(type->valuestring, "gpt2"))
        return refuse(&s, "model_type", "but only gpt2 can be loaded");
    model_config c;
    TRY(read_sizes(&s, &c));
    TRY(read_activation(&s, &c));
    TRY(read_epsilon(&s, &c));
    TRY(flag_field(&s, "tie_word_embeddings", true, &c.tied));
    TRY(refuse_variants(&s));
    *out = c;
    return NULL;
}

/* ---- writing ---- */

const char *hf_lacks(const model_config *c)
{
    if (!c->causal) return "attention in both directions";
    if (!c->bias.norms || !c->bias.qkv || !c->bias.project || !c->bias.up || !c->bias.down)
        return "no biases";
    if (c->bias.head) return "a head with a bias";
    if (c->kv_heads != c->heads) return "grouped keys and values";
    if (c->head_size * c->heads != c->width) return "heads of a size of their own";
    if (c->act == ACT_NONE) return "no activation";
    return NULL;
}

static bool add_fields(cJSON *json, const model_config *c, dtype type)
{
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {{"n_layer", c->layers},      {"n_head", c->heads},  {"n_embd", c->width},
                 {"n_positions", c->context}, {"n_ctx", c->context}, {"vocab_size", c->vocab},
                 {"n_inner", c->inner}};
    const char *act = c->act == ACT_GELU_ERF ? "gelu" : "gelu_new";
    cJSON *kinds = cJSON_AddArrayToObject(json, "architectures");
    bool fine = kinds && cJSON_AddItemToArray(kinds, cJSON_CreateString("GPT2LMHeadModel"));
    fine = fine && cJSON_AddStringToObject(json, "model_type", "gpt2");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        fine = fine && cJSON_AddNumberToObject(json, sizes[i].name, (double)sizes[i].value);
    fine = fine && cJSON_AddStringToObject(json, "activation_function", act);
    fine = fine && cJSON_AddNumberToObject(json, "layer_norm_epsilon", c->norm_eps);
    fine = fine && cJSON_AddBoolToObject(json, "tie_word_embeddings", c->tied);
    static const char *const rates[] = {"attn_pdrop", "embd_pdrop", "resid_pdrop"};
    for (int i = 0; i < 3; i++) /* it was trained without; the default there is 0.1 */
        fine = fine && cJSON_AddNumberToObject(json, rates[i], 0);
    return fine &&
           cJSON_AddStringToObject(json, "torch_dtype", type == BF16 ? "bfloat16" : "float32");
}

error *hf_config_text(const model_config *c, dtype type, char **out)
{
    const char *lack = hf_lacks(c);
    if (lack)
        return user_error("model %s has %s, which Hugging Face's GPT-2 cannot express", c->name,
                          lack);
    cJSON *json = cJSON_CreateObject();
    *out = json && add_fields(json, c, type) ? cJSON_Print(json) : NULL;
    cJSON_Delete(json);
    return *out ? NULL : user_error("out of memory for config.json");
}

/* hf.c - see hf.h */
#include "model/hf/hf_internal.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const hf_family *family_of_type(const char *type)
{
    for (int i = 0; type && i < hf_n_families; i++)
        if (!strcmp(hf_families[i].type, type)) return &hf_families[i];
    return NULL;
}

/* ---- reading ---- */

static error *refuse_type(const hf_source *s)
{
    char why[300] = "but only these can be loaded: ";
    for (int i = 0; i < hf_n_families; i++)
        snprintf(why + strlen(why), sizeof why - strlen(why), "%s%s", i ? ", " : "",
                 hf_families[i].type);
    return hf_refuse(s, "model_type", why);
}

error *hf_config_read(const char *path, const cJSON *json, const char *const *ignored,
                      model_config *out)
{
    hf_source s = {path, json, ignored};
    const cJSON *type = hf_get(&s, "model_type");
    const char *timm = cJSON_GetStringValue(hf_get(&s, "architecture"));
    if (!type && timm)
        return user_error("%s is of a model of images (timm's %s): train_vit and predict take it, "
                          "for text give a model of text",
                          path, timm);
    if (!type)
        return user_error("%s has no model_type: it is not a configuration of Hugging Face's",
                          path);
    const hf_family *f = family_of_type(cJSON_GetStringValue(type));
    if (!f) return refuse_type(&s);
    if (hf_get(&s, "quantization_config"))
        return user_error("%s: quantization_config: quantized weights cannot be read; take the "
                          "model as it was before",
                          path);
    hf_model m = {.c = f->options};
    TRY(hf_read_fields(&s, f, &m));
    TRY(f->decode(&s, &m));
    TRY(hf_read_tokens(&s, &m.c));
    snprintf(m.c.name, sizeof m.c.name, "%s", f->type);
    TRY(error_context(config_check(&m.c), "%s", path));
    *out = m.c;
    return NULL;
}

/* ---- writing ---- */

/* The first field in which a and b differ, described; NULL if they are the same model. */
static const char *difference(const model_config *a, const model_config *b)
{
    const model_field *field = config_difference(a, b);
    return field ? field->other : a->names == b->names ? NULL : "other names";
}

/* The family's fields for c; what they cannot express of c, or NULL. */
static const char *encode(const hf_family *f, const model_config *c, hf_model *fields)
{
    hf_source none = {.path = "config.json"};
    hf_model decoded = {.c = f->options};
    *fields = (hf_model){.c = *c};
    if (f->encode) f->encode(fields);
    hf_copy_fields(f, &decoded, fields);
    error *e = f->decode(&none, &decoded);
    if (e) {
        error_free(e);
        return "sizes that do not go together";
    }
    return difference(c, &decoded.c);
}

/* The first family that can express c, and its fields; otherwise the nearest one, by the names of
 * its parameters, and what it cannot express. */
static const hf_family *family_of(const model_config *c, hf_model *fields, const char **lack)
{
    const hf_family *near = &hf_families[0];
    for (int i = hf_n_families - 1; i >= 0; i--)
        if (hf_families[i].options.names == c->names) near = &hf_families[i];
    *lack = encode(near, c, fields);
    if (!*lack) return near;
    for (int i = 0; i < hf_n_families; i++)
        if (!encode(&hf_families[i], c, fields)) {
            *lack = NULL;
            return &hf_families[i];
        }
    return near;
}

const char *hf_lacks(const model_config *c)
{
    hf_model fields;
    const char *lack;
    family_of(c, &fields, &lack);
    return lack;
}

const char *hf_type(const model_config *c)
{
    hf_model fields;
    const char *lack;
    return family_of(c, &fields, &lack)->type;
}

const char *hf_dtype(dtype type)
{
    return type == BF16 ? "bfloat16" : "float32";
}

static bool add_fields(cJSON *json, const hf_family *f, const hf_model *fields, const char *type)
{
    cJSON *kinds = cJSON_AddArrayToObject(json, "architectures");
    return kinds && cJSON_AddItemToArray(kinds, cJSON_CreateString(f->architecture)) &&
           cJSON_AddStringToObject(json, "model_type", f->type) &&
           hf_write_fields(json, f, fields) && hf_write_tokens(json, &fields->c) &&
           cJSON_AddStringToObject(json, "torch_dtype", type);
}

error *hf_config_text(const model_config *c, const char *type, char **out)
{
    hf_model fields;
    const char *lack;
    const hf_family *f = family_of(c, &fields, &lack);
    if (lack)
        return user_error("model %s has %s, which Hugging Face's %s cannot express", c->name, lack,
                          f->type);
    cJSON *json = cJSON_CreateObject();
    return json_text(json, json && add_fields(json, f, &fields, type), "config.json", out);
}

/* adapter_file.c - see adapter_file.h */
#include "io/adapter_file.h"
#include "base/files.h"
#include "base/fingerprint.h"
#include "base/json.h"
#include "io/params_file.h"
#include "model/families.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRONT "base_model.model."

static const char config_name[] = "adapter_config.json",
                  tensors_name[] = "adapter_model.safetensors";

enum { MOST_CONFIG = 1 << 20, NAME_ROOM = 160, MOST_RANK = 1 << 16 };

struct adapter_file {
    char path[PATH_LENGTH]; /* of the configuration */
    safetensors *tensors;
    lora_plan plan;
    char **layers; /* (plan.n_on) */
};

/* ---- the configuration ---- */

/* How a field is treated. */
typedef enum {
    READ,     /* it is read below */
    HARMLESS, /* harmless: it does not change what is computed */
    ONLY      /* it must have the value `text`, or be empty */
} field_rule;

typedef struct {
    const char *name;
    field_rule rule;
    const char *text;
} field;

static const field fields[] = {
    {"r", READ, NULL},
    {"lora_alpha", READ, NULL},
    {"use_rslora", READ, NULL},
    {"peft_type", ONLY, "LORA"},
    {"bias", ONLY, "none"},
    {"task_type", HARMLESS, NULL},
    {"auto_mapping", HARMLESS, NULL},
    {"base_model_name_or_path", HARMLESS, NULL},
    {"revision", HARMLESS, NULL},
    {"peft_version", HARMLESS, NULL},
    {"inference_mode", HARMLESS, NULL},
    {"target_modules", HARMLESS, NULL}, /* implied by the tensors */
    {"exclude_modules", HARMLESS, NULL},
    {"layers_to_transform", HARMLESS, NULL},
    {"layers_pattern", HARMLESS, NULL},
    {"fan_in_fan_out", HARMLESS, NULL},
    {"lora_dropout", HARMLESS, NULL},
    {"megatron_core", HARMLESS, NULL}, /* used only with megatron_config */
    {"ensure_weight_tying", HARMLESS, NULL},
    {"loftq_config", HARMLESS, NULL}, /* how it was initialized */
    {"eva_config", HARMLESS, NULL},
    {"init_lora_weights", HARMLESS, NULL}, /* see check_init */
    {"qalora_group_size", HARMLESS, NULL}, /* used only with use_qalora */
};

static const field *find_field(const char *name)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!strcmp(fields[i].name, name)) return &fields[i];
    return NULL;
}

/* null, false, 0, "", [], {} */
static bool says_nothing(const cJSON *item)
{
    if (cJSON_IsNumber(item)) return item->valuedouble == 0;
    if (cJSON_IsString(item)) return !*item->valuestring;
    return !cJSON_IsTrue(item) && !item->child;
}

static error *check_field(const char *path, const cJSON *item)
{
    const field *row = find_field(item->string);
    char text[100];
    if (row && row->rule != ONLY) return NULL;
    if (!says_nothing(item)) {
        if (row && cJSON_IsString(item) && !strcmp(item->valuestring, row->text)) return NULL;
        if (!cJSON_PrintPreallocated((cJSON *)(size_t)item, text, sizeof text, false))
            snprintf(text, sizeof text, "a long value");
        return user_error("%s: %.60s is %s, which is not supported: only plain LoRA on matrices of "
                          "the blocks is",
                          path, item->string, text);
    }
    return NULL;
}

/* Some initializations change the model's own weights, too (PiSSA, OLoRA, CorDA ...). */
static error *check_init(const char *path, const cJSON *json)
{
    const cJSON *init = json_get(json, "init_lora_weights");
    static const char *const fine[] = {"gaussian", "eva", "orthogonal"};
    if (!cJSON_IsString(init)) return NULL;
    for (int i = 0; i < 3; i++)
        if (!strcmp(init->valuestring, fine[i])) return NULL;
    return user_error("%s: init_lora_weights is \"%.40s\", which changes the base model's weights, "
                      "too: let peft save it as plain LoRA",
                      path, init->valuestring);
}

static error *read_number(const char *path, const cJSON *json, const char *name, double least,
                          double most, double *out)
{
    const cJSON *item = json_get(json, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= least && item->valuedouble <= most))
        return user_error("%s: %s must be a number from %g to %g", path, name, least, most);
    *out = item->valuedouble;
    return NULL;
}

/* false if there is none */
static error *read_flag(const char *path, const cJSON *json, const char *name, bool *out)
{
    const cJSON *item = json_get(json, name);
    *out = cJSON_IsTrue(item);
    if (!item || cJSON_IsBool(item)) return NULL;
    return user_error("%s: %s must be true or false", path, name);
}

static error *take_config(adapter_file *f, const cJSON *json)
{
    const cJSON *item;
    double rank = 0;
    if (!cJSON_IsString(json_get(json, "peft_type")))
        return user_error("%s: it has no peft_type, so it does not belong to an adapter", f->path);
    cJSON_ArrayForEach(item, json) TRY(check_field(f->path, item));
    TRY(check_init(f->path, json));
    TRY(read_number(f->path, json, "r", 1, MOST_RANK, &rank));
    TRY(read_number(f->path, json, "lora_alpha", 1e-6, 1e9, &f->plan.alpha));
    f->plan.rank = (int64_t)rank;
    TRY(read_flag(f->path, json, "use_rslora", &f->plan.rank_stabilized));
    if ((double)f->plan.rank != rank) return user_error("%s: r must be a whole number", f->path);
    return NULL;
}

static error *read_config(adapter_file *f)
{
    cJSON *json;
    TRY(json_read(f->path, MOST_CONFIG, &json));
    error *e = take_config(f, json);
    cJSON_Delete(json);
    return e;
}

/* ---- which modules ---- */

/* The names of modules that have an A, without common prefixes: they are matched with the ends of
 * our names. */
static error *list_layers(adapter_file *f)
{
    size_t front = strlen(FRONT);
    int64_t n = safetensors_count(f->tensors);
    TRY(alloc_array(&f->layers, (size_t)n + 1, sizeof *f->layers));
    for (int64_t i = 0; i < n; i++) {
        const safetensors_entry *entry = safetensors_entry_at(f->tensors, i);
        const char *name = entry->name;
        char layer[NAME_ROOM], *copy;
        if (strncmp(name, FRONT, front) || !strstr(name, ".lora_A.") ||
            !lora_layer(params_plain_name(name + front), layer, sizeof layer))
            continue;
        if (entry->rank != 2 || entry->dim[0] != f->plan.rank)
            return user_error("%s: r is %lld, but '%.100s' of %s has %lld rows: the two do not "
                              "belong together",
                              f->path, (long long)f->plan.rank, name, safetensors_path(f->tensors),
                              (long long)(entry->rank ? entry->dim[0] : 1));
        copy = strdup(layer);
        if (!copy) return user_error("out of memory for an adapter's names");
        f->layers[f->plan.n_on++] = copy;
    }
    f->plan.on = (const char *const *)f->layers;
    if (!f->plan.n_on)
        return user_error("%s has no tensor %s....lora_A.weight: it is not a LoRA adapter",
                          safetensors_path(f->tensors), FRONT);
    return NULL;
}

static error *open_files(adapter_file *f, const char *directory)
{
    char path[PATH_LENGTH];
    TRY(path_join(f->path, directory, config_name));
    TRY(read_config(f));
    TRY(path_join(path, directory, tensors_name));
    TRY(safetensors_open(path, &f->tensors));
    return list_layers(f);
}

error *adapter_open(const char *directory, adapter_file **out)
{
    adapter_file *f;
    TRY(alloc_array(&f, 1, sizeof *f));
    error *e = open_files(f, directory);
    if (e) {
        adapter_close(f);
        return e;
    }
    *out = f;
    return NULL;
}

void adapter_close(adapter_file *f)
{
    if (!f) return;
    for (int i = 0; i < f->plan.n_on; i++)
        free(f->layers[i]);
    free(f->layers);
    safetensors_close(f->tensors);
    free(f);
}

const lora_plan *adapter_plan(const adapter_file *f)
{
    return &f->plan;
}

error *adapter_fingerprint(const char *directory, uint64_t *out)
{
    char config[PATH_LENGTH], tensors[PATH_LENGTH];
    fingerprint both = {0};
    TRY(path_join(config, directory, config_name));
    TRY(path_join(tensors, directory, tensors_name));
    const fingerprint_file files[] = {{config, NULL, -1}, {tensors, NULL, -1}};
    TRY(fingerprint_files(files, 2, 0, NULL, &both));
    *out = both.value;
    return NULL;
}

error *adapter_read(const adapter_file *f, params *p, float_cast cast, device *dev)
{
    return adapters_read(f->tensors, FRONT, p, cast, dev);
}

error *adapter_tensors_read(const char *path, params *p, device *dev)
{
    safetensors *s;
    TRY(safetensors_open(path, &s));
    error *e = adapters_read(s, FRONT, p, false, dev);
    safetensors_close(s);
    return e;
}

/* ---- writing ---- */

/* transformers' GPT2LMHeadModel has its layers in `transformer`, OpenAI's files do not. */
static const char *front_of(const model_config *c)
{
    return c->names == &gpt2_names ? FRONT "transformer." : FRONT;
}

/* A module's name after its layer's number: "attn.c_attn".  peft matches the ends of names. */
static const char *tail_of(const char *layer)
{
    const char *number = strstr(layer, "%d.");
    return number ? number + 3 : layer;
}

/* Does every layer have an adapter in the place of row i's? */
static bool in_all_layers(const params *p, int i, int64_t layers)
{
    int64_t n = 0;
    for (int k = 0; k < p->n; k++)
        n += !strcmp(p->row[k].spec.name, p->row[i].spec.name);
    return n == layers;
}

static bool has_text(const cJSON *array, const char *text)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, array) if (!strcmp(item->valuestring, text)) return true;
    return false;
}

static bool add_text(cJSON *array, const char *text)
{
    cJSON *item = cJSON_CreateString(text);
    if (item && cJSON_AddItemToArray(array, item)) return true;
    cJSON_Delete(item);
    return false;
}

/* The ends of names that all layers have in common, or else complete names. */
static bool add_targets(cJSON *array, const adapter_about *about, const params *p)
{
    const char *front = front_of(about->model) + strlen(FRONT);
    bool ok = true;
    for (int i = 0; ok && i < p->n; i++) {
        char layer[NAME_ROOM], name[NAME_ROOM], whole[2 * NAME_ROOM];
        if (!lora_is_a(&p->row[i])) continue;
        lora_layer(p->row[i].spec.name, layer, sizeof layer);
        const char *text = tail_of(layer);
        if (!in_all_layers(p, i, about->model->layers)) {
            lora_layer(param_text(&p->row[i], name, sizeof name), layer, sizeof layer);
            snprintf(whole, sizeof whole, "%s%s", front, layer);
            text = whole;
        }
        if (!has_text(array, text)) ok = add_text(array, text);
    }
    return ok;
}

error *adapter_config_write(const char *path, const adapter_about *about, const params *p)
{
    cJSON *json = cJSON_CreateObject(), *targets = cJSON_CreateArray();
    bool ok = json_add(json, "target_modules", targets);
    ok = ok && add_targets(targets, about, p) &&
         cJSON_AddStringToObject(json, "peft_type", "LORA") &&
         cJSON_AddStringToObject(json, "task_type", "CAUSAL_LM") &&
         cJSON_AddStringToObject(json, "base_model_name_or_path", about->base) &&
         cJSON_AddNumberToObject(json, "r", (double)about->plan->rank) &&
         cJSON_AddNumberToObject(json, "lora_alpha", about->plan->alpha) &&
         cJSON_AddBoolToObject(json, "use_rslora", about->plan->rank_stabilized) &&
         cJSON_AddNumberToObject(json, "lora_dropout", 0) &&
         cJSON_AddStringToObject(json, "bias", "none") &&
         cJSON_AddBoolToObject(json, "fan_in_fan_out", about->model->names->transposed) &&
         cJSON_AddBoolToObject(json, "inference_mode", true);
    return json_save(json, ok, "adapter_config.json", path);
}

error *adapter_tensors_list(const adapter_about *about, const params *p, named_tensor **out, int *n)
{
    return adapters_list(p, front_of(about->model), out, n);
}

error *adapter_tensors_write(const char *path, const adapter_about *about, const params *p,
                             device *dev, const tensor_source *from)
{
    return adapters_write(path, front_of(about->model), p, dev, from);
}

error *adapter_write(const char *directory, const adapter_about *about, const params *p,
                     device *dev, const tensor_source *from)
{
    char path[PATH_LENGTH];
    TRY(path_join(path, directory, config_name));
    TRY(adapter_config_write(path, about, p));
    TRY(path_join(path, directory, tensors_name));
    return adapter_tensors_write(path, about, p, dev, from);
}

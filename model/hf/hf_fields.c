/* hf_fields.c - reads and writes the fields of a config.json by a family's table; see
 * hf_internal.h */
#include "model/hf/hf_internal.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Fields that change nothing in what any model computes: who wrote the file, stop tokens, initial
 * values, other heads, which implementation of the same function is used. */
static const char *const harmless[] = {
    /* added to config.json by fine-tuning programs: unsloth, TRL's NEFTune; SmolLM 2's own,
     * transformers.js */
    "is_llama_config", "neftune_noise_alpha", "transformers.js_config", "unsloth_fixed",
    "unsloth_version", "attn_implementation", "max_sequence_length", "tokenizer_model_max_length",
    "tokenizer_padding_side", "cache_implementation",
    /* transformers' */
    "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal",
    "_commit_hash", "_flash_attn_2_enabled", "_name_or_path", "architectures", "auto_map",
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "chunk_size_feed_forward",
    "classifier_dropout", "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype",
    "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id",
    "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id",
    "forced_eos_token_id", "gradient_checkpointing", "id2label", "initializer_range", "is_decoder",
    "keys_to_ignore_at_inference", "label2id", "length_penalty", "max_length", "min_length",
    "model_type", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_return_sequences",
    "output_attentions", "output_hidden_states", "output_past", "output_scores", "pad_token_id",
    "prefix", "pretraining_tp", "problem_type", "remove_invalid_values", "repetition_penalty",
    "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens",
    "task_specific_params", "temperature", "tf_legacy_loss", "tokenizer_class", "top_k", "top_p",
    "torch_dtype", "torchscript", "transformers_version", "typical_p", "unk_token_id",
    "use_bfloat16", "use_cache", NULL};

/* Values that every family requires, if given: a decoder alone, with all of its heads. */
static const hf_field common[] = {
    {"is_encoder_decoder", NULL, HF_MUST_FLAG, 0, 0, false},
    {"add_cross_attention", NULL, HF_MUST_FLAG, 0, 0, false},
    {"tie_encoder_decoder", NULL, HF_MUST_FLAG, 0, 0, false},
    {"rope_interleaved", NULL, HF_MUST_FLAG, 0, 0, false}, /* SmolLM 2 */
    {"pruned_heads", NULL, HF_EMPTY, 0, 0, 0},
};

enum { COMMON = sizeof common / sizeof *common };

const cJSON *hf_get(const hf_source *s, const char *name)
{
    const cJSON *item = name ? json_get(s->json, name) : NULL;
    return cJSON_IsNull(item) ? NULL : item;
}

error *hf_refuse(const hf_source *s, const char *name, const char *why)
{
    char value[100] = "not what it should be";
    cJSON_PrintPreallocated((cJSON *)(size_t)hf_get(s, name), value, sizeof value, false);
    return user_error("%s: %s is %.60s, %s", s->path, name, value, why);
}

const char *hf_name(const hf_field *f)
{
    return f->name ? f->name : model_fields[f->option].json;
}

/* ---- one field ---- */

enum { MOST_SIZE = 10000000 };

static error *read_size(const hf_source *s, const char *name, double unset, double most,
                        int64_t *out)
{
    const cJSON *item = hf_get(s, name);
    double value = item ? cJSON_IsNumber(item) ? item->valuedouble : 0 : unset;
    char why[80];
    *out = 0;
    if (item && (!(value >= 1 && value <= most) || value != floor(value))) {
        snprintf(why, sizeof why, "but must be a whole number from 1 to %.0f", most);
        return hf_refuse(s, name, why);
    }
    *out = (int64_t)value;
    return NULL;
}

/* A number within the field's type and limits. */
static error *read_number(const hf_source *s, const char *name, double unset,
                          const model_field *limits, double *out)
{
    const cJSON *item = hf_get(s, name);
    char why[80];
    double x = *out = item ? cJSON_IsNumber(item) ? item->valuedouble : (double)NAN : unset;
    if (!item) return NULL;
    if (limits->type == FIELD_EPSILON) {
        snprintf(why, sizeof why, "but must be a number between %g and %g", limits->least,
                 limits->most);
        return x > limits->least && x < limits->most ? NULL : hf_refuse(s, name, why);
    }
    snprintf(why, sizeof why, "but must be a number of %g or more", limits->least);
    return x >= limits->least && x <= limits->most ? NULL : hf_refuse(s, name, why);
}

static error *read_part(const hf_source *s, const char *name, double unset, double *out)
{
    const cJSON *item = hf_get(s, name);
    *out = item ? cJSON_IsNumber(item) ? item->valuedouble : 0 : unset;
    if (!item || (*out > 0 && *out <= 1)) return NULL;
    return hf_refuse(s, name, "but must be a number from 0 to 1, and not 0");
}

static error *read_flag(const hf_source *s, const char *name, double unset, bool *out)
{
    const cJSON *item = hf_get(s, name);
    *out = item ? cJSON_IsTrue(item) : unset != 0;
    return item && !cJSON_IsBool(item) ? hf_refuse(s, name, "but must be true or false") : NULL;
}

/* transformers' names; the first of each kind is written. */
static const struct {
    const char *word;
    activation act;
} acts[] = {{"gelu_new", ACT_GELU_TANH},  {"gelu_pytorch_tanh", ACT_GELU_TANH},
            {"gelu_fast", ACT_GELU_TANH}, {"gelu", ACT_GELU_ERF},
            {"silu", ACT_SILU},           {"swish", ACT_SILU}};

enum { ACTS = sizeof acts / sizeof *acts };

static error *read_act(const hf_source *s, const char *name, double unset, activation *out)
{
    const cJSON *item = hf_get(s, name);
    const char *word = cJSON_GetStringValue(item);
    *out = (activation)unset;
    if (!item) return NULL;
    for (int i = 0; word && i < ACTS; i++)
        if (!strcmp(word, acts[i].word)) {
            *out = acts[i].act;
            return NULL;
        }
    return hf_refuse(s, name,
                     "but must be gelu_new, gelu_pytorch_tanh, gelu_fast, gelu, silu or swish");
}

static error *check_must(const hf_source *s, const hf_field *f, const char *name)
{
    const cJSON *item = hf_get(s, name);
    bool same = f->kind == HF_MUST    ? cJSON_IsNumber(item) && item->valuedouble == f->unset
                : f->kind == HF_EMPTY ? cJSON_IsObject(item) && !item->child
                                      : cJSON_IsBool(item) && cJSON_IsTrue(item) == (f->unset != 0);
    return !item || same ? NULL : hf_refuse(s, name, "which this program cannot express");
}

static error *check_rate(const hf_source *s, const char *name)
{
    const cJSON *item = hf_get(s, name);
    bool rate = cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 1;
    return !item || rate ? NULL : hf_refuse(s, name, "but must be a number from 0 to 1, and not 1");
}

static error *read_option(const hf_source *s, const hf_field *f, const char *name, hf_model *m)
{
    const model_field *option = &model_fields[f->option];
    void *at = (char *)&m->c + option->at;
    switch (option->type) {
    case FIELD_SIZE:
        return read_size(s, name, f->unset, option->most, at);
    case FIELD_FLAG:
        return read_flag(s, name, f->unset, at);
    case FIELD_CHOICE: /* the only one that is a field */
        return read_act(s, name, f->unset, at);
    default:
        return read_number(s, name, f->unset, option, at);
    }
}

static error *read_field(const hf_source *s, const hf_field *f, const char *name, hf_model *m)
{
    void *at = (char *)m + f->at;
    switch (f->kind) {
    case HF_OPTION:
        return read_option(s, f, name, m);
    case HF_SIZE:
        return read_size(s, name, f->unset, MOST_SIZE, at);
    case HF_PART:
        return read_part(s, name, f->unset, at);
    case HF_FLAG:
        return read_flag(s, name, f->unset, at);
    case HF_MUST:
    case HF_MUST_FLAG:
    case HF_EMPTY:
        return check_must(s, f, name);
    case HF_NONE:
        return !hf_get(s, name) || cJSON_IsNumber(hf_get(s, name))
                   ? NULL
                   : hf_refuse(s, name, "but must be a number or null");
    case HF_DROPOUT:
        return check_rate(s, name);
    default:
        return NULL;
    }
}

/* ---- all of them ---- */

/* Two names for one thing must have the same value. */
static error *check_names(const hf_source *s, const hf_field *f)
{
    const cJSON *a = hf_get(s, hf_name(f)), *b = hf_get(s, f->older);
    char why[120];
    if (!a || !b || cJSON_Compare(a, b, true)) return NULL;
    snprintf(why, sizeof why, "but %s says something else, and they are two names of one number",
             hf_name(f));
    return hf_refuse(s, f->older, why);
}

/* Options whose 0 is null in the file: no window, no cap, no base of its own. */
static bool is_nullable(const hf_field *f)
{
    const model_field *option = &model_fields[f->option];
    return f->kind == HF_OPTION && option->least == 0 &&
           (option->type == FIELD_NUMBER || f->option == MODEL_window);
}

static bool is_null(const hf_source *s, const char *name)
{
    return name && cJSON_IsNull(json_get(s->json, name));
}

/* null means "none" in transformers, and absence the default: these are the same if the default is
 * none. */
static error *check_null(const hf_source *s, const hf_field *f)
{
    bool number = f->kind == HF_SIZE || f->kind == HF_PART || f->kind == HF_FLAG ||
                  (f->kind == HF_OPTION && model_fields[f->option].type != FIELD_CHOICE);
    if (!number || f->unset == 0 || is_nullable(f) || hf_get(s, hf_name(f)) || hf_get(s, f->older))
        return NULL;
    const char *names[] = {hf_name(f), f->older};
    for (int i = 0; i < 2; i++)
        if (names[i] && json_get(s->json, names[i]))
            return user_error("%s: %s is null, but must say something or be left out", s->path,
                              names[i]);
    return NULL;
}

static bool in_list(const char *const *list, const char *name)
{
    for (; list && *list; list++)
        if (!strcmp(*list, name)) return true;
    return false;
}

static bool in_table(const hf_field *table, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(hf_name(&table[i]), name) || (table[i].older && !strcmp(table[i].older, name)))
            return true;
    return false;
}

static bool is_known(const hf_family *f, const char *name)
{
    return in_table(f->fields, f->n_fields, name) || in_table(common, COMMON, name) ||
           in_list(harmless, name) || in_list(f->harmless, name);
}

static error *read_table(const hf_source *s, const hf_field *table, int n, hf_model *m)
{
    for (int i = 0; i < n; i++) {
        const hf_field *field = &table[i];
        bool older = !hf_get(s, hf_name(field)) && hf_get(s, field->older);
        TRY(check_names(s, field));
        TRY(check_null(s, field));
        hf_field none = *field;
        if (is_nullable(field) && is_null(s, hf_name(field))) none.unset = 0;
        TRY(read_field(s, &none, older ? field->older : hf_name(field), m));
    }
    return NULL;
}

error *hf_read_fields(const hf_source *s, const hf_family *f, hf_model *m)
{
    TRY(read_table(s, common, COMMON, m));
    TRY(read_table(s, f->fields, f->n_fields, m));
    const cJSON *item = s->json ? s->json->child : NULL;
    for (; item; item = item->next) {
        if (json_get(s->json, item->string) != item)
            return user_error("%s has %s twice: only one can be meant", s->path, item->string);
        bool known = is_known(f, item->string), ignored = in_list(s->ignored, item->string);
        if (known && ignored)
            return user_error(
                "--ignore-field %s: it is a known field of %s; only unknown ones can be "
                "ignored",
                item->string, s->path);
        if (!cJSON_IsNull(item) && !known && !ignored)
            return hf_refuse(s, item->string,
                             "which is not supported, and may change what the model computes "
                             "(--ignore-field lets it through)");
    }
    return NULL;
}

static bool write_size(cJSON *json, const char *name, int64_t value)
{
    return !value || cJSON_AddNumberToObject(json, name, (double)value);
}

/* transformers 5 accepts 30.0 as a cap but refuses 30, which is how cJSON writes that number. */
static bool write_cap(cJSON *json, const char *name, double value)
{
    char text[40];
    if (value != floor(value) || value >= 1e15) return cJSON_AddNumberToObject(json, name, value);
    snprintf(text, sizeof text, "%.1f", value);
    return cJSON_AddRawToObject(json, name, text);
}

static bool write_option(cJSON *json, const hf_field *f, const hf_model *m)
{
    const model_field *option = &model_fields[f->option];
    double value = config_value(&m->c, option);
    const char *word = NULL;
    if (is_nullable(f) && value == 0) return cJSON_AddNullToObject(json, hf_name(f));
    if (f->option == MODEL_attention_cap || f->option == MODEL_logit_cap)
        return write_cap(json, hf_name(f), value);
    switch (option->type) {
    case FIELD_SIZE:
        return write_size(json, hf_name(f), (int64_t)value);
    case FIELD_FLAG:
        return cJSON_AddBoolToObject(json, hf_name(f), value != 0);
    case FIELD_CHOICE:
        for (int i = ACTS - 1; i >= 0; i--)
            if (acts[i].act == m->c.act) word = acts[i].word;
        return word && cJSON_AddStringToObject(json, hf_name(f), word);
    default:
        return cJSON_AddNumberToObject(json, hf_name(f), value);
    }
}

static bool write_rope(cJSON *json, const char *name, const rope_scaling *s)
{
    if (s->factor <= 0) return true;
    cJSON *object = cJSON_AddObjectToObject(json, name);
    bool waves = s->high > 0;
    bool fine = object &&
                cJSON_AddStringToObject(object, "rope_type", waves ? "llama3" : "linear") &&
                cJSON_AddNumberToObject(object, "factor", s->factor);
    if (!fine || !waves) return fine;
    return cJSON_AddNumberToObject(object, "low_freq_factor", s->low) &&
           cJSON_AddNumberToObject(object, "high_freq_factor", s->high) &&
           cJSON_AddNumberToObject(object, "original_max_position_embeddings", s->context);
}

static bool write_layers(cJSON *json, const char *name, const model_config *c)
{
    if (!c->window) return true;
    cJSON *list = cJSON_AddArrayToObject(json, name);
    for (int64_t l = 1; list && l <= c->layers; l++) {
        bool full = c->window_skip && l % c->window_skip == 0;
        if (!cJSON_AddItemToArray(
                list, cJSON_CreateString(full ? "full_attention" : "sliding_attention")))
            return false;
    }
    return list != NULL;
}

static bool write_field(cJSON *json, const hf_field *f, const hf_model *m)
{
    const void *at = (const char *)m + f->at;
    switch (f->kind) {
    case HF_OPTION:
        return write_option(json, f, m);
    case HF_SIZE:
        return write_size(json, f->name, *(const int64_t *)at);
    case HF_PART:
        return cJSON_AddNumberToObject(json, f->name, *(const double *)at);
    case HF_FLAG:
        return cJSON_AddBoolToObject(json, f->name, *(const bool *)at);
    case HF_MUST:
        return cJSON_AddNumberToObject(json, f->name, f->unset);
    case HF_MUST_FLAG:
        return cJSON_AddBoolToObject(json, f->name, f->unset != 0);
    case HF_DROPOUT:
        return cJSON_AddNumberToObject(json, f->name, 0);
    case HF_NONE:
        return cJSON_AddNullToObject(json, f->name);
    case HF_ROPE:
        return write_rope(json, f->name, at);
    case HF_LAYERS:
        return write_layers(json, f->name, &m->c);
    default:
        return true;
    }
}

bool hf_write_fields(cJSON *json, const hf_family *f, const hf_model *m)
{
    bool fine = true;
    for (int i = 0; fine && i < f->n_fields; i++)
        fine = write_field(json, &f->fields[i], m);
    return fine;
}

static size_t size_of(const hf_field *f)
{
    static const size_t options[] = {
        [FIELD_SIZE] = sizeof(int64_t),      [FIELD_NUMBER] = sizeof(double),
        [FIELD_EPSILON] = sizeof(double),    [FIELD_FLAG] = sizeof(bool),
        [FIELD_CHOICE] = sizeof(activation), [FIELD_BIASES] = sizeof(biases)};
    switch (f->kind) {
    case HF_OPTION:
        return options[model_fields[f->option].type];
    case HF_SIZE:
    case HF_LAYERS: /* window_skip */
        return sizeof(int64_t);
    case HF_PART:
        return sizeof(double);
    case HF_FLAG:
        return sizeof(bool);
    case HF_ROPE:
        return sizeof(rope_scaling);
    default:
        return 0;
    }
}

void hf_copy_fields(const hf_family *f, hf_model *to, const hf_model *from)
{
    for (int i = 0; i < f->n_fields; i++) {
        const hf_field *field = &f->fields[i];
        size_t at = field->kind == HF_OPTION
                        ? offsetof(hf_model, c) + model_fields[field->option].at
                        : field->at;
        memcpy((char *)to + at, (const char *)from + at, size_of(field));
    }
}

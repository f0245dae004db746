/* test_hf_config.c - config.json and presets: presets have the parameters that Hugging Face's
 * models have, published files are taken with all of their fields, and no field is ignored: it
 * changes the model, is refused by name, or is one of those known to change nothing. */
#include "base/json.h"
#include "model/hf/hf_internal.h"
#include "model/families.h"
#include "model/model.h"
#include "test/scratch.h"

#include <math.h>

/* ---- presets ---- */

static int64_t count_of(const model_config *c)
{
    params p = {.type = F32};
    model *m;
    ok(gpt_kind.create(c, &plain_training, &p, &m));
    int64_t n = params_count(&p);
    assert_true(fabs(config_parameters(c) / (double)n - 1) < (n > 100000000 ? 0.002 : 0.05));
    gpt_kind.destroy(m);
    params_free(&p);
    return n;
}

static error *read_text(const char *text, model_config *c)
{
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    error *e = hf_config_read("x/config.json", json, NULL, c);
    cJSON_Delete(json);
    return e;
}

static void check_same_model(const model_config *a, const model_config *b)
{
    char *one, *two;
    model_config x = *a, y = *b; /* without special tokens, which a preset does not have */
    memset(x.tokens, 0, sizeof x.tokens);
    memset(y.tokens, 0, sizeof y.tokens);
    ok(hf_config_text(&x, "float32", &one));
    ok(hf_config_text(&y, "float32", &two));
    assert_string_equal(one, two);
    free(one), free(two);
    assert_true(a->names == b->names && a->positions == b->positions && a->norm == b->norm);
    assert_true(a->residual == b->residual && a->act == b->act && a->gated == b->gated);
    assert_true(a->rotary.size == b->rotary.size && a->rotary.base == b->rotary.base);
    assert_true(a->embedding_scale == b->embedding_scale && a->inner == b->inner);
    assert_true(count_of(a) == count_of(b));
}

static void test_presets_as_config_json(void **state)
{
    (void)state;
    for (int i = 0; i < text_presets.n; i++) {
        model_config back;
        char *text;
        ok(hf_config_text(&text_presets.row[i], "float32", &text));
        ok(read_text(text, &back));
        check_same_model(&text_presets.row[i], &back);
        free(text);
    }
}

/* transformers 5 refuses an integer where it has declared a float, and the reverse. */
static void test_numbers_of_the_type_declared(void **state)
{
    (void)state;
    static const char *const lines[] = {"\"attn_logit_softcapping\":\t50.0,",
                                        "\"final_logit_softcapping\":\t30.0,",
                                        "\"query_pre_attn_scalar\":\t144,"};
    const model_config *c = NULL;
    for (int i = 0; i < text_presets.n; i++)
        if (!strcmp(text_presets.row[i].name, "gemma2-27b")) c = &text_presets.row[i];
    assert_non_null(c);
    char *text;
    ok(hf_config_text(c, "float32", &text));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i])) fail_msg("no %s in %s", lines[i], text);
    free(text);
}

/* Published files (golden/configs.json), old and new, and what transformers makes of them when it
 * writes all fields: each is its preset, and has as many parameters as transformers counts.  One
 * has no preset: the first Qwen, of 1.8b's sizes. */
static void check_published(const cJSON *item)
{
    const char *name = cJSON_GetObjectItem(item, "preset")->valuestring;
    int64_t want = (int64_t)cJSON_GetObjectItem(item, "parameters")->valuedouble;
    model_config c, preset;
    ok(hf_config_read(name, cJSON_GetObjectItem(item, "config"), NULL, &c));
    if (*name) {
        ok(preset_find(&text_presets, name, &preset));
        check_same_model(&c, &preset);
    } else
        assert_true(c.names == &qwen_names);
    if (count_of(&c) != want)
        fail_msg("%s has %lld parameters, transformers counts %lld", name, (long long)count_of(&c),
                 (long long)want);
}

/* Nobody has published those. */
static bool is_ours(const char *preset)
{
    return strstr(preset, "-nano") || strstr(preset, "gpt-") || strstr(preset, "gpt3-");
}

static void test_published_configs(void **state)
{
    (void)state;
    cJSON *file;
    const cJSON *item, *list;
    ok(json_read("test/golden/configs.json", 1 << 20, &file));
    list = cJSON_GetObjectItem(file, "configs");
    cJSON_ArrayForEach(item, list) check_published(item);
    for (int i = 0; i < text_presets.n; i++) {
        bool there = is_ours(text_presets.row[i].name);
        cJSON_ArrayForEach(item, list) there |=
            !strcmp(cJSON_GetObjectItem(item, "preset")->valuestring, text_presets.row[i].name);
        if (!there) fail_msg("no published file of %s", text_presets.row[i].name);
    }
    cJSON_Delete(file);
}

/* ---- no field is ignored ---- */

enum { ROOM = 400 };

/* Fields under which others have something to say; each family without any, too. */
static const char *const bases[][2] = {
    {"falcon", "\"new_decoder_architecture\":true,\"num_attention_heads\":8,\"hidden_size\":512"},
    {"chatglm", "\"multi_query_attention\":true"},
};

/* Base b of a family: 0 is the plain one; NULL when there is no such. */
static const char *base_of(const hf_family *f, int b)
{
    if (b == 0) return "\"_name_or_path\":null";
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++)
        if (!strcmp(bases[i][0], f->type) && b-- == 1) return bases[i][1];
    return NULL;
}

static error *read_with(const hf_family *f, const char *base, const char *field, const char *value,
                        model_config *c)
{
    char text[ROOM];
    snprintf(text, sizeof text, "{\"model_type\":\"%s\",\"%s\":%s,%s}", f->type, field, value,
             base);
    return read_text(text, c);
}

typedef enum { REFUSED, SAME, OTHER } meaning;

/* What a value means beside the field's absence. */
static meaning meaning_of(const hf_family *f, const char *base, const char *field,
                          const char *value)
{
    model_config plain, with;
    char *one, *two;
    ok(read_with(f, base, "architectures", "null", &plain));
    error *e = read_with(f, base, field, value, &with);
    error_free(e);
    if (e) return REFUSED;
    ok(hf_config_text(&plain, "float32", &one));
    ok(hf_config_text(&with, "float32", &two));
    bool same = !strcmp(one, two);
    free(one), free(two);
    return same ? SAME : OTHER;
}

/* Some value makes another model; or, of a flag, is refused. */
static bool is_heard(const hf_family *f, const char *field, bool flag)
{
    static const char *const values[] = {"1",        "2",        "8",    "64",   "0.25",
                                         "96",       "1024",     "9088", "true", "false",
                                         "\"silu\"", "\"gelu\"", NULL};
    const char *base;
    for (int b = 0; (base = base_of(f, b)); b++)
        for (int i = 0; values[i]; i++) {
            meaning m = meaning_of(f, base, field, values[i]);
            bool of_flag = flag && strchr("tf", *values[i]);
            if (m == OTHER || (of_flag && m == REFUSED)) return true;
        }
    return false;
}

static bool is_flag(const hf_field *f)
{
    return f->kind == HF_FLAG ||
           (f->kind == HF_OPTION && model_fields[f->option].type == FIELD_FLAG);
}

/* Every name in a family's table: a value of no kind is refused by that name; an
 * option's value is heard. */
static void check_field(const hf_family *f, const hf_field *field, const char *name)
{
    model_config c;
    char other[40];
    fails(read_with(f, base_of(f, 0), name, "{\"a\":1}", &c), "x/config.json", name);
    switch (field->kind) {
    case HF_MUST:
        snprintf(other, sizeof other, "%g", field->unset + 0.5);
        fails(read_with(f, base_of(f, 0), name, other, &c), name, other);
        break;
    case HF_MUST_FLAG:
        fails(read_with(f, base_of(f, 0), name, field->unset != 0 ? "false" : "true", &c), name,
              "cannot express");
        break;
    case HF_DROPOUT:
        ok(read_with(f, base_of(f, 0), name, "0.1", &c));
        fails(read_with(f, base_of(f, 0), name, "-0.1", &c), name, "-0.1");
        break;
    case HF_ELSEWHERE:
    case HF_LAYERS:
    case HF_ROPE: /* test_config_habits */
    case HF_NONE:
        break;
    default:
        /* chatglm's vocab_size only repeats padded_vocab_size, or is refused */
        if (strcmp(f->type, "chatglm") || strcmp(name, "vocab_size"))
            if (!is_heard(f, name, is_flag(field)))
                fail_msg("%s: %s is read and changes nothing", f->type, name);
    }
}

static void test_no_field_is_ignored(void **state)
{
    (void)state;
    for (int i = 0; i < hf_n_families; i++) {
        const hf_family *f = &hf_families[i];
        for (int k = 0; k < f->n_fields; k++) {
            check_field(f, &f->fields[k], hf_name(&f->fields[k]));
            if (f->fields[k].older) check_field(f, &f->fields[k], f->fields[k].older);
        }
    }
}

static bool is_of_family(const hf_family *f, const char *name)
{
    for (int i = 0; i < f->n_fields; i++)
        if (!strcmp(hf_name(&f->fields[i]), name)) return true;
    for (const char *const *one = f->harmless; one && *one; one++)
        if (!strcmp(*one, name)) return true;
    return false;
}

/* What other models have, what nobody has, and what the common fields may not say: in every
 * family. */
static void test_unknown_fields_are_refused(void **state)
{
    (void)state;
    static const char *const fields[][2] = {
        {"made_up", "1"},
        {"_made_up", "1"},
        {"", "1"},
        {"num_local_experts", "8"},
        {"num_experts_per_tok", "2"},
        {"moe_intermediate_size", "1408"},
        {"attn_logit_softcapping", "50.0"},
        {"final_logit_softcapping", "30.0"},
        {"query_pre_attn_scalar", "256"},
        {"_sliding_window_pattern", "6"},
        {"attention_chunk_size", "8192"},
        {"logit_scale", "0.0625"},
        {"residual_multiplier", "0.22"},
        {"embedding_multiplier", "12.0"},
        {"no_rope_layers", "[1,0]"},
        {"q_lora_rank", "1536"},
        {"position_embedding_type", "\"relative_key\""},
        {"vision_config", "{}"},
        {"is_encoder_decoder", "true"},
        {"add_cross_attention", "true"},
        {"cross_attention_hidden_size", "64"},
        {"tie_encoder_decoder", "true"},
        {"pruned_heads", "{\"0\":[1]}"},
        {"quantization_config", "{\"quant_method\":\"awq\"}"},
    };
    for (int i = 0; i < hf_n_families; i++)
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
            model_config c;
            if (is_of_family(&hf_families[i], fields[k][0])) continue;
            fails(read_with(&hf_families[i], base_of(&hf_families[i], 0), fields[k][0],
                            fields[k][1], &c),
                  "x/config.json", fields[k][0]);
        }
    static const char *const types[] = {"ministral", "mixtral", "gemma3",    "gemma3n",
                                        "phimoe",    "opt",     "glm",       "qwen2_moe",
                                        "mamba",     "bert",    "RefinedWeb"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        model_config c;
        char text[ROOM];
        snprintf(text, sizeof text, "{\"model_type\":\"%s\"}", types[i]);
        fails(read_text(text, &c), "model_type", types[i]);
    }
}

static error *read_tokens(const char *fields, const char *family, model_config *c)
{
    char text[600];
    snprintf(text, sizeof text, "{\"model_type\": \"%s\"%s}", family, fields);
    return read_text(text, c);
}

/* Special tokens are written as they were read, in a family that has a field for one of them,
 * too. */
static void test_special_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *lines[3];
    } kept[] = {{", \"eos_token_id\": 7", {"\"eos_token_id\":\t7", "!\"bos_token_id\"", NULL}},
                {", \"eos_token_id\": [7, 9], \"pad_token_id\": -1",
                 {"\"eos_token_id\":\t[7, 9]", "\"pad_token_id\":\t-1", "!\"bos_token_id\""}},
                {", \"bos_token_id\": null, \"eos_token_id\": []",
                 {"\"bos_token_id\":\tnull", "\"eos_token_id\":\t[]", NULL}}};
    static const char *const families[] = {"llama", "gpt2", "smollm3"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        for (int f = 0; f < 3; f++) {
            model_config c;
            char *text;
            ok(read_tokens(kept[i].fields, families[f], &c));
            ok(hf_config_text(&c, "float32", &text));
            for (int k = 0; k < 3 && kept[i].lines[k]; k++) {
                const char *line = kept[i].lines[k];
                bool absent = *line == '!';
                if (!strstr(text, line + absent) != absent) fail_msg("%s: %s", line, text);
            }
            model_config back;
            ok(read_text(text, &back)); /* no field is there twice */
            if (f < 2) assert_memory_equal(&back.tokens, &c.tokens, sizeof c.tokens);
            free(text);
        }
    static const char *const wrong[] = {
        "\"x\"", "1.5", "-2", "[1, [2]]", "true", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        model_config c;
        char field[100];
        snprintf(field, sizeof field, ", \"eos_token_id\": %s", wrong[i]);
        fails(read_tokens(field, "llama", &c), "eos_token_id", i == 5 ? "too many" : "number");
    }
}

static const char *const refused_configs[][3] = {
    {"llama", "\"rope_scaling\":{\"type\":\"linear\"}", "without a factor"},
    {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"low_freq_factor\":1}",
     "llama3"},
    {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"llama3\",\"factor\":2}",
     "two types"},
    {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}", "factor must be"},
    {"llama",
     "\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
     "\"high_freq_factor\":1,\"original_max_position_embeddings\":8192}",
     "larger high_freq_factor"},
    {"llama",
     "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},"
     "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":4}",
     "says something else"},
    {"mistral", "\"layer_types\":[\"full_attention\"]", "sliding_window says something else"},
    {"mistral", "\"attention_bias\":true", "attention_bias"},
    {"mistral", "\"sliding_window\":null,\"layer_types\":[\"sliding_attention\"]",
     "sliding_window says something else"},
    {"phi3", "\"sliding_window\":2047,\"layer_types\":[\"none\"]", "layer_types"},
    {"gemma2", "\"sliding_window\":null", "some layers have a window"},
    {"gemma2", "\"sliding_window\":64,\"sliding_window_size\":65", "says something else"},
    {"gemma2", "\"layer_types\":[\"full_attention\"]", "a word for each layer"},
    {"gemma2", "\"num_hidden_layers\":1,\"layer_types\":[\"chunked_attention\"]", "are known here"},
    {"gemma2",
     "\"num_hidden_layers\":3,\"layer_types\":[\"full_attention\",\"sliding_attention\","
     "\"full_attention\"]",
     "every n-th"},
    {"gemma3_text", "\"attn_logit_softcapping\":50", "no caps of scores"},
    {"gemma3_text", "\"rope_parameters\":{\"rope_theta\":5}", "full_attention alone"},
    {"gemma3_text",
     "\"rope_parameters\":{\"sliding_attention\":{\"rope_type\":\"linear\",\"factor\":2}}",
     "type must be default"},
    {"gemma3_text",
     "\"rope_parameters\":{\"sliding_attention\":{\"rope_theta\":5}},\"rope_local_base_freq\":"
     "6",
     "rope_local_base_freq is another number"},
    {"phi3", "\"rope_scaling\":{\"type\":\"longrope\"}", "not default, linear or llama3"},
    {"smollm3", "\"no_rope_layers\":[1,0]", "a number for each layer"},
    {"smollm3", "\"num_hidden_layers\":4,\"no_rope_layers\":[1,0,0,1]", "every n-th"},
    {"llama", "\"rope_interleaved\":true", "rope_interleaved is true"},
    {"llama", "\"rope_scaling\":{\"rope_type\":\"llama3\"}", "rope_scaling"},
    {"llama", "\"rope_scaling\":{\"factor\":2.0}", "rope_scaling"},
    {"llama", "\"rope_scaling\":7", "rope_scaling is 7"},
    {"llama", "\"rope_parameters\":{\"rope_theta\":5},\"rope_theta\":6", "rope_parameters"},
    {"llama", "\"rope_parameters\":{\"rope_theta\":\"5\"}", "rope_parameters"},
    {"llama", "\"rope_parameters\":{\"partial_rotary_factor\":0.5}", "partial_rotary_factor"},
    {"llama", "\"rope_parameters\":{\"full_attention\":{}}", "rope_parameters"},
    {"llama", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0}",
     "not default, linear or llama3"},
    {"llama", "\"rope_theta\":0", "rope_theta is 0"},
    {"llama", "\"attention_dropout\":0.1", "attention_dropout is 0.1"},
    {"llama", "\"hidden_act\":\"relu\"", "hidden_act is \"relu\""},
    {"llama", "\"num_key_value_heads\":5", "num_key_value_heads is 5"},
    {"llama", "\"num_attention_heads\":3,\"hidden_size\":64", "num_attention_heads is 3"},
    {"llama", "\"num_key_value_heads\":64", "num_key_value_heads is 64"},
    {"llama", "\"head_dim\":7", "7 numbers of a head"},
    {"llama", "\"num_hidden_layers\":null", "num_hidden_layers is null"},
    {"qwen2", "\"num_key_value_heads\":null,\"num_attention_heads\":64", "heads is null"},
    {"gemma", "\"tie_word_embeddings\":null", "tie_word_embeddings is null"},
    {"bloom", "\"num_attention_heads\":null", "num_attention_heads is null"},
    {"llama", "\"num_hidden_layers\":0", "num_hidden_layers is 0"},
    {"llama", "\"num_hidden_layers\":2.5", "num_hidden_layers is 2.5"},
    {"llama", "\"rms_norm_eps\":-1e-5", "rms_norm_eps is -1e-05"},
    {"llama", "\"sliding_window\":4096", "sliding_window is 4096"},
    {"llama", "\"attention_multiplier\":0.5", "attention_multiplier is 0.5"},
    {"llama", "\"quantization_config\":{}", "quantization_config"},
    {"llama", "\"hidden_size\":64,\"hidden_size\":128", "hidden_size twice"},
    {"qwen2", "\"layer_types\":\"full_attention\"", "layer_types"},
    {"qwen2", "\"use_sliding_window\":true", "use_sliding_window is true"},
    {"qwen2", "\"layer_types\":[\"full_attention\",\"sliding_attention\"]", "layer_types"},
    {"qwen3", "\"use_sliding_window\":true", "use_sliding_window is true"},
    {"gemma", "\"hidden_act\":\"silu\"", "hidden_act is \"silu\""},
    {"bloom", "\"apply_residual_connection_post_layernorm\":true", "post_layernorm is true"},
    {"bloom", "\"n_inner\":100", "n_inner is 100"},
    {"bloom", "\"hidden_size\":64,\"n_embed\":128", "n_embed is 128"},
    {"bloom", "\"attention_dropout\":0.1", "attention_dropout is 0.1"},
    {"phi", "\"qk_layernorm\":true", "qk_layernorm is true"},
    {"phi", "\"partial_rotary_factor\":0", "partial_rotary_factor is 0"},
    {"phi", "\"partial_rotary_factor\":1.5", "partial_rotary_factor is 1.5"},
    {"phi", "\"partial_rotary_factor\":0.5,\"rope_parameters\":{\"partial_rotary_factor\":0.4}",
     "another number"},
    {"falcon", "\"alibi\":true", "alibi is true"},
    {"falcon", "\"num_kv_heads\":8", "num_kv_heads is 8"},
    {"falcon", "\"num_ln_in_parallel_attn\":2", "num_ln_in_parallel_attn is 2"},
    {"falcon", "\"num_ln_in_parallel_attn\":3,\"new_decoder_architecture\":true",
     "num_ln_in_parallel_attn is 3"},
    {"falcon", "\"activation\":\"relu\"", "activation is \"relu\""},
    {"chatglm", "\"rmsnorm\":false", "rmsnorm is false"},
    {"chatglm", "\"rope_ratio\":50", "rope_ratio is 50"},
    {"chatglm", "\"vocab_size\":100", "vocab_size is 100"},
    {"chatglm", "\"pre_seq_len\":128", "pre_seq_len is 128"},
    {"chatglm", "\"quantization_bit\":4", "quantization_bit is 4"},
    {"qwen", "\"no_bias\":false", "no_bias is false"},
    {"qwen", "\"intermediate_size\":7", "intermediate_size is 7"},
    {"mamba", "\"a\":1", "model_type is \"mamba\""},
};

static void test_config_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused_configs / sizeof *refused_configs; i++) {
        model_config c;
        char text[300];
        snprintf(text, sizeof text, "{\"model_type\":\"%s\",%s}", refused_configs[i][0],
                 refused_configs[i][1]);
        fails(read_text(text, &c), "x/config.json", refused_configs[i][2]);
    }
}

/* The newer form of what rotations are, and names that mean the same. */
static void test_config_habits(void **state)
{
    (void)state;
    model_config a, b;
    ok(read_text("{\"model_type\":\"llama\",\"rope_theta\":500000.0}", &a));
    ok(read_text("{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":\"default\","
                 "\"rope_theta\":500000.0}}",
                 &b));
    check_same_model(&a, &b);
    assert_true(a.rotary.base == 5e5);
    ok(read_text("{\"model_type\":\"phi\",\"partial_rotary_factor\":0.25}", &a));
    ok(read_text("{\"model_type\":\"phi\",\"rope_parameters\":{\"partial_rotary_factor\":0.25}}",
                 &b));
    check_same_model(&a, &b);
    assert_int_equal(a.rotary.size, 16);
    ok(read_text("{\"model_type\":\"bloom\",\"hidden_size\":128,\"n_embed\":128}", &a));
    assert_int_equal(a.width, 128);
    ok(read_text("{\"model_type\":\"falcon\",\"new_decoder_architecture\":true,"
                 "\"num_attention_heads\":8,\"hidden_size\":512,\"num_kv_heads\":2,"
                 "\"num_ln_in_parallel_attn\":1}",
                 &a));
    assert_true(a.residual == RESIDUAL_PARALLEL_ONE_NORM && a.kv_heads == 2);
}

static void test_scaled_rotations(void **state)
{
    (void)state;
    model_config a, b;
    ok(read_text(
        "{\"model_type\":\"llama\",\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"llama3\","
        "\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
        "\"original_max_position_embeddings\":8192}}",
        &a));
    ok(read_text("{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_"
                 "theta\":5e5,"
                 "\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
                 "\"original_max_position_embeddings\":8192}}",
                 &b));
    check_same_model(&a, &b);
    assert_true(a.rotary.scaling.factor == 8 && a.rotary.scaling.low == 1 &&
                a.rotary.scaling.high == 4 && a.rotary.scaling.context == 8192);
    ok(read_text("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":1}}",
                 &a));
    assert_true(a.rotary.scaling.factor == 0);
}

/* What an older or a shorter form leaves out, and layers that are named one by one. */
static void test_windows_and_layers(void **state)
{
    (void)state;
    model_config a, b;
    ok(read_text("{\"model_type\":\"mistral\",\"max_position_embeddings\":4096,"
                 "\"attention_bias\":false,\"mlp_bias\":false}",
                 &a));
    ok(read_text("{\"model_type\":\"mistral\",\"sliding_window\":131072}", &a));
    assert_int_equal(a.window, 131072);
    assert_false(has_windows(&a));
    char *text;
    ok(hf_config_text(&a, "float32", &text)); /* the number is kept */
    ok(read_text(text, &b));
    check_same_model(&a, &b);
    assert_int_equal(b.window, 131072);
    free(text);
    ok(read_text("{\"model_type\":\"mistral\",\"num_hidden_layers\":1,\"sliding_window\":131072,"
                 "\"layer_types\":[\"sliding_attention\"]}",
                 &a));
    ok(read_text(
        "{\"model_type\":\"smollm3\",\"num_hidden_layers\":4,\"no_rope_layers\":[1,0,1,0]}", &a));
    ok(read_text(
        "{\"model_type\":\"smollm3\",\"num_hidden_layers\":4,\"no_rope_layer_interval\":2}", &b));
    check_same_model(&a, &b);
    assert_int_equal(a.rotary.skip, 2);
}

/* Unknown fields may be let through by name; what is known may not. */
static void test_ignored_fields(void **state)
{
    (void)state;
    static const char *const made_up[] = {"made_up", NULL}, *const width[] = {"hidden_size", NULL};
    model_config a, b;
    cJSON *json = cJSON_Parse("{\"model_type\":\"llama\",\"hidden_size\":512,\"made_up\":[1]}");
    fails(hf_config_read("x/config.json", json, NULL, &a), "made_up is [1]", "--ignore-field");
    ok(hf_config_read("x/config.json", json, made_up, &a));
    ok(read_text("{\"model_type\":\"llama\",\"hidden_size\":512}", &b));
    check_same_model(&a, &b);
    fails(hf_config_read("x/config.json", json, width, &a), "--ignore-field hidden_size",
          "known field");
    cJSON_Delete(json);
}

/* Other sizes of a preset: its family stays. */
static void test_resized(void **state)
{
    (void)state;
    model_config c, r;
    ok(preset_find(&text_presets, "phi-2", &c));
    r = config_resized(&c, &(model_config){.layers = 3, .heads = 4, .width = 160});
    assert_true(r.layers == 3 && r.heads == 4 && r.kv_heads == 4 && r.width == 160);
    assert_true(r.head_size == 40 && r.inner == 640 && r.rotary.size == 16);
    assert_true(r.vocab == c.vocab && r.context == c.context && r.names == c.names);
    ok(preset_find(&text_presets, "gemma-2b", &c));
    r = config_resized(&c, &(model_config){.width = 64, .heads = 4});
    assert_true(r.kv_heads == 1 && r.embedding_scale == 8 && r.inner == 512);
    r = config_resized(&c, &(model_config){.context = 100, .vocab = 50});
    assert_true(r.head_size == 256 && r.context == 100 && r.vocab == 50);
    ok(preset_find(&text_presets, "qwen3-0.6b", &c)); /* heads are twice the width */
    r = config_resized(&c, &(model_config){.width = 512});
    assert_true(r.heads == 16 && r.head_size == 64 && r.rotary.size == 64 && r.kv_heads == 8);
    ok(preset_find(&text_presets, "gemma-7b", &c)); /* and four thirds of it */
    r = config_resized(&c, &(model_config){.width = 96, .heads = 4});
    assert_true(r.kv_heads == 4 && r.head_size == 32 && r.rotary.size == 32 && r.inner == 768);
    ok(preset_find(&text_presets, "gemma2-27b", &c));
    r = config_resized(&c, &(model_config){.width = 180, .heads = 16});
    assert_true(r.head_size == 10 && r.query_scalar == 12); /* of 11.25 */
    ok(preset_find(&text_presets, "qwen2.5-0.5b", &c));
    r = config_resized(&c, &(model_config){.heads = 7});
    fails(config_check(&r), "qwen2.5-0.5b", "the key heads must divide the heads");
}

/* Every member but the names has its row: the bytes of a model_config that are no padding. */
static void test_every_member_is_in_the_table(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        [FIELD_SIZE] = sizeof(int64_t),      [FIELD_NUMBER] = sizeof(double),
        [FIELD_EPSILON] = sizeof(double),    [FIELD_FLAG] = sizeof(bool),
        [FIELD_CHOICE] = sizeof(activation), [FIELD_BIASES] = sizeof(biases)};
    static model_config c;
    unsigned char *bytes = (unsigned char *)&c;
    memset(&c, 0xff, sizeof c);
    __builtin_clear_padding(&c);
    memset(c.name, 0, sizeof c.name);
    memset(&c.names, 0, sizeof c.names);
    memset(&c.tokens, 0, sizeof c.tokens);
    for (int i = 0; i < MODEL_FIELD_COUNT; i++) {
        const model_field *f = &model_fields[i];
        for (size_t k = 0; k < sizes[f->type]; k++)
            if (!bytes[f->at + k]) fail_msg("two rows stand for the byte of %s", f->name);
        memset(bytes + f->at, 0, sizes[f->type]);
    }
    for (size_t k = 0; k < sizeof c; k++)
        if (bytes[k]) fail_msg("no row of MODEL_FIELDS stands for byte %zu of model_config", k);
}

/* A value of a field that is another one makes another model: for config.json, which says that it
 * cannot express it or expresses it, and for a checkpoint. */
static void test_every_field_is_compared(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_FIELD_COUNT; i++) {
        const model_field *f = &model_fields[i];
        model_config a = gpt_config("a", 2, 2, 8, 16, 32), b = a;
        unsigned char *first = (unsigned char *)&b + f->at;
        if (f->type == FIELD_NUMBER || f->type == FIELD_EPSILON)
            *(double *)(void *)first += 1;
        else
            *first = !*first;
        assert_ptr_equal(config_difference(&a, &b), f);
        cJSON *one = config_json(&a), *two = config_json(&b);
        assert_int_equal(cJSON_GetArraySize(one), MODEL_FIELD_COUNT);
        const cJSON *x = cJSON_GetObjectItem(one, f->name), *y = cJSON_GetObjectItem(two, f->name);
        assert_true(x && y && !cJSON_Compare(x, y, true));
        cJSON_Delete(one), cJSON_Delete(two);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_member_is_in_the_table),
        cmocka_unit_test(test_every_field_is_compared),
        cmocka_unit_test(test_presets_as_config_json),
        cmocka_unit_test(test_numbers_of_the_type_declared),
        cmocka_unit_test(test_published_configs),
        cmocka_unit_test(test_no_field_is_ignored),
        cmocka_unit_test(test_unknown_fields_are_refused),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_config_refusals),
        cmocka_unit_test(test_config_habits),
        cmocka_unit_test(test_scaled_rotations),
        cmocka_unit_test(test_windows_and_layers),
        cmocka_unit_test(test_ignored_fields),
        cmocka_unit_test(test_resized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_family_files.c - the families by their files: what transformers computes from small files of each
 * (golden/family_files.py) is what we compute of them, and we write them back as they were; presets have
 * the parameters that Hugging Face's models have; config.json says what it says or is refused. */
#include "cpu/cpu.h"
#include "io/json.h"
#include "io/params_file.h"
#include "model/hf.h"
#include "model/kind.h"
#include "test/scratch.h"
#include "train/generator.h"
#include "train/task.h"

#include <math.h>
#include <sys/stat.h>

enum { MOST_TENSORS = 64, MOST_JSON = 1 << 20 };

/* ---- files ---- */

/* As in golden/family_files.py. */
static float number(const char *name, uint32_t i)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    uint32_t x = h + i * 0x9E3779B1u;
    x = (x ^ x >> 16) * 0x85EBCA6Bu;
    x = (x ^ x >> 13) * 0xC2B2AE35u;
    return (float)((double)((x ^ x >> 16) >> 12) / (1 << 21) - 0.25);
}

static bool is_norm(const char *name)
{
    size_t n = strlen(name);
    return n > 7 && !strcmp(name + n - 7, ".weight") &&
           (strstr(name, "norm") || strstr(name, ".ln_"));
}

static tensor make_tensor(const cJSON *item, bool gemma)
{
    shape s = {0};
    const cJSON *dim;
    cJSON_ArrayForEach(dim, item) s.dim[s.rank++] = dim->valueint;
    tensor t = tensor_of(NULL, F32, s);
    float *data = malloc(tensor_bytes(t));
    for (int64_t i = 0; i < tensor_count(t); i++)
        data[i] = (is_norm(item->string) && !gemma) + number(item->string, (uint32_t)i);
    t.data = data;
    return t;
}

/* The family's file, in DIR/NAME. */
static void write_files(const cJSON *family, const char *dir, device *dev)
{
    char path[300];
    named_tensor list[MOST_TENSORS] = {0};
    int n = 0;
    const cJSON *item, *config = cJSON_GetObjectItem(family, "config");
    char *text = cJSON_Print(config);
    bool gemma = !strcmp(cJSON_GetObjectItem(config, "model_type")->valuestring, "gemma");
    assert_int_equal(mkdir(dir, 0777), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    file_write(path, text, strlen(text));
    free(text);
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(family, "tensors"))
    {
        assert_true(n < MOST_TENSORS);
        list[n++] = (named_tensor){.name = item->string, .value = make_tensor(item, gemma)};
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    ok(safetensors_write(path, list, n, dev));
    for (int i = 0; i < n; i++)
        free(list[i].value.data);
}

/* Every tensor of one file is in the other, with the same shape and bytes; GPT-2's without the
 * prefix. */
static void check_same_tensors(const char *one, const char *two)
{
    safetensors *a, *b;
    ok(safetensors_open(one, &a));
    ok(safetensors_open(two, &b));
    assert_int_equal(safetensors_count(a), safetensors_count(b));
    for (int64_t i = 0; i < safetensors_count(a); i++) {
        const safetensors_entry *x = safetensors_entry_at(a, i);
        int64_t k = safetensors_find(b, x->name);
        if (k < 0) k = safetensors_find(b, x->name + strlen("transformer."));
        if (k < 0) fail_msg("%s has no %s", two, x->name);
        const safetensors_entry *y = safetensors_entry_at(b, k);
        assert_int_equal(x->rank, y->rank);
        assert_memory_equal(x->dim, y->dim, (size_t)x->rank * sizeof *x->dim);
        assert_int_equal(x->bytes, y->bytes);
        uint8_t *p = malloc((size_t)x->bytes), *q = malloc((size_t)x->bytes);
        ok(safetensors_read(a, i, 0, x->bytes, p));
        ok(safetensors_read(b, k, 0, x->bytes, q));
        if (memcmp(p, q, (size_t)x->bytes)) fail_msg("%s differs in %s", x->name, two);
        free(p), free(q);
    }
    safetensors_close(a);
    safetensors_close(b);
}

/* Floats against doubles: eps times the root of the longest sum's length and of the operations that
 * follow each other (some 30 here), in the size of the logits, which is 1. */
static void check_logits(const char *name, const cJSON *family, generator *g, const int32_t *tokens,
                         int64_t n)
{
    const cJSON *rows = cJSON_GetObjectItem(family, "logits");
    float *logits = malloc((size_t)g->config.vocab * sizeof *logits);
    assert_int_equal(cJSON_GetArraySize(rows), n);
    for (int64_t i = 0; i < n; i++) { /* a prompt of i tokens, then one more */
        const cJSON *want;
        int64_t v = 0;
        decoder_begin(&g->decoder);
        if (i) {
            decoder_push(&g->decoder, tokens, i);
            ok(decoder_next(&g->decoder, logits));
        }
        decoder_push(&g->decoder, tokens + i, 1);
        ok(decoder_next(&g->decoder, logits));
        decoder_end(&g->decoder);
        cJSON_ArrayForEach(want, cJSON_GetArrayItem(rows, (int)i))
        {
            if (!(fabs((double)logits[v] - want->valuedouble) < 3e-5))
                fail_msg("%s: token %lld, logit %lld is %.7g, transformers has %.7g", name,
                         (long long)i, (long long)v, (double)logits[v], want->valuedouble);
            v += 4;
        }
        assert_true(v >= g->config.vocab);
    }
    free(logits);
}

static void check_family(const cJSON *family, const char *dir, const int32_t *tokens, int64_t n)
{
    device dev;
    weights *w;
    generator *g;
    char again[300], one[320], two[320];
    ok(cpu_device(2, &dev));
    write_files(family, dir, &dev);
    ok(weights_open(dir, &w));
    ok(generator_plan(&gpt_kind, weights_model(w), 0, &g));
    ok(generator_commit(g, &dev, w, false));
    assert_int_equal(params_count(&g->params), cJSON_GetObjectItem(family, "parameters")->valueint);
    check_logits(family->string, family, g, tokens, n);
    snprintf(again, sizeof again, "%s-again", dir);
    assert_int_equal(mkdir(again, 0777), 0);
    ok(weights_write(again, &g->config, &g->params, &dev));
    snprintf(one, sizeof one, "%s/model.safetensors", dir);
    snprintf(two, sizeof two, "%s/model.safetensors", again);
    check_same_tensors(one, two);
    /* and config.json says the same */
    char *first, *second;
    weights *back;
    ok(weights_open(again, &back));
    ok(hf_config_text(weights_model(w), F32, &first));
    ok(hf_config_text(weights_model(back), F32, &second));
    assert_string_equal(first, second);
    free(first), free(second);
    weights_close(back);
    generator_destroy(g);
    weights_close(w);
    cpu_close(&dev);
}

static void test_files_of_transformers(void **state)
{
    cJSON *json;
    const cJSON *item;
    int32_t tokens[64];
    int64_t n = 0;
    ok(json_read("test/golden/family_files.json", MOST_JSON, &json));
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, "tokens")) tokens[n++] = item->valueint;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, "families"))
    {
        char *dir = scratch_path(state, item->string);
        check_family(item, dir, tokens, n);
        free(dir);
    }
    cJSON_Delete(json);
}

/* ---- presets ---- */

/* Parameters as transformers counts them, of the model's config.json on Hugging Face (ChatGLM: of
 * its own code). */
static const struct {
    const char *name;
    int64_t parameters;
} counts[] = {
    {"gpt2-124m", 124439808},   {"gpt2-350m", 354823168},    {"gpt2-774m", 774030080},
    {"gpt2-1558m", 1557611200}, {"llama2-7b", 6738415616},   {"llama2-13b", 13015864320},
    {"vicuna-7b", 6738415616},  {"vicuna-13b", 13015864320}, {"qwen-0.5b", 463987712},
    {"qwen-1.8b", 1836828672},  {"qwen2.5-0.5b", 494032768}, {"qwen3-0.6b", 596049920},
    {"bloom-560m", 559214592},  {"bloom-3b", 3002557440},    {"bloom-7b", 7069016064},
    {"phi-1.5", 1418270720},    {"phi-2", 2779683840},       {"gemma-2b", 2506172416},
    {"gemma-7b", 8537680896},   {"falcon-7b", 6921720704},   {"chatglm3-6b", 6243584000},
};

static int64_t count_of(const model_config *c)
{
    params p = {.type = F32};
    model *m;
    ok(gpt_kind.create(c, &p, &m));
    int64_t n = params_count(&p);
    assert_true(fabs(config_parameters(c) / (double)n - 1) < (n > 100000000 ? 0.002 : 0.05));
    gpt_kind.destroy(m);
    params_free(&p);
    return n;
}

static void test_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        model_config c;
        ok(preset_find(counts[i].name, &c));
        if (count_of(&c) != counts[i].parameters)
            fail_msg("%s has %lld parameters, Hugging Face's %lld", counts[i].name,
                     (long long)count_of(&c), (long long)counts[i].parameters);
    }
}

static error *read_text(const char *text, model_config *c)
{
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    error *e = hf_config_read("x/config.json", json, c);
    cJSON_Delete(json);
    return e;
}

static void check_same_model(const model_config *a, const model_config *b)
{
    char *one, *two;
    ok(hf_config_text(a, F32, &one));
    ok(hf_config_text(b, F32, &two));
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
    for (int i = 0; preset_at(i); i++) {
        model_config back;
        char *text;
        ok(hf_config_text(preset_at(i), F32, &text));
        ok(read_text(text, &back));
        check_same_model(preset_at(i), &back);
        free(text);
    }
}

/* The fields of the files on Hugging Face that say what is computed, and others that do not. */
static const struct {
    const char *preset, *text;
} published[] = {
    {"llama2-7b",
     "{\"_name_or_path\":\"meta-llama/Llama-2-7b-hf\",\"architectures\":[\"LlamaForCausalLM\"],"
     "\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_act\":\"silu\",\"hidden_size\":4096,"
     "\"initializer_range\":0.02,\"intermediate_size\":11008,\"max_position_embeddings\":4096,"
     "\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":32,"
     "\"num_key_value_heads\":32,\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,"
     "\"tie_word_embeddings\":false,\"torch_dtype\":\"float16\",\"use_cache\":true,"
     "\"vocab_size\":32000}"},
    {"vicuna-13b",
     "{\"hidden_act\":\"silu\",\"hidden_size\":5120,\"intermediate_size\":13824,\"max_length\":"
     "4096,"
     "\"max_position_embeddings\":4096,\"model_type\":\"llama\",\"num_attention_heads\":40,"
     "\"num_hidden_layers\":40,\"num_key_value_heads\":40,\"pad_token_id\":0,\"rms_norm_eps\":1e-5,"
     "\"vocab_size\":32000}"},
    {"qwen-0.5b",
     "{\"attention_dropout\":0.0,\"hidden_act\":\"silu\",\"hidden_size\":1024,"
     "\"intermediate_size\":2816,\"max_position_embeddings\":32768,\"max_window_layers\":21,"
     "\"model_type\":\"qwen2\",\"num_attention_heads\":16,\"num_hidden_layers\":24,"
     "\"num_key_value_heads\":16,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,"
     "\"sliding_window\":32768,\"tie_word_embeddings\":true,\"use_sliding_window\":false,"
     "\"vocab_size\":151936}"},
    {"qwen2.5-0.5b",
     "{\"hidden_size\":896,\"intermediate_size\":4864,\"max_position_embeddings\":32768,"
     "\"max_window_layers\":24,\"model_type\":\"qwen2\",\"num_attention_heads\":14,"
     "\"num_hidden_layers\":24,\"num_key_value_heads\":2,\"rms_norm_eps\":1e-06,"
     "\"rope_theta\":1000000.0,\"sliding_window\":32768,\"tie_word_embeddings\":true,"
     "\"use_mrope\":false,\"use_sliding_window\":false,\"vocab_size\":151936}"},
    {"qwen3-0.6b",
     "{\"attention_bias\":false,\"head_dim\":128,\"hidden_size\":1024,\"intermediate_size\":3072,"
     "\"max_position_embeddings\":40960,\"max_window_layers\":28,\"model_type\":\"qwen3\","
     "\"num_attention_heads\":16,\"num_hidden_layers\":28,\"num_key_value_heads\":8,"
     "\"rms_norm_eps\":1e-06,\"rope_theta\":1000000,\"sliding_window\":null,"
     "\"tie_word_embeddings\":true,\"use_sliding_window\":false,\"vocab_size\":151936}"},
    {"bloom-560m",
     "{\"apply_residual_connection_post_layernorm\":false,\"attention_dropout\":0.0,"
     "\"attention_softmax_in_fp32\":true,\"bias_dropout_fusion\":true,\"hidden_dropout\":0.0,"
     "\"layer_norm_epsilon\":1e-05,\"masked_softmax_fusion\":true,\"model_type\":\"bloom\","
     "\"n_embed\":1024,\"n_inner\":null,\"n_layer\":24,\"num_attention_heads\":16,"
     "\"offset_alibi\":100,\"pretraining_tp\":1,\"skip_bias_add\":true,\"skip_bias_add_qkv\":false,"
     "\"unk_token_id\":0,\"vocab_size\":250880}"},
    {"phi-2",
     "{\"attention_dropout\":0.0,\"embd_pdrop\":0.0,\"hidden_act\":\"gelu_new\","
     "\"hidden_size\":2560,\"intermediate_size\":10240,\"layer_norm_eps\":1e-05,"
     "\"max_position_embeddings\":2048,\"model_type\":\"phi\",\"num_attention_heads\":32,"
     "\"num_hidden_layers\":32,\"num_key_value_heads\":32,\"partial_rotary_factor\":0.4,"
     "\"qk_layernorm\":false,\"resid_pdrop\":0.1,\"rope_scaling\":null,\"rope_theta\":10000.0,"
     "\"tie_word_embeddings\":false,\"vocab_size\":51200}"},
    {"gemma-2b",
     "{\"attention_bias\":false,\"attention_dropout\":0.0,\"head_dim\":256,\"hidden_act\":\"gelu\","
     "\"hidden_size\":2048,\"intermediate_size\":16384,\"max_position_embeddings\":8192,"
     "\"model_type\":\"gemma\",\"num_attention_heads\":8,\"num_hidden_layers\":18,"
     "\"num_key_value_heads\":1,\"rms_norm_eps\":1e-06,\"rope_scaling\":null,\"rope_theta\":10000."
     "0,"
     "\"vocab_size\":256000}"},
    {"falcon-7b",
     "{\"alibi\":false,\"apply_residual_connection_post_layernorm\":false,"
     "\"attention_dropout\":0.0,\"bias\":false,\"hidden_dropout\":0.0,\"hidden_size\":4544,"
     "\"layer_norm_epsilon\":1e-05,\"model_type\":\"falcon\",\"multi_query\":true,"
     "\"new_decoder_architecture\":false,\"num_attention_heads\":71,\"num_hidden_layers\":32,"
     "\"parallel_attn\":true,\"vocab_size\":65024}"},
    {"chatglm3-6b",
     "{\"add_bias_linear\":false,\"add_qkv_bias\":true,\"apply_query_key_layer_scaling\":true,"
     "\"apply_residual_connection_post_layernorm\":false,\"attention_dropout\":0.0,"
     "\"attention_softmax_in_fp32\":true,\"auto_map\":{},\"bias_dropout_fusion\":true,"
     "\"ffn_hidden_size\":13696,\"fp32_residual_connection\":false,\"hidden_dropout\":0.0,"
     "\"hidden_size\":4096,\"kv_channels\":128,\"layernorm_epsilon\":1e-05,"
     "\"model_type\":\"chatglm\",\"multi_query_attention\":true,\"multi_query_group_num\":2,"
     "\"num_attention_heads\":32,\"num_layers\":28,\"original_rope\":true,"
     "\"padded_vocab_size\":65024,\"post_layer_norm\":true,\"rmsnorm\":true,\"seq_length\":8192,"
     "\"tie_word_embeddings\":false,\"pre_seq_len\":null,\"prefix_projection\":false,"
     "\"quantization_bit\":0,\"vocab_size\":65024}"},
};

static void test_published_configs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        model_config c, preset;
        ok(read_text(published[i].text, &c));
        ok(preset_find(published[i].preset, &preset));
        check_same_model(&c, &preset);
    }
}

static void test_config_refusals(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}", "rope_scaling"},
        {"llama", "\"rope_scaling\":{\"rope_type\":\"llama3\"}", "rope_scaling"},
        {"llama", "\"rope_scaling\":{\"factor\":2.0}", "rope_scaling"},
        {"llama", "\"rope_scaling\":7", "rope_scaling is 7"},
        {"llama", "\"rope_parameters\":{\"rope_theta\":5},\"rope_theta\":6", "rope_parameters"},
        {"llama", "\"rope_parameters\":{\"rope_theta\":\"5\"}", "rope_parameters"},
        {"llama", "\"rope_theta\":0", "rope_theta is 0"},
        {"llama", "\"attention_dropout\":0.1", "attention_dropout is 0.1"},
        {"llama", "\"hidden_act\":\"relu\"", "hidden_act is \"relu\""},
        {"llama", "\"num_key_value_heads\":5", "num_key_value_heads is 5"},
        {"llama", "\"num_attention_heads\":3,\"hidden_size\":64", "num_attention_heads is 3"},
        {"llama", "\"head_dim\":7", "7 numbers of a head"},
        {"llama", "\"sliding_window\":4096", "sliding_window is 4096"},
        {"llama", "\"attention_multiplier\":0.5", "attention_multiplier is 0.5"},
        {"llama", "\"quantization_config\":{}", "quantization_config"},
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
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        model_config c;
        char text[300];
        snprintf(text, sizeof text, "{\"model_type\":\"%s\",%s}", bad[i][0], bad[i][1]);
        fails(read_text(text, &c), "x/config.json", bad[i][2]);
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

/* Other sizes of a preset: its family stays. */
static void test_resized(void **state)
{
    (void)state;
    model_config c, r;
    ok(preset_find("phi-2", &c));
    r = config_resized(&c, &(model_config){.layers = 3, .heads = 4, .width = 160});
    assert_true(r.layers == 3 && r.heads == 4 && r.kv_heads == 4 && r.width == 160);
    assert_true(r.head_size == 40 && r.inner == 640 && r.rotary.size == 16);
    assert_true(r.vocab == c.vocab && r.context == c.context && r.names == c.names);
    ok(preset_find("gemma-2b", &c));
    r = config_resized(&c, &(model_config){.width = 64, .heads = 4});
    assert_true(r.kv_heads == 1 && r.embedding_scale == 8 && r.inner == 512);
    r = config_resized(&c, &(model_config){.context = 100, .vocab = 50});
    assert_true(r.head_size == 256 && r.context == 100 && r.vocab == 50);
    ok(preset_find("qwen2.5-0.5b", &c));
    r = config_resized(&c, &(model_config){.heads = 7});
    fails(config_check(&r), "qwen2.5-0.5b", "key heads divide the heads");
}

/* --model takes a config.json; --load takes the family from the file. */
static void test_options(void **state)
{
    static options o;
    char *config = scratch_path(state, "one.json"), *dir = scratch_path(state, "bloom");
    const char text[] = "{\"model_type\":\"qwen2\",\"hidden_size\":64,\"num_attention_heads\":4,"
                        "\"num_key_value_heads\":2,\"num_hidden_layers\":3,\"vocab_size\":99}";
    file_write(config, text, sizeof text - 1);
    char *words[] = {(char *)(size_t) "x", (char *)(size_t) "--model", config, NULL};
    ok(options_parse(&text_task, 3, words, &o));
    assert_true(o.model.names == &llama_names && o.model.bias.qkv && o.model.kv_heads == 2);
    assert_true(o.model.layers == 3 && o.model.vocab == 99 && o.seq == 32768);
    char *load[] = {(char *)(size_t) "x",       (char *)(size_t) "--load",   dir,
                    (char *)(size_t) "--model", (char *)(size_t) "phi-nano", NULL};
    ok(options_parse(&text_task, 3, load, &o));
    assert_true(o.model.names == &bloom_names);
    assert_string_equal(o.model_name, "bloom");
    fails(options_parse(&text_task, 5, load, &o), "--model", "--load");
    free(config), free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_of_transformers),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_presets_as_config_json),
        cmocka_unit_test(test_published_configs),
        cmocka_unit_test(test_config_refusals),
        cmocka_unit_test(test_config_habits),
        cmocka_unit_test(test_resized),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

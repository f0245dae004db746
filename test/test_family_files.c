/* test_family_files.c - the families by their files: what transformers computes from small files of
 * each (golden/family_files.py) is what we compute of them, in one file or several, in 32 bits or
 * 16, with what some writers leave out or add, and we write them back as they were. */
#include "base/bf16.h"
#include "cpu/cpu.h"
#include "base/json.h"
#include "io/params_file.h"
#include "model/hf/hf.h"
#include "model/families.h"
#include "model/model.h"
#include "test/made_tensor.h"
#include "test/scratch.h"
#include "test/small_run.h"
#include "infer/inference.h"
#include "train/task.h"

#include <math.h>
#include <sys/stat.h>

enum { MOST_TENSORS = 64, MOST_JSON = 1 << 20 };

/* ---- files ---- */

static void round_to_bf16(tensor *t)
{
    int64_t n = tensor_count(*t);
    uint16_t *data = malloc((size_t)n * sizeof *data);
    for (int64_t i = 0; i < n; i++)
        data[i] = bf16_of_float(((float *)t->data)[i]);
    free(t->data);
    t->data = data;
    t->type = BF16;
}

/* What is there: the plain file; two files and an index; 16-bit floats; names without the prefix
 * that is the model's, and constants that older versions wrote, too. */
typedef enum { PLAIN, SHARDS, HALF, ODD, FORMS } file_form;

static const char *type_of(const cJSON *family)
{
    return cJSON_GetObjectItem(cJSON_GetObjectItem(family, "config"), "model_type")->valuestring;
}

static void write_config(const cJSON *family, const char *dir)
{
    char path[300], *text = cJSON_Print(cJSON_GetObjectItem(family, "config"));
    assert_int_equal(mkdir(dir, 0777), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    file_write(path, text, strlen(text));
    free(text);
}

static void write_shards(const char *dir, const named_tensor *list, int n, device *dev)
{
    char path[300], index[MOST_TENSORS * 100] = "{\"metadata\":{},\"weight_map\":{";
    for (int half = 0; half < 2; half++) {
        int first = half * (n / 2), end = half ? n : n / 2;
        snprintf(path, sizeof path, "%s/model-0000%d-of-00002.safetensors", dir, half + 1);
        ok(safetensors_write(path, list + first, end - first, dev, NULL));
        for (int i = first; i < end; i++)
            snprintf(index + strlen(index), sizeof index - strlen(index), "%s\"%s\":\"%s\"",
                     i ? "," : "", list[i].name, strrchr(path, '/') + 1);
    }
    strcat(index, "}}");
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    file_write(path, index, strlen(index));
}

/* The family's file, in DIR. */
static void write_files(const cJSON *family, const char *dir, file_form form, device *dev)
{
    static const char *const constants[] = {"h.1.attn.bias", "h.0.attn.masked_bias",
                                            "transformer.rotary_pos_emb.inv_freq",
                                            "model.layers.0.self_attn.rotary_emb.inv_freq"};
    char path[300];
    named_tensor list[MOST_TENSORS] = {0};
    int n = 0, own;
    const cJSON *item;
    bool gemma = !strncmp(type_of(family), "gemma", 5);
    write_config(family, dir);
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(family, "tensors"))
    {
        assert_true(n < MOST_TENSORS - 4);
        named_tensor *t = &list[n++];
        *t = (named_tensor){.name = item->string, .value = make_tensor(item, gemma)};
        if (form == HALF) round_to_bf16(&t->value);
        if (form != ODD) continue;
        if (!strncmp(t->name, "model.", 6)) t->name += 6;
        if (!strncmp(t->name, "transformer.", 12)) t->name += 12;
    }
    own = n;
    for (int i = 0; form == ODD && i < 4; i++)
        list[n++] = (named_tensor){.name = constants[i], .value = list[0].value};
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (form == SHARDS)
        write_shards(dir, list, n, dev);
    else
        ok(safetensors_write(path, list, n, dev, NULL));
    for (int i = 0; i < own; i++)
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
static void check_logits(const char *name, const cJSON *family, inference *inf,
                         const int32_t *tokens, int64_t n)
{
    const cJSON *rows = cJSON_GetObjectItem(family, "logits");
    float *logits = malloc((size_t)inf->config.vocab * sizeof *logits);
    assert_int_equal(cJSON_GetArraySize(rows), n);
    for (int64_t i = 0; i < n; i++) { /* a prompt of i tokens, then one more */
        const cJSON *want;
        int64_t v = 0;
        decoder_begin(&inf->decoder);
        if (i) {
            decoder_push(&inf->decoder, tokens, i);
            ok(decoder_next(&inf->decoder, logits));
        }
        decoder_push(&inf->decoder, tokens + i, 1);
        ok(decoder_next(&inf->decoder, logits));
        decoder_end(&inf->decoder);
        cJSON_ArrayForEach(want, cJSON_GetArrayItem(rows, (int)i))
        {
            if (!(fabs((double)logits[v] - want->valuedouble) < 3e-5))
                fail_msg("%s: token %lld, logit %lld is %.7g, transformers has %.7g", name,
                         (long long)i, (long long)v, (double)logits[v], want->valuedouble);
            v += 4;
        }
        assert_true(v >= inf->config.vocab);
    }
    free(logits);
}

/* The model in DIR, in memory. */
static inference *open_inference(const char *dir, bool widen, device *dev)
{
    weights *w;
    inference *inf;
    ok(weights_open(dir, NULL, &w));
    ok(inference_plan(&gpt_kind, weights_model(w), (inference_job){.on = &cpu_kind}, &inf));
    ok(inference_commit(inf, dev, w, cast_widening(widen)));
    weights_close(w);
    return inf;
}

/* DIR/NAME, a new directory with model.safetensors and config.json of these. */
static void write_back(char again[320], const char *dir, const char *name, const model_config *c,
                       const params *p, device *dev)
{
    snprintf(again, 320, "%s/%s", dir, name);
    assert_int_equal(mkdir(again, 0777), 0);
    ok(weights_write(again, c, p, dev, NULL));
    strcat(again, "/model.safetensors");
}

static void check_same_config(const char *dir, const char *again)
{
    char *first, *second;
    model_config one, two;
    char path[320];
    snprintf(path, sizeof path, "%s/config.json", dir);
    ok(weights_config(path, NULL, &one));
    snprintf(path, sizeof path, "%s/%s/config.json", dir, again);
    ok(weights_config(path, NULL, &two));
    ok(hf_config_text(&one, "float32", &first));
    ok(hf_config_text(&two, "float32", &second));
    assert_string_equal(first, second);
    free(first), free(second);
}

/* 16-bit floats: refused, widened, or taken as they are by a run of bf16, which writes the same
 * bytes. */
static void check_half(const char *dir, device *dev)
{
    weights *w;
    inference *inf;
    small_run s;
    char arguments[400], file[320], again[320];
    ok(weights_open(dir, NULL, &w));
    ok(inference_plan(&gpt_kind, weights_model(w), (inference_job){.on = &cpu_kind}, &inf));
    fails(inference_commit(inf, dev, w, CAST_NONE), "BF16", "--widen");
    weights_close(w);
    inference_destroy(inf);

    snprintf(arguments, sizeof arguments, "--load %s --dtype bf16 --batch 1 --seq 8 --threads 1",
             dir);
    small_open(&s, arguments);
    snprintf(file, sizeof file, "%s/model.safetensors", dir);
    write_back(again, dir, "again", &s.o.model, &s.t->params, &s.dev);
    check_same_tensors(file, again);
    small_close(&s);

    inf = open_inference(dir, true, dev);
    small_open(&s, arguments);
    for (int i = 0; i < inf->params.n; i++) {
        const float *wide = inf->params.row[i].value.data;
        const uint16_t *half = s.t->params.row[i].value.data;
        for (int64_t k = 0; k < inf->params.row[i].count; k++)
            assert_true(wide[k] == float_of_bf16(half[k]));
    }
    small_close(&s);
    inference_destroy(inf);
}

static void check_family(const cJSON *family, char *const dirs[FORMS], const int32_t *tokens,
                         int64_t n)
{
    device dev;
    char file[320], again[320];
    ok(cpu_device(2, &dev));
    for (file_form form = 0; form < FORMS; form++)
        write_files(family, dirs[form], form, &dev);
    snprintf(file, sizeof file, "%s/model.safetensors", dirs[PLAIN]);
    for (file_form form = 0; form < FORMS; form++) {
        if (form == HALF) continue;
        inference *inf = open_inference(dirs[form], false, &dev);
        assert_int_equal(params_count(&inf->params),
                         cJSON_GetObjectItem(family, "parameters")->valueint);
        check_logits(family->string, family, inf, tokens, n);
        write_back(again, dirs[form], "again", &inf->config, &inf->params, &dev);
        check_same_tensors(file, again);
        check_same_config(dirs[form], "again");
        inference_destroy(inf);
    }
    check_half(dirs[HALF], &dev);
    cpu_close(&dev);
}

/* config.json says that the head is its own, and there is none; or that it is tied, and there is
 * another. */
static void check_contradiction(const cJSON *family, const char *dir, device *dev)
{
    cJSON *wrong = cJSON_Duplicate(family, true), *config = cJSON_GetObjectItem(wrong, "config");
    bool tied = cJSON_IsTrue(cJSON_GetObjectItem(config, "tie_word_embeddings"));
    weights *w;
    inference *inf;
    cJSON_DeleteItemFromObject(config, "tie_word_embeddings");
    cJSON_AddBoolToObject(config, "tie_word_embeddings", !tied);
    write_files(wrong, dir, PLAIN, dev);
    ok(weights_open(dir, NULL, &w));
    ok(inference_plan(&gpt_kind, weights_model(w), (inference_job){.on = &cpu_kind}, &inf));
    fails(inference_commit(inf, dev, w, false), "lm_head.weight", "tie_word_embeddings");
    inference_destroy(inf);
    weights_close(w);
    cJSON_Delete(wrong);
}

static void test_contradictions(void **state)
{
    static const char *const names[] = {"llama", "qwen2", "falcon-new"};
    cJSON *json;
    device dev;
    ok(cpu_device(1, &dev));
    ok(json_read("test/golden/family_files.json", MOST_JSON, &json));
    for (int i = 0; i < 3; i++) {
        char *dir = scratch_path(state, "contradiction"), out[300];
        snprintf(out, sizeof out, "%s-%d", dir, i);
        check_contradiction(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "families"), names[i]),
                            out, &dev);
        free(dir);
    }
    cJSON_Delete(json);
    cpu_close(&dev);
}

/* A directory as older models have it. */
static void test_pickles(void **state)
{
    char *dir = scratch_path(state, "pickles"), path[300];
    weights *w;
    assert_int_equal(mkdir(dir, 0777), 0);
    fails(weights_open(dir, NULL, &w), "model.safetensors", "No such file");
    snprintf(path, sizeof path, "%s/pytorch_model.bin.index.json", dir);
    file_write(path, "{}", 2);
    fails(weights_open(dir, NULL, &w), path, "save_pretrained()");
    static const struct {
        const char *name, *bytes;
    } files[] = {{"ckpt.pt", "PK\3\4 and more of it"}, {"old.pth", "\x80\2\x8a\n and more"}};
    for (int i = 0; i < 2; i++) { /* by its own path */
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        file_write(path, files[i].bytes, 12);
        fails(weights_open(path, NULL, &w), files[i].name, "safetensors.torch.save_file");
    }
    free(dir);
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
        char *dirs[FORMS], name[64];
        for (int form = 0; form < FORMS; form++) {
            snprintf(name, sizeof name, "%s-%d", item->string, form);
            dirs[form] = scratch_path(state, name);
        }
        check_family(item, dirs, tokens, n);
        for (int form = 0; form < FORMS; form++)
            free(dirs[form]);
    }
    cJSON_Delete(json);
}

/* ---- options ---- */

/* --model takes a config.json; --load takes the family from the file. */
static void test_options(void **state)
{
    static options o;
    char *config = scratch_path(state, "one.json"), *dir = scratch_path(state, "bloom-0");
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
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_pickles),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

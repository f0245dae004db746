/* test_hf_vit.c - ViTs as Hugging Face's transformers writes them: weights and config.json,
 * by which the loss is what transformers itself computes (golden/hf_vit.py); the backbone
 * alone; positions scaled.
 */
#include "test/scratch.h"
#include "test/formula.h"
#include "test/golden.h"

#include "cpu/cpu.h"
#include "io/safetensors.h"
#include "test/hf_files.h"
#include "test/small_run.h"

#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>

enum { WIDTH, LAYERS, HEADS, INNER, SIDE, PATCH, CHANNELS, CLASSES, IMAGES, SIZES };

static golden *g;
static int64_t size[SIZES];

static double number(const char *name)
{
    const double *v;
    int64_t n;
    ok(golden_get(g, name, &v, &n));
    return v[0];
}

/* ---- the files ---- */

typedef struct {
    hf_file out;
    uint32_t k; /* number of the tensor in the script */
    bool qkv_bias;
    const char *prefix; /* "vit." or "" */
} file;

static void add(file *f, const char *name, shape s, bool norm)
{
    char whole[100];
    snprintf(whole, sizeof whole, "%s%s", f->prefix, name);
    hf_add(&f->out, whole, f->k++, s, norm);
}

static void add_pair(file *f, const char *name, int64_t out, int64_t in)
{
    char full[90];
    bool norm = in == 0, skip = !f->qkv_bias && strstr(name, "attention.attention");
    snprintf(full, sizeof full, "%s.weight", name);
    add(f, full, norm ? SHAPE(out) : SHAPE(out, in), norm);
    snprintf(full, sizeof full, "%s.bias", name);
    if (skip)
        f->k++;
    else
        add(f, full, SHAPE(out), false);
}

static void add_layer(file *f, int64_t layer)
{
    static const struct {
        const char *name;
        int out, in; /* in: -1: a norm */
    } parts[] = {
        {"layernorm_before", WIDTH, -1},           {"attention.attention.query", WIDTH, WIDTH},
        {"attention.attention.key", WIDTH, WIDTH}, {"attention.attention.value", WIDTH, WIDTH},
        {"attention.output.dense", WIDTH, WIDTH},  {"layernorm_after", WIDTH, -1},
        {"intermediate.dense", INNER, WIDTH},      {"output.dense", WIDTH, INNER}};
    for (int i = 0; i < 8; i++) {
        char name[80];
        snprintf(name, sizeof name, "encoder.layer.%lld.%s", (long long)layer, parts[i].name);
        add_pair(f, name, size[parts[i].out], parts[i].in < 0 ? 0 : size[parts[i].in]);
    }
}

static void write_weights(bool qkv_bias, bool backbone)
{
    static file f;
    int64_t c = size[WIDTH], across = size[SIDE] / size[PATCH];
    f = (file){.qkv_bias = qkv_bias, .prefix = backbone ? "" : "vit."};
    add(&f, "embeddings.cls_token", SHAPE(1, 1, c), false);
    add(&f, "embeddings.position_embeddings", SHAPE(1, 1 + across * across, c), false);
    add(&f, "embeddings.patch_embeddings.projection.weight",
        SHAPE(c, size[CHANNELS], size[PATCH], size[PATCH]), false);
    add(&f, "embeddings.patch_embeddings.projection.bias", SHAPE(c), false);
    for (int64_t layer = 0; layer < size[LAYERS]; layer++)
        add_layer(&f, layer);
    add_pair(&f, "layernorm", c, 0);
    if (backbone) {
        add_pair(&f, "pooler.dense", c, c);
    } else {
        f.prefix = "";
        add_pair(&f, "classifier", size[CLASSES], c);
    }
    hf_write(&f.out);
}

static void write_config(const char *changed, long long heads)
{
    char text[2000];
    snprintf(
        text, sizeof text,
        "{\"model_type\": \"vit\", \"architectures\": [\"ViTForImageClassification\"], "
        "\"hidden_size\": %lld, \"num_hidden_layers\": %lld, \"num_attention_heads\": %lld, "
        "\"intermediate_size\": %lld, \"image_size\": %lld, \"patch_size\": %lld, "
        "\"num_channels\": %lld, \"hidden_dropout_prob\": 0.0, \"pooler_act\": \"tanh\", "
        "\"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\", \"3\": \"d\", \"4\": \"e\"}%s}",
        (long long)size[WIDTH], (long long)size[LAYERS], heads, (long long)size[INNER],
        (long long)size[SIDE], (long long)size[PATCH], (long long)size[CHANNELS], changed);
    file_write("hf/config.json", text, strlen(text));
}

/* ---- the run ---- */

static void open_run(const char *more, options *o, trainer **t, device *dev, char text[SMALL_TEXT])
{
    char words[400];
    snprintf(words, sizeof words, "%s", more);
    must(small_parse(words, text, o));
    must(trainer_plan(o, &image_kind, t));
    must(cpu_device(1, dev));
    must(trainer_commit(*t, dev, false));
}

static void test_fields(void **state)
{
    (void)state;
    static const struct {
        const char *name, *changed;
        int heads;
    } cases[] = {{"plain", "", 1},
                 {"gelu_new", ", \"hidden_act\": \"gelu_new\"", 1},
                 {"silu", ", \"hidden_act\": \"silu\"", 1},
                 {"heads", "", 2},
                 {"eps", ", \"layer_norm_eps\": 0.5", 1},
                 {"no_qkv_bias", ", \"qkv_bias\": false", 1}};
    for (int i = 0; i < 6; i++) {
        char name[40];
        snprintf(name, sizeof name, "loss.%s", cases[i].name);
        write_weights(i != 5, false);
        write_config(cases[i].changed, cases[i].heads * size[HEADS]);
        double want = number(name), got = hf_loss(HF_LOAD);
        if (!(fabs(got - want) < 2e-6 * want)) fail_msg("%s: %.9g, want %.9g", name, got, want);
        hf_export("");
        assert_true(hf_loss(HF_LOAD_OF("exported")) == got);
    }
}

/* The backbone alone: all but the head, which begins with initial values. */
static void test_backbone(void **state)
{
    (void)state;
    static options o;
    trainer *t;
    device dev;
    char text[SMALL_TEXT], name[100];
    write_weights(true, true);
    write_config("", size[HEADS]);
    open_run(HF_LOAD, &o, &t, &dev, text);
    for (int i = 0; i < t->params.n; i++) {
        const param *row = &t->params.row[i];
        const float *x = row->value.data;
        param_text(row, name, sizeof name);
        if (!strcmp(name, "cls_token")) assert_true(x[0] == formula_value(0, 0, 0.4, 0));
        if (!strcmp(name, "blocks.1.attn.qkv.weight")) /* the key's, of tensor 4 + 16 + 4 */
            assert_true(x[size[WIDTH] * size[WIDTH]] == formula_value(24, 0, 0.4, 0));
        if (!strcmp(name, "norm.weight")) assert_true(x[0] == formula_value(36, 0, 0.2, 1));
    }
    trainer_destroy(t);
    cpu_close(&dev);
}

static void refused(const char *words, const char *text1, const char *text2)
{
    static options o;
    char text[SMALL_TEXT];
    fails(small_parse(words, text, &o), text1, text2);
}

static void test_refusals(void **state)
{
    (void)state;
    write_weights(true, false);
    write_config(", \"hidden_act\": \"relu\"", size[HEADS]);
    refused(HF_LOAD, "hf/config.json: hidden_act", "relu");
    write_config(", \"layer_norm_eps\": 2", size[HEADS]);
    refused(HF_LOAD, "layer_norm_eps", "between 0 and 1");
    write_config(", \"something\": 1", size[HEADS]);
    refused(HF_LOAD, "something", "not supported");
    write_config("", 5);
    refused(HF_LOAD, "5", "config.json");
    write_config("", size[HEADS]);
    refused(HF_LOAD "--heads 6", "--heads 6", "has 3");
    refused("--model vit-tiny/16 --load hf", "--layers 12", "has 2");
}

/* Positions of other grids are timm's. */
static void test_positions(void **state)
{
    (void)state;
    static const int grids[][2] = {{3, 6}, {2, 2}, {7, 5}, {1, 4}};
    static options o;
    float from[10 * 12];
    char text[SMALL_TEXT], name[100], words[300];
    trainer *t;
    device dev;
#define SIZES_OF                                                                                   \
    "--patch 4 --channels 1 --layers 1 --heads 3 --width 12 --inner 20 --classes 3 --batch 1 "
    open_run(SIZES_OF "--image-size 12", &o, &t, &dev, text);
    for (uint32_t j = 0; j < 120; j++)
        from[j] = formula_value(700, j, 2, 0);
    named_tensor list[64];
    char names[64][100];
    for (int i = 0; i < t->params.n; i++) {
        param_text(&t->params.row[i], names[i], sizeof names[i]);
        list[i] = (named_tensor){.name = names[i], .value = t->params.row[i].value};
        if (!strcmp(names[i], "pos_embed")) memcpy(list[i].value.data, from, sizeof from);
    }
    must(safetensors_write("grid.safetensors", list, t->params.n, &dev, NULL));
    trainer_destroy(t);
    cpu_close(&dev);
    for (int i = 0; i < 4; i++) {
        const double *want;
        int64_t n;
        snprintf(name, sizeof name, "positions.%dx%d", grids[i][0], grids[i][1]);
        ok(golden_get(g, name, &want, &n));
        snprintf(words, sizeof words, SIZES_OF "--image-size %dx%d --load grid.safetensors",
                 4 * grids[i][0], 4 * grids[i][1]);
        open_run(words, &o, &t, &dev, text);
        for (int k = 0; k < t->params.n; k++) {
            const float *x = t->params.row[k].value.data;
            if (strcmp(param_text(&t->params.row[k], names[0], 100), "pos_embed")) continue;
            assert_int_equal(t->params.row[k].count, n);
            for (int64_t j = 0; j < n; j++)
                if (!(fabs((double)x[j] - want[j]) < 1e-6))
                    fail_msg("%s[%lld]: %.8g, want %.8g", name, (long long)j, (double)x[j],
                             want[j]);
        }
        trainer_destroy(t);
        cpu_close(&dev);
    }
}

static int enter(void **state)
{
    const double *v;
    int64_t n;
    error *e = golden_open("test/golden/hf_vit.txt", &g);
    if (!e) e = golden_get(g, "config", &v, &n);
    if (e) return error_report("test_hf_vit", e);
    for (int i = 0; i < SIZES; i++)
        size[i] = (int64_t)v[i];
    if (scratch_make(state) || chdir(*state)) return 1;
    hf_images_write(size[IMAGES], size[CHANNELS], size[SIDE], size[CLASSES]);
    return 0;
}

static int leave(void **state)
{
    golden_free(g);
    return chdir("/") || scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_backbone),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_positions),
    };
    return cmocka_run_group_tests_name("hf vit", tests, enter, leave);
}

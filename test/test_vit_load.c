/* test_vit_load.c - trained ViTs from files: ours (timm's names), Hugging Face's, and those of
 * other images or classes.
 */
#include "test/scratch.h"

#include <math.h>

#include "cpu/cpu.h"
#include "io/params_file.h"
#include "test/small_run.h"

#define SQUARE "--image-size 9x9 "

/* A model with other values than the initial ones. */
static void open_other(small_run *s, const char *more)
{
    char arguments[400];
    snprintf(arguments, sizeof arguments, SMALL_VIT "--seed 7 %s", more);
    small_open(s, arguments);
    step_result r;
    must(trainer_step(s->t, s->data, 1, 1e-2, &r));
}

static const param *row_of(const small_run *s, const char *name)
{
    char text[200];
    for (int i = 0; i < s->t->params.n; i++)
        if (!strcmp(param_text(&s->t->params.row[i], text, sizeof text), name))
            return &s->t->params.row[i];
    fail_msg("no parameter %s", name);
    return NULL;
}

/* Everything but the rows whose name begins with `but` has the same bits. */
static void same_values(const small_run *a, const small_run *b, const char *but)
{
    char text[200];
    assert_int_equal(a->t->params.n, b->t->params.n);
    for (int i = 0; i < a->t->params.n; i++) {
        const param *x = &a->t->params.row[i], *y = &b->t->params.row[i];
        param_text(x, text, sizeof text);
        if (*but && !strncmp(text, but, strlen(but))) continue;
        assert_int_equal(x->count, y->count);
        if (memcmp(x->value.data, y->value.data, (size_t)x->count * sizeof(float)))
            fail_msg("%s differs", text);
    }
}

static void test_timm(void **state)
{
    (void)state;
    small_run a, b;
    open_other(&a, "");
    must(params_write("model.safetensors", &a.t->params, &a.dev, NULL));
    small_open(&b, SMALL_VIT "--load model.safetensors");
    same_values(&a, &b, "");
    small_close(&b);
    small_open(&b, SMALL_VIT "--load .");
    same_values(&a, &b, "");
    small_close(&b);
    small_close(&a);
}

/* ---- Hugging Face ---- */

/* The names, written out once more. */
static const char *const theirs[][2] = {
    {"cls_token", "vit.embeddings.cls_token"},
    {"pos_embed", "vit.embeddings.position_embeddings"},
    {"patch_embed.proj.weight", "vit.embeddings.patch_embeddings.projection.weight"},
    {"patch_embed.proj.bias", "vit.embeddings.patch_embeddings.projection.bias"},
    {"blocks.0.norm1.weight", "vit.encoder.layer.0.layernorm_before.weight"},
    {"blocks.0.norm1.bias", "vit.encoder.layer.0.layernorm_before.bias"},
    {"blocks.0.attn.proj.weight", "vit.encoder.layer.0.attention.output.dense.weight"},
    {"blocks.0.attn.proj.bias", "vit.encoder.layer.0.attention.output.dense.bias"},
    {"blocks.0.norm2.weight", "vit.encoder.layer.0.layernorm_after.weight"},
    {"blocks.0.norm2.bias", "vit.encoder.layer.0.layernorm_after.bias"},
    {"blocks.0.mlp.fc1.weight", "vit.encoder.layer.0.intermediate.dense.weight"},
    {"blocks.0.mlp.fc1.bias", "vit.encoder.layer.0.intermediate.dense.bias"},
    {"blocks.0.mlp.fc2.weight", "vit.encoder.layer.0.output.dense.weight"},
    {"blocks.0.mlp.fc2.bias", "vit.encoder.layer.0.output.dense.bias"},
    {"norm.weight", "vit.layernorm.weight"},
    {"norm.bias", "vit.layernorm.bias"},
    {"head.weight", "classifier.weight"},
    {"head.bias", "classifier.bias"},
};

enum { THEIRS = sizeof theirs / sizeof *theirs };

/* Our values under their names; the first `leave` of them left out. */
static void write_theirs(small_run *s, const char *path, int leave)
{
    static const char *const qkv[] = {"query", "key", "value"};
    static char names[6][100];
    named_tensor list[THEIRS + 6];
    int n = 0;
    for (int i = leave; i < THEIRS; i++)
        list[n++] = (named_tensor){.name = theirs[i][1], .value = row_of(s, theirs[i][0])->value};
    tensor w = row_of(s, "blocks.0.attn.qkv.weight")->value,
           b = row_of(s, "blocks.0.attn.qkv.bias")->value;
    int64_t width = w.dim[1];
    for (int k = 0; k < 3; k++) {
        snprintf(names[2 * k], 100, "vit.encoder.layer.0.attention.attention.%s.weight", qkv[k]);
        snprintf(names[2 * k + 1], 100, "vit.encoder.layer.0.attention.attention.%s.bias", qkv[k]);
        list[n++] =
            (named_tensor){.name = names[2 * k], .value = tensor_slice(w, k * width, width)};
        list[n++] =
            (named_tensor){.name = names[2 * k + 1],
                           .value = tensor_of((float *)b.data + k * width, F32, SHAPE(width))};
    }
    must(safetensors_write(path, list, n, &s->dev, NULL));
}

static void test_hugging_face(void **state)
{
    (void)state;
    small_run a, b;
    open_other(&a, "--layers 1");
    write_theirs(&a, "hf.safetensors", 0);
    small_open(&b, SMALL_VIT "--layers 1 --load hf.safetensors");
    same_values(&a, &b, "");
    small_close(&b);
    small_close(&a);
}

/* ---- other images, other classes ---- */

static void test_other_classes(void **state)
{
    (void)state;
    small_run a, b, fresh;
    open_other(&a, "--classes 5");
    must(params_write("five.safetensors", &a.t->params, &a.dev, NULL));
    small_open(&b, SMALL_VIT "--load five.safetensors");
    small_open(&fresh, SMALL_VIT);
    same_values(&a, &b, "head.");
    const param *head = row_of(&b, "head.weight"), *initial = row_of(&fresh, "head.weight");
    assert_memory_equal(head->value.data, initial->value.data, (size_t)head->count * sizeof(float));
    small_close(&fresh);
    small_close(&b);
    small_close(&a);
}

/* Positions that are the same everywhere are so in another grid; what others become is in
 * test_hf_vit.c. */
static void test_other_size(void **state)
{
    (void)state;
    enum { C = 33, N = 3, H = 3, W = 6 };
    small_run a, b;
    open_other(&a, SQUARE);
    float *x = row_of(&a, "pos_embed")->value.data;
    for (int i = 0; i < 1 + N * N; i++)
        for (int k = 0; k < C; k++)
            x[i * C + k] = i == 0 ? 100 : (float)k;
    must(params_write("square.safetensors", &a.t->params, &a.dev, NULL));
    small_open(&b, SMALL_VIT "--image-size 9x18 --load square.safetensors");
    same_values(&a, &b, "pos_embed");
    const float *y = row_of(&b, "pos_embed")->value.data;
    for (int i = 0; i < 1 + H * W; i++)
        for (int k = 0; k < C; k++)
            assert_true(fabs((double)y[i * C + k] - (i == 0 ? 100 : k)) < 1e-5);
    small_close(&b);
    small_close(&a);
}

/* ---- refusals ---- */

static void refused(const char *more, const char *text1, const char *text2)
{
    options o;
    trainer *t;
    device dev;
    char arguments[400], text[SMALL_TEXT];
    snprintf(arguments, sizeof arguments, SMALL_VIT "%s", more);
    must(small_parse(arguments, text, &o));
    must(trainer_plan(&o, &image_kind, &t));
    must(device_status(&t->null));
    must(cpu_device(2, &dev));
    fails(trainer_commit(t, &dev, false), text1, text2);
    trainer_destroy(t);
    cpu_close(&dev);
}

/* Positions of two images, of another size at that: twice the bytes that the shape should have. */
static void test_two_grids(void **state)
{
    (void)state;
    enum { C = 33, N = 10 };
    static float twice[2 * N * C];
    small_run a;
    named_tensor *list;
    int n;
    open_other(&a, SQUARE);
    must(params_list(&a.t->params, &list, &n));
    for (int i = 0; i < n; i++)
        if (!strcmp(list[i].name, "pos_embed"))
            list[i].value = tensor_of(twice, F32, SHAPE(2, N, C));
    must(safetensors_write("two.safetensors", list, n, &a.dev, NULL));
    free(list);
    small_close(&a);
    refused("--load two.safetensors --image-size 9x18", "two.safetensors", "pos_embed");
}

static void test_refusals(void **state)
{
    (void)state;
    small_run a;
    options o;
    char text[SMALL_TEXT];
    open_other(&a, "");
    must(params_write("full.safetensors", &a.t->params, &a.dev, NULL));
    small_close(&a);
    fails(small_parse(SMALL_VIT "--load absent.safetensors", text, &o), "absent.safetensors",
          "No such file");
    refused("--load full.safetensors --layers 3", "blocks.2.norm1.weight", "full.safetensors");
    refused("--load full.safetensors --layers 1", "full.safetensors", "no place");
    refused("--load full.safetensors --inner 48", "full.safetensors", "mlp.fc1");
    refused("--load full.safetensors --image-size 9x9", "pos_embed", "square grid");
    refused("--load full.safetensors --pool mean --image-size 9x15", "full.safetensors", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timm),          cmocka_unit_test(test_hugging_face),
        cmocka_unit_test(test_other_classes), cmocka_unit_test(test_other_size),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_two_grids),
    };
    return cmocka_run_group_tests_name("vit load", tests, scratch_enter, scratch_leave);
}

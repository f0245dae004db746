/* test_hf_convnext.c - ConvNeXts as Hugging Face's transformers writes them: weights and
 * config.json, by which the loss is what transformers itself computes (golden/hf_convnext.py); what
 * is refused.
 */
#include "test/scratch.h"
#include "test/golden.h"

#include "data/images/resize.h"
#include "io/image_card.h"
#include "test/hf_files.h"
#include "test/shell.h"
#include "test/small_run.h"

#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>

enum { WIDTH, PATCH, CHANNELS, CLASSES, IMAGES, SIDE, STAGE, SIZES = STAGE + 4 };

static golden *g;
static int64_t size[SIZES];

/* ---- the files ---- */

/* Tensors in the script's order. */
static void add(hf_file *f, const char *name, const char *end, shape s, bool about_one)
{
    char whole[120];
    snprintf(whole, sizeof whole, "%s%s", name, end);
    hf_add(f, whole, (uint32_t)f->n, s, about_one);
}

static void add_pair(hf_file *f, const char *name, shape s)
{
    add(f, name, ".weight", s, s.rank == 1);
    add(f, name, ".bias", SHAPE(s.dim[0]), false);
}

static void add_block(hf_file *f, int stage, int block, int64_t n)
{
    char name[100];
#define PART(rest)                                                                                 \
    (snprintf(name, sizeof name, "convnext.encoder.stages.%d.layers.%d.%s", stage, block, rest),   \
     name)
    add_pair(f, PART("dwconv"), SHAPE(n, 1, 7, 7));
    add_pair(f, PART("layernorm"), SHAPE(n));
    add_pair(f, PART("pwconv1"), SHAPE(4 * n, n));
    add_pair(f, PART("pwconv2"), SHAPE(n, 4 * n));
    add(f, PART("layer_scale_parameter"), "", SHAPE(n), true);
}

static void write_weights(void)
{
    static hf_file f;
    int64_t n = size[WIDTH];
    add_pair(&f, "convnext.embeddings.patch_embeddings",
             SHAPE(n, size[CHANNELS], size[PATCH], size[PATCH]));
    add_pair(&f, "convnext.embeddings.layernorm", SHAPE(n));
    for (int stage = 0; stage < 4; stage++, n *= 2) {
        char name[100];
        snprintf(name, sizeof name, "convnext.encoder.stages.%d.downsampling_layer.0", stage);
        if (stage) add_pair(&f, name, SHAPE(n / 2));
        name[strlen(name) - 1] = '1';
        if (stage) add_pair(&f, name, SHAPE(n, n / 2, 2, 2));
        for (int block = 0; block < size[STAGE + stage]; block++)
            add_block(&f, stage, block, n);
    }
    add_pair(&f, "convnext.layernorm", SHAPE(n / 2));
    add_pair(&f, "classifier", SHAPE(size[CLASSES], n / 2));
    hf_write(&f);
}

static void write_config(const char *changed)
{
    char text[2000];
    snprintf(
        text, sizeof text,
        "{\"model_type\": \"convnext\", \"architectures\": [\"ConvNextForImageClassification\"], "
        "\"num_channels\": 3, \"patch_size\": 4, \"num_stages\": 4, \"image_size\": 32, "
        "\"drop_path_rate\": 0.0, \"initializer_range\": 0.02, \"out_features\": [\"stage4\"], "
        "\"out_indices\": [4], \"stage_names\": [\"stem\"], \"id2label\": {\"0\": \"a\", \"1\": "
        "\"b\", \"2\": \"c\", \"3\": \"d\", \"4\": \"e\"}, "
        "\"hidden_sizes\": [8, 16, 32, 64], \"depths\": [2, 1, 2, 1]%s}",
        changed);
    file_write("hf/config.json", text, strlen(text));
}

/* ---- the run ---- */

static void test_fields(void **state)
{
    (void)state;
    static const struct {
        const char *name, *changed;
    } cases[] = {{"plain", ""},
                 {"silu", ", \"hidden_act\": \"silu\""},
                 {"gelu_new", ", \"hidden_act\": \"gelu_new\""},
                 {"eps", ", \"layer_norm_eps\": 0.5"}};
    for (int i = 0; i < 4; i++) {
        char name[40];
        const double *want;
        int64_t n;
        snprintf(name, sizeof name, "loss.%s", cases[i].name);
        must(golden_get(g, name, &want, &n));
        write_config(cases[i].changed);
        double got = hf_loss(HF_LOAD);
        if (!(fabs(got - *want) < 2e-6 * *want)) fail_msg("%s: %.9g, want %.9g", name, got, *want);
        hf_export("");
        assert_true(hf_loss(HF_LOAD_OF("exported")) == got);
    }
}

/* What is written of it is read as the same model. */
static void test_written(void **state)
{
    (void)state;
    image_card card = {0}, again = {0};
    bool found;
    write_config(", \"hidden_act\": \"silu\"");
    must(image_card_read("hf", &found, &card));
    assert_true(found);
    assert_int_equal(card.n_names, 5);
    mkdir("out", 0777);
    must(image_card_write("out", &card));
    must(image_card_read("out", &found, &again));
    assert_true(found && again.model.act == card.model.act &&
                again.model.norm_eps == card.model.norm_eps &&
                again.model.width == card.model.width && again.model.vocab == card.model.vocab);
    assert_memory_equal(again.model.stage, card.model.stage, sizeof card.model.stage);
    image_card_free(&card);
    image_card_free(&again);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *changed, *says, *and;
    } cases[] = {{", \"hidden_act\": \"relu\"", "hf/config.json: hidden_act", "relu"},
                 {", \"layer_scale_init_value\": 0", "layer_scale_init_value", "more than 0"},
                 {", \"something\": 1", "something", "not supported"},
                 {", \"layer_norm_eps\": 2", "layer_norm_eps", "between 0 and 1"}};
    options o;
    char text[SMALL_TEXT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_config(cases[i].changed);
        fails(small_parse(HF_LOAD, text, &o), cases[i].says, cases[i].and);
    }
    static const char *const lists[][2] = {
        {"\"hidden_sizes\": [8, 16, 32, 63], \"depths\": [2, 1, 2, 1]", "twice the one before"},
        {"\"hidden_sizes\": [8, 16, 32], \"depths\": [2, 1, 2, 1]", "a list of four numbers"},
        {"\"depths\": [2, 1.5, 2, 1]", "whole numbers"},
        {"\"depths\": [2, -1, 2, 1]", "whole numbers"},
        {"\"num_stages\": 3", "cannot express"},
        {"\"depths\": \"all\"", "a list of four numbers"}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char file_text[400];
        snprintf(file_text, sizeof file_text, "{\"model_type\": \"convnext\", %s}", lists[i][0]);
        file_write("hf/config.json", file_text, strlen(file_text));
        fails(small_parse(HF_LOAD, text, &o), "hf/config.json", lists[i][1]);
    }
}

/* All that transformers asks for, and how the names, the pixels and the floats go with it. */
static void test_exported(void **state)
{
    (void)state;
    static const char pixels[] =
        "{\"image_mean\": [0.1, 0.2, 0.3], \"image_std\": [0.5, 0.6, 0.7]}";
    image_card card = {0};
    bool found;
    size_t n;
    write_config("");
    hf_export("");
    assert_int_equal(access("exported/preprocessor_config.json", F_OK), -1); /* not known */
    shell_refuses("env export hf exported", "exported/config.json already exists");
    file_write("hf/preprocessor_config.json", pixels, strlen(pixels));
    hf_export("--dtype bf16");
    must(image_card_read("exported", &found, &card));
    assert_true(found && card.n_names == 5 && !strcmp(card.names[3], "d"));
    assert_true(card.mean[1] == 0.2 && card.std[2] == 0.7);
    image_card_free(&card);
    char *text = (char *)file_read("exported/config.json", &n);
    text[n] = 0;
    assert_non_null(strstr(text, "ConvNextForImageClassification"));
    assert_non_null(strstr(text, "bfloat16"));
    free(text);
    text = (char *)file_read("exported/README.md", &n);
    text[n] = 0;
    assert_non_null(strstr(text, "pipeline_tag: image-classification\n"));
    assert_non_null(strstr(text, "of type `convnext`: "));
    assert_non_null(strstr(text, " parameters in bfloat16, 5 classes, "));
    free(text);
    shell_refuses("env export --vocab x hf other", "--vocab: hf is a model of images");
    shell("env export exported other && cmp exported/model.safetensors other/model.safetensors");
    assert_int_equal(unlink("hf/preprocessor_config.json"), 0);
}

/* What transformers' image processors do before the normalization: the kernel of the scaling, and
 * the part that the crop leaves. */
static void test_processor_is_followed(void **state)
{
    (void)state;
    static const struct {
        const char *says;
        double part;
        int64_t scaled; /* the shorter side of a picture for 224 pixels; 0: as part says */
        bool bicubic;
    } cases[] = {
        {"\"crop_pct\": 0.875, \"resample\": 3, \"size\": {\"shortest_edge\": 224}", 0.875, 256,
         true},
        {"\"crop_pct\": 0.875, \"resample\": 2, \"size\": 224", 0.875, 256, false},
        {"\"crop_pct\": 0.95, \"resample\": 3, \"size\": {\"shortest_edge\": 384}", 0, 0, true},
        {"\"do_center_crop\": true, \"crop_size\": {\"height\": 224, \"width\": 224}, \"size\": "
         "{\"shortest_edge\": 249}",
         224 / 249.0, 249, false},
        {"\"do_center_crop\": false, \"crop_size\": {\"height\": 224, \"width\": 224}, \"size\": "
         "{\"shortest_edge\": 256}",
         0, 0, false},
        {"\"do_center_crop\": true, \"crop_size\": {\"height\": 256}, \"size\": "
         "{\"shortest_edge\": 224}",
         0, 0, false},
        {"\"size\": {\"height\": 224, \"width\": 224}, \"resample\": 3", 0, 0, true},
        {"\"crop_pct\": null, \"resample\": null", 0, 0, false}};
    char text[400];
    write_config("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        image_card card = {0};
        bool found;
        snprintf(text, sizeof text, "{%s}", cases[i].says);
        file_write("hf/preprocessor_config.json", text, strlen(text));
        must(image_card_read("hf", &found, &card));
        assert_true(card.bicubic == cases[i].bicubic);
        assert_true(fabs(card.crop_part - cases[i].part) < 1e-15);
        if (cases[i].scaled)
            assert_int_equal(window_covering(500, 400, 224, 224, card.crop_part).columns,
                             cases[i].scaled);
        image_card_free(&card);
    }
    assert_int_equal(unlink("hf/preprocessor_config.json"), 0);
}

/* Every size comes back from what is written. */
static void test_crop_is_exact(void **state)
{
    (void)state;
    char text[400];
    write_config("");
    for (int shorter = 224; shorter < 1000; shorter++) {
        image_card card = {0};
        bool found;
        snprintf(text, sizeof text,
                 "{\"do_center_crop\": true, \"crop_size\": {\"height\": 224}, \"size\": "
                 "{\"shortest_edge\": %d}}",
                 shorter);
        file_write("hf/preprocessor_config.json", text, strlen(text));
        must(image_card_read("hf", &found, &card));
        assert_int_equal(window_covering(1200, 1200, 224, 224, card.crop_part).rows, shorter);
        image_card_free(&card);
    }
    assert_int_equal(unlink("hf/preprocessor_config.json"), 0);
}

static void test_processor_is_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\"crop_pct\": -1", "crop_pct "},
        {"\"crop_pct\": 1.5, \"size\": {\"shortest_edge\": 224}", "crop_pct "},
        {"\"crop_pct\": \"0.9\"", "crop_pct "}};
    char text[400];
    write_config("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        image_card card = {0};
        bool found;
        snprintf(text, sizeof text, "{%s}", cases[i][0]);
        file_write("hf/preprocessor_config.json", text, strlen(text));
        fails(image_card_read("hf", &found, &card), "preprocessor_config.json: ", cases[i][1]);
    }
    assert_int_equal(unlink("hf/preprocessor_config.json"), 0);
}

#define TUNE                                                                                       \
    "rm -rf on && train_vit " HF_LOAD "--train-data x-images-idx3-ubyte --batch 2 --steps 1 "      \
    "--eval-every 0 --out on "

static bool says(const char *part)
{
    char *text = said();
    bool found = strstr(text, part);
    free(text);
    return found;
}

/* A kernel that we do not have is refused where pictures are to be as the model's were, unless the
 * run says how they are prepared; a model that is trained further is loaded, with a line. */
static void test_other_kernels(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\"resample\": 1", "hf: preprocessor_config.json: resample 1"},
        {"\"resample\": 0", "hf: preprocessor_config.json: resample 0"},
        {"\"resample\": \"3\"", "hf: preprocessor_config.json: resample \"3\""}};
    char text[400];
    put_programs_on_path();
    write_config("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{%s}", cases[i][0]);
        file_write("hf/preprocessor_config.json", text, strlen(text));
        snprintf(text, sizeof text, "%s: pictures are resized \"bilinear\"", cases[i][1]);
        shell_refuses("predict --load hf x-images-idx3-ubyte", text);
        shell_refuses("env export hf never", text);
        shell_refuses("train_vit " HF_LOAD "--eval-only", text);
        shell("train_vit " HF_LOAD "--eval-only --interpolation bicubic");
        shell(TUNE);
        snprintf(text, sizeof text, "%s, and images are resized bilinear here", cases[i][1]);
        if (!says(text)) fail_msg("%s is not told", text);
    }
    assert_int_equal(access("never", F_OK), -1);
    file_write("hf/preprocessor_config.json", "{\"resample\": 3}", 15);
    shell(TUNE);
    assert_true(says("hf: its images were resized bicubic, and are resized bilinear here"));
    shell(TUNE "--interpolation bicubic");
    assert_false(says("resized"));
    assert_int_equal(unlink("hf/preprocessor_config.json"), 0);
}

/* What it has no class for, and nothing stays of it. */
static void test_not_exported(void **state)
{
    (void)state;
    static const char *const runs[][2] = {
        {"--model wrn-10-1 --image-size 8 --channels 3", "a wide residual network"},
        {"--model vit-nano/4 --image-size 8 --channels 3 --pool mean", "--pool mean"},
        {"--model vit-nano/4 --image-size 8x4 --channels 3", "not square"},
        {"--model convnext-micro/2 --image-size 16x32 --channels 3", "not square"}};
    char command[400];
    put_programs_on_path();
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        snprintf(command, sizeof command,
                 "rm -rf run other && train_vit %s --layers 1 --width 8 --train-data "
                 "x-images-idx3-ubyte --batch 2 --steps 1 --eval-every 0 --threads 1 --out run",
                 runs[i][0]);
        shell(command);
        shell_refuses("env export run other", runs[i][1]);
        assert_int_equal(access("other", F_OK), -1);
    }
}

static int enter(void **state)
{
    const double *v;
    int64_t n;
    must(golden_get(g, "config", &v, &n));
    assert_int_equal(n, SIZES);
    for (int i = 0; i < SIZES; i++)
        size[i] = (int64_t)v[i];
    if (scratch_enter(state)) return 1;
    write_weights();
    hf_images_write(size[IMAGES], size[CHANNELS], size[SIDE], size[CLASSES]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),        cmocka_unit_test(test_written),
        cmocka_unit_test(test_exported),      cmocka_unit_test(test_processor_is_followed),
        cmocka_unit_test(test_crop_is_exact), cmocka_unit_test(test_processor_is_refused),
        cmocka_unit_test(test_other_kernels), cmocka_unit_test(test_not_exported),
        cmocka_unit_test(test_refusals)};
    must(golden_open("test/golden/hf_convnext.txt", &g));
    int failed = cmocka_run_group_tests(tests, enter, scratch_leave);
    golden_free(g);
    return failed;
}

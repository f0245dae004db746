/* test_evaluate.c - --eval-only: the numbers that the run itself has told, of its model and of its
 * checkpoint; top-5 counted by hand; nothing planned for training, nothing written.
 */
#include "test/shell.h"
#include "test/small_images.h"
#include "test/small_run.h"

#include <math.h>
#include <stdbool.h>

#include <cjson/cJSON.h>

#include "base/json.h"

static double number_of(const char *path, const char *name)
{
    cJSON *json;
    must(json_read(path, 1 << 20, &json));
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (!cJSON_IsNumber(item)) fail_msg("%s has no %s", path, name);
    double x = item->valuedouble;
    cJSON_Delete(json);
    return x;
}

/* The last value of that name in a log. */
static double logged(const char *path, const char *name)
{
    char key[40];
    size_t n;
    double value = NAN;
    char *text = (char *)file_read(path, &n);
    text[n] = 0;
    snprintf(key, sizeof key, "\"%s\":", name);
    for (char *at = text; (at = strstr(at, key)); at += strlen(key))
        value = strtod(at + strlen(key), NULL);
    free(text);
    return value;
}

#define SIZES                                                                                      \
    "--patch 4 --image-size 8 --channels 1 --classes 7 --layers 1 --heads 2 --width 16 --inner "   \
    "32 "
#define VIT "train_vit --device cpu --threads 1 --batch 8 --val-data v-images-idx3-ubyte "

static void same_as_run(const char *json, const char *log)
{
    double loss = logged(log, "val_loss"), accuracy = logged(log, "val_accuracy");
    if (!(fabs(number_of(json, "loss") - loss) < 1e-5 * loss))
        fail_msg("%s: loss %.9g, the run had %.9g", json, number_of(json, "loss"), loss);
    if (!(fabs(number_of(json, "accuracy") - accuracy) < 1e-6))
        fail_msg("%s: accuracy %.9g, the run had %.9g", json, number_of(json, "accuracy"),
                 accuracy);
}

static void test_images(void **state)
{
    (void)state;
    small_images_write(".", "t", 64, 1, 8, 8, 7);
    small_images_write(".", "v", 45, 1, 8, 8, 7); /* no multiple of the batch */
    shell(VIT SIZES "--train-data t-images-idx3-ubyte --steps 12 --eval-every 4 --out a "
                    "--checkpoint-every 4 --mean 0.4 --std 0.3 --offload states --offload-to disk");
    shell("cp -r a before && " VIT "--eval-only --load a --json >one.json && " VIT
          "--eval-only --resume auto --out a --json >two.json && " VIT
          "--eval-only --resume a/step_00000012 --offload states --offload-to disk --json "
          ">three.json && diff -r a before");
    same_as_run("one.json", "a/log.jsonl");
    same_as_run("two.json", "a/log.jsonl");
    same_as_run("three.json", "a/log.jsonl");
    assert_int_equal((int)number_of("one.json", "images"), 45);
    assert_int_equal((int)number_of("two.json", "step"), 12);
    /* predict counts top-5 in its own way */
    shell("predict --load a --eval --json v-images-idx3-ubyte >four.json");
    assert_true(fabs(number_of("four.json", "top_5") - number_of("one.json", "top_5")) < 1e-6);
    assert_true(number_of("one.json", "top_5") > number_of("one.json", "accuracy"));
    shell(VIT "--eval-only --load a");
    char *text = said();
    if (!strstr(text, "45 images: loss ") || !strstr(text, "top-5 ")) fail_msg("%s", text);
    free(text);
    /* other pixels than the model's are another loss */
    shell(VIT "--eval-only --load a --mean 0.1 --std 0.9 --json >five.json");
    assert_true(number_of("five.json", "loss") != number_of("one.json", "loss"));
    shell_refuses(VIT "--eval-only --load a --classes 9",
                  "--classes 9: the model of --load a has 7");
}

/* A run that began with another's model reads its own pixels, not those on that model's card; and
 * what is loaded has its own name. */
static void test_images_of_fine_tuning(void **state)
{
    (void)state;
    small_images_write(".", "t", 64, 1, 8, 8, 7);
    small_images_write(".", "v", 45, 1, 8, 8, 7);
    shell(VIT SIZES "--train-data t-images-idx3-ubyte --steps 2 --out theirs --mean 0.1 --std 0.9");
    shell(VIT "--train-data t-images-idx3-ubyte --load theirs --steps 4 --eval-every 4 --out ours "
              "--checkpoint-every 4");
    shell(VIT "--eval-only --resume auto --out ours --json >one.json && " VIT
              "--eval-only --load ours --json >two.json && grep -q '\"model\":\"vit\"' two.json");
    same_as_run("one.json", "ours/log.jsonl");
    same_as_run("two.json", "ours/log.jsonl");
    /* which must be where it was, or where it is said to be */
    shell("mv theirs away");
    shell_refuses(
        VIT "--resume auto --out ours --steps 5",
        "--load theirs cannot be opened: No such file or directory: a run that began with it");
    shell_refuses(VIT "--load theirs --out new", "No such file or directory: check the path");
    shell(VIT "--resume auto --out ours --steps 5 --load away");
}

/* Parameters and a forward pass are planned, and nothing else. */
static void test_plan(void **state)
{
    (void)state;
    static const char *const sizes[] = {SMALL_MODEL, SMALL_VIT};
    for (int i = 0; i < 2; i++) {
        char text[SMALL_TEXT];
        int64_t n;
        snprintf(text, sizeof text, "%s--optim adan --accum 3", sizes[i]);
        arena_summary training = small_plan(text, &n);
        strcat(text, " --eval-only --load nowhere --plan");
        arena_summary s = {0};
        options o;
        trainer *t;
        char room[SMALL_TEXT];
        strcpy(strstr(text, "--load nowhere"), "--resume nowhere --plan");
        must(small_parse(text, room, &o));
        must(trainer_plan(&o, o.task->kind, &t));
        s = arena_summarize(t->arena);
        assert_int_equal(s.most[KIND_GRADIENT] + s.most[KIND_STATE] + s.most[KIND_MASTER], 0);
        assert_true(s.peak < training.peak / 3);
        trainer_destroy(t);
        options_free(&o);
    }
}

static void test_refused(void **state)
{
    (void)state;
    shell_refuses("train_vit --eval-only", "--eval-only: give --load or --resume");
    shell_refuses("train_gpt --json", "--json: only with --plan or --eval-only");
    shell("mkdir -p none");
    shell_refuses("train_gpt --eval-only --resume auto --out none --val-data x.bin",
                  "no complete checkpoint");
    shell("seq 1 900 >t.txt && tokenize --vocab bytes -o text t.txt && "
          "train_gpt --device cpu --threads 1 --layers 1 --heads 2 --width 16 --context 16 --vocab "
          "256 "
          "--seq 8 --batch 1 --steps 1 --eval-every 0 --train-data text_train.bin --val-data "
          "text_val.bin "
          "--out gpt");
    shell_refuses("train_gpt --eval-only --load gpt", "give --val-data PREFIX_val.bin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plan), cmocka_unit_test(test_images),
                                       cmocka_unit_test(test_images_of_fine_tuning),
                                       cmocka_unit_test(test_refused)};
    put_programs_on_path();
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}

/* test_vit_run.c - runs of train_vit: every option of images does something, and only that; a run
 * that was stopped in the middle of an epoch goes on with the same bits; it learns.
 */
#include "test/scratch.h"

#include "cpu/cpu.h"
#include "test/small_images.h"
#include "test/small_run.h"
#include "plan/plan_report.h"

#include <math.h>
#include <stdbool.h>

/* ---- options ---- */

#define FEW_STEPS SMALL_VIT "--steps 4 --warmup 0 --lr 0.003 --schedule constant "

static small_result train(const char *more)
{
    char arguments[600];
    snprintf(arguments, sizeof arguments, FEW_STEPS "%s", more);
    return small_train(arguments);
}

static bool same_losses(const small_result *a, const small_result *b)
{
    return !memcmp(a->loss, b->loss, (size_t)a->steps * sizeof *a->loss);
}

/* Each of these changes what is trained, or the model. */
static void test_options_change_training(void **state)
{
    (void)state;
    static const char *const added[] = {
        "--drop-path 0.5",
        "--mixup 0.5",
        "--label-smoothing 0.1",
        "--random-crop 2",
        "--flip",
        "--pool mean",
        "--classes 5",
        "--channels 1",
        "--inner 20",
        "--seed 2",
        "--image-size 6x9",
        "--width 36",
        "--heads 11",
        "--layers 3",
        "--batch 4",
        "--patch 1",
        "--mean 0.3",
        "--std 0.4",
        "--mean imagenet",
        "--resized-crop 0.5",
        "--color-jitter 0.4",
        "--random-erasing 1",
        "--cutmix 1",
        "--split 0.3",
        "--rand-augment 9",
    };
    small_result base = train("");
    for (size_t i = 0; i < sizeof added / sizeof *added; i++) {
        small_result other = train(added[i]);
        if (same_losses(&base, &other)) fail_msg("%s changes nothing", added[i]);
        small_free(&other);
    }
    small_free(&base);
}

/* Workers only save time; what evaluates, and where gradients lie, does not touch training. */
static void test_options_change_no_bits(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"--flip --mixup 0.3 --workers 0", "--flip --mixup 0.3 --workers 3"},
        {"--bad-images fail", "--bad-images skip"},
        {"--eval-batches 0", "--eval-batches 2"},
        {"--predict 0", "--predict 9"},
        {"--drop-path 0.5", "--drop-path 0.5 --optim adamw_r"},
    };
    small_same_runs(FEW_STEPS, pairs, sizeof pairs / sizeof *pairs);
}

/* Three samples in four micro-batches are twelve in one: also what is drawn goes by sample. */
static void test_accumulation_draws_the_same(void **state)
{
    (void)state;
    const char *const noise = "--drop-path 0.5 --mixup 0.5 --random-crop 2 --flip";
    char one[200], four[200];
    snprintf(one, sizeof one, "--batch 12 %s", noise);
    snprintf(four, sizeof four, "--accum 4 %s", noise);
    small_result a = train(one), b = train(four);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(a.loss[i] - b.loss[i]) < 1e-5 * a.loss[i]);
    small_free(&a);
    small_free(&b);
}

static void refused(const char *arguments, const char *text1, const char *text2)
{
    options o;
    char text[400], *argv[SMALL_ARGS] = {(char *)(size_t) "test"}, *rest = NULL;
    int argc = 1;
    snprintf(text, sizeof text, "%s", arguments);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    fails(options_parse(&image_task, argc, argv, &o), text1, text2);
}

static void test_refusals(void **state)
{
    (void)state;
    refused("--model vit-b/33", "vit-b/33", "vit-b/3");
    refused("--patch 5", "--patch 5", "28 x 28");
    refused("--image-size 28x", "--image-size 28x", "224x160");
    refused("--image-size -28", "--image-size", "224x160");
    refused("--image-size 28xx28", "--image-size", "224x160");
    refused("--image-size 0", "--image-size 0x0", "16384");
    refused("--image-size 99999999999999999999", "--image-size", "16384");
    refused("--pool max", "--pool max", "cls or mean");
    refused("--bad-images maybe", "--bad-images maybe", "fail, skip or a part");
    refused("--bad-images 1.5", "--bad-images 1.5", "fail, skip or a part");
    refused("--mean 2", "--mean 2", "from 0 to 1");
    refused("--mean 0.1,0.2", "--mean 0.1,0.2", "three");
    refused("--mean clip --std 0.5", "--std 0.5", "leave one out");
    refused("--std 0", "--std 0", "from 0.001");
    refused("--interpolation cubic", "--interpolation cubic", "bilinear or bicubic");
    refused("--crop-pct 2", "--crop-pct 2", "between");
    refused("--channels 2", "--channels 2", "1 or 3");
    refused("--drop-path 1", "--drop-path", "between");
    refused("--mixup -1", "--mixup", "between");
    refused("--label-smoothing 1", "--label-smoothing", "between");
    refused("--split 0.95", "--split", "between");
    refused("--split 0.1 --val-data x", "--split 0.1", "leave one out");
    refused("--heads 5", "--heads 5", "--width 64");
    refused("--vocab 5", "--vocab", "no such option");
}

/* ---- accuracy ---- */

/* With as many steps as this, it knows most of 50 images; evaluation counts each once. */
static void test_it_learns(void **state)
{
    (void)state;
    small_run s;
    eval_result before, after;
    step_result r = {0};
    small_open(&s, SMALL_VIT "--batch 10 --eval-batches 0 --steps 300 --workers 0");
    must(trainer_evaluate(s.t, s.data, &before));
    assert_true(fabs(before.loss - log(7)) < 0.3);
    assert_true(fabs(before.accuracy * 50 - round(before.accuracy * 50)) < 1e-9);
    for (int64_t step = 1; step <= 300; step++) {
        must(trainer_step(s.t, s.data, step, 2e-3, &r));
        assert_true(fabs(r.accuracy * 10 - round(r.accuracy * 10)) < 1e-9);
    }
    must(trainer_evaluate(s.t, s.data, &after));
    if (!(after.accuracy > 0.9 && after.loss < 0.5))
        fail_msg("accuracy %.3f -> %.3f, loss %.3f -> %.3f", before.accuracy, after.accuracy,
                 before.loss, after.loss);
    small_close(&s);
}

/* A set that no batch divides: the mean over all images, each once, whatever the batch. */
static void test_whole_evaluation(void **state)
{
    (void)state;
    static const char *const batches[] = {"1", "7", "50", "64"};
    double loss = 0, accuracy = 0;
    small_images_write(".", "val", 50, 3, 9, 15, 7);
    for (int i = 0; i < 4; i++) {
        small_run s;
        eval_result r;
        source *val;
        char arguments[400];
        snprintf(arguments, sizeof arguments, SMALL_VIT "--batch %s", batches[i]);
        small_open(&s, arguments);
        static const char *const names[] = {"val-images-idx3-ubyte"};
        s.o.val_data = (pattern_list){names, 1};
        must(image_task.open(&s.o, false, &val));
        must(trainer_evaluate(s.t, val, &r));
        if (i == 0) loss = r.loss, accuracy = r.accuracy;
        assert_true(fabs(r.loss - loss) < 1e-6);
        assert_true(r.accuracy == accuracy);
        source_close(val);
        small_close(&s);
    }
}

enum { SET = 50, PIXELS = 3 * 9 * 15 };

/* How many of n images are among m others. */
static int among(const float *x, int n, const float *others, int m)
{
    int found = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < m; k++)
            found += !memcmp(x + i * PIXELS, others + k * PIXELS, PIXELS * sizeof *x);
    return found;
}

/* A fifth of the images is evaluated and never trained on, and all others are trained on; another
 * seed draws others.  None of an image in both, and none in neither. */
static void test_split(void **state)
{
    (void)state;
    static float all[SET * PIXELS], val[SET * PIXELS], train_on[SET * PIXELS], targets[SET * 7],
        before[SET * PIXELS];
    static const char *const names[] = {"set-images-idx3-ubyte"};
    small_images_write(".", "set", SET, 3, 9, 15, 7);
    for (int seed = 1; seed <= 2; seed++) {
        options o;
        source *s, *v, *whole;
        char words[400], text[SMALL_TEXT];
        snprintf(words, sizeof words, SMALL_VIT "--workers 0 --seed %d --split 0.2", seed);
        must(small_parse(words, text, &o));
        o.train_data = o.val_data = (pattern_list){names, 1};
        must(image_task.open(&o, true, &s));
        must(image_task.open(&o, false, &v));
        o.images.how.split = 0;
        must(image_task.open(&o, false, &whole));
        assert_true(v->count == 10 && s->count == 40 && whole->count == SET);
        must(source_read(whole, 0, SET, all, targets));
        must(source_read(v, 0, 10, val, targets));
        must(source_read(s, 0, 40, train_on, targets));
        assert_int_equal(among(val, 10, all, SET), 10);
        assert_int_equal(among(train_on, 40, all, SET), 40);
        assert_int_equal(among(val, 10, train_on, 40), 0);
        if (seed == 2) assert_true(among(val, 10, before, 10) < 10);
        memcpy(before, val, sizeof val);
        source_close(s);
        source_close(v);
        source_close(whole);
        options_free(&o);
    }
}

/* ---- stopped, and resumed ---- */

static void full_run_of(const char *base, const char *arguments)
{
    static options o;
    trainer *t;
    device dev;

    char words[600], text[SMALL_TEXT];
    snprintf(words, sizeof words,
             "%s --mixup 0.5 --random-crop 1 --flip --warmup 0 --schedule constant --eval-every 3 "
             "--train-data re-images-idx3-ubyte --val-data re-images-idx3-ubyte --predict 4 %s",
             base, arguments);
    must(small_parse(words, text, &o));
    must(trainer_plan(&o, o.task->kind, &t));
    must(cpu_device((int)o.threads, &dev));
    must(train_loop(t, &dev, plan_files));
    trainer_destroy(t);
    cpu_close(&dev);
    options_free(&o);
}

static void full_run(const char *arguments)
{
    full_run_of(SMALL_VIT "--drop-path 0.4", arguments);
}

/* Images of another size: the kernel changes what is trained, --crop-pct only what is evaluated. */
static void test_scaling_options(void **state)
{
    (void)state;
    small_images_write(".", "re", 20, 3, 9, 15, 7);
    full_run("--steps 3 --image-size 12x18 --out plain");
    full_run("--steps 3 --image-size 12x18 --out cubic --interpolation bicubic");
    full_run("--steps 3 --image-size 12x18 --out part --crop-pct 0.8");
    assert_false(same_bytes("plain/model.safetensors", "cubic/model.safetensors"));
    assert_true(same_bytes("plain/model.safetensors", "part/model.safetensors"));
    assert_false(same_bytes("plain/predictions.txt", "part/predictions.txt"));
}

/* 20 images in batches of 3: step 4 is in the middle of the first epoch, step 9 in the second. */
static void test_resume(void **state)
{
    (void)state;
    small_images_write(".", "re", 20, 3, 9, 15, 7);
    full_run("--steps 9 --out whole");
    full_run("--steps 4 --out parts --checkpoint-every 4 --workers 0");
    full_run("--steps 9 --out parts --resume auto");
    same_file("whole", "parts", "model.safetensors");
    same_file("whole", "parts", "predictions.txt");
}

/* With BatchNorm's running statistics, in f32 beside weights in bf16. */
static void test_resume_of_running_numbers(void **state)
{
    (void)state;
    static const char wide[] = "--model wrn-10-1 --width 16 --image-size 9x15 --channels 3 "
                               "--classes 7 --batch 3 --threads 2 --dtype bf16";
    small_images_write(".", "re", 20, 3, 9, 15, 7);
    full_run_of(wide, "--steps 7 --out wide");
    full_run_of(wide, "--steps 4 --out wide-parts --checkpoint-every 4 --workers 0");
    full_run_of(wide, "--steps 7 --out wide-parts --resume auto");
    same_file("wide", "wide-parts", "model.safetensors");
    same_file("wide", "wide-parts", "predictions.txt");
}

/* A network of convolutions says itself what it is: no --model, no --pool; and what is asked of it
 * must be its. */
static void test_load_convolutions(void **state)
{
    (void)state;
    static options o;
    char text[SMALL_TEXT];
    static const char how[] = "--image-size 9x15 --channels 3 --classes 7 --batch 3 --threads 2 ";
    small_images_write(".", "re", 20, 3, 9, 15, 7);
    full_run_of(how, "--model wrn-10-1 --width 16 --steps 1 --out first");
    full_run_of(how, "--load first --steps 1 --out second");
    full_run_of(how, "--load first --model wrn-10-1 --width 16 --norm batch --steps 1 --out third");
    same_file("second", "third", "model.safetensors");
    fails(small_parse("--image-size 9x15 --load first --norm group", text, &o), "--norm group",
          "the other one");
    fails(small_parse("--image-size 9x15 --load first --drop-path 0.3", text, &o),
          "--drop-path 0.3", "no such branches");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_change_training),
        cmocka_unit_test(test_options_change_no_bits),
        cmocka_unit_test(test_accumulation_draws_the_same),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_whole_evaluation),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_scaling_options),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_of_running_numbers),
        cmocka_unit_test(test_load_convolutions),
    };
    return cmocka_run_group_tests_name("vit runs", tests, scratch_enter, scratch_leave);
}

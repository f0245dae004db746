/* test_image_runs.c - runs of train_vit on directories of pictures: bad ones in training and
 * validation, classes by name, other pictures under the same names.
 */
#include "test/scratch.h"
#include "base/kept_heap.h"
#include "io/image_card.h"
#include "test/golden.h"

#include "cpu/cpu.h"
#include "test/small_images.h"
#include "test/small_run.h"
#include "plan/plan_report.h"
#include "train/loop.h"

#include <math.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define RUN                                                                                        \
    "--patch 4 --image-size 8x8 --channels 1 --layers 1 --heads 2 --width 12 --inner 12 --batch "  \
    "2 "                                                                                           \
    "--threads 2 --warmup 0 --lr 0.01 --schedule constant --workers 0 --train-data train "

static error *train_on(const char *more, options *o)
{
    trainer *t;
    device dev;
    char words[600], text[SMALL_TEXT];
    snprintf(words, sizeof words, RUN "%s", more);
    must(small_parse(words, text, o));
    must(trainer_plan(o, &image_kind, &t));
    must(cpu_device((int)o->threads, &dev));
    error *e = train_loop(t, &dev, plan_files);
    trainer_destroy(t);
    cpu_close(&dev);
    return e;
}

static uint8_t turned[4000];
static size_t n_turned;

/* The value of the last line of the log that has the name. */
static double logged(const char *directory, const char *name)
{
    char path[100], line[2000], key[60];
    double value = NAN;
    snprintf(path, sizeof path, "%s/log.jsonl", directory);
    snprintf(key, sizeof key, "\"%s\":", name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        const char *at = strstr(line, key);
        if (at) value = atof(at + strlen(key));
    }
    fclose(f);
    return value;
}

/* ROOT/CLASS/NAME: a grey picture; grey < 0: a text. */
static void put(const char *root, const char *class, const char *name, int grey)
{
    char path[200];
    mkdir(root, 0777);
    snprintf(path, sizeof path, "%s/%s", root, class);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s.png", root, class, name);
    if (grey < 0)
        file_write(path, "no picture", 10);
    else
        small_png_write(path, 8, 8, (uint8_t)grey);
}

static void fill(void)
{
    static const char *const classes[] = {"ape", "bee", "cat"};
    char name[20];
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "%02d", i);
        put("train", classes[i % 3], name, 20 + 5 * i);
    }
}

/* The mean is that of the pictures that can be read, each once; the number
 * of the others is told. */
static void test_bad_in_validation(void **state)
{
    (void)state;
    static const char *const batches[] = {"--batch 2", "--batch 7"};
    options o;
    put("good", "ape", "1", 50);
    put("good", "bee", "1", 200);
    put("good", "cat", "1", 250);
    for (int i = 0; i < 9; i++) {
        char name[16];
        snprintf(name, sizeof name, "0%d", i);
        put("spoilt", "bee", name, -1);
    }
    put("spoilt", "ape", "1", 50);
    put("spoilt", "bee", "1", 200);
    put("spoilt", "cat", "1", 250);
    for (int i = 0; i < 2; i++) {
        char words[200];
        snprintf(words, sizeof words, "--steps 1 --eval-every 1 %s --val-data good --out good_run",
                 batches[i]);
        must(train_on(words, &o));
        snprintf(words, sizeof words,
                 "--steps 1 --eval-every 1 %s --val-data spoilt --out spoilt_run", batches[i]);
        must(train_on(words, &o));
        double want = logged("good_run", "val_loss"), got = logged("spoilt_run", "val_loss");
        if (!(fabs(want - got) < 1e-6 * want)) fail_msg("%.9g, want %.9g", got, want);
        assert_true(
            fabs(logged("good_run", "val_accuracy") - logged("spoilt_run", "val_accuracy")) < 1e-9);
        assert_true(logged("spoilt_run", "bad_samples") == 9);
    }
    error *e =
        train_on("--steps 1 --eval-every 1 --bad-images fail --val-data spoilt --out failing", &o);
    fails(e, "spoilt/bee/00.png", "neither JPEG, PNG nor WebP");
}

/* Up to a part they are skipped; with more the run ends, and what it has learnt is there. */
static void test_bad_in_training(void **state)
{
    (void)state;
    options o;
    put("train", "bee", "01", -1);
    must(train_on("--steps 20 --eval-every 0 --out few", &o)); /* 1 of 30 */
    assert_true(logged("few", "bad_samples") == 1);
    put("train", "cat", "02", -1);
    error *e = train_on("--steps 40 --eval-every 0 --out many", &o);
    fails(e, "2 of 30 images cannot be read", "--bad-images skip");
    must(train_on("--steps 40 --eval-every 0 --out many --resume auto --bad-images skip", &o));
    assert_true(logged("many", "step") == 40);
    fails(train_on("--steps 40 --eval-every 0 --bad-images fail --out none", &o), ".png",
          "neither JPEG, PNG nor WebP");
    fill();
}

/* Validation may have fewer classes, which are found by their names. */
static void test_names(void **state)
{
    (void)state;
    options o;
    put("some", "cat", "1", 250);
    put("whole", "cat", "1", 250);
    put("whole", "ape", "1", 50);
    must(train_on("--steps 60 --eval-every 60 --val-data some --out some_run --predict 1", &o));
    assert_int_equal(o.model.vocab, 3); /* as many as there are directories */
    size_t n;
    char *text = (char *)file_read("some_run/predictions.txt", &n);
    assert_memory_equal(text, "# 0 2 ", 6); /* image 0 is a cat, class 2 */
    free(text);
    put("whole", "dog", "1", 250);
    fails(train_on("--steps 1 --eval-every 1 --val-data whole --out none", &o), "'whole/dog'",
          "not a class of the training data");
}

/* What is written after the last step is written, too, where --stop-after ends the run before. */
static void test_ends_early(void **state)
{
    (void)state;
    options o;
    must(train_on("--steps 60 --eval-every 1 --lr 0 --stop-after 2 --val-data train --predict 1 "
                  "--save-best --mean imagenet --out early",
                  &o));
    assert_true(logged("early", "step") == 3);
    assert_int_equal(access("early/predictions.txt", R_OK), 0);
    for (int i = 0; i < 2; i++) {
        image_card card = {0};
        bool found;
        must(image_card_read(i ? "early/best" : "early", &found, &card));
        assert_true(found && card.n_names == 3 && card.mean[0] == 0.485);
        assert_int_equal(access(i ? "early/best/classes.txt" : "early/classes.txt", R_OK), 0);
        image_card_free(&card);
    }
}

/* Another picture under the same name: of a checkpoint of other data. */
static void test_other_pictures(void **state)
{
    (void)state;
    options o;
    must(train_on("--steps 2 --checkpoint-every 2 --eval-every 0 --out re", &o));
    put("train", "bee", "01", 77);
    fails(train_on("--steps 4 --eval-every 0 --out re --resume auto", &o), "data", "");
    fill();
    must(train_on("--steps 4 --eval-every 0 --out re --resume auto", &o));
}

/* A picture that EXIF says is turned, in an epoch of all. */
static void test_upright(void **state)
{
    (void)state;
    options o;
    double loss[2];
    mkdir("turned", 0777);
    mkdir("turned/a", 0777);
    put("turned", "b", "1", 50);
    file_write("turned/a/1.png", turned, n_turned);
    for (int i = 0; i < 2; i++) {
        must(train_on(i ? "--train-data turned --steps 20 --eval-every 0 --out up --upright"
                        : "--train-data turned --steps 20 --eval-every 0 --out up",
                      &o));
        loss[i] = logged("up", "grad_norm");
    }
    assert_true(loss[0] != loss[1]);
}

static int enter(void **state)
{
    golden *g;
    const double *v;
    int64_t n;
    error *e = golden_open("test/golden/pictures.txt", &g);
    if (!e) e = golden_get(g, "png_exif.file", &v, &n);
    if (e) return error_report("test_image_runs", e);
    for (n_turned = 0; n_turned < (size_t)n; n_turned++)
        turned[n_turned] = (uint8_t)v[n_turned];
    golden_free(g);
    if (scratch_make(state) || chdir(*state)) return 1;
    fill();
    return 0;
}

#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__
#include <malloc.h>

/* Three blocks at a time, as of a file, its pixels and a part of them resized. */
static long faults_of_blocks(void)
{
    enum { BLOCKS = 3, SIZE = 1 << 20, PAGE = 4096, TIMES = 50 };
    struct rusage before, after;
    for (int t = 0; t < TIMES; t++) {
        char *block[BLOCKS];
        if (t == 1) getrusage(RUSAGE_SELF, &before);
        for (int i = 0; i < BLOCKS; i++) {
            block[i] = malloc(SIZE);
            assert_non_null(block[i]);
            for (size_t at = 0; at < SIZE; at += PAGE)
                ((volatile char *)block[i])[at] = 1;
        }
        for (int i = 0; i < BLOCKS; i++)
            free(block[i]);
    }
    getrusage(RUSAGE_SELF, &after);
    return after.ru_minflt - before.ru_minflt;
}

/* The kernel clears no page again; with the numbers that glibc begins with it does for each block,
 * which shows that this can fail. */
static void test_kept_heap(void **state)
{
    (void)state;
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    mallopt(M_TRIM_THRESHOLD, 128 << 10);
    long before = faults_of_blocks();
    heap_keep();
    long kept = faults_of_blocks();
    if (before < 1000 || kept > 100) fail_msg("%ld page faults, then %ld", before, kept);
}
#else
static void test_kept_heap(void **state)
{
    (void)state;
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_in_validation),
        cmocka_unit_test(test_bad_in_training),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_other_pictures),
        cmocka_unit_test(test_ends_early),
        cmocka_unit_test(test_upright),
        cmocka_unit_test(test_kept_heap),
    };
    return cmocka_run_group_tests_name("image runs", tests, enter, scratch_leave);
}

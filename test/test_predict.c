/* test_predict.c - the program predict, on what a run of train_vit leaves: names, probabilities,
 * figures.
 */
#include "test/scratch.h"

#include "cpu/cpu.h"
#include "io/image_card.h"
#include "plan/plan_report.h"
#include "test/small_images.h"
#include "test/small_run.h"
#include "train/loop.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>

static char program[PROGRAM_PATH]; /* predict */
static const char *const classes[] = {"a pe", "bee", "c<t"};

static void put(const char *root, int class, const char *name, int grey)
{
    char path[200];
    mkdir(root, 0777);
    snprintf(path, sizeof path, "%s/%s", root, classes[class]);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s.png", root, classes[class], name);
    small_png_write(path, 8, 8, (uint8_t)grey);
}

static void train(const char *more)
{
    static options o;
    trainer *t;
    device dev;
    char words[700], text[SMALL_TEXT];
    snprintf(words, sizeof words,
             "--patch 4 --image-size 8x8 --channels 1 --layers 1 --heads 2 --width 16 --inner 16 "
             "--batch 12 --threads 2 --warmup 0 --lr 0.01 --schedule constant --workers 0 "
             "--train-data train --val-data val --steps 60 --eval-every 60 %s",
             more);
    must(small_parse(words, text, &o));
    must(trainer_plan(&o, &image_kind, &t));
    must(cpu_device((int)o.threads, &dev));
    must(train_loop(t, &dev, plan_files));
    trainer_destroy(t);
    cpu_close(&dev);
}

/* What the program prints on both outputs; its status is `status`. */
static char *output(const char *arguments, int status)
{
    static char text[1 << 16];
    char command[5000];
    snprintf(command, sizeof command, "'%s' %s 2>&1", program, arguments);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    int got = pclose(f);
    if (got >> 8 != status) fail_msg("%s: status %d: %s", arguments, got >> 8, text);
    return text;
}

static void contains(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("no \"%s\" in: %s", part, text);
}

/* A line for each picture, in order; names, and probabilities that fall and add up to 1. */
static void test_names(void **state)
{
    (void)state;
    char *text = output("--load run val --top 3", 0), *rest = NULL;
    int lines = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char path[100], name[3][20];
        double p[3];
        assert_int_equal(sscanf(line, "%99[^\t]\t%19[^\t]\t%lf\t%19[^\t]\t%lf\t%19[^\t]\t%lf", path,
                                name[0], &p[0], name[1], &p[1], name[2], &p[2]),
                         7);
        assert_true(p[0] >= p[1] && p[1] >= p[2] && fabs(p[0] + p[1] + p[2] - 1) < 3e-4);
        contains(path, name[0]); /* it is right, and its directory is its class */
        lines++;
    }
    assert_int_equal(lines, 4);
    text = output("--load run --top 1 'val/bee/1.png' --batch 1", 0);
    assert_memory_equal(text, "val/bee/1.png\tbee\t", 18);
}

static void test_json(void **state)
{
    (void)state;
    cJSON *json = cJSON_Parse(output("--load run --json --top 2 'val/c<t/1.png'", 0));
    assert_non_null(json);
    const cJSON *list = cJSON_GetObjectItem(json, "classes");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_string_equal(
        cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetArrayItem(list, 0), "class")), "c<t");
    cJSON_Delete(json);
    json = cJSON_Parse(output("--load run --json --eval val", 0));
    assert_non_null(json);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(json, "accuracy")) == 1);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(json, "images")) == 4);
    cJSON_Delete(json);
}

/* One picture in the wrong directory, one that is none: figures, matrix, picture. */
static void test_eval(void **state)
{
    (void)state;
    put("wrong", 0, "1", 20);
    put("wrong", 0, "2", 125); /* a bee */
    put("wrong", 1, "1", 125);
    put("wrong", 1, "2", 120);
    file_write("wrong/bee/3.png", "no picture", 10);
    const char *text = output("--load run --eval wrong --picture matrix.svg", 0);
    contains(text, "images\t4\naccuracy\t0.7500\ntop-5\t1.0000\n");
    contains(text, "a pe\t2\t0.5000\t1.0000\n");
    contains(text, "bee\t2\t1.0000\t0.6667\n");
    contains(text, "is, taken for\ta pe\tbee\tc<t\na pe\t1\t1\t0\nbee\t0\t2\t0\nc<t\t0\t0\t0\n");
    contains(text, "1 could not be read");
    size_t n;
    char *svg = (char *)file_read("matrix.svg", &n);
    svg = realloc(svg, n + 1);
    svg[n] = 0;
    contains(svg, "<svg");
    contains(svg, "c&#60;t");
    contains(svg, "<title>2</title>");
    free(svg);
}

/* Pixels are treated as in training: with another mean than the default, too. */
static void test_pixels(void **state)
{
    (void)state;
    train("--out shifted --mean 0.3 --std 0.2 --interpolation bicubic --crop-pct 0.5");
    image_card card = {0};
    bool found;
    must(image_card_read("shifted", &found, &card));
    assert_true(found && card.mean[0] == 0.3 && card.std[0] == 0.2 && card.bicubic);
    assert_true(card.crop_part == 0.5 && card.n_names == 3 && !strcmp(card.names[2], "c<t"));
    image_card_free(&card);
    contains(output("--load shifted --eval val", 0), "accuracy\t1.0000");
    size_t n;
    char *names = (char *)file_read("shifted/classes.txt", &n);
    assert_int_equal(n, strlen("a pe\nbee\nc<t\n"));
    assert_memory_equal(names, "a pe\nbee\nc<t\n", n);
    free(names);
}

static void test_refusals(void **state)
{
    (void)state;
    contains(output("val", 1), "no --load");
    contains(output("--load run", 1), "no pictures");
    contains(output("--load val val", 1), "no config.json");
    contains(output("--load run nowhere", 1), "'nowhere' cannot be opened");
    contains(output("--load run --top 0 val", 1), "--top 0");
    contains(output("--load run --picture x.svg val", 1), "only with --eval");
    put("other", 0, "1", 20);
    assert_int_equal(rename("other/a pe", "other/dog"), 0);
    contains(output("--load run --eval other", 1), "'other/dog' is not a class");
    contains(output("--load run --unknown", 1), "unknown");
}

static int enter(void **state)
{
    char name[20];
    find_program("predict", program);
    if (scratch_make(state) || chdir(*state)) return 1;
    for (int i = 0; i < 36; i++) {
        snprintf(name, sizeof name, "%02d", i);
        put("train", i % 3, name, 10 + 100 * (i % 3) + i);
    }
    put("val", 0, "1", 22);
    put("val", 0, "2", 38);
    put("val", 1, "1", 130);
    put("val", 2, "1", 230);
    train("--out run");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),  cmocka_unit_test(test_json),     cmocka_unit_test(test_eval),
        cmocka_unit_test(test_pixels), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("predict", tests, enter, scratch_leave);
}

/* test_layer_rates.c - layer-wise decay of the learning rate: each parameter's factor as timm gives
 * it (golden/layer_decay.py), those of a GPT by hand; and what a step makes of them. */
#include "model/model.h"
#include "optim/layer_rates.h"
#include "test/golden.h"
#include "test/small_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define VIT                                                                                        \
    "--patch 4 --image-size 8x8 --channels 1 --classes 5 --layers 3 --heads 2 --width 8 "          \
    "--threads 2 "

static golden *g;

static void hold(const char *name, const params *p)
{
    const double *want, *decay;
    int64_t n;
    float rate[200];
    must(golden_get(g, "decay", &decay, &n));
    must(golden_get(g, name, &want, &n));
    assert_int_equal(p->n, n);
    must(layer_rates(p, *decay, rate));
    for (int i = 0; i < p->n; i++)
        if (fabs(rate[i] - want[i]) > 1e-7 * want[i])
            fail_msg("%s, %s: %.9g, timm has %.9g", name, p->row[i].spec.name, (double)rate[i],
                     want[i]);
}

static void hold_run(const char *name, const char *arguments)
{
    small_run s;
    small_open(&s, arguments);
    hold(name, &s.t->params);
    small_close(&s);
}

static void test_as_timm(void **state)
{
    (void)state;
    hold_run("vit_cls", VIT "--pool cls");
    hold_run("vit_mean", VIT "--pool mean");
    model_config c = {.name = "golden",
                      .width = 8,
                      .patch = 4,
                      .channels = 3,
                      .vocab = 5,
                      .image_height = 44,
                      .image_width = 32,
                      .stage = {2, 1, 2, 1}};
    training_policy how = {0};
    params p = {.type = F32};
    model *m;
    must(convnext_config(&c));
    must(image_kind.create(&c, &how, &p, &m));
    hold("convnext", &p);
    image_kind.destroy(m);
    params_free(&p);
}

typedef struct {
    const char *name;
    int depth;
} expected;

static void expect_depths(const char *arguments, int most, const expected *want, int n)
{
    small_run s;
    int depth[200];
    small_open(&s, arguments);
    const params *p = &s.t->params;
    assert_int_equal(layer_depths(p, depth), most);
    for (int k = 0; k < n; k++) {
        int i = 0;
        char name[80];
        while (i < p->n && strcmp(param_text(&p->row[i], name, sizeof name), want[k].name))
            i++;
        if (i == p->n) fail_msg("%s: no %s", arguments, want[k].name);
        if (depth[i] != want[k].depth)
            fail_msg("%s, %s: depth %d, not %d", arguments, want[k].name, depth[i], want[k].depth);
    }
    small_close(&s);
}

/* A GPT's head is its embedding; a WRN's norm after the last block is that block's. */
static void test_other_models(void **state)
{
    static const expected gpt[] = {{"wte.weight", 0},
                                   {"wpe.weight", 0},
                                   {"h.0.ln_1.weight", 1},
                                   {"h.0.mlp.c_proj.bias", 1},
                                   {"h.1.attn.c_attn.weight", 2},
                                   {"ln_f.weight", 2}},
                          wrn[] = {{"conv1.weight", 0},
                                   {"block1.layer.0.bn1.weight", 1},
                                   {"block3.layer.3.conv2.weight", 12},
                                   {"bn1.weight", 12},
                                   {"fc.weight", 13},
                                   {"fc.bias", 13}};
    (void)state;
    expect_depths(SMALL_MODEL, 2, gpt, 6);
    expect_depths("--model wrn-28-2 --patch 1 --norm group --batch 2 --threads 2", 13, wrn, 6);
}

/* A step of SGD moves a parameter by its rate times what it moves it without; decay of weights
 * too. */
static void hold_step(const char *common)
{
    char with[SMALL_TEXT + 40], steps[SMALL_TEXT];
    snprintf(steps, sizeof steps, "%s --steps 1 --warmup 0 --lr 0.125", common);
    snprintf(with, sizeof with, "%s --layer-decay 0.5", steps);
    small_run s;
    small_open(&s, common);
    params *p = &s.t->params;
    int64_t n = params_count(p), at = 0;
    float *before, rate[200];
    must(alloc_array(&before, (size_t)n, sizeof *before));
    small_parameters(&s, before);
    must(layer_rates(p, 0.5, rate));
    small_result a = small_train(steps), b = small_train(with);
    assert_int_equal(a.n, n);
    for (int i = 0; i < p->n; i++)
        for (int64_t k = 0; k < p->row[i].count; k++, at++) {
            double moved = (double)b.parameters[at] - (double)before[at],
                   wanted = (double)rate[i] * ((double)a.parameters[at] - (double)before[at]);
            double slack = 3e-7 * (fabs((double)before[at]) + fabs(wanted)) + 1e-9;
            if (fabs(moved - wanted) > slack)
                fail_msg("%s: %s moves by %.9g, not by %.9g (rate %g)", with, p->row[i].spec.name,
                         moved, wanted, (double)rate[i]);
        }
    small_free(&a);
    small_free(&b);
    free(before);
    small_close(&s);
}

static void test_steps(void **state)
{
    static const char *const optimizers[] = {
        "sgd --weight-decay 0.5",   "sgd --optim-impl passes --weight-decay 0.5",
        "adamw --weight-decay 0.5", "adamw_r --weight-decay 0.5",
        "adama --weight-decay 0.5", "lion_r --weight-decay 0.5",
        "muon --weight-decay 0.5",  "adan_r --weight-decay 0"}; /* it divides by 1 + lr wd */
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        char text[SMALL_TEXT];
        snprintf(text, sizeof text, SMALL_MODEL "--optim %s", optimizers[i]);
        hold_step(text);
        if (i) continue;
        snprintf(text, sizeof text, SMALL_VIT "--optim %s", optimizers[i]);
        hold_step(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_timm),
                                       cmocka_unit_test(test_other_models),
                                       cmocka_unit_test(test_steps)};
    must(golden_open("test/golden/layer_decay.txt", &g));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    golden_free(g);
    return failed;
}

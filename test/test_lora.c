/* test_lora.c - adapters (model/lora.h): against peft, against central differences, and in whole
 * runs.
 *
 *   golden values (test/golden/lora.py: peft on transformers, float64)
 *        loss, logits, every gradient --> reference device, F64, at every level of recomputation
 *                                     \-> CPU device, F32
 *   central differences of the loss, every adapter --> reference device
 *   W + s B A, as peft merges them --> reference device
 *   runs: the same bits whatever is recomputed and where gradients lie; less memory than the whole
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "model/families.h"
#include "io/model_file.h"
#include "test/golden.h"
#include "test/golden_sums.h"
#include "test/ref.h"
#include "test/scratch.h"
#include "test/small_gpt.h"
#include "test/small_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static const double amplitude = 0.8; /* as in families.py */

/* ---- the models of lora.py ---- */

/* ...: heads, keys, size of a head, inner width, how much of a head turns */
#define BY_BASE(base_, heads_, kv_heads_, size_, inner_, turned)                                   \
    .layers = 2, .width = 24, .context = 16, .vocab = V, .heads = heads_, .kv_heads = kv_heads_,   \
    .head_size = size_, .inner = inner_, .rotary.size = turned, .rotary.base = base_
#define SIZES(...) BY_BASE(10000, __VA_ARGS__)

#define ON(...)                                                                                    \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

typedef struct {
    const char *name;
    model_config c;
    const char *const *on;
    size_t n_on;
} variant;

#define LLAMA                                                                                      \
    {                                                                                              \
        LLAMA_OPTIONS, SIZES(4, 2, 6, 40, 6)                                                       \
    }
#define GPT2                                                                                       \
    {                                                                                              \
        GPT2_OPTIONS, SIZES(3, 3, 8, 96, 0)                                                        \
    }
#define QWEN2                                                                                      \
    {                                                                                              \
        LLAMA_LIKE, BY_BASE(1000000, 4, 2, 6, 40, 6), .norm_eps = 1e-5, .act = ACT_SILU,           \
                                                      .embedding_scale = 1, .bias.qkv = true,      \
                                                      .tied = true                                 \
    }
#define FALCON_TWO                                                                                 \
    {                                                                                              \
        SIZES(4, 2, 6, 96, 6), .names = &falcon_two_names, .norm_eps = 1e-5, .act = ACT_GELU_ERF,  \
                               .positions = POSITIONS_ROTARY, .bias.norms = true,                  \
                               .residual = RESIDUAL_PARALLEL, .embedding_scale = 1, .tied = true,  \
                               .causal = true                                                      \
    }

static const variant variants[] = {
    {"gpt2", GPT2, NULL, 0},
    {"gpt2_some", GPT2, ON("h.1.attn.c_proj")},
    {"llama", LLAMA, NULL, 0},
    {"llama_qv", LLAMA, ON("q_proj", "v_proj")},
    {"qwen2", QWEN2, ON("*.k_proj", "self_attn.o_proj", "model.layers.?.mlp.gate_proj")},
    {"phi", {PHI_OPTIONS, SIZES(3, 3, 8, 48, 4)}, NULL, 0},
    {"phi3", {PHI3_OPTIONS, SIZES(3, 3, 8, 40, 4)}, NULL, 0},
    {"falcon_two", FALCON_TWO, ON("query_key_value", "dense_4h_to_h")},
    {"olmo2", {OLMO2_OPTIONS, SIZES(4, 2, 6, 40, 6)}, NULL, 0},
    {"gemma2",
     {GEMMA2_OPTIONS, SIZES(4, 2, 10, 40, 10), .embedding_scale = 4.898979485566356, /* sqrt(24) */
      .window = 4, .query_scalar = 7, .attention_cap = 1.5, .logit_cap = 2},
     NULL,
     0},
    {"neox", {NEOX_OPTIONS, SIZES(3, 3, 8, 40, 4)}, NULL, 0},
};

static const double *values(golden *g, const variant *v, const char *what, int64_t *n)
{
    char key[100];
    const double *found;
    snprintf(key, sizeof key, "%.31s.%.40s", v->name, what);
    must(golden_get(g, key, &found, n));
    return found;
}

static training_policy policy_of(golden *g, const variant *v, recompute_level level)
{
    int64_t n;
    const double *numbers = values(g, v, "adapter", &n);
    assert_int_equal(n, 3);
    return (training_policy){.recompute = recompute_all(level, v->c.layers),
                             .lora = {.rank = (int64_t)numbers[0],
                                      .alpha = numbers[1],
                                      .rank_stabilized = numbers[2] != 0,
                                      .on = v->on,
                                      .n_on = (int)v->n_on}};
}

static void near(const variant *v, const char *what, int64_t i, double got, double want,
                 double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s: %s[%lld]: got %.12g, want %.12g, bound %.3g", v->name, what, (long long)i,
                 got, want, bound);
}

static void compare(golden *g, const variant *v, const char *kind, const param *row, tensor t,
                    int k, double e)
{
    char what[40];
    int64_t n;
    snprintf(what, sizeof what, "%s.%d", kind, k);
    const double *want = values(g, v, what, &n);
    golden_compare_sums(v->name, row, t, k, want, n, e);
}

static void open_variant(bench_model *b, golden *g, const variant *v, recompute_level level,
                         device *dev, dtype type)
{
    training_policy how = policy_of(g, v, level);
    int64_t n;
    open_model(b, &v->c, &how, dev, type);
    b->amplitude = amplitude;
    load_formula(b);
    assert_int_equal(b->p.n, (int)*values(g, v, "tensors", &n));
}

static void against_peft(device *dev, dtype type, recompute_level level, double loss_error,
                         double e)
{
    golden *g;
    must(golden_open("test/golden/lora.txt", &g));
    for (int i = 0; i < COUNT(variants); i++) {
        const variant *v = &variants[i];
        bench_model b;
        int64_t n;
        open_variant(&b, g, v, level, dev, type);
        train_once(&b);
        must(device_status(dev));
        double want = *values(g, v, "loss", &n), got = *(double *)b.loss.data;
        near(v, "loss", 0, got, want, loss_error * want);
        near(v, "loss of evaluation", 0, loss_of(&b), got, loss_error * want);
        for (int k = 0; k < b.p.n; k++) {
            const param *row = &b.p.row[k];
            assert_int_equal(row->trainable, row->spec.adapter_scale != 0);
            assert_int_equal(row->trainable, present(row->gradient));
            if (row->trainable) compare(g, v, "grad", row, row->gradient, k, e);
        }
        close_model(&b);
    }
    golden_free(g);
}

static void test_reference_against_peft(void **state)
{
    (void)state;
    device dev = ref_device();
    for (recompute_level level = RECOMPUTE_NONE; level < RECOMPUTE_LEVELS; level++)
        against_peft(&dev, F64, level, 1e-9, 1e-8); /* the file has ten digits */
}

/* Float: as in test_families.c. */
static void test_cpu_against_peft(void **state)
{
    (void)state;
    device dev;
    must(cpu_device(2, &dev));
    against_peft(&dev, F32, RECOMPUTE_NONE, 1e-5, 6e-5);
    cpu_close(&dev);
}

/* Decoding from caches, in steps of any length up to the room that memory was taken for. */
static void test_decoding_against_peft(void **state)
{
    (void)state;
    golden *g;
    device dev = ref_device();
    must(golden_open("test/golden/lora.txt", &g));
    for (int i = 0; i < COUNT(variants); i++)
        for (int64_t room = 1; room <= T; room += 5) {
            const variant *v = &variants[i];
            training_policy how = policy_of(g, v, RECOMPUTE_NONE);
            decoding d;
            int64_t n;
            const double *want = values(g, v, "logits", &n);
            assert_int_equal(n, B * V);
            open_decoding(&d, &v->c, &how, room, &dev);
            d.b.amplitude = amplitude;
            load_formula(&d.b);
            begin_decoding(&d);
            for (int64_t first = 0; first < T; first += room)
                decode(&d, first, T - first < room ? T - first : room);
            for (int64_t k = 0; k < n; k++)
                near(v, "logits", k, element(d.logits, k), want[k], 1e-8 * (1 + fabs(want[k])));
            end_decoding(&d);
            close_model(&d.b);
        }
    golden_free(g);
}

/* ---- central differences ---- */

static void test_central_differences(void **state)
{
    (void)state;
    golden *g;
    device dev = ref_device();
    must(golden_open("test/golden/lora.txt", &g));
    for (int i = 0; i < COUNT(variants); i++) {
        bench_model b;
        open_variant(&b, g, &variants[i], RECOMPUTE_NONE, &dev, F64);
        train_once(&b);
        b.p.training = false;
        for (int k = 0; k < b.p.n; k++) {
            const param *row = &b.p.row[k];
            if (!row->trainable) continue;
            for (int64_t at = k % 7; at < row->count; at += row->count / 2 + 1) {
                double *x = (double *)row->value.data + at, kept = *x, h = 1e-5;
                *x = kept + h;
                double up = loss_of(&b);
                *x = kept - h;
                double down = loss_of(&b);
                *x = kept;
                near(&variants[i], "difference", k, element(row->gradient, at),
                     (up - down) / (2 * h), 1e-9);
            }
        }
        close_model(&b);
    }
    golden_free(g);
}

/* ---- merged ---- */

static bool golden_has(golden *g, const char *name)
{
    const double *found;
    int64_t n;
    error *e = golden_get(g, name, &found, &n);
    error_free(e);
    return !e;
}

/* W + s B A, as peft's merge_and_unload leaves it. */
static void test_merged_against_peft(void **state)
{
    (void)state;
    golden *g;
    device dev = ref_device();
    must(golden_open("test/golden/lora.txt", &g));
    for (int i = 0; i < COUNT(variants); i++) {
        const variant *v = &variants[i];
        bench_model b;
        bool before[200] = {false};
        int merged = 0, matrices = 0;
        open_variant(&b, g, v, RECOMPUTE_NONE, &dev, F64);
        assert_true(b.p.n <= 200);
        for (int k = 0; k < b.p.n; k++) {
            before[k] = b.p.row[k].spec.adapter_scale != 0;
            matrices += before[k] && !before[k - 1]; /* adapters follow their matrix, or its bias */
        }
        must(lora_merge(&b.p, &dev));
        for (int k = 0, at = 0; k < 200; k++) {
            char key[100];
            snprintf(key, sizeof key, "%s.merged.%d", v->name, k);
            if (golden_has(g, key)) {
                assert_true(at < b.p.n && !before[k]);
                compare(g, v, "merged", &b.p.row[at], b.p.row[at].value, k, 1e-8);
                merged++;
            }
            at += !before[k];
        }
        assert_int_equal(merged, matrices);
        close_model(&b);
    }
    golden_free(g);
}

/* ---- runs ---- */

/* Beside one model; the first is what the others must have the bits of, and takes less memory than
 * training all would. */
static void test_runs(void **state)
{
    static const char *const forms[] = {"",
                                        "--recompute block",
                                        "--recompute attention:0,norms:1",
                                        "--gradients overlay",
                                        "--optim adamw_r --gradients release",
                                        "--optim adamw_r --recompute sqrt"};
    char words[500];
    small_run base;
    small_open(&base, SMALL_MODEL);
    must(weights_write(*state, &base.o.model, &base.t->params, &base.dev, NULL));
    small_close(&base);
#define TUNED "--load %s --batch 3 --seq 11 --threads 2 --steps 4 --lr 0.02 --grad-clip 0 %s %s"
    snprintf(words, sizeof words, TUNED, (const char *)*state, "", "");
    small_result whole = small_train(words), first = {0};
    for (int i = 0; i < COUNT(forms); i++) {
        snprintf(words, sizeof words, TUNED, (const char *)*state, "--lora 3", forms[i]);
        small_result r = small_train(words);
        if (!i) {
            first = r;
            assert_true(r.peak < whole.peak && r.loss[3] < r.loss[0]);
            continue;
        }
        if (first_difference(&first, &r) >= 0 ||
            memcmp(first.loss, r.loss, 4 * sizeof *r.loss) != 0)
            fail_msg("%s: other bits", words);
        small_free(&r);
    }
    small_free(&first);
    small_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_runs, scratch_make, scratch_remove),
        cmocka_unit_test(test_reference_against_peft),
        cmocka_unit_test(test_cpu_against_peft),
        cmocka_unit_test(test_decoding_against_peft),
        cmocka_unit_test(test_central_differences),
        cmocka_unit_test(test_merged_against_peft),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

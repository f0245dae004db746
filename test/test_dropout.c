/* test_dropout.c - what is left out at random in training, and the z-loss: in the model, and in
 * whole runs.
 *
 *   central differences of the training loss --> reference device, F64: sequential and parallel blocks, gated,
 *                                                with an embedding's norm, tied; adapters
 *   every level of recomputation             --> the same bits
 *   evaluation                               --> as without
 *   runs: the same losses however a step is split into micro-batches; the same bits whatever is recomputed
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "model/families.h"
#include "test/long.h"
#include "test/formula.h"
#include "test/ref.h"
#include "test/small_gpt.h"
#include "test/small_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

#define SIZES(heads_, kv_heads_, size_, inner_, turned)                                            \
    .layers = 2, .width = 24, .context = 16, .vocab = V, .heads = heads_, .kv_heads = kv_heads_,   \
    .head_size = size_, .inner = inner_, .rotary.size = turned, .rotary.base = 10000

static const struct {
    const char *name;
    model_config c;
    training_policy how;
} variants[] = {
    {"gpt2", {GPT2_OPTIONS, SIZES(3, 3, 8, 96, 0)}, {.dropout = 0.3}},
    {"llama", {LLAMA_OPTIONS, SIZES(4, 2, 6, 40, 6)}, {.dropout = 0.2, .z_loss = 0.01}},
    {"neox", {NEOX_OPTIONS, SIZES(3, 3, 8, 40, 4)}, {.dropout = 0.5}},
    {"bloom", {BLOOM_OPTIONS, SIZES(3, 3, 8, 96, 0)}, {.dropout = 0.4, .z_loss = 0.1}},
    {"z", {GPT2_OPTIONS, SIZES(3, 3, 8, 96, 0)}, {.z_loss = 0.05}},
    {"adapters, gpt2",
     {GPT2_OPTIONS, SIZES(3, 3, 8, 96, 0)},
     {.adapter_dropout = 0.4, .lora = {.rank = 2, .alpha = 3}}},
    {"adapters, llama",
     {LLAMA_OPTIONS, SIZES(4, 2, 6, 40, 6)},
     {.adapter_dropout = 0.25, .dropout = 0.1, .lora = {.rank = 3, .alpha = 3}}},
};

static void open_variant(bench_model *b, int i, recompute_level level, device *dev, dtype type,
                         int32_t start)
{
    training_policy how = variants[i].how;
    how.recompute = recompute_all(level, variants[i].c.layers);
    how.dropout_seed = 42;
    open_model(b, &variants[i].c, &how, dev, type);
    b->p.training = true;
    if (!present(b->in.start)) return;
    ((int32_t *)b->in.start.data)[0] = start;
    ((int32_t *)b->in.start.data)[1] = 0;
}

static double train_loss(bench_model *b)
{
    train_once(b);
    return *(double *)b->loss.data;
}

/* Gradients of all parameters one after the other; free them. */
static double *gradients(bench_model *b)
{
    double *all, *at;
    must(alloc_array(&all, (size_t)params_count(&b->p), sizeof *all));
    at = all;
    for (int i = 0; i < b->p.n; i++)
        for (int64_t j = 0; j < b->p.row[i].count; j++, at++)
            *at = b->p.row[i].trainable ? element(b->p.row[i].gradient, j) : 0;
    return all;
}

static void test_gradients_by_differences(void **state)
{
    (void)state;
    enum { PER_TENSOR = 5 };
    const double h = 1e-5;
    for (int v = 0; v < COUNT(variants); v++) {
        bench_model b;
        device dev = ref_device();
        int moved = 0;
        open_variant(&b, v, RECOMPUTE_NONE, &dev, F64, 7);
        train_loss(&b);
        double *all = gradients(&b), *at = all;
        for (int i = 0; i < b.p.n; at += b.p.row[i++].count) {
            const param *row = &b.p.row[i];
            for (uint32_t k = 0; k < (thin_run() ? 1 : PER_TENSOR) && row->trainable; k++) {
                int64_t j = formula_hash(77, (uint32_t)i * PER_TENSOR + k) % (uint32_t)row->count;
                double *x = (double *)row->value.data + j, old = *x;
                *x = old + h;
                double up = train_loss(&b);
                *x = old - h;
                double want = (up - train_loss(&b)) / (2 * h);
                *x = old;
                if (fabs(at[j] - want) > 1e-6 * (1e-2 + fabs(want)))
                    fail_msg("%s: parameter %d[%lld]: got %.12g, want %.12g", variants[v].name, i,
                             (long long)j, at[j], want);
                moved += fabs(want) > 1e-6;
            }
        }
        assert_true(moved > (thin_run() ? 4 : 20)); /* differences say something */
        free(all);
        close_model(&b);
    }
}

/* What backward makes again is what forward made. */
static void test_recomputed(void **state)
{
    (void)state;
    for (int v = 0; v < COUNT(variants); v++) {
        double *first = NULL, loss = 0;
        for (int level = 0; level < RECOMPUTE_LEVELS; level++) {
            bench_model b;
            device dev = ref_device();
            open_variant(&b, v, (recompute_level)level, &dev, F64, 7);
            double now = train_loss(&b), *all = gradients(&b);
            if (first &&
                (now != loss || memcmp(all, first, (size_t)params_count(&b.p) * sizeof *all)))
                fail_msg("%s: other numbers at level %d", variants[v].name, level);
            loss = now;
            free(first);
            first = all;
            close_model(&b);
        }
        free(first);
    }
}

/* Other rows of the run have other masks; the same ones the same, on the CPU, too; evaluation has
 * none. */
static void test_where_it_matters(void **state)
{
    (void)state;
    for (int v = 0; v < COUNT(variants); v++) {
        double loss[4];
        for (int k = 0; k < 4; k++) {
            bench_model b, plain;
            device dev = ref_device();
            if (k == 3) must(cpu_device(2, &dev));
            open_variant(&b, v, RECOMPUTE_NONE, &dev, k == 3 ? F32 : F64, k == 1 ? 8 : 7);
            loss[k] = train_loss(&b);
            b.p.training = false;
            double evaluated = loss_of(&b);
            training_policy how = {.lora = variants[v].how.lora};
            open_model(&plain, &variants[v].c, &how, &dev, k == 3 ? F32 : F64);
            assert_true(evaluated == loss_of(&plain) && evaluated != loss[k]);
            close_model(&plain);
            close_model(&b);
            if (k == 3) cpu_close(&dev);
        }
        bool random = variants[v].how.dropout > 0 || variants[v].how.adapter_dropout > 0;
        assert_true((loss[0] != loss[1]) == random && loss[0] == loss[2]);
        assert_true(fabs(loss[3] - loss[0]) < 1e-5 * loss[0]);
    }
}

/* ---- runs ---- */

#define RUN                                                                                        \
    "--layers 2 --heads 2 --width 16 --context 12 --vocab 59 --seq 11 --steps 4 --threads 2 "      \
    "--device cpu --dropout 0.3 --z-loss 0.001 "

static void test_runs(void **state)
{
    (void)state;
    static const char *const same[] = {RUN "--batch 4 --recompute block",
                                       RUN "--batch 4 --recompute sqrt --optim adamw_r",
                                       RUN "--batch 4 --gradients release"};
    small_result a = small_train(RUN "--batch 4"), split = small_train(RUN "--batch 2 --accum 2"),
                 other = small_train(RUN "--batch 4 --seed 2");
    for (int i = 0; i < COUNT(same); i++) {
        small_result b = small_train(same[i]);
        assert_int_equal(first_difference(&a, &b), -1);
        small_free(&b);
    }
    for (int64_t i = 0; i < a.steps; i++) { /* the masks are those of the samples */
        assert_true(fabs(a.loss[i] - split.loss[i]) < 1e-5);
        assert_true(a.loss[i] != other.loss[i]);
    }
    small_free(&a);
    small_free(&split);
    small_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_by_differences),
        cmocka_unit_test(test_recomputed),
        cmocka_unit_test(test_where_it_matters),
        cmocka_unit_test(test_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_sparse.c - training with a fixed number of non-zeros (params/sparse_backing.h).
 *
 *     all elements there     the same bits as without
 *     some                   a step's gradients are those that the dense matrix would have there
 *     a change of places     as many as before; the smallest go; who stays keeps value and states, who
 *                            comes has zeros; bits of seed and step
 *     memory forms           own, overlay, release, _r, passes, micro-batches: the same bits
 */
#include "test/small_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FULL "--sparsity 1e-9 --regrow-every 0 "

/* Do two runs leave the same bits?  Norms are summed in another order where the pool is a row. */
static void same(const char *one, const char *other)
{
    small_result a = small_train(one), b = small_train(other);
    int64_t i = first_difference(&a, &b);
    if (i >= 0) fail_msg("%s | %s: parameter %lld differs", one, other, (long long)i);
    for (int64_t k = 0; k < a.steps; k++) {
        assert_true(a.loss[k] == b.loss[k]);
        if (fabs(a.grad_norm[k] - b.grad_norm[k]) > 1e-6 * a.grad_norm[k])
            fail_msg("%s | %s: norms %.9g, %.9g", one, other, a.grad_norm[k], b.grad_norm[k]);
    }
    small_free(&a);
    small_free(&b);
}

static void test_full_set_is_dense(void **state)
{
    (void)state;
    static const char *const optims[] = {"--optim adamw",
                                         "--optim adamw_r",
                                         "--optim adan --accum 2",
                                         "--optim lion --accum 3",
                                         "--optim sgd",
                                         "--optim adama --accum 3",
                                         "--optim adamw_r --optim-impl passes --recompute sqrt"};
    for (size_t i = 0; i < sizeof optims / sizeof *optims; i++) {
        char full[400], pooled[400];
        snprintf(full, sizeof full, SMALL_MODEL "--steps 4 %s", optims[i]);
        snprintf(pooled, sizeof pooled, SMALL_MODEL FULL "--steps 4 %s", optims[i]);
        same(full, pooled);
    }
    same(SMALL_VIT "--steps 4 --drop-path 0.3", SMALL_VIT FULL "--steps 4 --drop-path 0.3");
}

#define SPARSE "--sparsity 0.8 --regrow-every 2 --regrow-fraction 0.3 --steps 8 "

static void test_forms_keep_bits(void **state)
{
    (void)state;
    static const char *const models[] = {SMALL_MODEL, SMALL_VIT};
    static const char *const pairs[][2] = {
        {"--optim adamw", "--optim adamw"},
        {"--gradients own", "--gradients overlay"},
        {"--gradients own", "--gradients release"},
        {"--optim adamw", "--optim adamw_r"},
        {"--optim adamw", "--optim adamw_r --optim-impl passes"},
        {"--accum 3 --gradients own", "--accum 3 --gradients overlay"},
        {"--grad-clip 0.1 --optim adan", "--grad-clip 0.1 --optim adan_r"},
        {"--optim adamw", "--optim adamw --recompute block"},
    };
    for (size_t m = 0; m < 2; m++)
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
            char one[500], other[500];
            snprintf(one, sizeof one, "%s" SPARSE "%s", models[m], pairs[i][0]);
            snprintf(other, sizeof other, "%s" SPARSE "%s", models[m], pairs[i][1]);
            same(one, other);
        }
}

/* ---- one step against the dense matrix's ---- */

static void step_of(small_run *s, int64_t step, double lr, step_result *r)
{
    must(trainer_step(s->t, s->data, step, lr, r));
    assert_true(r->finite);
}

static float *parameters_of(small_run *s)
{
    float *x;
    must(alloc_array(&x, (size_t)params_count(&s->t->params), sizeof *x));
    small_parameters(s, x);
    return x;
}

static void put_parameters(small_run *dense, const float *x)
{
    for (int i = 0; i < dense->t->params.n; i++) {
        op_put(&dense->dev, STREAM_COMPUTE, dense->t->params.row[i].value, x);
        x += dense->t->params.row[i].count;
    }
}

static void one_step(const char *words_of_model, const char *more)
{
    char words[500];
    small_run pooled, dense;
    step_result a, b;
    snprintf(words, sizeof words, "%s --optim sgd --weight-decay 0 --regrow-every 0 %s",
             words_of_model, more);
    small_open(&dense, words);
    snprintf(words, sizeof words,
             "%s --optim sgd --weight-decay 0 --regrow-every 0 --sparsity 0.7 %s", words_of_model,
             more);
    small_open(&pooled, words);
    float *before = parameters_of(&pooled), *got, *want;
    put_parameters(&dense, before);
    step_of(&pooled, 1, 0.5, &a);
    step_of(&dense, 1, 0.5, &b);
    assert_true(a.loss == b.loss);
    assert_true(a.grad_norm < b.grad_norm);
    got = parameters_of(&pooled);
    want = parameters_of(&dense);
    const params *p = &pooled.t->params;
    int64_t at = 0, zeros = 0;
    for (int i = 0; i < p->n; i++) {
        if (param_is_pool(p, i)) continue;
        for (int64_t k = 0; k < p->row[i].count; k++, at++) {
            bool there = !param_in_pool(p, i) || before[at] != 0;
            zeros += !there;
            if (memcmp(&got[at], there ? &want[at] : &before[at], sizeof(float)))
                fail_msg("%s: row %d, element %lld: %.9g, dense %.9g", words, i, (long long)k,
                         (double)got[at], (double)want[at]);
        }
    }
    int64_t all = sparse_elements(pooled.t->sparse),
            stored = p->row[sparse_pool(pooled.t->sparse)].count;
    assert_int_equal(zeros, all - stored);
    assert_true(fabs((double)stored - 0.3 * (double)all) <= 0.5 * p->n);
    free(before);
    free(got);
    free(want);
    small_close(&pooled);
    small_close(&dense);
}

static void test_gradients_are_the_dense_ones(void **state)
{
    (void)state;
    one_step(SMALL_MODEL, "");
    one_step(SMALL_MODEL, "--accum 3");
    one_step(SMALL_MODEL, "--gradients release --recompute attention");
    one_step(SMALL_VIT, "--accum 2");
}

/* ---- a change of places ---- */

/* The pool's numbers put in their places, each matrix after the other; -1 where there is none. */
typedef struct {
    int64_t n;
    int *matrix;     /* (n) its parameter */
    float *value[4]; /* (n) weight, states; NAN where there is none */
    int kinds;
} layout;

static void get_all(small_run *s, tensor t, void *host)
{
    op_get(&s->dev, STREAM_COMPUTE, host, t);
    op_sync(&s->dev, STREAM_COMPUTE);
}

static layout look(small_run *s)
{
    trainer *t = s->t;
    const params *p = &t->params;
    int pool = sparse_pool(t->sparse);
    int64_t total = p->row[pool].count, at = 0, group = 0, index = 0;
    layout v = {.n = sparse_elements(t->sparse),
                .kinds = 1 + optimizer_rule_of(t->optimizer, pool)->n_states};
    tensor bits = sparse_bits(t->sparse);
    uint32_t *words;
    float *numbers;
    must(alloc_array(&words, (size_t)tensor_count(bits), sizeof *words));
    must(alloc_array(&numbers, (size_t)(total * v.kinds), sizeof *numbers));
    must(alloc_array(&v.matrix, (size_t)v.n, sizeof *v.matrix));
    get_all(s, bits, words);
    for (int k = 0; k < v.kinds; k++) {
        must(alloc_array(&v.value[k], (size_t)v.n, sizeof(float)));
        op_get_floats(&s->dev, STREAM_COMPUTE, numbers + k * total,
                      k ? t->optimizer->state[pool][k - 1] : p->row[pool].value);
    }
    for (int id = 0; id < p->n; id++) {
        if (!param_in_pool(p, id)) continue;
        int64_t count = p->row[id].count, here = 0;
        for (int64_t e = 0; e < count; e++, at++) {
            bool there = words[group * SPARSE_WORDS + e / 32] >> (e % 32) & 1;
            v.matrix[at] = id;
            for (int k = 0; k < v.kinds; k++)
                v.value[k][at] = there ? numbers[k * total + index] : NAN;
            index += there;
            here += there;
        }
        assert_int_equal(here, sparse_count(t->sparse, &t->r, id));
        group += (count + SPARSE_GROUP - 1) / SPARSE_GROUP;
    }
    assert_int_equal(index, total);
    free(words);
    free(numbers);
    return v;
}

static void forget(layout *v)
{
    free(v->matrix);
    for (int k = 0; k < v->kinds; k++)
        free(v->value[k]);
}

/* From one picture to the next: who went, who came, who stayed. */
static void compare(const layout *a, const layout *b, double fraction)
{
    int64_t went = 0, came = 0, stayed = 0;
    float largest_gone = 0, smallest_saved = INFINITY;
    for (int64_t i = 0; i < a->n; i++) {
        bool was = !isnan(a->value[0][i]), is = !isnan(b->value[0][i]);
        float size = fabsf(a->value[0][i]);
        went += was && !is;
        came += is && !was;
        stayed += is && was;
        if (was && !is) largest_gone = fmaxf(largest_gone, size);
        if (was && is) smallest_saved = fminf(smallest_saved, size);
        for (int k = 0; is && k < a->kinds; k++)
            if (was)
                assert_memory_equal(&a->value[k][i], &b->value[k][i], sizeof(float));
            else
                assert_true(b->value[k][i] == 0);
    }
    assert_int_equal(went, came);
    assert_int_equal(went, (int64_t)(fraction * (double)(went + stayed))); /* all are different */
    assert_true(largest_gone < smallest_saved);
}

static void renewed(const char *arguments)
{
    small_run s;
    step_result r;
    small_open(&s, arguments);
    for (int64_t step = 1; step <= 3; step++)
        step_of(&s, step, 1e-2, &r);
    layout before = look(&s), after;
    /* the fourth's change with nothing trained before it: a step of learning rate 0 would move
     * states, so the change is asked for by itself */
    int pool = sparse_pool(s.t->sparse);
    tensor all[3] = {s.t->params.row[pool].value};
    for (int k = 1; k < before.kinds; k++)
        all[k] = s.t->optimizer->state[pool][k - 1];
    must(sparse_renew(s.t->sparse, &s.t->r, 0.25, 4, all, before.kinds));
    after = look(&s);
    compare(&before, &after, 0.25);
    for (int64_t step = 5; step <= 6; step++)
        step_of(&s, step, 1e-2, &r);
    forget(&before);
    forget(&after);
    small_close(&s);
}

static void test_renewal(void **state)
{
    (void)state;
    renewed(SMALL_MODEL "--sparsity 0.5 --regrow-every 1000");
    renewed(SMALL_MODEL "--sparsity 0.9 --regrow-every 2 --optim lion --layers 3");
    renewed(SMALL_VIT "--sparsity 0.7 --regrow-every 1000 --gradients release");
}

/* Where there is hardly a zero, no more can change places than there are. */
static void test_little_room(void **state)
{
    (void)state;
    small_run s;
    step_result r;
    small_open(&s, SMALL_MODEL "--sparsity 0.01 --regrow-every 1 --regrow-fraction 0.9");
    for (int64_t step = 1; step <= 4; step++) {
        step_of(&s, step, 1e-2, &r);
        layout v = look(&s);
        forget(&v);
    }
    small_close(&s);
}

/* Other places with another seed; none changes when it is not time. */
static void test_seed(void **state)
{
    (void)state;
    static const char *const words[] = {SMALL_MODEL SPARSE, SMALL_MODEL SPARSE "--seed 2",
                                        SMALL_MODEL SPARSE "--regrow-every 0"};
    small_result r[3];
    for (int i = 0; i < 3; i++)
        r[i] = small_train(words[i]);
    assert_true(first_difference(&r[0], &r[1]) >= 0);
    assert_true(r[0].loss[0] != r[1].loss[0]);
    assert_true(first_difference(&r[0], &r[2]) >= 0);
    assert_true(r[0].loss[1] == r[2].loss[1]); /* the second step's change is seen in the third */
    assert_true(r[0].loss[2] != r[2].loss[2]);
    for (int i = 0; i < 3; i++)
        small_free(&r[i]);
}

/* ---- memory ---- */

/* What is stored for the blocks' matrices: bytes for their elements. */
static void test_bytes(void **state)
{
    (void)state;
    int64_t n;
    const double matrices = 12.0 * 12 * 768 * 768;
    arena_summary dense = small_plan("--model gpt2-124m --batch 1 --optim adamw", &n);
    double rest = (double)n - matrices;
    for (double zeros = 0.5; zeros < 0.95; zeros += 0.2) {
        char words[200];
        snprintf(words, sizeof words, "--model gpt2-124m --batch 1 --optim adamw --sparsity %g",
                 zeros);
        arena_summary s = small_plan(words, &n);
        double part = 1 - zeros, one = 768 * 3072 * 4; /* the largest matrix, expanded */
        double bits = matrices * (1.0 / 8 + 1.0 / 128);
        double parameters = 4 * (rest + part * matrices) + bits + one,
               gradients = 4 * (rest + part * matrices) + one,
               states = 8 * (rest + part * matrices);
        assert_true(fabs((double)s.most[KIND_PARAMETER] / parameters - 1) < 1e-3);
        assert_true(fabs((double)s.most[KIND_GRADIENT] / gradients - 1) < 1e-3);
        assert_true(fabs((double)s.most[KIND_STATE] / states - 1) < 1e-3);
        assert_true(s.peak < dense.peak);
    }
}

/* ---- what cannot be ---- */

static void refused(const char *arguments, const char *one, const char *other)
{
    options o;
    trainer *t = NULL;
    char text[SMALL_TEXT];
    error *e = small_parse(arguments, text, &o);
    if (!e) e = trainer_plan(&o, o.task->kind, &t);
    if (!e) fail_msg("%s: nothing was refused", arguments);
    if (!strstr(error_text(e), one) || !strstr(error_text(e), other) || strchr(error_text(e), '\n'))
        fail_msg("%s: expected %s and %s in: %s", arguments, one, other, error_text(e));
    error_free(e);
}

static void test_refused(void **state)
{
    (void)state;
    refused(SMALL_MODEL "--sparsity 1", "--sparsity 1", "between 0 and 0.9999");
    refused(SMALL_MODEL "--sparsity -0.1", "--sparsity -0.1", "between 0 and 0.9999");
    refused(SMALL_MODEL "--sparsity nan", "--sparsity nan", "must be a number");
    refused(SMALL_MODEL "--sparsity 0.5 --regrow-fraction 1", "--regrow-fraction 1", "0.9");
    refused(SMALL_MODEL "--sparsity 0.5 --optim muon", "--optim muon", "use --optim adamw");
    refused(SMALL_MODEL "--sparsity 0.5 --state int8", "--state int8", "use --state bf16");
    refused(SMALL_MODEL "--sparsity 0.5 --load x", "--load", "leave one out");
    refused(SMALL_MODEL "--sparsity 0.5 --train-only *ln_*", "no matrix", "freeze less");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_set_is_dense),
        cmocka_unit_test(test_forms_keep_bits),
        cmocka_unit_test(test_gradients_are_the_dense_ones),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_little_room),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

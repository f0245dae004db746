/* test_gpt.c - the GPT as a whole against PyTorch, and against central differences.
 *
 *   golden values (PyTorch, float64) -- loss, logits, every gradient --> reference device, F64
 *                                                                  \--> CPU device, F32
 *   central differences of the loss  -- chosen elements -------------> reference device
 *
 * The model's code is the same in all of them; only the operation table differs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "test/formula.h"
#include "test/golden.h"
#include "test/ref.h"
#include "test/small_gpt.h"
#include "test/small_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { L = 2, H = 3, C = 24, CONTEXT = 13 };

/* ---- against PyTorch ---- */

typedef struct {
    const char *name;
    bool full; /* whole gradients are in the file; else sum, sum of squares and 8 elements */
    activation act;
    bool bias, tied;
} variant;

static const variant variants[] = {
    {"base", true, ACT_GELU_TANH, true, true},
    {"erf", false, ACT_GELU_ERF, true, true},
    {"untied", false, ACT_GELU_TANH, true, false},
    {"nobias", false, ACT_GELU_TANH, false, true},
};

static model_config config_of(const variant *v)
{
    model_config c = gpt_config("golden", L, H, C, CONTEXT, V);
    c.act = v->act;
    if (!v->bias) c.bias = (biases){0};
    c.tied = v->tied;
    return c;
}

static const double *values(golden *g, const char *which, const char *what, const char *name,
                            int64_t *n)
{
    char key[120];
    const double *v;
    snprintf(key, sizeof key, "%s.%s%s%s", which, what, *name ? "." : "", name);
    must(golden_get(g, key, &v, n));
    return v;
}

/* |got - want| <= tolerance * (rms of the tensor + |want|): gradients of one tensor are sums of
 * like terms. */
static void close_enough(const char *name, int64_t i, double got, double want, double rms,
                         double tolerance)
{
    if (!(fabs(got - want) <= tolerance * (rms + fabs(want))))
        fail_msg("%s[%lld]: got %.12g, want %.12g, rms %.3g, tolerance %.3g", name, (long long)i,
                 got, want, rms, tolerance);
}

static void compare_gradient(golden *g, const variant *v, const param *row, double tolerance)
{
    char name[100];
    int64_t n;
    const double *want =
        values(g, v->name, v->full ? "grad" : "short", param_text(row, name, sizeof name), &n);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < row->count; i++) {
        double x = element(row->gradient, i);
        sum += x;
        squares += x * x;
    }
    double rms = sqrt(squares / (double)row->count);
    /* The keys' bias has no gradient in exact arithmetic: what is there is
     * noise of its neighbours. */
    double floor = strstr(name, "c_attn.bias") ? 1e-3 : rms;
    if (v->full) {
        assert_int_equal(n, row->count);
        for (int64_t i = 0; i < n; i++)
            close_enough(name, i, element(row->gradient, i), want[i], floor, tolerance);
        return;
    }
    close_enough(name, -1, sum, want[0], floor * (double)row->count, tolerance);
    close_enough(name, -2, squares, want[1], squares, 2 * tolerance);
    for (int64_t i = 2; i < n; i++)
        close_enough(name, i - 2, element(row->gradient, i - 2), want[i], floor, tolerance);
}

static void against_golden(device *dev, dtype type, double loss_tolerance, double tolerance)
{
    golden *g;
    must(golden_open("test/golden/gpt.txt", &g));
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const variant *v = &variants[i];
        bench_model b;
        int64_t n;
        model_config c = config_of(v);
        open_model(&b, &c, &plain_training, dev, type);
        assert_int_equal(b.p.n, (int)*values(g, v->name, "tensors", "", &n));
        train_once(&b);
        must(device_status(dev));
        double want = *values(g, v->name, "loss", "", &n), got = *(double *)b.loss.data;
        if (!(fabs(got - want) < loss_tolerance * want))
            fail_msg("%s: loss %.12g, want %.12g", v->name, got, want);
        assert_true(fabs(loss_of(&b) - got) <=
                    loss_tolerance * want); /* evaluation is the same forward */
        for (int k = 0; k < b.p.n; k++)
            compare_gradient(g, v, &b.p.row[k], tolerance);
        close_model(&b);
    }
    golden_free(g);
}

static void test_reference_against_pytorch(void **state)
{
    (void)state;
    device dev = ref_device();
    against_golden(&dev, F64, 1e-9, 1e-8); /* the file has ten digits */
}

/* Float: each of some 40 operations in a row adds 8 eps sqrt(n), n up to 96, in random directions:
 * sqrt(40) * 8 * 1.2e-7 * 10 = 6e-5 of the tensor's size. */
static void test_cpu_against_pytorch(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        device dev;
        must(cpu_device(threads, &dev));
        against_golden(&dev, F32, 1e-5, 6e-5);
        cpu_close(&dev);
    }
}

/* ---- decoding ---- */

/* All sequences at once, in steps of up to `room` tokens: the logits after each step are PyTorch's
 * (of the first sequence), and each step's are the same however the tokens before were grouped. */
static void test_decoding_against_pytorch(void **state)
{
    (void)state;
    golden *g;
    int64_t n, of;
    device dev = ref_device();
    model_config c = config_of(&variants[0]);
    must(golden_open("test/golden/gpt.txt", &g));
    const double *want = values(g, "base", "logits", "", &of);
    assert_int_equal(of, T * V);
    for (int64_t room = 1; room <= T; room += 5) {
        decoding d;
        open_decoding(&d, &c, &plain_training, room, &dev);
        for (int round = 0; round < 2; round++) { /* the second finds the caches of the first */
            begin_decoding(&d);
            for (int64_t first = 0; first < T; first += n) {
                n = T - first < room ? T - first : room;
                if (room > 1 && first % 3 == 1) n = 1;
                decode(&d, first, n);
                for (int i = 0; i < V; i++)
                    close_enough("logits", (first + n - 1) * V + i, element(d.logits, i),
                                 want[(first + n - 1) * V + i], 1, 1e-8);
            }
            end_decoding(&d);
        }
        close_model(&d.b);
    }
    golden_free(g);
}

/* ---- against central differences ---- */

static void test_gradients_by_differences(void **state)
{
    (void)state;
    enum { PER_TENSOR = 6 };
    const double h = 1e-5;
    device dev = ref_device();
    bench_model b;
    model_config c = config_of(&variants[2]);
    open_model(&b, &c, &plain_training, &dev, F64);
    train_once(&b);
    for (int i = 0; i < b.p.n; i++) {
        const param *row = &b.p.row[i];
        for (uint32_t k = 0; k < PER_TENSOR; k++) {
            int64_t j = formula_hash(77, (uint32_t)i * PER_TENSOR + k) % (uint32_t)row->count;
            double *x = (double *)row->value.data + j, old = *x;
            *x = old + h;
            double up = loss_of(&b);
            *x = old - h;
            double down = loss_of(&b);
            *x = old;
            char name[100];
            close_enough(param_text(row, name, sizeof name), j, element(row->gradient, j),
                         (up - down) / (2 * h), 1e-2, 1e-6);
        }
    }
    close_model(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_against_pytorch),
        cmocka_unit_test(test_cpu_against_pytorch),
        cmocka_unit_test(test_decoding_against_pytorch),
        cmocka_unit_test(test_gradients_by_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

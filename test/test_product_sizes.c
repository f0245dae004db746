/* test_product_sizes.c - products of sizes that are drawn, against sums in double, by each kernel.
 *
 * Sizes gather at the ends of tiles, panels and parts of the depth (cpu/product.h); rows lie
 * further apart than they are long, and operands begin where no vector does.  What a kernel stores
 * is compared with a sum in double, and with what plain C stores, bit by bit; what lies between the
 * rows of the output must stay.  Products of bf16, by pairs where the processor does that, are
 * compared with the sum only: two roundings for a pair, as in f32.
 *
 * By AMX, which hardly a machine has: the files of cpu/ that use it are compiled once more with a
 * model of its instructions (test/amx/amx_model.h), in a copy of the plain kernel.  What this
 * stores is compared with the sum, and to the bit with a loop over one element's numbers; what a
 * processor that has AMX stores, with the sum.  Of these draws a quarter is near the smallest
 * numbers, where the instruction has rules of its own.
 *
 * LONG=1 draws twenty times as many; with a number as its argument it draws that many
 * (valgrind.sh).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bf16.h"
#include "base/rng.h"
#include "cpu/product.h"
#include "test/amx/amx_device.h"
#include "test/amx/amx_model.h"
#include "test/kernels.h"
#include "test/long.h"
#include "test/small_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SIDE = 130, MOST_DEPTH = 1100, GAP = 5, SIDE_ROOM = MOST_SIDE + GAP };

typedef struct {
    int64_t m, n, k, lda, ldb, ldc;
    int a_turned, b_turned, a_shift, b_shift, c_shift; /* shifts: in elements */
    double alpha, beta;
    uint64_t seed;
} drawn;

static uint64_t draw(uint64_t seed, uint64_t i, uint64_t below)
{
    return (uint64_t)(rng_uniform(seed, RNG_TEST, i) * (double)below) % below;
}

/* Often beside a multiple of what tiles are made of. */
static int64_t draw_size(uint64_t seed, uint64_t i, int64_t most)
{
    static const int64_t edges[] = {1, 4, 6, 8, 14, 16, 28, 32, 56, 64, 256, 512, 1024};
    int64_t size = 1 + (int64_t)draw(seed, i, (uint64_t)most);
    if (draw(seed, i + 1, 2))
        size = edges[draw(seed, i + 2, sizeof edges / sizeof *edges)] - 1 +
               (int64_t)draw(seed, i + 3, 3);
    return size < 1 ? 1 : size > most ? most : size;
}

static drawn draw_one(uint64_t seed)
{
    static const double alphas[] = {1, 1, 1, 0.5}, betas[] = {0, 0, 1, -0.25};
    drawn t = {.m = draw_size(seed, 0, MOST_SIDE),
               .n = draw_size(seed, 10, MOST_SIDE),
               .k = draw_size(seed, 20, MOST_DEPTH),
               .a_turned = (int)draw(seed, 30, 2),
               .b_turned = (int)draw(seed, 31, 2),
               .a_shift = (int)draw(seed, 32, GAP),
               .b_shift = (int)draw(seed, 33, GAP),
               .c_shift = (int)draw(seed, 34, GAP),
               .alpha = alphas[draw(seed, 35, 4)],
               .beta = betas[draw(seed, 36, 4)],
               .seed = seed};
    if (!draw(seed, 40, 4)) t.m = 1 + (int64_t)draw(seed, 41, 30); /* few rows go another way */
    t.lda = (t.a_turned ? t.m : t.k) + (int64_t)draw(seed, 37, GAP);
    t.ldb = (t.b_turned ? t.k : t.n) + (int64_t)draw(seed, 38, GAP);
    t.ldc = t.n + (int64_t)draw(seed, 39, GAP);
    return t;
}

/* What a layer's products are like. */
static drawn draw_layer(uint64_t seed)
{
    drawn t = draw_one(seed);
    t.alpha = 1;
    if (t.beta != 0) t.beta = 1;
    if (t.b_turned && t.a_turned) {
        t.a_turned = 0;
        t.lda = t.k + t.lda - t.m;
    }
    if (t.b_turned) t.beta = 0;
    if (t.a_turned) t.ldc = t.n;
    return t;
}

static float a[SIDE_ROOM * (MOST_DEPTH + GAP)], b[SIDE_ROOM * (MOST_DEPTH + GAP)];
static float before[SIDE_ROOM * SIDE_ROOM], first[SIDE_ROOM * SIDE_ROOM], c[SIDE_ROOM * SIDE_ROOM];

static void fill(float *x, size_t n, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i < n; i++) { /* Knuth's: cheap, and good enough for products */
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)((double)(state >> 40) * 0x1p-24 - 0.5);
    }
}

static uint16_t a16[sizeof a / sizeof *a], b16[sizeof b / sizeof *b], c16[sizeof c / sizeof *c];

/* Rounds x to numbers of bf16, and stores these, too. */
static void round_all(float *x, uint16_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = bf16_of_float(x[i]);
        x[i] = float_of_bf16(to[i]);
    }
}

static tensor matrix(void *x, dtype type, int64_t rows, int64_t cols, int64_t ld)
{
    tensor t = tensor_of(x, type, SHAPE(rows, cols));
    t.ld = ld;
    return t;
}

static void multiply(const drawn *t, const char *kernel, int threads, float *out)
{
    device dev;
    must(cpu_device(threads, &dev));
    must(cpu_use_kernel(&dev, kernel));
    OP(matmul, &dev, 0, .out = matrix(out + t->c_shift, F32, t->m, t->n, t->ldc),
       .x = t->a_turned ? matrix(a + t->a_shift, F32, t->k, t->m, t->lda)
                        : matrix(a + t->a_shift, F32, t->m, t->k, t->lda),
       .y = t->b_turned ? matrix(b + t->b_shift, F32, t->n, t->k, t->ldb)
                        : matrix(b + t->b_shift, F32, t->k, t->n, t->ldb),
       .x_transposed = t->a_turned, .y_transposed = t->b_turned, .alpha = t->alpha,
       .beta = t->beta);
    must(device_status(&dev));
    cpu_close(&dev);
}

/* In bf16, as a layer does: x w', dout w or dout' x.  The device is closed. */
static void multiply_bf16(const drawn *t, device *dev)
{
    uint16_t *x = a16 + t->a_shift, *y = b16 + t->b_shift;
    tensor out = matrix(c16 + t->c_shift, BF16, t->m, t->n, t->ldc);
    if (t->b_turned)
        OP(linear, dev, 0, .out = out, .x = matrix(x, BF16, t->m, t->k, t->lda),
           .w = matrix(y, BF16, t->n, t->k, t->ldb));
    else if (t->a_turned)
        OP(linear_dw, dev, 0, .dw = {.t = out, .accumulate = t->beta != 0},
           .dout = matrix(x, BF16, t->k, t->m, t->lda), .x = matrix(y, BF16, t->k, t->n, t->ldb));
    else
        OP(linear_dx, dev, 0, .dx = out, .accumulate = t->beta != 0,
           .dout = matrix(x, BF16, t->m, t->k, t->lda), .w = matrix(y, BF16, t->k, t->n, t->ldb));
    must(device_status(dev));
    cpu_close(dev);
}

static double number(const float *x, int64_t ld, int turned, int64_t i, int64_t k)
{
    return turned ? x[k * ld + i] : x[i * ld + k];
}

/* What should be in the output's element (i, j), and how far rounding may lead from it. */
static double wanted(const drawn *t, int64_t i, int64_t j, double *within)
{
    double sum = 0, sizes = 0, old = t->beta * before[t->c_shift + i * t->ldc + j];
    for (int64_t k = 0; k < t->k; k++) {
        double x = number(a + t->a_shift, t->lda, t->a_turned, i, k) *
                   number(b + t->b_shift, t->ldb, !t->b_turned, j, k);
        sum += x;
        sizes += fabs(x);
    }
    *within = 0x1p-24 * ((double)t->k + 4) * (fabs(t->alpha) * sizes + fabs(old)) + 1e-37;
    return t->alpha * sum + old;
}

/* roundoff: of the type of what was stored, if it is rounded once more */
static void check(const drawn *t, const float *out, double roundoff)
{
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->n; j++) {
            double within, want = wanted(t, i, j, &within);
            within += roundoff * (fabs(want) + within);
            double got = out[t->c_shift + i * t->ldc + j];
            if (!(fabs(got - want) <= within))
                fail_msg("seed %llu: %lld x %lld x %lld, element (%lld, %lld): %g, not %g",
                         (unsigned long long)t->seed, (long long)t->m, (long long)t->n,
                         (long long)t->k, (long long)i, (long long)j, got, want);
        }
    for (size_t x = 0; x < sizeof before / sizeof *before; x++) {
        int64_t at = (int64_t)x - t->c_shift;
        bool inside = at >= 0 && at / t->ldc < t->m && at % t->ldc < t->n;
        if (!inside && memcmp(&out[x], &before[x], sizeof *out))
            fail_msg("seed %llu: number %zu, beside the output, is written",
                     (unsigned long long)t->seed, x);
    }
}

static void test_drawn_sizes(void **state)
{
    const int64_t *asked = *state, many = asked ? *asked : tries(500, 10000);
    bool runs[KERNELS];
    for (int i = 0; i < KERNELS; i++)
        runs[i] = kernel_runs(kernels[i]);
    for (int64_t n = 0; n < many; n++) {
        drawn t = draw_one((uint64_t)n);
        fill(a, sizeof a / sizeof *a, t.seed * 3);
        fill(b, sizeof b / sizeof *b, t.seed * 3 + 1);
        fill(before, sizeof before / sizeof *before, t.seed * 3 + 2);
        for (int i = 0; i < KERNELS; i++) {
            if (!runs[i]) continue;
            float *out = i ? c : first;
            memcpy(out, before, sizeof before);
            multiply(&t, kernels[i], 1 + (int)draw(t.seed, 50 + (uint64_t)i, 3), out);
            if (!i)
                check(&t, out, 0);
            else if (memcmp(out, first, sizeof first))
                fail_msg("seed %llu: %s gives other bits than plain", (unsigned long long)t.seed,
                         kernels[i]);
        }
    }
}

static void fill_bf16(const drawn *t, float scale)
{
    fill(a, sizeof a / sizeof *a, t->seed * 3);
    fill(b, sizeof b / sizeof *b, t->seed * 3 + 1);
    fill(before, sizeof before / sizeof *before, t->seed * 3 + 2);
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        a[i] *= scale;
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        before[i] *= scale;
    round_all(a, a16, sizeof a / sizeof *a);
    round_all(b, b16, sizeof b / sizeof *b);
    round_all(before, c16, sizeof before / sizeof *before);
}

static void check_bf16(const drawn *t)
{
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        c[i] = float_of_bf16(c16[i]);
    check(t, c, 0x1p-8);
}

static int draw_threads(const drawn *t)
{
    return 1 + (int)draw(t->seed, 50, 3);
}

static void test_drawn_bf16(void **state)
{
    const int64_t *asked = *state, many = asked ? *asked : tries(250, 5000);
    for (int64_t n = 0; n < many; n++) {
        drawn t = draw_layer((uint64_t)n + 1000000);
        fill_bf16(&t, 1);
        device dev;
        must(cpu_device(draw_threads(&t), &dev));
        multiply_bf16(&t, &dev);
        check_bf16(&t);
    }
}

/* ---- AMX ---- */

static uint16_t number_bf16(const uint16_t *x, int64_t ld, int turned, int64_t i, int64_t k)
{
    return turned ? x[k * ld + i] : x[i * ld + k];
}

/* By the instruction's formula, of 32 numbers: one part of the depth, from k. */
static float amx_part(const drawn *t, int64_t i, int64_t j, int64_t k)
{
    float sum = 0;
    int64_t end = k + 2 * PRODUCT_DEPTH;
    for (int64_t step = k; step < end; step += 32) {
        float chain[2] = {0};
        for (int64_t x = step; x < step + 32 && x < t->k; x++)
            chain[x % 2] =
                amx_fma(number_bf16(a16 + t->a_shift, t->lda, t->a_turned, i, x),
                        number_bf16(b16 + t->b_shift, t->ldb, !t->b_turned, j, x), chain[x % 2]);
        sum = amx_add(sum, amx_add(chain[0], chain[1]));
    }
    return sum;
}

/* Each element is the sum of the parts of its depth (cpu/product.h), rounded once. */
static void check_amx_bits(const drawn *t)
{
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->n; j++) {
            int64_t at = t->c_shift + i * t->ldc + j;
            float want = t->beta != 0 ? before[at] : 0;
            for (int64_t k = 0; k < t->k; k += 2 * PRODUCT_DEPTH) {
                float part = amx_part(t, i, j, k);
                want = k == 0 && t->beta == 0 ? part : want + part;
            }
            if (c16[at] != bf16_of_float(want))
                fail_msg("seed %llu: %lld x %lld x %lld, element (%lld, %lld): %a, not %a",
                         (unsigned long long)t->seed, (long long)t->m, (long long)t->n,
                         (long long)t->k, (long long)i, (long long)j,
                         (double)float_of_bf16(c16[at]), (double)want);
        }
}

/* A processor that has AMX must be within the bounds.  Whether it rounds as Intel's manual says, as
 * the model does, is said: no processor has shown it yet (cpu/micro_amx.c). */
static void test_drawn_amx(void **state)
{
    const int64_t *asked = *state, many = asked ? *asked : tries(thin_run() ? 40 : 120, 2400);
    int64_t others = 0;
    static uint16_t by_model[sizeof c16 / sizeof *c16];
    bool here = kernel_runs("amxbf16");
    if (!here) print_message("  no AMX here: only the model of its instructions\n");
    for (int64_t n = 0; n < many; n++) {
        drawn t = draw_layer((uint64_t)n + 2000000);
        bool small = n % 4 == 3, odd = t.k % 2;
        device dev;
        t.k += odd;
        t.lda += odd;
        t.ldb += odd;
        fill_bf16(&t, small ? 0x1p-125f : 1);
        must(amx_device(draw_threads(&t), &dev));
        multiply_bf16(&t, &dev);
        check_amx_bits(&t);
        memcpy(by_model, c16, sizeof c16);
        if (!small) check_bf16(&t);
        if (!here) continue;
        fill_bf16(&t, small ? 0x1p-125f : 1);
        must(cpu_device(draw_threads(&t), &dev));
        must(cpu_use_kernel(&dev, "amxbf16"));
        multiply_bf16(&t, &dev);
        if (!small) check_bf16(&t);
        others += memcmp(c16, by_model, sizeof c16) != 0;
    }
    if (here)
        print_message("  by this processor's AMX: %lld of %lld have other bits than the model's\n",
                      (long long)others, (long long)many);
}

int main(int argc, char **argv)
{
    int64_t many = argc > 1 ? atoll(argv[1]) : 0, *ask = many > 0 ? &many : NULL;
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(test_drawn_sizes, ask),
                                       cmocka_unit_test_prestate(test_drawn_bf16, ask),
                                       cmocka_unit_test_prestate(test_drawn_amx, ask)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

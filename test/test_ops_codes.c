/* test_ops_codes.c - matrices in 8 and 4 bits (core/block_codes.h), and
 * training beside them (--base).
 *
 *     NF4's values     --> the formula of its paper; bitsandbytes' (golden/codes.py)
 *     codes and back   --> every device against the reference; bitsandbytes'; what is not finite stays so
 *     runs             --> the same bits as beside a base of what is read of the codes; 7B in 8 GiB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bf16.h"
#include "base/files.h"
#include "io/model_file.h"
#include "test/formula.h"
#include "test/golden.h"
#include "test/rig.h"
#include "test/scratch.h"
#include "test/small_run.h"

#include <math.h>
#include <string.h>

enum { MOST = 4096 };

static void near(const char *what, int64_t i, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s[%lld]: got %.9g, want %.9g", what, (long long)i, got, want);
}

/* ---- NF4's values ---- */

/* The normal distribution's quantile, by halving: p between 1/2 and 1. */
static double quantile(double p)
{
    double low = 0, high = 8;
    for (int i = 0; i < 100; i++) {
        double x = (low + high) / 2;
        if (0.5 * erfc(-x / sqrt(2)) < p)
            low = x;
        else
            high = x;
    }
    return low;
}

static void test_values_by_formula(void **state)
{
    (void)state;
    const double offset = 0.9677083, most = quantile(offset);
    for (int i = 0; i < 8; i++) /* linspace(offset, 1/2, 9) without its end, and minus that of 8 */
        near("above 0", i, (double)nf4_value(15 - i),
             quantile(offset - i * (offset - 0.5) / 8) / most, 1e-7);
    for (int i = 0; i < 7; i++)
        near("below 0", i, (double)nf4_value(i), -quantile(offset - i * (offset - 0.5) / 7) / most,
             1e-7);
    assert_true(nf4_value(7) == 0);
}

/* ---- codes and back ---- */

static const struct {
    const char *name;
    uint32_t k;
    int64_t n;
    double amplitude, offset;
} golden_cases[] = {
    {"even", 7, 64 * 5, 2, 0}, {"far", 8, 64 * 8, 1e-3, 1e-4}, {"wide", 9, 4096, 300, 0}};

/* y may be x. */
static void there_and_back(bench *b, rig *on, code_form form, dtype type, const void *x, void *y,
                           int64_t n)
{
    static const uint8_t nothing[2 * MOST]; /* two bytes each, in bf16 */
    rig_clear(on);
    tensor from = rig_put(on, type, SHAPE(n), x), to = rig_put(on, type, SHAPE(n), x),
           c = rig_put(on, U8, SHAPE(code_bytes(form, n)), nothing),
           s = rig_put(on, F32, SHAPE(code_blocks(n)), nothing);
    rig_select(b, on);
    OP(quantize, &on->dev, STREAM_COMPUTE, .codes = c, .scales = s, .x = from, .form = (int)form);
    OP(dequantize, &on->dev, STREAM_COMPUTE, .out = to, .codes = c, .scales = s, .form = (int)form);
    rig_well(on, "codes");
    rig_get(on, to, y);
}

static void test_against_bitsandbytes(void **state)
{
    bench *b = *state;
    golden *g;
    const double *want;
    int64_t n;
    float x[MOST], y[MOST];
    must(golden_open("test/golden/codes.txt", &g));
    must(golden_get(g, "nf4.values", &want, &n));
    for (int i = 0; i < 16; i++)
        near("nf4.values", i, (double)nf4_value(i), want[i], 2e-7);
    for (size_t v = 0; v < sizeof golden_cases / sizeof *golden_cases; v++) {
        char name[40];
        double sum = 0, squares = 0, most = 0;
        snprintf(name, sizeof name, "nf4.%s", golden_cases[v].name);
        must(golden_get(g, name, &want, &n));
        for (int64_t i = 0; i < golden_cases[v].n; i++)
            x[i] = formula_value(golden_cases[v].k, (uint32_t)i, golden_cases[v].amplitude,
                                 golden_cases[v].offset);
        there_and_back(b, &b->many, CODES_NF4, F32, x, y, golden_cases[v].n);
        for (int64_t i = 0; i < golden_cases[v].n; i++) {
            sum += (double)y[i];
            squares += (double)y[i] * (double)y[i];
            most = fmax(most, fabs((double)y[i]));
        }
        double bound = 3e-7 * most; /* their values are other floats, by an ulp or two */
        near(name, -2, sum, want[0], bound * (double)golden_cases[v].n);
        near(name, -1, squares, want[1], 2 * bound * most * (double)golden_cases[v].n);
        for (int i = 0; i < 24; i++)
            near(name, i, (double)y[i], want[2 + i], bound);
        for (int i = 0; i < 8; i++)
            near(name, golden_cases[v].n - 8 + i, (double)y[golden_cases[v].n - 8 + i],
                 want[26 + i], bound);
    }
    golden_free(g);
}

/* Odd lengths, zeros, one number; in both types.  Between two codes either is right: so what is
 * compared is how far off the number is. */
static void test_against_reference(void **state)
{
    static const int64_t lengths[] = {1, 2, 63, 64, 65, 127, 1000, 4095};
    bench *b = *state;
    for (int form = CODES_INT8; form < CODE_FORMS; form++)
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            float x[MOST], y[MOST];
            double wide[MOST], want[MOST];
            uint16_t h[MOST], back[MOST];
            int64_t n = lengths[k];
            for (int64_t i = 0; i < n; i++) {
                h[i] = bf16_of_float(i % 5 ? formula_value(31, (uint32_t)i, 3, 0.1) : 0);
                wide[i] = (double)(x[i] = float_of_bf16(h[i]));
            }
            there_and_back(b, &b->ref, (code_form)form, F64, wide, want, n);
            there_and_back(b, &b->many, (code_form)form, F32, x, y, n);
            there_and_back(b, &b->odd, (code_form)form, BF16, h, back, n);
            for (int64_t i = 0; i < n; i++) {
                near("f32", i, fabs((double)y[i] - wide[i]), fabs(want[i] - wide[i]), 1e-6);
                near("bf16", i, fabs((double)float_of_bf16(back[i]) - wide[i]),
                     fabs(want[i] - wide[i]), 0.004 * fabs(want[i]) + 1e-6);
            }
        }
}

/* As doubles, whatever the type. */
static void values_back(bench *b, rig *on, code_form form, dtype type, const double *x, double *y,
                        int64_t n)
{
    float single[MOST];
    uint16_t half[MOST];
    for (int64_t i = 0; i < n; i++)
        half[i] = bf16_of_float(single[i] = (float)x[i]);
    if (type == F64) there_and_back(b, on, form, type, x, y, n);
    if (type == F32) there_and_back(b, on, form, type, single, single, n);
    if (type == BF16) there_and_back(b, on, form, type, half, half, n);
    for (int64_t i = 0; i < n && type != F64; i++)
        y[i] = (double)(type == F32 ? single[i] : float_of_bf16(half[i]));
}

/* A number that is not finite, first, last or between in the block from 64 to 127: it is NaN,
 * and no other is touched. */
static void test_not_finite(void **state)
{
    enum { N = 200 };
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    static const int places[] = {64, 81, 127};
    bench *b = *state;
    struct {
        rig *on;
        dtype type;
    } runs[] = {{&b->ref, F64}, {&b->many, F32}, {&b->odd, BF16}};
    double x[N], want[N], y[N];
    for (int64_t i = 0; i < N; i++)
        x[i] = (double)formula_value(33, (uint32_t)i, 3, 0.1);
    for (int k = 0; k < 2 * 3 * 9; k++) {
        code_form form = k % 2 ? CODES_INT8 : CODES_NF4;
        int which = k / 2 % 3, at = places[k / 18];
        rig *on = runs[which].on;
        values_back(b, on, form, runs[which].type, x, want, N);
        double kept = x[at];
        x[at] = bad[k / 6 % 3];
        values_back(b, on, form, runs[which].type, x, y, N);
        x[at] = kept;
        for (int64_t i = 0; i < N; i++)
            if (i / CODE_BLOCK == 1 ? !isnan(y[i]) : !(y[i] == want[i]))
                fail_msg("%g at %d, form %d, type %d: %g at %lld", bad[k / 6 % 3], at, (int)form,
                         (int)runs[which].type, y[i], (long long)i);
    }
}

/* ---- scales in a byte each ---- */

enum { SCALES = 300 };

/* x, and what is read of its scales and of its numbers when both are codes. */
static void double_there_and_back(bench *b, rig *on, const float *x, float *scales, float *y,
                                  int64_t n)
{
    static const uint8_t nothing[4 * CODE_BLOCK * SCALES];
    int64_t blocks = code_blocks(n);
    rig_clear(on);
    tensor from = rig_put(on, F32, SHAPE(n), x),
           c = rig_put(on, U8, SHAPE(code_bytes(CODES_NF4, n)), nothing),
           s = rig_put(on, F32, SHAPE(blocks), nothing),
           k = rig_put(on, U8, SHAPE(blocks), nothing),
           g = rig_put(on, F32, SHAPE(1 + scale_groups(blocks)), nothing);
    rig_select(b, on);
    OP(quantize, &on->dev, STREAM_COMPUTE, .codes = c, .scales = s, .x = from, .form = CODES_NF4);
    OP(pack_scales, &on->dev, STREAM_COMPUTE, .codes = k, .groups = g, .scales = s);
    OP(unpack_scales, &on->dev, STREAM_COMPUTE, .scales = s, .codes = k, .groups = g);
    OP(dequantize, &on->dev, STREAM_COMPUTE, .out = from, .codes = c, .scales = s,
       .form = CODES_NF4);
    rig_well(on, "packed scales");
    rig_get(on, s, scales);
    rig_get(on, from, y);
}

static void test_double_against_bitsandbytes(void **state)
{
    enum { N = CODE_BLOCK * SCALES };
    static float x[N], y[N], scales[SCALES], again[SCALES];
    bench *b = *state;
    golden *g;
    const double *want;
    int64_t n;
    must(golden_open("test/golden/codes.txt", &g));
    for (int i = 0; i < N; i++)
        x[i] = formula_value(10, (uint32_t)i, 2, 0) * ((float)(i / CODE_BLOCK * 7 % 31 + 1) / 8);
    double_there_and_back(b, &b->many, x, scales, y, N);
    double sum = 0, squares = 0, of_scales = 0;
    for (int i = 0; i < N; i++)
        sum += (double)y[i], squares += (double)y[i] * (double)y[i];
    for (int i = 0; i < SCALES; i++)
        of_scales += (double)scales[i];
    must(golden_get(g, "double.scales", &want, &n));
    near("scales", -1, of_scales, want[0], 3e-6 * SCALES);
    for (int i = 0; i < 24; i++)
        near("scales", i, (double)scales[i], want[1 + i], 3e-6);
    for (int i = 0; i < 8; i++)
        near("scales", SCALES - 8 + i, (double)scales[SCALES - 8 + i], want[25 + i], 3e-6);
    must(golden_get(g, "double.values", &want, &n));
    near("values", -2, sum, want[0], 3e-6 * N);
    near("values", -1, squares, want[1], 6e-5 * N);
    for (int i = 0; i < 24; i++)
        near("values", i, (double)y[i], want[2 + i], 3e-6);
    for (int i = 0; i < 8; i++)
        near("values", N - 8 + i, (double)y[N - 8 + i], want[26 + i], 3e-6);
    golden_free(g);
    double_there_and_back(b, &b->odd, x, again, y, N); /* threads change nothing */
    assert_memory_equal(scales, again, sizeof scales);
}

/* The values grow, each is its own code's, and between two the nearer is taken. */
static void test_scale_codes(void **state)
{
    (void)state;
    for (int i = 0; i < SCALE_ONE; i++) {
        float a = scale_code_value(i), c = scale_code_value(i + 1);
        assert_true(a < c);
        assert_int_equal(scale_code(a), i);
        assert_int_equal(scale_code(a + 0.45f * (c - a)), i);
        assert_int_equal(scale_code(a + 0.55f * (c - a)), i + 1);
    }
    assert_int_equal(scale_code(1), SCALE_ONE);
    assert_int_equal(scale_code(-2), 0);
    assert_true(scale_code_value(SCALE_ZERO) == 0 && scale_code_value(SCALE_ONE) == 1);
}

/* Any number of scales, all alike too; beside the reference, and a NaN is seen everywhere. */
static void test_scales_against_reference(void **state)
{
    static const int64_t counts[] = {1, 2, 255, 256, 257, SCALES};
    static const uint8_t nothing[8 * SCALES];
    bench *b = *state;
    for (size_t k = 0; k < 2 * sizeof counts / sizeof *counts; k++) {
        int64_t n = counts[k / 2];
        float x[SCALES], out[2][SCALES];
        rig *rigs[2] = {&b->ref, &b->many};
        for (int64_t i = 0; i < n; i++)
            x[i] = k % 2 ? 0.5f : fabsf(formula_value(11, (uint32_t)i, 3, 0.1));
        for (int r = 0; r < 2; r++) {
            rig_clear(rigs[r]);
            tensor s = rig_put(rigs[r], F32, SHAPE(n), x),
                   c = rig_put(rigs[r], U8, SHAPE(n), nothing),
                   g = rig_put(rigs[r], F32, SHAPE(1 + scale_groups(n)), nothing);
            rig_select(b, rigs[r]);
            OP(pack_scales, &rigs[r]->dev, STREAM_COMPUTE, .codes = c, .groups = g, .scales = s);
            OP(unpack_scales, &rigs[r]->dev, STREAM_COMPUTE, .scales = s, .codes = c, .groups = g);
            rig_well(rigs[r], "packed scales");
            rig_get(rigs[r], s, out[r]);
        }
        for (int64_t i = 0; i < n; i++) /* how far off: between two codes either is right */
            near("scale", i, fabs((double)(out[1][i] - x[i])), fabs((double)(out[0][i] - x[i])),
                 2e-6);
    }
    float bad[CODE_BLOCK * 3], y[CODE_BLOCK * 3], scales[3];
    for (int i = 0; i < CODE_BLOCK * 3; i++)
        bad[i] = i == 70 ? NAN : 1;
    double_there_and_back(b, &b->many, bad, scales, y, CODE_BLOCK * 3);
    for (int i = 0; i < CODE_BLOCK * 3; i++)
        assert_true(isnan(y[i]));
}

/* ---- runs ---- */

/* The model of `s` into DIRECTORY/NAME. */
static void write_model(const char *directory, const char *name, small_run *s)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    must(make_directory(path, "test"));
    must(weights_write(path, &s->o.model, &s->t->params, &s->dev, NULL));
}

/* The blocks' matrices become what is read of their codes. */
static void code_matrices(small_run *s, code_form form, bool packs)
{
    uint8_t scale_codes[2 * MOST / CODE_BLOCK];
    float groups[2 + 2 * MOST / CODE_BLOCK / SCALE_GROUP];
    uint8_t codes[4 * MOST];
    float scales[2 * MOST / CODE_BLOCK];
    for (int i = 0; i < s->t->params.n; i++) {
        const param *row = &s->t->params.row[i];
        if (!row->spec.hidden) continue;
        assert_true(row->count <= 2 * MOST);
        tensor c = tensor_of(codes, U8, SHAPE(code_bytes(form, row->count))),
               t = tensor_of(scales, F32, SHAPE(code_blocks(row->count)));
        OP(quantize, &s->dev, STREAM_COMPUTE, .codes = c, .scales = t, .x = row->value,
           .form = (int)form);
        tensor k = tensor_of(scale_codes, U8, t.dim[0] ? SHAPE(t.dim[0]) : SHAPE(1)),
               e = tensor_of(groups, F32, SHAPE(1 + scale_groups(t.dim[0])));
        if (packs) {
            OP(pack_scales, &s->dev, STREAM_COMPUTE, .codes = k, .groups = e, .scales = t);
            OP(unpack_scales, &s->dev, STREAM_COMPUTE, .scales = t, .codes = k, .groups = e);
        }
        OP(dequantize, &s->dev, STREAM_COMPUTE, .out = row->value, .codes = c, .scales = t,
           .form = (int)form);
    }
    must(device_status(&s->dev));
}

/* Beside codes of a model is, in every bit, beside the model whose matrices are what is read of
 * these: products have the same operands.  And it takes less memory; adapters learn. */
static void test_runs(void **state)
{
    static const struct {
        const char *name;
        code_form form;
        bool packs;
    } bases[] = {{"int8", CODES_INT8, false},
                 {"nf4", CODES_NF4, false},
                 {"bf16", CODES_BF16, false},
                 {"nf4-double", CODES_NF4, true}};
    static const char *const more[] = {"", "--optim adamw_r --recompute block"};
    char words[500];
#define TUNED "--load %s/%s --batch 3 --seq 11 --threads 2 --lora 3 --steps 5 --lr 0.02 --warmup 0 "
    for (size_t at = 0; at < sizeof bases / sizeof *bases; at++) {
        small_run base;
        small_open(&base, SMALL_MODEL);
        write_model(*state, "first", &base);
        code_matrices(&base, bases[at].form, bases[at].packs);
        write_model(*state, "coded", &base);
        small_close(&base);
        for (int k = 0; k < 2; k++) {
            snprintf(words, sizeof words, TUNED "%s", (const char *)*state, "first", more[k]);
            small_result original = small_train(words);
            snprintf(words, sizeof words, TUNED "%s", (const char *)*state, "coded", more[k]);
            small_result plain = small_train(words);
            snprintf(words, sizeof words, TUNED "--base %s %s", (const char *)*state, "first",
                     bases[at].name, more[k]);
            small_result coded = small_train(words);
            for (int i = 0; i < 5; i++)
                if (memcmp(&coded.loss[i], &plain.loss[i], sizeof *coded.loss) ||
                    memcmp(&coded.grad_norm[i], &plain.grad_norm[i], sizeof *coded.grad_norm))
                    fail_msg("%s: step %d: loss %.17g, not %.17g", words, i + 1, coded.loss[i],
                             plain.loss[i]);
            assert_true(coded.loss[0] != original.loss[0]);
            assert_true(coded.loss[4] < coded.loss[0]);
            assert_true(coded.peak < plain.peak);
            small_free(&coded);
            small_free(&plain);
            small_free(&original);
        }
    }
}

/* What the issue of these forms is: a model of 7 billion where there are 8 GiB; and three of the
 * four bytes of each scale are spared. */
static void test_large_plan(void **state)
{
    (void)state;
    static const char *const bases[] = {"nf4", "nf4-double"};
    size_t peak[2];
    for (int i = 0; i < 2; i++) {
        char words[300];
        int64_t parameters;
        snprintf(words, sizeof words,
                 "--plan --model llama2-7b --batch 1 --seq 1024 --lora 16 --base %s "
                 "--recompute block --dtype bf16 --optim adamw --eval-every 0 --device cpu",
                 bases[i]);
        peak[i] = small_plan(words, &parameters).peak;
        printf("llama2-7b, %s, adapters of rank 16, 1 x 1024: %.2f GiB\n", bases[i],
               (double)peak[i] / 0x1p30);
        assert_true(parameters > 6700000000);
        assert_true(peak[i] < (size_t)8 << 30);
    }
    assert_true(peak[0] - peak[1] > (size_t)280 << 20 && peak[1] < peak[0]);
}

int main(void)
{
    const struct CMUnitTest codes[] = {cmocka_unit_test(test_values_by_formula),
                                       cmocka_unit_test(test_against_bitsandbytes),
                                       cmocka_unit_test(test_against_reference),
                                       cmocka_unit_test(test_not_finite),
                                       cmocka_unit_test(test_scale_codes),
                                       cmocka_unit_test(test_double_against_bitsandbytes),
                                       cmocka_unit_test(test_scales_against_reference)};
    const struct CMUnitTest runs[] = {cmocka_unit_test(test_runs),
                                      cmocka_unit_test(test_large_plan)};
    return cmocka_run_group_tests(codes, bench_open, bench_close) +
           cmocka_run_group_tests(runs, scratch_make, scratch_remove);
}

/* test_ops_linear.c - linear, linear_dx, linear_dw and matmul on the devices against the reference,
 * over shapes and flags.  Small shapes meet every combination of flags, large ones a few.  LONG=1:
 * large ones meet every combination, too, and so do shapes at random.
 */
#include "test/long.h"
#include "test/ref.h"
#include "test/op_case.h"

#include "base/rng.h"
#include "core/narrow.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct {
    int64_t R, K, N;
} size;

static const size sizes[] = {
    {1, 1, 1},      {1, 17, 3},    {5, 1, 17},      {33, 3, 1},     {5, 64, 17},
    {33, 17, 129},  {200, 64, 3},  {1, 129, 64},    {33, 64, 59},   {5, 64, 768},
    {33, 768, 129}, {1, 768, 768}, {200, 129, 768}, {200, 768, 64}, {128, 768, 768},
    {3, 17, 50257}, {1, 64, 2048}, {200, 17, 2048}, {600, 17, 33},  {1100, 3, 5},
};

enum { SIZES = sizeof sizes / sizeof *sizes, RANDOM_SIZES = 40 };

/* The table, and behind it, in a long run, sizes at random: each side up to 100, mostly small. */
static size size_at(int i)
{
    if (i < SIZES) return sizes[i];
    int64_t side[3];
    for (uint64_t k = 0; k < 3; k++) {
        double u = rng_uniform(6, RNG_TEST, (uint64_t)i * 3 + k);
        side[k] = 1 + (int64_t)(u * u * 100);
    }
    return (size){side[0], side[1], side[2]};
}

static int n_sizes(void)
{
    return (int)tries(SIZES, SIZES + RANDOM_SIZES);
}

/* Does this size meet every combination of flags? */
static bool meets_all(size s)
{
    return s.R * s.K * s.N < tries(300000, 3000000);
}

static const char *const act_names[] = {"none", "gelu_tanh", "gelu_erf", "silu"};

/* What multiplies the error of x in act(x): max |act'| = 1.129 for gelu, 1.1 for silu. */
static double act_slope(activation act)
{
    return act == ACT_NONE ? 1 : 1.13;
}

/* In bf16 the argument of act is rounded before (core/ops.h): by half a step of what it is. */
static double rounded_unit(const op_case *t, double argument)
{
    return t->work == BF16 ? BF16_ROUNDOFF * fabs(argument) / (BOUND_C * FLT_EPSILON) : 0;
}

static double square(double x)
{
    return x * x;
}

/* Where the operands lie may choose the algorithm, and what is done on the way. */
static void compare_product(bench *b, op_case *t)
{
    t->layout_matters = rig_products_vary();
    case_compare(b, t);
}

/* ---- linear ---- */

enum { OUT, X, W, BIAS, RESIDUAL, PRE };

static void call_linear(device *dev, const tensor *t, const void *options)
{
    OP(linear, dev, STREAM_COMPUTE, .out = t[OUT], .x = t[X], .w = t[W], .bias = t[BIAS],
       .residual = t[RESIDUAL], .pre = t[PRE], .act = *(const activation *)options);
}

static void linear_units(op_case *t, size s, activation act)
{
    operand *o = t->operands;
    bool bias = o[BIAS].role != ABSENT, residual = o[RESIDUAL].role != ABSENT;
    for (int64_t r = 0; r < s.R; r++)
        for (int64_t n = 0; n < s.N; n++) {
            double start = bias ? o[BIAS].value[n] : 0, sum = start, squares = start * start;
            double res = residual ? o[RESIDUAL].value[r * s.N + n] : 0;
            for (int64_t k = 0; k < s.K; k++) {
                double term = o[X].value[r * s.K + k] * o[W].value[n * s.K + k];
                sum += term;
                squares += term * term;
            }
            double *out = &o[OUT].unit[r * s.N + n];
            if (act == ACT_NONE)
                *out = summed(s.K + 2,
                              squares + res * res); /* the residual may be where the sum starts */
            else
                *out = act_slope(act) * (summed(s.K + 1, squares) + rounded_unit(t, sum)) +
                       fabs(sum) + fabs(res);
            if (o[PRE].role != ABSENT) o[PRE].unit[r * s.N + n] = summed(s.K + 1, squares);
        }
}

/* flags: 1 bias, 2 residual, 4 pre, 8 padding everywhere, 16 padding of out only */
static void linear_case(bench *b, size s, activation act, int flags, double spread)
{
    op_case t;
    case_begin(b, &t, call_linear, &act, "linear R=%lld K=%lld N=%lld act=%s%s%s%s%s spread=%g",
               (long long)s.R, (long long)s.K, (long long)s.N, act_names[act],
               flags & 1 ? " bias" : "", flags & 2 ? " residual" : "", flags & 4 ? " pre" : "",
               flags & 8    ? " ld+3"
               : flags & 16 ? " out.ld+5"
                            : "",
               spread);
    if (case_left_out(b, &t)) return;
    int64_t pad = flags & 8 ? 3 : 0;
    case_operand(&t, OUT, "out", WRITTEN, WORK, SHAPE(s.R, s.N), flags & 16 ? 5 : pad);
    case_operand(&t, X, "x", GIVEN, WORK, SHAPE(s.R, s.K), pad);
    case_operand(&t, W, "w", GIVEN, WORK, SHAPE(s.N, s.K), pad);
    case_draw(&t, X, 0, spread);
    case_draw(&t, W, 0, 1 / sqrt((double)s.K));
    if (flags & 1) {
        case_operand(&t, BIAS, "bias", GIVEN, WORK, SHAPE(s.N), 0);
        case_draw(&t, BIAS, 0, spread);
    }
    if (flags & 2) {
        case_operand(&t, RESIDUAL, "residual", GIVEN, WORK, SHAPE(s.R, s.N), pad);
        case_draw(&t, RESIDUAL, 0, spread);
    }
    if (flags & 4) case_operand(&t, PRE, "pre", WRITTEN, WORK, SHAPE(s.R, s.N), pad);
    case_reference(b, &t);
    linear_units(&t, s, act);
    compare_product(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_linear(void **state)
{
    for (int i = 0; i < n_sizes(); i++)
        for (activation act = ACT_NONE; act <= ACT_SILU; act++)
            for (int flags = 0; flags < 32; flags++) {
                bool pre_without_act = flags & 4 && act == ACT_NONE,
                     two_paddings = (flags & 24) == 24;
                if (pre_without_act || two_paddings) continue;
                if (!meets_all(size_at(i)) && (flags + i + (int)act) % 29) continue;
                linear_case(*state, size_at(i), act, flags, 1);
            }
    bench_report(*state, "linear");
}

/* Activations where they bend, vanish and saturate: arguments around 0, 5, 100 and 10000. */
static void test_linear_extremes(void **state)
{
    for (activation act = ACT_GELU_TANH; act <= ACT_SILU; act++)
        for (double spread = 1e-6; spread < 1e5; spread *= 10)
            linear_case(*state, (size){33, 3, 17}, act, 1 | 4, spread);
    bench_report(*state, "linear, extremes");
}

/* ---- activate ---- */

enum { ACT_OUT, ACT_X };

static void call_activate(device *dev, const tensor *t, const void *options)
{
    OP(activate, dev, STREAM_COMPUTE, .out = t[ACT_OUT], .x = t[ACT_X],
       .act = *(const activation *)options);
}

/* flags: 1 padding of out, 2 padding of x */
static void activate_case(bench *b, size s, activation act, int flags, double spread)
{
    op_case t;
    case_begin(b, &t, call_activate, &act, "activate R=%lld N=%lld act=%s%s%s spread=%g",
               (long long)s.R, (long long)s.N, act_names[act], flags & 1 ? " out.ld+5" : "",
               flags & 2 ? " x.ld+3" : "", spread);
    if (case_left_out(b, &t)) return;
    case_operand(&t, ACT_OUT, "out", WRITTEN, WORK, SHAPE(s.R, s.N), flags & 1 ? 5 : 0);
    case_operand(&t, ACT_X, "x", GIVEN, WORK, SHAPE(s.R, s.N), flags & 2 ? 3 : 0);
    case_draw(&t, ACT_X, 0, spread);
    case_reference(b, &t);
    for (int64_t i = 0; i < s.R * s.N; i++)
        t.operands[ACT_OUT].unit[i] = fabs(t.operands[ACT_X].value[i]) + UNDERFLOW_UNIT;
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_activate(void **state)
{
    for (activation act = ACT_GELU_TANH; act <= ACT_GELU_ERF; act++) {
        for (int i = 0; i < n_sizes(); i++)
            for (int flags = 0; flags < 4; flags++)
                activate_case(*state, size_at(i), act, flags, 1);
        for (double spread = 1e-6; spread < 1e5; spread *= 10)
            activate_case(*state, (size){33, 3, 17}, act, 0, spread);
    }
    bench_report(*state, "activate");
}

/* ---- linear_dx ---- */

enum { DX_DX, DX_DOUT, DX_W, DX_PRE };

typedef struct {
    activation act;
    bool accumulate;
} dx_options;

static void call_linear_dx(device *dev, const tensor *t, const void *options)
{
    const dx_options *o = options;
    OP(linear_dx, dev, STREAM_COMPUTE, .dx = t[DX_DX], .accumulate = o->accumulate,
       .dout = t[DX_DOUT], .w = t[DX_W], .pre = t[DX_PRE], .act = o->act);
}

static void linear_dx_units(const bench *b, op_case *t, size s, dx_options options)
{
    operand *o = t->operands;
    for (int64_t r = 0; r < s.R; r++)
        for (int64_t k = 0; k < s.K; k++) {
            int64_t at = r * s.K + k;
            double sum = options.accumulate ? o[DX_DX].value[at] : 0, squares = square(sum);
            for (int64_t n = 0; n < s.N; n++) {
                double term = o[DX_DOUT].value[r * s.N + n] * o[DX_W].value[n * s.K + k];
                sum += term;
                squares += term * term;
            }
            o[DX_DX].unit[at] = summed(s.N + 1, squares);
            if (options.act == ACT_NONE) continue;
            double pre =
                o[DX_PRE].value[at]; /* act' itself is a sum of terms up to 1 and up to |pre| */
            o[DX_DX].unit[at] *= fabs(ref_act_grad(options.act, pre));
            o[DX_DX].unit[at] +=
                fabs(sum) * (1 + fmin(fabs(pre), 8)) + rounded_between(b) * fabs(o[DX_DX].want[at]);
        }
}

static void linear_dx_case(bench *b, size s, dx_options options, int64_t pad, int64_t dout_pad,
                           double spread)
{
    op_case t;
    case_begin(b, &t, call_linear_dx, &options,
               "linear_dx R=%lld K=%lld N=%lld act=%s%s ld+%lld dout.ld+%lld spread=%g",
               (long long)s.R, (long long)s.K, (long long)s.N, act_names[options.act],
               options.accumulate ? " accumulate" : "", (long long)pad, (long long)dout_pad,
               spread);
    if (case_left_out(b, &t)) return;
    case_operand(&t, DX_DX, "dx", options.accumulate ? ADDED : WRITTEN, WORK, SHAPE(s.R, s.K), pad);
    case_operand(&t, DX_DOUT, "dout", GIVEN, WORK, SHAPE(s.R, s.N), dout_pad);
    case_operand(&t, DX_W, "w", GIVEN, WORK, SHAPE(s.N, s.K), pad);
    case_draw(&t, DX_DOUT, 0, 1);
    case_draw(&t, DX_W, 0, 1);
    if (options.accumulate) case_draw(&t, DX_DX, 0, 1);
    if (options.act != ACT_NONE) {
        case_operand(&t, DX_PRE, "pre", GIVEN, WORK, SHAPE(s.R, s.K), pad);
        case_draw(&t, DX_PRE, 0, spread);
    }
    case_reference(b, &t);
    linear_dx_units(b, &t, s, options);
    compare_product(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_linear_dx(void **state)
{
    static const dx_options forms[] = {{ACT_NONE, false},
                                       {ACT_NONE, true},
                                       {ACT_GELU_TANH, false},
                                       {ACT_GELU_ERF, false},
                                       {ACT_GELU_TANH, true}};
    for (int i = 0; i < n_sizes(); i++)
        for (int form = 0; form < 5; form++)
            for (int pads = 0; pads < 3; pads++)
                if (meets_all(size_at(i)) || (form + pads + i) % 6 == 0)
                    linear_dx_case(*state, size_at(i), forms[form], pads == 1 ? 3 : 0,
                                   pads == 2   ? 5
                                   : pads == 1 ? 3
                                               : 0,
                                   1);
    bench_report(*state, "linear_dx");
}

static void test_linear_dx_extremes(void **state)
{
    for (activation act = ACT_GELU_TANH; act <= ACT_SILU; act++)
        for (double spread = 1e-6; spread < 1e5; spread *= 10)
            linear_dx_case(*state, (size){33, 17, 3}, (dx_options){act, false}, 0, 0, spread);
    bench_report(*state, "linear_dx, extremes");
}

/* ---- linear_dw ---- */

enum { DW_DW, DW_DB, DW_X, DW_DOUT };

typedef struct {
    bool dw_accumulate, db_accumulate;
} dw_options;

static void call_linear_dw(device *dev, const tensor *t, const void *options)
{
    const dw_options *o = options;
    OP(linear_dw, dev, STREAM_COMPUTE, .dw = {t[DW_DW], o->dw_accumulate},
       .db = {t[DW_DB], o->db_accumulate}, .x = t[DW_X], .dout = t[DW_DOUT]);
}

static void linear_dw_units(op_case *t, size s, dw_options options)
{
    operand *o = t->operands;
    for (int64_t n = 0; n < s.N && o[DW_DW].role != ABSENT; n++)
        for (int64_t k = 0; k < s.K; k++) {
            double squares = options.dw_accumulate ? square(o[DW_DW].value[n * s.K + k]) : 0;
            for (int64_t r = 0; r < s.R; r++)
                squares += square(o[DW_DOUT].value[r * s.N + n] * o[DW_X].value[r * s.K + k]);
            o[DW_DW].unit[n * s.K + k] = summed(s.R + 1, squares);
        }
    for (int64_t n = 0; n < s.N && o[DW_DB].role != ABSENT; n++) {
        double squares = options.db_accumulate ? square(o[DW_DB].value[n]) : 0;
        for (int64_t r = 0; r < s.R; r++)
            squares += square(o[DW_DOUT].value[r * s.N + n]);
        o[DW_DB].unit[n] = summed(s.R + 1, squares);
    }
}

/* flags: 1 no dw, 2 no db, 4 accumulate dw, 8 accumulate db, 16 padding, 32 no x (with 1 only) */
static void linear_dw_case(bench *b, size s, int flags)
{
    dw_options options = {.dw_accumulate = flags & 4, .db_accumulate = flags & 8};
    int64_t pad = flags & 16 ? 3 : 0;
    op_case t;
    case_begin(b, &t, call_linear_dw, &options, "linear_dw R=%lld K=%lld N=%lld%s%s%s%s%s%s",
               (long long)s.R, (long long)s.K, (long long)s.N, flags & 1 ? " no dw" : "",
               flags & 2 ? " no db" : "", flags & 4 ? " dw accumulate" : "",
               flags & 8 ? " db accumulate" : "", flags & 16 ? " ld+3" : "",
               flags & 32 ? " no x" : "");
    if (case_left_out(b, &t)) return;
    case_operand(&t, DW_DOUT, "dout", GIVEN, WORK, SHAPE(s.R, s.N), pad);
    case_draw(&t, DW_DOUT, 0, 1);
    if (!(flags & 32)) {
        case_operand(&t, DW_X, "x", GIVEN, WORK, SHAPE(s.R, s.K), pad);
        case_draw(&t, DW_X, 0, 1);
    }
    if (!(flags & 1)) {
        case_operand(&t, DW_DW, "dw", flags & 4 ? ADDED : WRITTEN, WORK, SHAPE(s.N, s.K), 0);
        if (flags & 4) case_draw(&t, DW_DW, 0, 1);
    }
    if (!(flags & 2)) {
        case_operand(&t, DW_DB, "db", flags & 8 ? ADDED : WRITTEN, WORK, SHAPE(s.N), 0);
        if (flags & 8) case_draw(&t, DW_DB, 0, 1);
    }
    case_reference(b, &t);
    linear_dw_units(&t, s, options);
    compare_product(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_linear_dw(void **state)
{
    for (int i = 0; i < n_sizes(); i++)
        for (int flags = 0; flags < 64; flags++) {
            bool nothing = (flags & 3) == 3, idle = (flags & 5) == 5 || (flags & 10) == 10,
                 no_x_with_dw = (flags & 33) == 32;
            if (nothing || idle || no_x_with_dw) continue;
            if (meets_all(size_at(i)) || (flags + i) % 19 == 0)
                linear_dw_case(*state, size_at(i), flags);
        }
    bench_report(*state, "linear_dw");
}

/* ---- matmul ---- */

enum { MM_OUT, MM_X, MM_Y };

static void call_matmul(device *dev, const tensor *t, const void *options)
{
    matmul_op o = *(const matmul_op *)options;
    o.out = t[MM_OUT];
    o.x = t[MM_X];
    o.y = t[MM_Y];
    op_matmul(dev, STREAM_COMPUTE, &o);
}

/* flags: 1 x transposed, 2 y transposed, 4 beta, 8 padding */
static void matmul_case(bench *b, size s, int flags)
{
    matmul_op how = {.x_transposed = flags & 1,
                     .y_transposed = flags & 2,
                     .alpha = flags & 4 ? -0.75 : 2.0315,
                     .beta = flags & 4 ? 3.4445 : 0};
    int64_t pad = flags & 8 ? 3 : 0;
    op_case t;
    case_begin(b, &t, call_matmul, &how, "matmul M=%lld K=%lld N=%lld%s%s%s%s", (long long)s.R,
               (long long)s.K, (long long)s.N, flags & 1 ? " x'" : "", flags & 2 ? " y'" : "",
               flags & 4 ? " beta" : "", flags & 8 ? " ld+3" : "");
    if (case_left_out(b, &t)) return;
    case_operand(&t, MM_OUT, "out", flags & 4 ? ADDED : WRITTEN, WORK, SHAPE(s.R, s.N), pad);
    case_operand(&t, MM_X, "x", GIVEN, WORK, flags & 1 ? SHAPE(s.K, s.R) : SHAPE(s.R, s.K), pad);
    case_operand(&t, MM_Y, "y", GIVEN, WORK, flags & 2 ? SHAPE(s.N, s.K) : SHAPE(s.K, s.N), pad);
    if (flags & 4) case_draw(&t, MM_OUT, 0, 1);
    case_draw(&t, MM_X, 0, 1);
    case_draw(&t, MM_Y, 0, 1);
    case_reference(b, &t);
    operand *o = t.operands;
    for (int64_t r = 0; r < s.R; r++)
        for (int64_t n = 0; n < s.N; n++) {
            double before = flags & 4 ? how.beta * o[MM_OUT].value[r * s.N + n] : 0;
            double squares = square(before);
            for (int64_t k = 0; k < s.K; k++)
                squares += square(how.alpha * o[MM_X].value[flags & 1 ? k * s.R + r : r * s.K + k] *
                                  o[MM_Y].value[flags & 2 ? n * s.K + k : k * s.N + n]);
            o[MM_OUT].unit[r * s.N + n] = summed(s.K + 2, squares) + fabs(before);
        }
    compare_product(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_matmul(void **state)
{
    if (((const bench *)*state)->work != F32) return; /* of full width only */
    for (int i = 0; i < n_sizes(); i++)
        for (int flags = 0; flags < 16; flags++)
            if (meets_all(size_at(i)) || (flags + i) % 11 == 0)
                matmul_case(*state, size_at(i), flags);
    bench_report(*state, "matmul");
}

/* ---- operands in 8 bits ---- */

/* The nearest number of the format with sign, after scaling by 2^k so that the largest fits; by
 * the specification's formula and not by base/fp8.h, in double. */
static double in_8_bits(fp8_format f, double x, int k)
{
    int m = f == E4M3 ? 3 : 2, least = f == E4M3 ? -6 : -14, exponent;
    double scaled = ldexp(x, k);
    frexp(scaled, &exponent); /* scaled = [1/2,1) 2^exponent */
    int step = (exponent - 1 < least ? least : exponent - 1) - m;
    return ldexp(nearbyint(ldexp(scaled, -step)), step - k);
}

/* x (n) as its product sees it. */
static void round_all(fp8_format f, double *x, int64_t n)
{
    double amax = 0;
    for (int64_t i = 0; i < n; i++)
        amax = fmax(amax, fabs(x[i]));
    int k = 126; /* floats have no larger scale */
    while (amax > 0 && ldexp(amax, k) > (f == E4M3 ? 448 : 57344))
        k--;
    for (int64_t i = 0; i < n; i++)
        x[i] = in_8_bits(f, x[i], k);
}

enum { LARGEST = 200 * 160 };

typedef struct {
    size s;
    double x[LARGEST], w[LARGEST], dout[LARGEST]; /* (R,K), (N,K), (R,N), as drawn */
    uint16_t bits[LARGEST];
    double a[LARGEST], b[LARGEST]; /* rounded */
} narrow_case;

static tensor put_bf16(narrow_case *c, rig *r, const double *from, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows * cols; i++)
        c->bits[i] = bf16_of_float((float)from[i]);
    return rig_put(r, BF16, SHAPE(rows, cols), c->bits);
}

static void draw_bf16(double *to, int64_t n, uint64_t stream, double spread)
{
    for (int64_t i = 0; i < n; i++) {
        double u = rng_uniform(9, RNG_TEST, stream << 32 | (uint64_t)i) - 0.5;
        to[i] = float_of_bf16(bf16_of_float((float)(spread * u * exp(6 * fabs(u)))));
    }
}

/* got (rows,cols) against sum_k a_ik b_jk + old; a and b are found at i * row + k * deep. */
static void compare_narrow(narrow_case *c, rig *r, const char *what, tensor got, int64_t inner,
                           const int64_t at[4], double old)
{
    int64_t rows = tensor_rows(got), cols = tensor_cols(got);
    rig_well(r, what);
    rig_get(r, got, c->bits);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            double sum = old, squares = old * old;
            for (int64_t k = 0; k < inner; k++) {
                double term = c->a[i * at[0] + k * at[1]] * c->b[j * at[2] + k * at[3]];
                sum += term;
                squares += term * term;
            }
            double value = float_of_bf16(c->bits[i * cols + j]);
            double bound = BOUND_C * FLT_EPSILON * summed(inner + 1, squares) +
                           BF16_ROUNDOFF * fabs(sum) + FLT_MIN;
            if (!(fabs(value - sum) <= bound))
                fail_msg("%s in 8 bits, R=%lld K=%lld N=%lld: (%lld,%lld) is %g, not %g", what,
                         (long long)c->s.R, (long long)c->s.K, (long long)c->s.N, (long long)i,
                         (long long)j, value, sum);
        }
}

static void take_rounded(narrow_case *c, const double *a, int64_t of_a, fp8_format f,
                         const double *b, int64_t of_b)
{
    memcpy(c->a, a, (size_t)of_a * sizeof *a);
    memcpy(c->b, b, (size_t)of_b * sizeof *b);
    round_all(f, c->a, of_a);
    round_all(E4M3, c->b, of_b);
}

static void lend_narrow(rig *r, size s)
{
    size_t bytes = narrow_room(r->dev.kind->narrow_size, s.R, s.N, s.K);
    uint8_t *empty = calloc(bytes, 1);
    assert_non_null(empty);
    op_lend_narrow(&r->dev, rig_put(r, U8, SHAPE((int64_t)bytes), empty));
    free(empty);
}

/* x (R,C), as drawn, in codes; against the specification's formula. */
typedef struct {
    tensor codes, turned, scale;
} coded;

static coded code(narrow_case *c, rig *r, const double *drawn, tensor x, fp8_format f)
{
    static uint8_t codes[LARGEST], turned[2 * LARGEST];
    static const uint8_t other[2 * LARGEST] = {1};
    int64_t R = tensor_rows(x), C = tensor_cols(x), S = (R + 15) / 16 * 16;
    float back[NARROW_SCALE] = {0};
    coded all = {rig_put(r, U8, SHAPE(R, C), other), rig_put(r, U8, SHAPE(C, S), other),
                 rig_put(r, F32, SHAPE(NARROW_SCALE), back)};
    tensor scratch = rig_put(r, I32, SHAPE(NARROW_GROUPS), other);
    OP(narrow, &r->dev, STREAM_COMPUTE, .codes = all.codes, .turned = all.turned,
       .scale = all.scale, .x = x, .scratch = scratch, .format = f);
    rig_well(r, "narrow");
    rig_get(r, all.codes, codes);
    rig_get(r, all.turned, turned);
    rig_get(r, all.scale, back);
    memcpy(c->a, drawn, (size_t)(R * C) * sizeof *drawn);
    round_all(f, c->a, R * C);
    for (int64_t i = 0; i < R * C; i++) {
        double got = (double)float_of_fp8(f, codes[i]) * (double)back[0];
        if (got != c->a[i]) fail_msg("narrow: %g becomes %g, not %g", drawn[i], got, c->a[i]);
    }
    for (int64_t k = 0; k < C; k++)
        for (int64_t i = 0; i < S; i++)
            if (turned[k * S + i] != (i < R ? codes[i * C + k] : 0))
                fail_msg("narrow: row %lld of column %lld", (long long)i, (long long)k);
    return all;
}

static void same_bits(narrow_case *c, rig *r, const char *what, tensor got, tensor want)
{
    static uint16_t other[LARGEST];
    rig_well(r, what);
    rig_get(r, got, c->bits);
    rig_get(r, want, other);
    if (memcmp(c->bits, other, tensor_bytes(want))) fail_msg("%s of codes: other bits", what);
}

/* What is rounded once, for two products, gives the bits of what each product rounds. */
static void products_of_codes(narrow_case *c, rig *r, tensor x, tensor w, tensor dout)
{
    int64_t R = c->s.R, K = c->s.K, N = c->s.N;
    device *dev = &r->dev;
    coded of_x = code(c, r, c->x, x, E4M3), of_dout = code(c, r, c->dout, dout, E5M2);
    memset(c->bits, 0, sizeof c->bits);
    tensor out[2], dx[2], dw[2];
    for (int i = 0; i < 2; i++) {
        out[i] = rig_put(r, BF16, SHAPE(R, N), c->bits);
        dx[i] = rig_put(r, BF16, SHAPE(R, K), c->bits);
        dw[i] = rig_put(r, BF16, SHAPE(N, K), c->bits);
    }
    OP(linear, dev, STREAM_COMPUTE, .out = out[0], .x = x, .w = w, .narrow = true);
    OP(linear, dev, STREAM_COMPUTE, .out = out[1], .x = x, .w = w, .narrow = true,
       .codes = of_x.codes, .scale = of_x.scale);
    same_bits(c, r, "linear", out[1], out[0]);
    OP(linear_dx, dev, STREAM_COMPUTE, .dx = dx[0], .dout = dout, .w = w, .narrow = true);
    OP(linear_dx, dev, STREAM_COMPUTE, .dx = dx[1], .dout = dout, .w = w, .narrow = true,
       .codes = of_dout.codes, .scale = of_dout.scale);
    same_bits(c, r, "linear_dx", dx[1], dx[0]);
    OP(linear_dw, dev, STREAM_COMPUTE, .dw = {.t = dw[0]}, .dout = dout, .x = x, .narrow = true);
    OP(linear_dw, dev, STREAM_COMPUTE, .dw = {.t = dw[1]}, .dout = dout, .narrow = true,
       .turned_x = of_x.turned, .scale_x = of_x.scale, .turned_dout = of_dout.turned,
       .scale_dout = of_dout.scale);
    same_bits(c, r, "linear_dw", dw[1], dw[0]);
    OP(linear_dw, dev, STREAM_COMPUTE, .dw = {.t = dw[1]}, .dout = dout, .x = x, .narrow = true,
       .turned_dout = of_dout.turned, .scale_dout = of_dout.scale);
    same_bits(c, r, "linear_dw, one of codes", dw[1], dw[0]);
}

static double exact_act(activation act, double x)
{
    return act == ACT_SILU ? x / (1 + exp(-x))
           : act == ACT_GELU_ERF
               ? x / 2 * erfc(-x / sqrt(2))
               : x / (1 + exp(-2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static double exact_slope(activation act, double x)
{
    return (exact_act(act, x + 1e-5) - exact_act(act, x - 1e-5)) / 2e-5;
}

static const uint8_t nothing[4 * LARGEST];

/* What narrow makes of act(x) is what it makes of the activation's result. */
static void codes_of_act(rig *r, tensor x, activation act)
{
    static uint8_t got[2][2 * LARGEST];
    int64_t R = tensor_rows(x), C = tensor_cols(x), S = narrow_side(R);
    tensor y = rig_put(r, BF16, SHAPE(R, C), nothing), none = {0};
    OP(activate, &r->dev, STREAM_COMPUTE, .out = y, .x = x, .act = act);
    for (int i = 0; i < 2; i++) {
        tensor turned = rig_put(r, U8, SHAPE(C, S), nothing),
               scale = rig_put(r, F32, SHAPE(NARROW_SCALE), nothing),
               scratch = rig_put(r, I32, SHAPE(NARROW_GROUPS), nothing);
        OP(narrow, &r->dev, STREAM_COMPUTE, .codes = none, .turned = turned, .scale = scale,
           .x = i ? x : y, .act = i ? act : ACT_NONE, .scratch = scratch, .format = E4M3);
        rig_well(r, "narrow");
        rig_get(r, turned, got[i]);
        rig_get(r, scale, got[i] + C * S);
    }
    if (memcmp(got[0], got[1], (size_t)(C * S) + sizeof(float)))
        fail_msg("narrow, act %d: not what it makes of act(x)", act);
}

/* x act'(pre) and the sums of its columns, which are added to old ones */
static void codes_of_slope(narrow_case *c, rig *r, tensor x, tensor pre, activation act)
{
    static uint8_t codes[LARGEST];
    static uint16_t old[LARGEST], sums[LARGEST];
    int64_t R = tensor_rows(x), C = tensor_cols(x);
    float back[NARROW_SCALE];
    for (int64_t i = 0; i < C; i++)
        old[i] = bf16_of_float((float)(i % 3));
    tensor to = rig_put(r, U8, SHAPE(R, C), nothing), db = rig_put(r, BF16, SHAPE(C), old),
           scale = rig_put(r, F32, SHAPE(NARROW_SCALE), nothing),
           parts = rig_put(r, F32, SHAPE(narrow_tiles(R), C), nothing),
           scratch = rig_put(r, I32, SHAPE(NARROW_GROUPS), nothing);
    OP(narrow, &r->dev, STREAM_COMPUTE, .codes = to, .sums = {db, true}, .scale = scale, .x = x,
       .pre = pre, .act = act, .scratch = scratch, .parts = parts, .format = E5M2);
    rig_well(r, "narrow");
    rig_get(r, to, codes);
    rig_get(r, db, sums);
    rig_get(r, scale, back);
    for (int64_t k = 0; k < C; k++) {
        double sum = float_of_bf16(old[k]), all = fabs(sum);
        for (int64_t i = 0; i < R; i++) {
            double v = c->dout[i * C + k] * exact_slope(act, c->x[i * C + k]);
            double got = (double)float_of_fp8(E5M2, codes[i * C + k]) * (double)back[0];
            double bound =
                0.13 * fabs(v) + 1e-4 * fabs(c->dout[i * C + k]) + 0x1p-16 * (double)back[0];
            if (!(fabs(got - v) <= bound))
                fail_msg("narrow, slope of act %d: (%lld,%lld) is %g, not %g", act, (long long)i,
                         (long long)k, got, v);
            sum += v, all += fabs(v) + fabs(c->dout[i * C + k]) / 64;
        }
        if (!(fabs(float_of_bf16(sums[k]) - sum) <= 2 * BF16_ROUNDOFF * all))
            fail_msg("narrow, slope of act %d: column %lld sums to %g, not %g", act, (long long)k,
                     (double)float_of_bf16(sums[k]), sum);
    }
}

/* What narrow does on the way, for activations of usual sizes. */
static void test_narrow_on_the_way(void **state)
{
    static const size some[] = {{5, 16, 0}, {130, 80, 0}, {67, 144, 0}};
    bench *b = *state;
    rig *rigs[] = {&b->many, &b->one, &b->odd};
    narrow_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    for (size_t i = 0; b->work == BF16 && i < sizeof some / sizeof *some; i++) {
        int64_t R = some[i].R, C = some[i].K;
        draw_bf16(c->x, R * C, 4, 3);
        draw_bf16(c->dout, R * C, 5, 0.01);
        for (int k = 0; k < 3; k++) {
            rig_select(b, rigs[k]);
            rig_clear(rigs[k]);
            tensor x = put_bf16(c, rigs[k], c->x, R, C), dout = put_bf16(c, rigs[k], c->dout, R, C);
            for (activation act = ACT_GELU_TANH; act <= ACT_SILU; act++) {
                codes_of_act(rigs[k], x, act);
                codes_of_slope(c, rigs[k], dout, x, act);
            }
        }
    }
    free(c);
}

static void narrow_products(narrow_case *c, rig *r, size s)
{
    int64_t R = s.R, K = s.K, N = s.N;
    device *dev = &r->dev;
    rig_clear(r);
    lend_narrow(r, s);
    tensor x = put_bf16(c, r, c->x, R, K), w = put_bf16(c, r, c->w, N, K),
           dout = put_bf16(c, r, c->dout, R, N), threes;
    for (int64_t i = 0; i < LARGEST; i++)
        c->bits[i] = bf16_of_float(3);
    threes = rig_put(r, BF16, SHAPE(N), c->bits);
    tensor out = rig_put(r, BF16, SHAPE(R, N), c->bits),
           dx = rig_put(r, BF16, SHAPE(R, K), c->bits), dw = rig_put(r, BF16, SHAPE(N, K), c->bits),
           db = rig_put(r, BF16, SHAPE(N), c->bits);
    OP(linear, dev, STREAM_COMPUTE, .out = out, .x = x, .w = w, .bias = threes, .narrow = true);
    take_rounded(c, c->x, R * K, E4M3, c->w, N * K);
    compare_narrow(c, r, "linear", out, K, (int64_t[]){K, 1, K, 1}, 3);
    OP(linear_dx, dev, STREAM_COMPUTE, .dx = dx, .accumulate = true, .dout = dout, .w = w,
       .narrow = true);
    take_rounded(c, c->dout, R * N, E5M2, c->w, N * K);
    compare_narrow(c, r, "linear_dx", dx, N, (int64_t[]){N, 1, 1, K}, 3);
    OP(linear_dw, dev, STREAM_COMPUTE, .dw = {dw, true}, .db = {db, false}, .dout = dout, .x = x,
       .narrow = true);
    take_rounded(c, c->dout, R * N, E5M2, c->x, R * K);
    compare_narrow(c, r, "linear_dw", dw, R, (int64_t[]){1, N, 1, K}, 3);
    /* the bias's gradient is of dout as it is */
    for (int64_t i = 0; i < R * N; i++)
        c->a[i % R] = 1, c->b[i] = c->dout[i];
    compare_narrow(c, r, "db", db, R, (int64_t[]){0, 1, 1, N}, 0);
    products_of_codes(c, r, x, w, dout);
    op_lend_narrow(dev, (tensor){0});
}

static void test_narrow(void **state)
{
    /* tokens that fill no tile and no 16 bytes; one token; matrices of one tile and of several */
    static const size some[] = {{5, 16, 48}, {33, 64, 32}, {130, 80, 144}, {1, 16, 16}};
    static const double spreads[] = {1, 1e-4, 1e4, 1e-36};
    bench *b = *state;
    rig *rigs[] = {&b->many, &b->one, &b->odd};
    narrow_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    for (size_t i = 0; b->work == BF16 && i < sizeof some / sizeof *some; i++) {
        c->s = some[i];
        draw_bf16(c->x, c->s.R * c->s.K, 1, spreads[i]);
        draw_bf16(c->w, c->s.N * c->s.K, 2, 0.1);
        draw_bf16(c->dout, c->s.R * c->s.N, 3, 1e-3);
        for (int k = 0; k < (rig_slow() ? 2 : 3); k++) {
            rig_select(b, rigs[k]);
            narrow_products(c, rigs[k], c->s);
        }
    }
    free(c);
}

/* Without memory for it a call that is marked is as any other; with it an operand that is not
 * finite makes all NaN, and one of zeros leaves the bias. */
static void test_narrow_ends(void **state)
{
    enum { R = 3, K = 16, N = 32 };
    bench *b = *state;
    rig *r = &b->many;
    uint16_t x[R * K], w[N * K], bias[N], marked[R * N], plain[R * N];
    if (b->work != BF16) return;
    rig_select(b, r);
    for (int i = 0; i < N * K; i++)
        w[i] = bf16_of_float((float)(i % 7) - 3.3f);
    for (int i = 0; i < N; i++)
        bias[i] = bf16_of_float((float)i);
    for (int form = 0; form < 4; form++) { /* not lent; lent; with an infinity; zeros */
        for (int i = 0; i < R * K; i++)
            x[i] = bf16_of_float(form == 3 ? 0 : form == 2 && i == 20 ? INFINITY : (float)i / 7);
        rig_clear(r);
        if (form) lend_narrow(r, (size){R, K, N});
        tensor tx = rig_put(r, BF16, SHAPE(R, K), x), tw = rig_put(r, BF16, SHAPE(N, K), w),
               tb = rig_put(r, BF16, SHAPE(N), bias), out = rig_put(r, BF16, SHAPE(R, N), plain),
               other = rig_put(r, BF16, SHAPE(R, N), plain);
        OP(linear, &r->dev, STREAM_COMPUTE, .out = out, .x = tx, .w = tw, .bias = tb,
           .narrow = true);
        OP(linear, &r->dev, STREAM_COMPUTE, .out = other, .x = tx, .w = tw, .bias = tb);
        rig_well(r, "linear");
        rig_get(r, out, marked);
        rig_get(r, other, plain);
        if (form < 2 && !memcmp(marked, plain, sizeof plain) != !form)
            fail_msg("form %d: the same bits as of bf16, or not", form);
        for (int i = 0; i < R * N; i++)
            if (form == 2 ? !isnan(float_of_bf16(marked[i]))
                          : form == 3 && marked[i] != bias[i % N])
                fail_msg("form %d: %d is %g", form, i, (double)float_of_bf16(marked[i]));
        op_lend_narrow(&r->dev, (tensor){0});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_linear_extremes),
        cmocka_unit_test(test_activate),
        cmocka_unit_test(test_linear_dx),
        cmocka_unit_test(test_linear_dx_extremes),
        cmocka_unit_test(test_linear_dw),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_narrow_ends),
        cmocka_unit_test(test_narrow_on_the_way),
    };
    return RUN_IN_ALL_TYPES(tests);
}

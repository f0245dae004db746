/* test_ops_ref.c - the reference held against calculus and against numbers worked by hand.
 *
 * Backward: with the objective f = sum(out * weight), the analytic gradient of every input element
 * is compared with (f(x+h) - f(x-h)) / 2h.  In double and with h = 1e-5 the truncation (h^2) and
 * the rounding (eps/h) both stay below 1e-9 of the gradient's size; 1e-6 is what is asked. Forward:
 * central differences cannot see a wrong formula that is wrong on both sides, so each forward
 * formula also meets a case whose answer is known.
 */
#include "test/ref.h"
#include "base/rng.h"
#include "test/formula.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { MAX = 1024 };

static const double h = 1e-5, tolerance = 1e-6;

/* ---- the objective, and its differences ---- */

typedef struct {
    void (*run)(device *, const void *op);
    const void *op;
    const double *out, *weight;
    int64_t n;
} objective;

#define RUN(name)                                                                                  \
    static void run_##name(device *dev, const void *op)                                            \
    {                                                                                              \
        op_##name(dev, STREAM_COMPUTE, op);                                                        \
    }
RUN(embedding)
RUN(norm)
RUN(linear)
RUN(attention)
RUN(classify)
RUN(head_norm)
RUN(rotary)
RUN(gate)

static void assert_well(device *dev)
{
    error *e = device_status(dev);
    if (e) fail_msg("%s", error_text(e));
}

static double value(const objective *f)
{
    device ref = ref_device();
    f->run(&ref, f->op);
    assert_well(&ref);
    double sum = 0;
    for (int64_t i = 0; i < f->n; i++)
        sum += f->out[i] * f->weight[i];
    return sum;
}

/* Every element of x (n), an input of f, against the analytic gradient. */
static void check_gradient(const char *name, const objective *f, double *x, int64_t n,
                           const double *gradient)
{
    double size = 0;
    for (int64_t i = 0; i < n; i++)
        size = fmax(size, fabs(gradient[i]));
    assert_true(size > 0);
    for (int64_t i = 0; i < n; i++) {
        double at = x[i];
        x[i] = at + h;
        double above = value(f);
        x[i] = at - h;
        double below = value(f);
        x[i] = at;
        double want = (above - below) / (2 * h);
        if (!(fabs(gradient[i] - want) <= tolerance * size))
            fail_msg("%s: element %lld: got %.12g, want %.12g, bound %.3g", name, (long long)i,
                     gradient[i], want, tolerance * size);
    }
    value(f); /* the outputs belong to x again */
}

static void draw(double *x, int64_t n, uint64_t seed)
{
    assert_true(n <= MAX);
    for (int64_t i = 0; i < n; i++)
        x[i] = normal_at(seed, RNG_TEST, (uint64_t)i);
}

static tensor doubles(double *x, shape s)
{
    return tensor_of(x, F64, s);
}

/* ---- gradients ---- */

static void test_embedding_gradient(void **state)
{
    (void)state;
    enum { B = 2, T = 4, C = 3, V = 5, P = 7, FIRST = 2 };
    double wte[MAX], wpe[MAX], out[MAX], dout[MAX], dwte[MAX], dwpe[MAX];
    int32_t tokens[B * T] = {1, 4, 1, 0, 3, 1, 4, 4}, scratch[2 * B * T];
    draw(wte, V * C, 1), draw(wpe, P * C, 2), draw(dout, B * T * C, 3);
    embedding_op forward = {.out = doubles(out, SHAPE(B, T, C)),
                            .tokens = tensor_of(tokens, I32, SHAPE(B, T)),
                            .wte = doubles(wte, SHAPE(V, C)),
                            .wpe = doubles(wpe, SHAPE(P, C)),
                            .first_position = FIRST,
                            .scale = 1.7};
    device ref = ref_device();
    OP(embedding_grad, &ref, STREAM_COMPUTE, .dwte = {doubles(dwte, SHAPE(V, C)), false},
       .dwpe = {doubles(dwpe, SHAPE(P, C)), false}, .dout = doubles(dout, SHAPE(B, T, C)),
       .tokens = forward.tokens, .scratch = tensor_of(scratch, I32, SHAPE(2, B * T)),
       .first_position = FIRST, .scale = 1.7);
    assert_well(&ref);
    objective f = {run_embedding, &forward, out, dout, B * T * C};
    check_gradient("embedding_grad dwte", &f, wte, V * C, dwte);
    check_gradient("embedding_grad dwpe", &f, wpe, P * C, dwpe);
}

static void norm_gradient(int64_t R, int64_t C, bool rms, double offset)
{
    double x[MAX], w[MAX], b[MAX], out[MAX], mean[MAX], rstd[MAX];
    double dout[MAX], dx[MAX], dw[MAX], db[MAX], scratch[NORM_GROUPS * 2 * 16];
    draw(x, R * C, 4), draw(w, C, 5), draw(b, C, 6), draw(dout, R * C, 7);
    norm_op forward = {.out = doubles(out, SHAPE(R, C)),
                       .mean = rms ? (tensor){0} : doubles(mean, SHAPE(R)),
                       .rstd = doubles(rstd, SHAPE(R)),
                       .x = doubles(x, SHAPE(R, C)),
                       .w = doubles(w, SHAPE(C)),
                       .b = doubles(b, SHAPE(C)),
                       .eps = 1e-2,
                       .offset = offset,
                       .rms = rms};
    objective f = {run_norm, &forward, out, dout, R * C};
    value(&f); /* for mean and rstd */
    device ref = ref_device();
    OP(norm_grad, &ref, STREAM_COMPUTE, .dx = doubles(dx, SHAPE(R, C)),
       .dw = {doubles(dw, SHAPE(C)), false}, .db = {doubles(db, SHAPE(C)), false},
       .dout = doubles(dout, SHAPE(R, C)), .x = forward.x, .mean = forward.mean,
       .rstd = forward.rstd, .w = forward.w, .scratch = doubles(scratch, SHAPE(NORM_GROUPS, 2 * C)),
       .offset = offset, .rms = rms);
    assert_well(&ref);
    check_gradient("norm_grad dx", &f, x, R * C, dx);
    check_gradient("norm_grad dw", &f, w, C, dw);
    check_gradient("norm_grad db", &f, b, C, db);
}

static void test_norm_gradient(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) {
        norm_gradient(1, 2, form > 0, form > 1);
        norm_gradient(3, 7, form > 0, form > 1);
        norm_gradient(5, 16, form > 0, form > 1);
    }
}

/* The gradients of layer 2 in  y = act(x), out = y w^T + bias + residual  and of the layer's own
 * act. */
static void linear_gradient(activation act, bool with_bias, bool with_residual)
{
    enum { R = 4, K = 5, N = 3 };
    double x[MAX], w[MAX], bias[MAX], residual[MAX], out[MAX], pre[MAX];
    double dout[MAX], dpre[MAX], dx[MAX], dw[MAX], db[MAX];
    draw(x, R * K, 8), draw(w, N * K, 9), draw(bias, N, 10), draw(residual, R * N, 11),
        draw(dout, R * N, 12);
    tensor none = {0};
    linear_op forward = {.out = doubles(out, SHAPE(R, N)),
                         .x = doubles(x, SHAPE(R, K)),
                         .w = doubles(w, SHAPE(N, K)),
                         .bias = with_bias ? doubles(bias, SHAPE(N)) : none,
                         .residual = with_residual ? doubles(residual, SHAPE(R, N)) : none,
                         .pre = act ? doubles(pre, SHAPE(R, N)) : none,
                         .act = act};
    objective f = {run_linear, &forward, out, dout, R * N};
    value(&f); /* for pre */

    /* d pre = dout act'(pre): linear_dx with the identity as its weight */
    double identity[N * N] = {0};
    for (int i = 0; i < N; i++)
        identity[i * N + i] = 1;
    device ref = ref_device();
    OP(linear_dx, &ref, STREAM_COMPUTE, .dx = doubles(dpre, SHAPE(R, N)),
       .dout = doubles(dout, SHAPE(R, N)), .w = doubles(identity, SHAPE(N, N)), .pre = forward.pre,
       .act = act);
    OP(linear_dx, &ref, STREAM_COMPUTE, .dx = doubles(dx, SHAPE(R, K)),
       .dout = doubles(dpre, SHAPE(R, N)), .w = forward.w);
    OP(linear_dw, &ref, STREAM_COMPUTE, .dw = {doubles(dw, SHAPE(N, K)), false},
       .db = {doubles(db, SHAPE(N)), false}, .x = forward.x, .dout = doubles(dpre, SHAPE(R, N)));
    assert_well(&ref);
    check_gradient("linear_dx dx", &f, x, R * K, dx);
    check_gradient("linear_dw dw", &f, w, N * K, dw);
    if (with_bias) check_gradient("linear_dw db", &f, bias, N, db);
    if (with_residual) check_gradient("linear residual", &f, residual, R * N, dout);
}

static void test_linear_gradient(void **state)
{
    (void)state;
    for (activation act = ACT_NONE; act <= ACT_SILU; act++)
        for (int bits = 0; bits < 4; bits++)
            linear_gradient(act, bits & 1, bits & 2);
}

static void gradient_of_attention(int64_t B, int64_t T, int64_t H, int64_t KV, int64_t D,
                                  bool causal, bool alibi, int64_t window, double cap)
{
    int64_t width = (H + 2 * KV) * D;
    double qkv[MAX], out[MAX], lse[MAX], dout[MAX], dqkv[MAX], scratch[MAX];
    draw(qkv, B * T * width, 13), draw(dout, B * T * H * D, 14);
    attention_op forward = {.out = doubles(out, SHAPE(B, T, H * D)),
                            .lse = doubles(lse, SHAPE(B, H, T)),
                            .qkv = doubles(qkv, SHAPE(B, T, width)),
                            .heads = H,
                            .kv_heads = KV,
                            .causal = causal,
                            .alibi = alibi,
                            .window = window,
                            .cap = cap,
                            .scale = 0.6};
    objective f = {run_attention, &forward, out, dout, B * T * H * D};
    value(&f); /* for out and lse */
    device ref = ref_device();
    OP(attention_grad, &ref, STREAM_COMPUTE, .dqkv = doubles(dqkv, SHAPE(B, T, width)),
       .dout = doubles(dout, SHAPE(B, T, H * D)), .out = forward.out, .qkv = forward.qkv,
       .lse = forward.lse, .scratch = doubles(scratch, SHAPE(B, H, T)), .heads = H, .kv_heads = KV,
       .causal = causal, .alibi = alibi, .window = window, .cap = cap, .scale = 0.6);
    assert_well(&ref);
    check_gradient("attention_grad dqkv", &f, qkv, B * T * width, dqkv);
}

static void attention_gradient(int64_t B, int64_t T, int64_t H, int64_t KV, int64_t D, bool causal,
                               bool alibi)
{
    gradient_of_attention(B, T, H, KV, D, causal, alibi, 0, 0);
    gradient_of_attention(B, T, H, KV, D, causal, alibi, causal ? 2 : 0, 0.3);
}

static void test_attention_gradient(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        attention_gradient(1, 1, 1, 1, 2, causal, false);
        attention_gradient(2, 5, 2, 2, 3, causal, false);
        attention_gradient(2, 4, 3, 1, 4, causal, false);
        attention_gradient(1, 5, 6, 2, 3, causal, causal);
    }
}

/* In place: the objective's input is copied before each run. */
typedef struct {
    const double *input;
    int64_t n;
    head_norm_op norm;
    rotary_op rotary;
} in_place;

static void run_head_norm_copy(device *dev, const void *op)
{
    const in_place *p = op;
    memcpy(p->norm.x.data, p->input, (size_t)p->n * sizeof(double));
    run_head_norm(dev, &p->norm);
}

static void run_rotary_copy(device *dev, const void *op)
{
    const in_place *p = op;
    memcpy(p->rotary.x.data, p->input, (size_t)p->n * sizeof(double));
    run_rotary(dev, &p->rotary);
}

/* `first` heads of D numbers, one of E, another of E that is not normed. */
static void head_norm_gradient(int64_t first, int64_t D, int64_t E, double offset)
{
    enum { R = 3, MOST = 8 };
    int64_t cols = first * D + 2 * E, N = R * cols;
    double in[MAX], x[MAX], w1[MAX], w2[MAX], saved[MAX], dx[MAX], dout[MAX], dw1[MOST], dw2[MOST],
        scratch[NORM_GROUPS * 2 * MOST];
    draw(in, N, 21), draw(w1, D, 22), draw(w2, E, 23), draw(dout, N, 24);
    tensor all = doubles(x, SHAPE(R, cols)), normed = doubles(saved, SHAPE(R, cols - E));
    in_place p = {.input = in,
                  .n = N,
                  .norm = {.x = all,
                           .saved = normed,
                           .w1 = doubles(w1, SHAPE(D)),
                           .w2 = doubles(w2, SHAPE(E)),
                           .first = first,
                           .second = 1,
                           .offset = offset,
                           .eps = 1e-2}};
    objective f = {run_head_norm_copy, &p, x, dout, N};
    value(&f); /* for kept */
    memcpy(dx, dout, sizeof dx);
    device ref = ref_device();
    OP(head_norm_grad, &ref, STREAM_COMPUTE, .dx = doubles(dx, SHAPE(R, cols)), .saved = normed,
       .w1 = p.norm.w1, .w2 = p.norm.w2, .dw1 = {doubles(dw1, SHAPE(D)), false},
       .dw2 = {doubles(dw2, SHAPE(E)), false},
       .scratch = doubles(scratch, SHAPE(NORM_GROUPS, D + E)), .first = first, .second = 1,
       .eps = 1e-2, .offset = offset);
    assert_well(&ref);
    check_gradient("head_norm_grad dx", &f, in, N, dx);
    check_gradient("head_norm_grad dw1", &f, w1, D, dw1);
    check_gradient("head_norm_grad dw2", &f, w2, E, dw2);
}

static void test_head_norm_gradient(void **state)
{
    (void)state;
    head_norm_gradient(2, 4, 4, 0);
    head_norm_gradient(1, 8, 4, 1);
}

static void test_rotary_gradient(void **state)
{
    (void)state;
    enum { B = 2, T = 3, ALL = 3, D = 7, N = B * T * ALL * D };
    double in[MAX], x[MAX], dx[MAX], dout[MAX];
    draw(in, N, 25), draw(dout, N, 26);
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        in_place p = {.input = in,
                      .n = N,
                      .rotary = {.x = doubles(x, SHAPE(B, T, ALL * D)),
                                 .heads = 2,
                                 .head = D,
                                 .size = 6,
                                 .first_position = 2,
                                 .base = 50,
                                 .interleaved = interleaved}};
        objective f = {run_rotary_copy, &p, x, dout, N};
        memcpy(dx, dout, sizeof dx);
        rotary_op back = p.rotary;
        back.x.data = dx;
        back.inverse = true;
        device ref = ref_device();
        op_rotary(&ref, STREAM_COMPUTE, &back);
        assert_well(&ref);
        check_gradient("rotary dx", &f, in, N, dx);
    }
}

static void test_gate_gradient(void **state)
{
    (void)state;
    enum { R = 4, N = 5 };
    double x[MAX], dx[MAX], out[MAX], dout[MAX];
    draw(x, R * 2 * N, 27), draw(dout, R * N, 28);
    for (activation act = ACT_GELU_TANH; act <= ACT_SILU; act++) {
        gate_op forward = {
            .out = doubles(out, SHAPE(R, N)), .x = doubles(x, SHAPE(R, 2 * N)), .act = act};
        objective f = {run_gate, &forward, out, dout, R * N};
        memcpy(dx, x, sizeof dx);
        device ref = ref_device();
        OP(gate_grad, &ref, STREAM_COMPUTE, .x = doubles(dx, SHAPE(R, 2 * N)),
           .dout = doubles(dout, SHAPE(R, N)), .act = act);
        assert_well(&ref);
        check_gradient("gate_grad", &f, x, R * 2 * N, dx);
    }
}

/* Loss and gradient of capped logits: soft_cap, then classify with the cap. */
typedef struct {
    const double *input;
    int64_t n;
    soft_cap_op cap;
    classify_op classify;
} capped_loss;

static void run_capped_loss(device *dev, const void *op)
{
    const capped_loss *p = op;
    memcpy(p->cap.x.data, p->input, (size_t)p->n * sizeof(double));
    op_soft_cap(dev, STREAM_COMPUTE, &p->cap);
    op_classify(dev, STREAM_COMPUTE, &p->classify);
}

static void test_capped_classify_gradient(void **state)
{
    (void)state;
    enum { R = 3, V = 7 };
    double in[R * V], x[R * V], losses[R], weight[R] = {0.25, 0.25, 0.25};
    int32_t targets[R] = {6, 0, 3};
    draw(in, R * V, 41);
    capped_loss p = {.input = in, .n = R * V};
    p.cap = (soft_cap_op){.x = doubles(x, SHAPE(R, V)), .cap = 0.7};
    p.classify = (classify_op){.logits = p.cap.x,
                               .targets = tensor_of(targets, I32, SHAPE(R)),
                               .losses = doubles(losses, SHAPE(R)),
                               .scale = 0.25,
                               .cap = 0.7};
    objective f = {run_capped_loss, &p, losses, weight, R};
    capped_loss backward = p;
    backward.classify.backward = true;
    device ref = ref_device();
    run_capped_loss(&ref, &backward);
    assert_well(&ref);
    double gradient[R * V];
    memcpy(gradient, x, sizeof gradient);
    check_gradient("classify of capped logits", &f, in, R * V, gradient);
}

static void check_classify_gradient(double z)
{
    enum { R = 4, V = 7 };
    const double scale = 0.3;
    double logits[MAX], gradient[MAX], losses[MAX], weight[MAX];
    int32_t targets[R] = {0, 6, 3, 3};
    draw(logits, R * V, 15);
    memcpy(gradient, logits, sizeof gradient);
    for (int r = 0; r < R; r++)
        weight[r] = scale;
    classify_op forward = {.logits = doubles(logits, SHAPE(R, V)),
                           .targets = tensor_of(targets, I32, SHAPE(R)),
                           .losses = doubles(losses, SHAPE(R)),
                           .z = z};
    classify_op backward = forward;
    backward.logits.data = gradient;
    backward.backward = true;
    backward.scale = scale;
    device ref = ref_device();
    op_classify(&ref, STREAM_COMPUTE, &backward);
    assert_well(&ref);
    objective f = {run_classify, &forward, losses, weight, R};
    check_gradient("classify dlogits", &f, logits, R * V, gradient);
}

static void test_classify_gradient(void **state)
{
    (void)state;
    check_classify_gradient(0);
    check_classify_gradient(0.3);
}

/* ---- values known by hand ---- */

static void near(const char *name, double got, double want)
{
    if (!(fabs(got - want) <= 1e-12 * fmax(1, fabs(want))))
        fail_msg("%s: got %.17g, want %.17g", name, got, want);
}

static void test_known_activations(void **state)
{
    (void)state;
    near("gelu erf(1)", ref_act(ACT_GELU_ERF, 1),
         0.84134474606854294859); /* the normal distribution at 1 */
    near("gelu erf(-1)", ref_act(ACT_GELU_ERF, -1), -0.15865525393145705141);
    near("gelu erf'(0)", ref_act_grad(ACT_GELU_ERF, 0), 0.5);
    near("gelu tanh(1)", ref_act(ACT_GELU_TANH, 1), 0.8411919906082768);
    near("gelu tanh(-2)", ref_act(ACT_GELU_TANH, -2), -0.04540230591222494);
    near("gelu tanh(-30)", ref_act(ACT_GELU_TANH, -30), 0);
    near("gelu tanh(30)", ref_act(ACT_GELU_TANH, 30), 30);
    near("none(-3)", ref_act(ACT_NONE, -3), -3);
    near("silu(log 3)", ref_act(ACT_SILU, log(3)), 0.75 * log(3)); /* logistic(log 3) = 3/4 */
    near("silu'(0)", ref_act_grad(ACT_SILU, 0), 0.5);
}

/* Two numbers at base^0 * position = 2 radians, and two that turn by 2 / sqrt(base). */
static void test_known_rotary(void **state)
{
    (void)state;
    double half[] = {1, 0, 0, 1, 9}, pairs[] = {1, 0, 0, 1, 9};
    device ref = ref_device();
    OP(rotary, &ref, STREAM_COMPUTE, .x = doubles(half, SHAPE(1, 1, 5)), .heads = 1, .head = 5,
       .size = 4, .first_position = 2, .base = 16);
    OP(rotary, &ref, STREAM_COMPUTE, .x = doubles(pairs, SHAPE(1, 1, 5)), .heads = 1, .head = 5,
       .size = 4, .first_position = 2, .base = 16, .interleaved = true);
    assert_well(&ref);
    const double want_half[] = {cos(2), -sin(0.5), sin(2), cos(0.5), 9},
                 want_pairs[] = {cos(2), sin(2), -sin(0.5), cos(0.5), 9};
    for (int i = 0; i < 5; i++) {
        near("halves", half[i], want_half[i]);
        near("pairs", pairs[i], want_pairs[i]);
    }
}

/* Four heads: 2^-2, 2^-4, 2^-6, 2^-8; two more have the odd ones of eight: 2^-1, 2^-3. */
static void test_known_slopes(void **state)
{
    (void)state;
    const double want[] = {0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125};
    for (int i = 0; i < 6; i++)
        near("slope", alibi_slope(6, i), want[i]);
    near("slope of 8", alibi_slope(8, 0), 0.5);
}

static void test_known_norm(void **state)
{
    (void)state;
    double x[] = {1, 2, 6, 7}, w[] = {1, 2, 1, 1}, b[] = {0, 0, 0.5, 0}, out[4], mean[1], rstd[1];
    device ref = ref_device();
    OP(norm, &ref, STREAM_COMPUTE, .out = doubles(out, SHAPE(1, 4)),
       .mean = doubles(mean, SHAPE(1)), .rstd = doubles(rstd, SHAPE(1)),
       .x = doubles(x, SHAPE(1, 4)), .w = doubles(w, SHAPE(4)), .b = doubles(b, SHAPE(4)),
       .eps = 2.5); /* variance 6.5 + 2.5 = 9 */
    assert_well(&ref);
    near("mean", mean[0], 4);
    near("rstd", rstd[0], 1.0 / 3);
    near("out 0", out[0], -1);
    near("out 1", out[1], -4.0 / 3);
    near("out 2", out[2], 2.0 / 3 + 0.5);
    near("out 3", out[3], 1);
}

static void test_known_linear(void **state)
{
    (void)state;
    double x[] = {1, 2, 3, 4}, w[] = {1, 0, 0, 1, 1, -1}, bias[] = {10, 20, 30},
           residual[] = {0, 0, 0, 100, 100, 100}, out[6];
    device ref = ref_device();
    OP(linear, &ref, STREAM_COMPUTE, .out = doubles(out, SHAPE(2, 3)), .x = doubles(x, SHAPE(2, 2)),
       .w = doubles(w, SHAPE(3, 2)), .bias = doubles(bias, SHAPE(3)),
       .residual = doubles(residual, SHAPE(2, 3)));
    assert_well(&ref);
    const double want[] = {11, 22, 29, 113, 124, 129};
    for (int i = 0; i < 6; i++)
        near("linear", out[i], want[i]);
}

/* D = 1, q = 1, k = 0 and log 3: weights 1/4 and 3/4; the first token of a causal row sees itself
 * only. */
static void test_known_attention(void **state)
{
    (void)state;
    double qkv[] = {1, 0, 100, 1, log(3) / 2, 200}, out[2], lse[2];
    device ref = ref_device();
    attention_op o = {.out = doubles(out, SHAPE(1, 2, 1)),
                      .lse = doubles(lse, SHAPE(1, 1, 2)),
                      .qkv = doubles(qkv, SHAPE(1, 2, 3)),
                      .heads = 1,
                      .kv_heads = 1,
                      .causal = true,
                      .scale = 2};
    op_attention(&ref, STREAM_COMPUTE, &o);
    near("causal out 0", out[0], 100);
    near("causal lse 0", lse[0], 0);
    near("causal out 1", out[1], 175);
    near("causal lse 1", lse[1], log(4));
    o.causal = false;
    op_attention(&ref, STREAM_COMPUTE, &o);
    near("full out 0", out[0], 175);
    assert_well(&ref);
}

static void test_known_classify(void **state)
{
    (void)state;
    double logits[] = {5, 5, 5, 5, 1000, 1000 + log(3), -1000, -1000}, losses[2];
    int32_t targets[] = {2, 1};
    device ref = ref_device();
    OP(classify, &ref, STREAM_COMPUTE, .logits = doubles(logits, SHAPE(2, 4)),
       .targets = tensor_of(targets, I32, SHAPE(2)), .losses = doubles(losses, SHAPE(2)),
       .backward = true, .scale = 8);
    assert_well(&ref);
    near("loss 0", losses[0], log(4));
    near("loss 1", losses[1], log(4.0 / 3));
    const double want[] = {2, 2, -6, 2, 2, -2, 0, 0};
    for (int i = 0; i < 8; i++)
        near("dlogits", logits[i], want[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedding_gradient), cmocka_unit_test(test_norm_gradient),
        cmocka_unit_test(test_linear_gradient),    cmocka_unit_test(test_attention_gradient),
        cmocka_unit_test(test_classify_gradient),  cmocka_unit_test(test_capped_classify_gradient),
        cmocka_unit_test(test_known_activations),  cmocka_unit_test(test_known_norm),
        cmocka_unit_test(test_known_linear),       cmocka_unit_test(test_known_attention),
        cmocka_unit_test(test_known_classify),     cmocka_unit_test(test_head_norm_gradient),
        cmocka_unit_test(test_rotary_gradient),    cmocka_unit_test(test_gate_gradient),
        cmocka_unit_test(test_known_rotary),       cmocka_unit_test(test_known_slopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_ops_misuse.c - the front of the operation table refuses what does not fit, on every device.
 *
 * For each operation a call that is right is accepted; then one member at a time is replaced by
 * something wrong, which must leave an internal error that names the operation, and all memory as
 * it was.  What is wrong by role and type alone follows from core/ops.def; wrong shapes and
 * sentences are written out.  It is one list, by one set of helpers: a file for each half of it
 * would repeat these.  What the front does with a call that fits is test_ops_front.c's.
 */
#include "core/cost.h"
#include "core/ops_internal.h"
#include "optim/registry.h"
#include "test/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { B = 2, T = 3, C = 4, V = 5, P = 6, N = 7, R = B * T, H = 2, D = 2, MOST_BYTES = 1 << 20 };

/* ---- tensors of zeros ---- */

static tensor zeros(rig *on, dtype type, shape s)
{
    static const double nothing[4096];
    assert_true(tensor_bytes(tensor_of(NULL, type, s)) <= sizeof nothing);
    return rig_put(on, type, s, nothing);
}

static tensor work(rig *on, shape s)
{
    return zeros(on, rig_type(on), s);
}

static tensor stat(rig *on, shape s)
{
    return zeros(on, stat_type(rig_type(on)), s);
}

static tensor typed(tensor t, dtype type)
{
    t.type = type;
    return t;
}

static tensor padded(tensor t)
{
    t.ld++;
    return t;
}

/* One row more. */
static tensor longer(tensor t)
{
    t.dim[0]++;
    if (t.rank == 1) t.ld++;
    return t;
}

/* One column more. */
static tensor wider(tensor t)
{
    t.dim[t.rank - 1]++;
    t.ld++;
    return t;
}

static const tensor absent;

/* ---- what is expected ---- */

static unsigned char before[MOST_BYTES], after[MOST_BYTES];

static void snapshot(rig *on, unsigned char *to)
{
    assert_true(on->used <= MOST_BYTES);
    on->dev.ops->get(&on->dev, STREAM_COMPUTE, to, on->memory, on->used);
    op_sync(&on->dev, STREAM_COMPUTE);
}

static void check_refused(rig *on, const char *op, const char *change)
{
    error *e = device_status(&on->dev);
    if (!e) fail_msg("%s on the %s device: accepted %s", op, on->dev.ops->name, change);
    assert_int_equal(error_kind_of(e), ERR_INTERNAL);
    assert_non_null(strstr(error_text(e), op));
    error_free(e);
    snapshot(on, after);
    if (memcmp(before, after, on->used))
        fail_msg("%s: %s was refused, but something was written", op, change);
}

/* ---- what the rows of core/ops.def say ---- */

enum {
#define OPERATION(name) ID_##name,
#include "core/ops.def"
    ID_COUNT
};

static bool accepted[ID_COUNT];

/* What is no operand's type. */
static tensor mistyped(tensor t)
{
    return typed(t, I16);
}

/* A row of t ends where the next begins already, or is longer than what follows from its
 * columns. */
static tensor torn(tensor t, bool apart)
{
    t.ld += apart ? -1 : 1;
    return t;
}

/* refuse_NAME: of an operation that is accepted, each operand in turn is left out if its role does
 * not allow it, gets a wrong type, and rows that do not lie as they must.
 * cost_NAME: it costs something. */
/* clang-format off */
#define OPERATION(name)                                                                            \
    static void refuse_##name(rig *on, const name##_op *good)                                      \
    {                                                                                              \
        name##_op bad;                                                                             \
        const char *op = #name;                                                                    \
        void (*call)(device *, int, const name##_op *) = op_##name;
#define REFUSE_WITH(member, value)                                                                 \
        bad = *good;                                                                               \
        bad.member = value;                                                                        \
        snapshot(on, before);                                                                      \
        call(&on->dev, STREAM_COMPUTE, &bad);                                                      \
        check_refused(on, op, #member " = " #value);
#define OPERAND(role, member, type, apart)                                                         \
        if (!((role) & OPT)) {                                                                     \
            REFUSE_WITH(member, absent)                                                            \
        }                                                                                          \
        if (present(good->member) && (int)(type) != ANY) {                                         \
            REFUSE_WITH(member, mistyped(good->member))                                            \
        }                                                                                          \
        if (present(good->member)) {                                                               \
            REFUSE_WITH(member, torn(good->member, apart))                                         \
        }
#define TENSOR(role, name, type, shape)         OPERAND(role, name, type, false)
#define MATRIX(role, name, type, shape)         OPERAND(role, name, type, true)
#define GRADIENT(name, type, shape)             OPERAND(OPT_OUT, name.t, type, false)
#define MATRIX_GRADIENT(name, type, shape)      OPERAND(OPT_OUT, name.t, type, true)
#define COST(name, flops, bytes)                                                                   \
        (void)on, (void)good, (void)bad, (void)op, (void)call;                                     \
    }
#include "core/ops.def"
/* clang-format on */

/* What is accepted costs something: no operation is forgotten by the device that counts. */
#define ACCEPT(name, good)                                                                         \
    do {                                                                                           \
        work_count work_ = {0};                                                                    \
        device counting_ = device_counting(&work_);                                                \
        op_##name(&on->dev, STREAM_COMPUTE, &good);                                                \
        rig_well(on, #name);                                                                       \
        refuse_##name(on, &good);                                                                  \
        op_##name(&counting_, STREAM_COMPUTE, &good);                                              \
        assert_null(device_status(&counting_));                                                    \
        assert_true(work_.bytes > 0);                                                              \
        accepted[ID_##name] = true;                                                                \
    } while (0)

#define REFUSE(name, good, member, value)                                                          \
    do {                                                                                           \
        name##_op bad_ = (good);                                                                   \
        bad_.member = (value);                                                                     \
        snapshot(on, before);                                                                      \
        op_##name(&on->dev, STREAM_COMPUTE, &bad_);                                                \
        check_refused(on, #name, #member " = " #value);                                            \
    } while (0)

static void each_device(void **state, void (*test)(rig *))
{
    bench *b = *state;
    test(&b->ref);
    rig_clear(&b->ref);
    test(&b->many);
    rig_clear(&b->many);
}

/* ---- the operations ---- */

static void simple_on(rig *on)
{
    tensor x = work(on, SHAPE(R, C)), ints = zeros(on, I32, SHAPE(R, C));
    fill_op fill = {.x = x, .value = 1};
    ACCEPT(fill, fill);
    REFUSE(fill, fill, x, ints);

    copy_op copy = {.dst = x, .src = work(on, SHAPE(R, C))};
    ACCEPT(copy, copy);
    REFUSE(copy, copy, dst, ints);
    REFUSE(copy, copy, src, longer(x));

    add_op add = {.x = x, .y = work(on, SHAPE(R, C))};
    ACCEPT(add, add);
    REFUSE(add, add, x, ints);
    REFUSE(add, add, y, longer(x));
    REFUSE(add, add, y, x);

    int64_t count;
    nonfinite_op nonfinite = {.count = &count, .x = x};
    ACCEPT(nonfinite, nonfinite);
    REFUSE(nonfinite, nonfinite, count, NULL);
}

static void embedding_on(rig *on)
{
    tensor tokens = zeros(on, I32, SHAPE(B, T)), wte = work(on, SHAPE(V, C)),
           wpe = work(on, SHAPE(P, C));
    tensor x = work(on, SHAPE(B, T, C));
    embedding_op forward = {
        .out = x, .tokens = tokens, .wte = wte, .wpe = wpe, .first_position = P - T};
    ACCEPT(embedding, forward);
    REFUSE(embedding, forward, out, work(on, SHAPE(B, T, C + 1)));
    REFUSE(embedding, forward, tokens, zeros(on, I32, SHAPE(B * T)));
    REFUSE(embedding, forward, wpe, wider(wpe));
    REFUSE(embedding, forward, first_position, P - T + 1);

    embedding_grad_op backward = {.dout = x, .tokens = tokens, .first_position = P - T};
    backward.dwte.t = wte, backward.dwpe.t = wpe;
    backward.scratch = zeros(on, I32, SHAPE(2, B * T));
    ACCEPT(embedding_grad, backward);
    REFUSE(embedding_grad, backward, scratch, absent);
    REFUSE(embedding_grad, backward, scratch, tokens);
    REFUSE(embedding_grad, backward, dwte.t, wider(wte));
    REFUSE(embedding_grad, backward, dout, longer(x));
    REFUSE(embedding_grad, backward, first_position, P - T + 1);
}

static void heads_on(rig *on)
{
    tensor x = work(on, SHAPE(R, 4 * D)), saved = work(on, SHAPE(R, 3 * D)), w = work(on, SHAPE(D));
    head_norm_op norm = {
        .x = x, .saved = saved, .w1 = w, .w2 = w, .first = 2, .second = 1, .eps = 1};
    ACCEPT(head_norm, norm);
    REFUSE(head_norm, norm, x, wider(x));
    REFUSE(head_norm, norm, saved, x);
    REFUSE(head_norm, norm, w2, wider(w));
    REFUSE(head_norm, norm, first, 4);
    REFUSE(head_norm, norm, second, -1);
    REFUSE(head_norm, norm, second, INT64_MAX);
    tensor scratch = stat(on, SHAPE(NORM_GROUPS, 2 * D));
    head_norm_grad_op norm_grad = {.dx = x, .saved = saved, .w1 = w, .w2 = w, .scratch = scratch};
    norm_grad.first = 2, norm_grad.second = 1, norm_grad.eps = 1;
    norm_grad.dw1.t = norm_grad.dw2.t = work(on, SHAPE(D));
    ACCEPT(head_norm_grad, norm_grad);
    REFUSE(head_norm_grad, norm_grad, dw1.t, wider(w));
    REFUSE(head_norm_grad, norm_grad, scratch, stat(on, SHAPE(NORM_GROUPS, D)));
    REFUSE(head_norm_grad, norm_grad, second, 2);
    tensor tokens = work(on, SHAPE(B, T, 3 * C));
    rotary_op rotary = {.x = tokens, .heads = 2, .head = C, .size = C, .base = 10};
    ACCEPT(rotary, rotary);
    REFUSE(rotary, rotary, x, x);
    REFUSE(rotary, rotary, heads, 4);
    REFUSE(rotary, rotary, size, 3);
    REFUSE(rotary, rotary, size, C + 2);
    REFUSE(rotary, rotary, base, 0);
    REFUSE(rotary, rotary, scaling.factor, -1);
    REFUSE(rotary, rotary, first_position, -1);
    gate_op gate = {.out = work(on, SHAPE(R, N)), .x = work(on, SHAPE(R, 2 * N)), .act = ACT_SILU};
    ACCEPT(gate, gate);
    REFUSE(gate, gate, out, longer(gate.out));
    REFUSE(gate, gate, x, wider(gate.x));
    REFUSE(gate, gate, act, ACT_NONE);
    gate_grad_op gate_grad = {.x = gate.x, .dout = gate.out, .act = ACT_SILU};
    ACCEPT(gate_grad, gate_grad);
    REFUSE(gate_grad, gate_grad, dout, wider(gate.out));
    REFUSE(gate_grad, gate_grad, act, ACT_NONE);
}

static void norm_on(rig *on)
{
    tensor x = work(on, SHAPE(R, C)), out = work(on, SHAPE(R, C)), w = work(on, SHAPE(C)),
           b = work(on, SHAPE(C));
    tensor mean = stat(on, SHAPE(R)), rstd = stat(on, SHAPE(R));
    norm_op forward = {.out = out, .mean = mean, .rstd = rstd, .x = x, .w = w, .b = b, .eps = 1};
    ACCEPT(norm, forward);
    REFUSE(norm, forward, out, longer(out));
    REFUSE(norm, forward, mean, absent);
    REFUSE(norm, forward, rstd, longer(rstd));
    REFUSE(norm, forward, w, wider(w));
    norm_op rms = {.out = out, .rstd = rstd, .x = x, .w = w, .eps = 1, .rms = true};
    ACCEPT(norm, rms);
    REFUSE(norm, rms, mean, mean);
    norm_grad_op backward = {.dx = out,
                             .dw = {.t = w},
                             .db = {.t = b},
                             .dout = work(on, SHAPE(R, C)),
                             .x = x,
                             .mean = mean,
                             .rstd = rstd,
                             .w = work(on, SHAPE(C)),
                             .scratch = stat(on, SHAPE(NORM_GROUPS, 2 * C))};
    ACCEPT(norm_grad, backward);
    REFUSE(norm_grad, backward, dx, longer(out));
    REFUSE(norm_grad, backward, dw.t, wider(w));
    REFUSE(norm_grad, backward, mean, absent);
    REFUSE(norm_grad, backward, rstd, longer(rstd));
    REFUSE(norm_grad, backward, scratch, stat(on, SHAPE(NORM_GROUPS, C)));
}

static void linear_on(rig *on)
{
    tensor x = work(on, SHAPE(R, C)), w = work(on, SHAPE(N, C)), out = work(on, SHAPE(R, N)),
           pre = work(on, SHAPE(R, N));
    tensor bias = work(on, SHAPE(N)), residual = work(on, SHAPE(R, N));
    linear_op forward = {.out = out,
                         .x = x,
                         .w = w,
                         .bias = bias,
                         .residual = residual,
                         .pre = pre,
                         .act = ACT_GELU_TANH};
    ACCEPT(linear, forward);
    REFUSE(linear, forward, out, wider(out));
    REFUSE(linear, forward, x, absent);
    REFUSE(linear, forward, x, wider(x));
    REFUSE(linear, forward, x, longer(x));
    REFUSE(linear, forward, bias, wider(bias));
    REFUSE(linear, forward, residual, longer(residual));
    REFUSE(linear, forward, pre, longer(pre));
    REFUSE(linear, forward, act, ACT_NONE);

    soft_cap_op cap = {.x = out, .cap = 30};
    ACCEPT(soft_cap, cap);
    REFUSE(soft_cap, cap, cap, 0);

    activate_op act = {.out = out, .x = pre, .act = ACT_GELU_TANH};
    ACCEPT(activate, act);
    REFUSE(activate, act, out, wider(out));
    REFUSE(activate, act, x, typed(out, I32));
    REFUSE(activate, act, x, padded(out));
    REFUSE(activate, act, act, ACT_NONE);

    linear_dx_op dx = {
        .dx = work(on, SHAPE(R, C)), .dout = out, .w = w, .pre = x, .act = ACT_GELU_ERF};
    ACCEPT(linear_dx, dx);
    REFUSE(linear_dx, dx, dx, wider(x));
    REFUSE(linear_dx, dx, dout, wider(out));
    REFUSE(linear_dx, dx, pre, absent);
    REFUSE(linear_dx, dx, act, ACT_NONE);

    linear_dw_op dw = {.dw = {.t = w}, .db = {.t = bias}, .x = x, .dout = out};
    ACCEPT(linear_dw, dw);
    REFUSE(linear_dw, dw, dw.t, wider(w));
    REFUSE(linear_dw, dw, db.t, wider(bias));
    REFUSE(linear_dw, dw, x, absent);
    REFUSE(linear_dw, dw, x, longer(x));
}

static void narrow_on(rig *on)
{
    enum { ROWS = 5, COLS = 16, SIDE = 16 };
    tensor x = zeros(on, BF16, SHAPE(ROWS, COLS)), codes = zeros(on, U8, SHAPE(ROWS, COLS)),
           turned = zeros(on, U8, SHAPE(COLS, SIDE)), scale = zeros(on, F32, SHAPE(NARROW_SCALE)),
           scratch = zeros(on, I32, SHAPE(NARROW_GROUPS));
    narrow_op narrow = {
        .codes = codes, .turned = turned, .scale = scale, .x = x, .scratch = scratch};
    ACCEPT(narrow, narrow);
    REFUSE(narrow, narrow, codes, longer(codes));
    REFUSE(narrow, narrow, turned, wider(turned));
    REFUSE(narrow, narrow, scale, longer(scale));
    REFUSE(narrow, narrow, scratch, longer(scratch));
    narrow.sums = (grad){.t = zeros(on, BF16, SHAPE(COLS))};
    REFUSE(narrow, narrow, parts, absent);
    narrow.parts = zeros(on, F32, SHAPE(1, COLS));
    REFUSE(narrow, narrow, parts, longer(narrow.parts));
    REFUSE(narrow, narrow, sums.t, wider(narrow.sums.t));
    narrow.pre = x, narrow.act = ACT_GELU_TANH;
    ACCEPT(narrow, narrow);
    REFUSE(narrow, narrow, pre, longer(x));
    REFUSE(narrow, narrow, act, ACT_NONE);
    narrow.turned = absent;
    REFUSE(narrow, narrow, codes, absent);
    narrow.codes = absent, narrow.turned = zeros(on, U8, SHAPE(COLS + 1, SIDE));
    REFUSE(narrow, narrow, x, zeros(on, BF16, SHAPE(ROWS, COLS + 1)));

    tensor in = work(on, SHAPE(ROWS, COLS)), w = work(on, SHAPE(COLS, COLS)),
           out = work(on, SHAPE(ROWS, COLS));
    linear_op forward = {.out = out, .x = in, .w = w, .narrow = true, .codes = codes};
    REFUSE(linear, forward, scale, absent);
    forward.scale = scale;
    REFUSE(linear, forward, codes, absent);
    REFUSE(linear, forward, codes, turned);
    REFUSE(linear, forward, narrow, false);
    linear_dx_op dx = {.dx = in, .dout = out, .w = w, .narrow = true, .scale = scale};
    REFUSE(linear_dx, dx, codes, absent);
    REFUSE(linear_dx, dx, codes, turned);
    dx.codes = codes;
    REFUSE(linear_dx, dx, narrow, false);
    linear_dw_op dw = {.dw = {.t = w}, .dout = out, .narrow = true, .scale_x = scale};
    REFUSE(linear_dw, dw, turned_x, absent);
    REFUSE(linear_dw, dw, turned_x, codes);
    dw.turned_x = turned;
    REFUSE(linear_dw, dw, scale_x, absent);
    REFUSE(linear_dw, dw, narrow, false);
    REFUSE(linear_dw, dw, turned_dout, turned);
}

static void attention_on(rig *on)
{
    tensor qkv = work(on, SHAPE(B, T, 2 * H * D)), out = work(on, SHAPE(B, T, H * D)),
           lse = stat(on, SHAPE(B, H, T));
    attention_op forward = {.out = out,
                            .lse = lse,
                            .qkv = qkv,
                            .heads = H,
                            .kv_heads = H / 2,
                            .causal = true,
                            .scale = 1};
    ACCEPT(attention, forward);
    REFUSE(attention, forward, out, wider(out));
    REFUSE(attention, forward, lse, longer(lse));
    REFUSE(attention, forward, qkv, wider(qkv));
    REFUSE(attention, forward, qkv, work(on, SHAPE(R, 2 * H * D)));
    attention_op alibi = forward;
    alibi.alibi = true;
    ACCEPT(attention, alibi);
    REFUSE(attention, alibi, causal, false);
    attention_op windowed = forward;
    windowed.window = 2, windowed.cap = 3;
    ACCEPT(attention, windowed);
    REFUSE(attention, windowed, causal, false);
    REFUSE(attention, windowed, window, -1);
    REFUSE(attention, windowed, cap, -1);
    REFUSE(attention, forward, heads, 3);
    REFUSE(attention, forward, heads, 0);
    REFUSE(attention, forward, kv_heads, 0);
    REFUSE(attention, forward, kv_heads, H);

    attention_grad_op backward = {.dqkv = work(on, SHAPE(B, T, 2 * H * D)),
                                  .dout = work(on, SHAPE(B, T, H * D)),
                                  .out = out,
                                  .qkv = qkv,
                                  .lse = lse,
                                  .scratch = stat(on, SHAPE(B, H, T)),
                                  .heads = H,
                                  .kv_heads = H / 2,
                                  .causal = true,
                                  .scale = 1};
    ACCEPT(attention_grad, backward);
    REFUSE(attention_grad, backward, dqkv, longer(qkv));
    REFUSE(attention_grad, backward, dout, wider(out));
    REFUSE(attention_grad, backward, out, longer(out));
    REFUSE(attention_grad, backward, lse, longer(lse));
    REFUSE(attention_grad, backward, kv_heads, H);
    REFUSE(attention_grad, backward, window, -1);
    REFUSE(attention_grad, backward, cap, -1);
}

static void attention_cached_on(rig *on)
{
    tensor keys = work(on, SHAPE(B, H / 2, P, D)), values = work(on, SHAPE(B, H / 2, P, D));
    attention_cached_op cached = {.out = work(on, SHAPE(B, T, H * D)),
                                  .qkv = work(on, SHAPE(B, T, 2 * H * D)),
                                  .keys = keys,
                                  .values = values,
                                  .heads = H,
                                  .position = P - T,
                                  .scale = 1};
    ACCEPT(attention_cached, cached);
    REFUSE(attention_cached, cached, out, wider(cached.out));
    REFUSE(attention_cached, cached, qkv, longer(cached.qkv));
    REFUSE(attention_cached, cached, qkv, work(on, SHAPE(R, 2 * H * D)));
    REFUSE(attention_cached, cached, keys, longer(keys));
    REFUSE(attention_cached, cached, keys, wider(keys));
    REFUSE(attention_cached, cached, keys, work(on, SHAPE(B, H, P, D)));
    REFUSE(attention_cached, cached, keys, values);
    REFUSE(attention_cached, cached, values, work(on, SHAPE(B, H / 2, P - 1, D)));
    REFUSE(attention_cached, cached, heads, 3);
    REFUSE(attention_cached, cached, position, P - T + 1);
    REFUSE(attention_cached, cached, position, -1);
    REFUSE(attention_cached, cached, window, -1);
    REFUSE(attention_cached, cached, cap, -1);
}

static void sums_on(rig *on)
{
    tensor logits = work(on, SHAPE(R, V)), losses = stat(on, SHAPE(R)),
           sum = zeros(on, F64, SHAPE(1));
    tensor numbers = zeros(on, U8, SHAPE(sizeof(hyper))), slots = zeros(on, F64, SHAPE(3));
    classify_op classify = {.logits = logits,
                            .targets = zeros(on, I32, SHAPE(R)),
                            .losses = losses,
                            .backward = true,
                            .scale = 1};
    ACCEPT(classify, classify);
    REFUSE(classify, classify, logits, longer(logits));
    REFUSE(classify, classify, targets, longer(classify.targets));
    REFUSE(classify, classify, losses, longer(losses));

    sum_op total = {.sum = sum, .x = losses, .hyper = numbers, .scale = 1};
    ACCEPT(sum, total);
    REFUSE(sum, total, sum, slots);
    REFUSE(sum, total, x, classify.targets);
    REFUSE(sum, total, hyper, longer(numbers));
    REFUSE(sum, total, hyper, sum);

    sumsq_item right = {sum, logits}, longer_slot = {slots, logits};
    sumsq_op sumsq = {.items = &right, .n = 1};
    ACCEPT(sumsq, sumsq);
    REFUSE(sumsq, sumsq, items, &longer_slot);
    REFUSE(sumsq, sumsq, items, (&(sumsq_item){typed(sum, I32), logits}));
    REFUSE(sumsq, sumsq, items, (&(sumsq_item){sum, padded(logits)}));
    REFUSE(sumsq, sumsq, items, (&(sumsq_item){sum, classify.targets}));

    clip_op clip = {.slots = slots, .hyper = numbers, .max_norm = 1};
    ACCEPT(clip, clip);
    REFUSE(clip, clip, hyper, slots);
}

static void optim_on(rig *on)
{
    tensor x[4];
    for (int i = 0; i < 4; i++)
        x[i] = zeros(on, F32, SHAPE(R, C));
    optim_item right = {.p = x[0], .g = x[1], .state = {x[2], x[3]}}, short_g = right,
               wide_state = right, strange = right, no_p = right;
    short_g.g = longer(x[1]);
    wide_state.state[0] = wider(x[2]);
    strange.p = typed(x[0], I32);
    no_p.p = absent;
    optim_item no_state = right;
    no_state.state[1] = absent;
    optim_op optim = {.rule = rule_at(RULE_adamw),
                      .fused = true,
                      .hyper = zeros(on, U8, SHAPE(sizeof(hyper))),
                      .items = &right,
                      .n = 1};
    ACCEPT(optim, optim); /* hyper.ok is 0: nothing is done */
    REFUSE(optim, optim, hyper, x[0]);
    REFUSE(optim, optim, items, &short_g);
    REFUSE(optim, optim, items, &wide_state);
    REFUSE(optim, optim, items, &strange);
    REFUSE(optim, optim, items, &no_p);
    REFUSE(optim, optim, items, &no_state);
    REFUSE(optim, optim, rule, NULL);
    static const rule_info long_rule = {.name = "adamw", .n_passes = MAX_PASSES + 1};
    REFUSE(optim, optim, rule, &long_rule);
}

static void matrices_on(rig *on)
{
    dtype exact = rig_type(on);
    tensor out = zeros(on, exact, SHAPE(R, N)), x = zeros(on, exact, SHAPE(R, C));
    matmul_op matmul = {.out = out, .x = x, .y = zeros(on, exact, SHAPE(C, N)), .alpha = 1};
    ACCEPT(matmul, matmul);
    REFUSE(matmul, matmul, out, longer(out));
    REFUSE(matmul, matmul, x, wider(x));
    REFUSE(matmul, matmul, x, out);
    REFUSE(matmul, matmul, y_transposed, true);
    normalize_op normalize = {.x = x, .squares = zeros(on, F64, SHAPE(1)), .eps = 1};
    ACCEPT(normalize, normalize);
    REFUSE(normalize, normalize, squares, zeros(on, F64, SHAPE(2)));
}

/* More of these are refused in test_ops_image.c. */
static void images_on(rig *on)
{
    tensor x = work(on, SHAPE(B, T, C)), all = work(on, SHAPE(B, T, C)),
           one = work(on, SHAPE(B, C));
    tensor table = work(on, SHAPE(T, C));
    patches_op patches = {.out = work(on, SHAPE(B, 6, 3 * 4)),
                          .images = stat(on, SHAPE(B, 3, 4, 6))};
    patches.height = patches.width = 2;
    ACCEPT(patches, patches);
    REFUSE(patches, patches, height, 3);
    positions_op positions = {.out = all, .x = x, .positions = table};
    ACCEPT(positions, positions);
    REFUSE(positions, positions, first, table);
    positions_grad_op positions_grad = {.dx = x, .dpositions = {.t = table}, .dout = all};
    ACCEPT(positions_grad, positions_grad);
    REFUSE(positions_grad, positions_grad, dpositions.t, one);
    pool_op pool = {.out = one, .x = x};
    ACCEPT(pool, pool);
    REFUSE(pool, pool, out, table);
    pool_grad_op pool_grad = {.dx = x, .dout = one};
    ACCEPT(pool_grad, pool_grad);
    REFUSE(pool_grad, pool_grad, dout, table);
    scale_samples_op samples = {.out = all, .x = x, .scale = stat(on, SHAPE(B))};
    ACCEPT(scale_samples, samples);
    REFUSE(scale_samples, samples, scale, stat(on, SHAPE(B + 1)));
    dropout_op drops = {.out = all, .x = x, .start = zeros(on, I32, SHAPE(2)), .rate = 0.5};
    ACCEPT(dropout, drops);
    REFUSE(dropout, drops, rate, 1);
    REFUSE(dropout, drops, start, zeros(on, I32, SHAPE(1)));
    classify_soft_op soft = {.logits = work(on, SHAPE(R, V)), .losses = stat(on, SHAPE(R))};
    soft.targets = stat(on, SHAPE(R, V)), soft.hits = stat(on, SHAPE(R));
    ACCEPT(classify_soft, soft);
    REFUSE(classify_soft, soft, hits, stat(on, SHAPE(R + 1)));
}

static void channels_on(rig *on)
{
    tensor image = work(on, SHAPE(B, 4, 5, C)), other = work(on, SHAPE(B, 4, 5, C)),
           w = work(on, SHAPE(C, 9)), merged = work(on, SHAPE(B, 2, 2, 4 * C)),
           vector = work(on, SHAPE(C));
    depthwise_op depthwise = {.out = other, .x = image, .w = w, .bias = vector, .side = 3};
    ACCEPT(depthwise, depthwise);
    REFUSE(depthwise, depthwise, side, 5);
    depthwise_grad_op depthwise_grad = {.dw = {.t = w}, .x = image, .dout = other, .side = 3};
    depthwise_grad.db.t = vector;
    ACCEPT(depthwise_grad, depthwise_grad);
    REFUSE(depthwise_grad, depthwise_grad, db.t, w);
    merge_op merge = {.out = merged, .x = image, .side = 2};
    ACCEPT(merge, merge);
    REFUSE(merge, merge, side, 3);
    merge_grad_op merge_grad = {.dx = image, .dout = merged, .side = 2};
    ACCEPT(merge_grad, merge_grad);
    REFUSE(merge_grad, merge_grad, dout, other);
    scale_channels_op scale = {.out = other, .x = image, .scale = vector};
    ACCEPT(scale_channels, scale);
    REFUSE(scale_channels, scale, scale, w);
    scale_channels_grad_op scale_grad = {.dscale = {.t = vector}, .x = image, .dout = other};
    ACCEPT(scale_channels_grad, scale_grad);
    REFUSE(scale_channels_grad, scale_grad, dscale.t, w);
}

/* More of these are refused by the shapes that follow from strides and groups. */
static void convolutions_on(rig *on)
{
    tensor image = work(on, SHAPE(B, 4, 5, C)), rows_ = work(on, SHAPE(3, 3, 9 * C)),
           x = work(on, SHAPE(B, P, C)), out = work(on, SHAPE(B, P, C)),
           vector = work(on, SHAPE(C)), other = work(on, SHAPE(C)),
           sums = stat(on, SHAPE(B, 2 * C)), mean = stat(on, SHAPE(C)), rstd = stat(on, SHAPE(C)),
           run_mean = stat(on, SHAPE(C)), run_var = stat(on, SHAPE(C));
    windows_op windows = {.out = rows_, .x = image, .side = 3, .stride = 2, .first = 1};
    ACCEPT(windows, windows);
    REFUSE(windows, windows, side, 2);
    REFUSE(windows, windows, side, 5);
    REFUSE(windows, windows, stride, 0);
    REFUSE(windows, windows, stride, 1);
    REFUSE(windows, windows, first, 2);
    REFUSE(windows, windows, first, -1);
    windows_grad_op windows_grad = {.dx = image, .dout = rows_, .side = 3, .stride = 2, .first = 1};
    ACCEPT(windows_grad, windows_grad);
    REFUSE(windows_grad, windows_grad, first, 2);
    REFUSE(windows_grad, windows_grad, stride, 3);
    channel_sums_op take_sums = {.sums = sums, .x = x};
    ACCEPT(channel_sums, take_sums);
    REFUSE(channel_sums, take_sums, sums, out);
    channel_stats_op stats = {.mean = mean, .rstd = rstd, .sums = sums, .pixels = P};
    stats.running_mean = run_mean, stats.running_var = run_var;
    ACCEPT(channel_stats, stats);
    REFUSE(channel_stats, stats, groups, 2);
    REFUSE(channel_stats, stats, groups, -1);
    REFUSE(channel_stats, stats, running_var, absent);
    REFUSE(channel_stats, stats, mean, sums);
    REFUSE(channel_stats, stats, pixels, 0);
    REFUSE(channel_stats, stats, sums, x);
    channel_norm_op norm = {.out = out, .x = x, .mean = mean, .rstd = rstd};
    norm.w = vector, norm.b = other;
    ACCEPT(channel_norm, norm);
    REFUSE(channel_norm, norm, groups, 3);
    REFUSE(channel_norm, norm, w, longer(vector));
    channel_norm_grad_op grad_ = {.dw = {.t = vector}, .dx = out, .dout = x, .x = x};
    grad_.mean = mean, grad_.rstd = rstd, grad_.w = other, grad_.b = other;
    channel_grad_sums_op grad_sums = {.sums = sums, .dout = x, .x = x, .mean = mean, .rstd = rstd};
    grad_sums.w = other, grad_sums.b = other;
    ACCEPT(channel_grad_sums, grad_sums);
    REFUSE(channel_grad_sums, grad_sums, groups, 3);
    REFUSE(channel_grad_sums, grad_sums, sums, mean);
    grad_.sums = stat(on, SHAPE(B + 1, 2 * C)), grad_.first = 1;
    ACCEPT(channel_norm_grad, grad_);
    REFUSE(channel_norm_grad, grad_, dw.t, x);
    REFUSE(channel_norm_grad, grad_, groups, 2);
    REFUSE(channel_norm_grad, grad_, first, 2);
    REFUSE(channel_norm_grad, grad_, first, -1);
}

static void codes_on(rig *on)
{
    tensor x = work(on, SHAPE(R, C));
    quantize_op quantize = {.codes = zeros(on, U8, SHAPE(R * C)),
                            .scales = zeros(on, F32, SHAPE(code_blocks(R * C))),
                            .x = x,
                            .form = CODES_INT8};
    ACCEPT(quantize, quantize);
    REFUSE(quantize, quantize, form, CODES_NF4);
    REFUSE(quantize, quantize, form, CODES_NONE);
    REFUSE(quantize, quantize, scales, longer(quantize.scales));
    dequantize_op dequantize = {
        .out = x, .codes = quantize.codes, .scales = quantize.scales, .form = CODES_INT8};
    ACCEPT(dequantize, dequantize);
    REFUSE(dequantize, dequantize, form, CODES_NF4);
    REFUSE(dequantize, dequantize, codes, longer(quantize.codes));
    tensor scales = zeros(on, F32, SHAPE(300));
    pack_scales_op pack = {.codes = zeros(on, U8, SHAPE(300)),
                           .groups = zeros(on, F32, SHAPE(1 + scale_groups(300))),
                           .scales = scales};
    ACCEPT(pack_scales, pack);
    REFUSE(pack_scales, pack, groups, longer(pack.groups));
    REFUSE(pack_scales, pack, codes, longer(pack.codes));
    unpack_scales_op unpack = {.scales = scales, .codes = pack.codes, .groups = pack.groups};
    ACCEPT(unpack_scales, unpack);
    REFUSE(unpack_scales, unpack, groups, longer(pack.groups));
    REFUSE(unpack_scales, unpack, codes, longer(pack.codes));
}

/* More of these are refused in test_ops_sparse.c. */
static void non_zeros_on(rig *on)
{
    tensor x = work(on, SHAPE(R, C)), values = work(on, SHAPE(N)), count = zeros(on, I64, SHAPE(1));
    tensor bits = zeros(on, I32, SHAPE(1, SPARSE_WORDS)), starts_ = zeros(on, I64, SHAPE(2));
    tensor remaining = zeros(on, I32, SHAPE(1, SPARSE_WORDS));
    expand_op expand = {.out = x, .values = values, .bits = bits, .starts = starts_};
    ACCEPT(expand, expand);
    REFUSE(expand, expand, bits, starts_);
    compress_op compress = {.values = {.t = values}, .x = x, .bits = bits, .starts = starts_};
    ACCEPT(compress, compress);
    REFUSE(compress, compress, values.t, absent);
    starts_op starts = {.starts = starts_, .bits = bits};
    ACCEPT(starts, starts);
    REFUSE(starts, starts, starts, count);
    count_below_op below = {.count = count, .x = x, .limit = 1};
    ACCEPT(count_below, below);
    REFUSE(count_below, below, count, starts_);
    prune_op prune = {
        .remaining = remaining, .values = values, .bits = bits, .starts = starts_, .limit = 1};
    ACCEPT(prune, prune);
    REFUSE(prune, prune, remaining, bits);
    regrow_op regrow = {
        .bits = remaining, .taken = bits, .starts = starts_, .elements = R * C, .n = 1};
    ACCEPT(regrow, regrow);
    REFUSE(regrow, regrow, elements, 0);
}

static void test_simple(void **state)
{
    each_device(state, simple_on);
}
static void test_embedding(void **state)
{
    each_device(state, embedding_on);
}
static void test_heads(void **state)
{
    each_device(state, heads_on);
}
static void test_norm(void **state)
{
    each_device(state, norm_on);
}
static void test_linear(void **state)
{
    each_device(state, linear_on);
    each_device(state, narrow_on);
}
static void test_attention(void **state)
{
    each_device(state, attention_on);
}
static void test_attention_cached(void **state)
{
    each_device(state, attention_cached_on);
}
static void test_sums(void **state)
{
    each_device(state, sums_on);
}
static void test_optim(void **state)
{
    bench *b = *state; /* the reference has no optim */
    optim_on(&b->many);
    optim_on(&b->one);
}

static void test_matrices(void **state)
{
    each_device(state, matrices_on);
}
static void test_images(void **state)
{
    each_device(state, images_on);
    each_device(state, channels_on);
    each_device(state, convolutions_on);
}
static void test_non_zeros(void **state)
{
    each_device(state, non_zeros_on);
    each_device(state, codes_on);
}

/* After all others. */
static void test_all(void **state)
{
    (void)state;
#define OPERATION(name)                                                                            \
    if (!accepted[ID_##name]) fail_msg("no test here calls %s", #name);
#include "core/ops.def"
}

/* A device says which operation it lacks. */
static void test_lacks(void **state)
{
    bench *b = *state;
    optim_op optim = {.rule = rule_at(RULE_sgd), .hyper = zeros(&b->ref, U8, SHAPE(sizeof(hyper)))};
    op_optim(&b->ref.dev, STREAM_COMPUTE, &optim);
    error *e = device_status(&b->ref.dev);
    assert_non_null(e);
    assert_string_equal(error_text(e),
                        "the reference device has no operation `optim` yet: use --device cpu");
    error_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple),
        cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_cached),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_optim),
        cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_non_zeros),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_lacks),
    };
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}

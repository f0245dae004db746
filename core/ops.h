/* ops.h - the operation table: everything a device can do.
 *
 * Models, optimizers and the training loop are written once, over this list.  A device is an
 * implementation of it:
 *
 *     model, optim, train           OP(linear, dev, stream, .out = qkv, .x = ln1, .w = w)
 *           |                                           |
 *      core/ops.c   checks shapes and types, once for every device
 *           |
 *     null      cpu       cuda      reference (test/): plain loops in double
 *     (plans)
 *
 * Operations return nothing.  A misuse or a failure is kept in the device (the first one) and
 * every later operation does nothing; device_status() hands it out.  So the code of a model reads
 * like its formula, and no failure is lost.
 *
 * Operands are tensors; matrices are row-major; R is the product of all dimensions but the last.
 * Absent operands ({0}) are optional where "?" says so.  A `grad` operand is written or accumulated
 * into, as its flag says.
 *
 * Types.  Operands without a type beside them are working tensors: parameters, activations, their
 * gradients.  All working tensors of one operation have the same type, one of the device's: f32 or
 * bf16 (f64 in the reference).  "stat" tensors (mean, rstd, lse, losses, images, weights of classes)
 * are f32 for f32 and bf16, f64 for f64.  In bf16 an operation computes in f32, sums in f32, and
 * rounds once, to the nearest (ties to even), what it stores; what it adds to is a term of the sum.
 * A formula's names are the unrounded values: out = act(pre) is not of the pre that was stored.
 *
 * Every operation is deterministic: same operands and thread count, same bits.
 */
#ifndef REGRAD_OPS_H
#define REGRAD_OPS_H

#include "core/attention_method.h"
#include "base/error.h"
#include "core/tensor.h"
#include "core/rule.h"

typedef struct device device;

/* Operations on one stream run in order; fork/join order two streams. */
enum { STREAM_COMPUTE, STREAM_COMM, STREAM_COUNT };

/* silu(x) = x logistic(x) */
typedef enum { ACT_NONE, ACT_GELU_TANH, ACT_GELU_ERF, ACT_SILU } activation;

/* How much a score of head h of `heads` falls with each token of distance (Press, Smith, Lewis 2022:
 * "Train short, test long"): 2^(-8 (h+1)/n), n the largest power of two in `heads`; further heads
 * have the odd ones of 2n heads. */
double alibi_slope(int64_t heads, int64_t h);

/* Row groups of a norm's weight gradient: partial sums per group, added in order (any device). */
enum { NORM_GROUPS = 32 };

/* x = value */
typedef struct {
    tensor x;
    double value;
} fill_op;

/* dst = src: same type and, where rows lie apart, same rows and columns */
typedef struct {
    tensor dst, src;
} copy_op;

/* x += y (same shape and type) */
typedef struct {
    tensor x, y; /* not the same */
} add_op;

/* out[b,t,:] = scale * wte[tokens[b,t],:] + wpe[first_position + t,:] */
typedef struct {
    tensor out;    /* (B,T,C) */
    tensor tokens; /* (B,T) i32, values in [0,V) */
    tensor wte;    /* (V,C) */
    tensor wpe;    /* ? (P,C), P >= first_position + T */
    int64_t first_position;
    double scale; /* 0 means 1 */
} embedding_op;

/* dwte[tokens[b,t],:] += scale * dout[b,t,:];  dwpe[first_position + t,:] += sum_b dout[b,t,:] */
typedef struct {
    grad dwte;   /* ? (V,C) */
    grad dwpe;   /* ? (P,C) */
    tensor dout; /* (B,T,C) */
    tensor tokens;
    tensor scratch; /* (2,B*T) i32, with dwte: for sorting positions */
    int64_t first_position;
    double scale; /* 0 means 1 */
} embedding_grad_op;

/* LayerNorm over the last dimension (Ba, Kiros, Hinton 2016):
 * mean = avg(x), rstd = 1/sqrt(avg((x-mean)^2) + eps), out = (x-mean)*rstd*(offset+w) + b
 * With rms it is RMSNorm (Zhang, Sennrich 2019): the same with 0 for the mean, which is not written.
 */
typedef struct {
    tensor out;        /* (R,C) */
    tensor mean, rstd; /* ? (R) stat; both or none; with rms no mean */
    tensor x;          /* (R,C) */
    tensor w;          /* (C) */
    tensor b;          /* ? (C) */
    double eps, offset;
    bool rms;
} norm_op;

/* dx (+)= rstd * (h - avg(h) - n*avg(h*n)), h = dout*(offset+w), n = (x-mean)*rstd; dw = sum dout*n;
 * db = sum dout.  With rms: mean = 0 and no avg(h) */
typedef struct {
    tensor dx;         /* (R,C); may be dout only if accumulate is false */
    bool accumulate;   /* add into dx: the residual stream */
    grad dw, db;       /* ? (C) */
    tensor dout, x;    /* (R,C) */
    tensor mean, rstd; /* (R) stat; with rms no mean */
    tensor w;          /* (C) */
    tensor scratch;    /* (NORM_GROUPS, 2C) stat */
    double offset;
    bool rms;
} norm_grad_op;

/* RMSNorm of single heads, in place.  A token of x has heads of D numbers: the first `first` of them
 * are normed with weight w1, the next `second` with w2, the others stay as they are:
 * x_h = x_h * rstd_h * w, rstd_h = 1/sqrt(avg(x_h^2) + eps) */
typedef struct {
    tensor x;      /* (R,cols), cols a multiple of D */
    tensor kept;   /* ? (R,(first+second)*D): x as it was, for the gradient */
    tensor w1, w2; /* (D) */
    int64_t first, second;
    double eps;
} head_norm_op;

/* dx = rstd * (h - n*avg(h*n)), h = dx*w, n = kept*rstd, in place; dw = sum over rows and heads of
 * dx*n */
typedef struct {
    tensor dx;      /* (R,cols) */
    tensor kept;    /* (R,(first+second)*D) */
    tensor w1, w2;  /* (D) */
    grad dw1, dw2;  /* ? (D) */
    tensor scratch; /* (NORM_GROUPS, 2D) stat */
    int64_t first, second;
    double eps;
} head_norm_grad_op;

/* Rotations for positions (Su et al. 2021: "RoFormer"), in place.  Token t of a sequence is at
 * position p = first_position + t.  In each of its first `heads` heads of D numbers, pair i of
 * size/2 pairs turns by a = p * base^(-2i/size):
 *     (x, y) -> (x cos a - y sin a, x sin a + y cos a);   inverse: by -a, which is the gradient
 * A pair is numbers 2i and 2i + 1 if interleaved, else i and i + size/2; the numbers of a head from
 * `size` on stay as they are. */
typedef struct {
    tensor x;            /* (B,T,cols), cols >= heads*D */
    int64_t heads, head; /* head: D */
    int64_t size;        /* even, <= D */
    int64_t first_position;
    double base;
    bool interleaved, inverse;
} rotary_op;

/* out = act(g) * u, where row r of x is (g_r, u_r) (Shazeer 2020: "GLU variants") */
typedef struct {
    tensor out; /* (R,N) */
    tensor x;   /* (R,2N) */
    activation act;
} gate_op;

/* x becomes its own gradient: (dout * u * act'(g), dout * act(g)) */
typedef struct {
    tensor x;    /* (R,2N) */
    tensor dout; /* (R,N) */
    activation act;
} gate_grad_op;

/* out = act(x w^T + bias) + residual; pre gets the argument of act, which is of the working type in
 * any case: rounded in bf16 */
typedef struct {
    tensor out;      /* (R,N), ld may exceed N */
    tensor x;        /* (R,K) */
    tensor w;        /* (N,K) */
    tensor bias;     /* ? (N) */
    tensor residual; /* ? (R,N); not out */
    tensor pre;      /* ? (R,N), with act only */
    activation act;
} linear_op;

/* out = act(x), the same bits as linear's */
typedef struct {
    tensor out; /* (R,N) */
    tensor x;   /* (R,N); may be out */
    activation act;
} activate_op;

/* dx (+)= (dout w) * act'(pre) */
typedef struct {
    tensor dx;       /* (R,K) */
    bool accumulate; /* without act only */
    tensor dout;     /* (R,N), ld may exceed N */
    tensor w;        /* (N,K) */
    tensor pre;      /* ? (R,K), with act */
    activation act;  /* the activation whose output was this layer's x */
} linear_dx_op;

/* dw (+)= dout^T x;  db (+)= column sums of dout */
typedef struct {
    grad dw;     /* ? (N,K) */
    grad db;     /* ? (N) */
    tensor x;    /* (R,K); may be absent without dw */
    tensor dout; /* (R,N), ld may exceed N */
} linear_dw_op;

/* out = alpha x' y' + beta out, where x' is x (M,K) or the transpose of x (K,M), and y' is y (K,N) or
 * the transpose of y (N,K).  With beta 0 what out held is not read. */
typedef struct {
    tensor out;  /* (M,N), ld may exceed N; neither x nor y */
    tensor x, y; /* may be the same */
    bool x_transposed, y_transposed;
    double alpha, beta;
} matmul_op;

/* Softmax attention without a T x T tensor.  qkv holds for each token H query, KV key and KV value
 * heads of D each; query head h uses key head h / (H/KV).
 * s_ij = scale * q_i k_j (j <= i if causal), lse_i = log sum_j exp s_ij, out_i = sum_j exp(s_ij -
 * lse_i) v_j
 * With alibi (causal only) s_ij also has - alibi_slope(H, h) * (i - j).
 * A device that has no cuDNN computes it in its own way, whatever the method says. */
typedef struct {
    tensor out; /* (B,T,H*D) */
    tensor lse; /* (B,H,T) stat */
    tensor qkv; /* (B,T,(H+2KV)*D) */
    int64_t heads, kv_heads;
    bool causal, alibi;
    double scale;
    attention_method method; /* cuDNN: bf16, KV = H, no alibi, D a multiple of 8 */
    tensor workspace;        /* u8, attention_workspace() of them; absent for ATTENTION_FLASH */
} attention_op;

/* Causal attention of tokens that follow others, whose keys and values are in a cache.  Token i of
 * T is at place position + i of its sequence.  First its key and value go to that row of the cache;
 * then its queries see rows 0 .. position + i:
 *
 *     keys, values    | 0 ... position - 1 | position ... position + T - 1 | not read, not written
 * | from earlier calls   written here, from qkv
 *
 * Formula as above.  No other row of the cache is touched. */
typedef struct {
    tensor out;          /* (B,T,H*D) */
    tensor qkv;          /* (B,T,(H+2KV)*D) */
    tensor keys, values; /* (B,KV,P,D), P >= position + T */
    int64_t heads;       /* H */
    int64_t position;
    bool alibi;
    double scale;
} attention_cached_op;

/* r_i = dout_i . out_i, p_ij = exp(s_ij - lse_i): dv_j = sum_i p_ij dout_i,
 * ds_ij = p_ij (dout_i . v_j - r_i) * scale, dq_i = sum_j ds_ij k_j, dk_j = sum_i ds_ij q_i */
typedef struct {
    tensor dqkv;           /* (B,T,(H+2KV)*D), written */
    tensor dout, out, qkv; /* as above */
    tensor lse;            /* (B,H,T) stat */
    tensor scratch;        /* (B,H,T) stat: r */
    int64_t heads, kv_heads;
    bool causal, alibi;
    double scale;
    attention_method method; /* with its workspace as above */
    tensor workspace;
} attention_grad_op;

/* losses_i = lse(logits_i) - logits_i[target_i]; with backward, logits become
 * (softmax(logits_i) - onehot(target_i)) * scale, in place */
typedef struct {
    tensor logits;  /* (R,V), ld may exceed V */
    tensor targets; /* (R) i32 in [0,V) */
    tensor losses;  /* (R) stat */
    bool backward;
    double scale;
} classify_op;

/* sum (+)= scale * sum(x), in double and in order; hyper.ok becomes 0 if that is NaN or infinite */
typedef struct {
    tensor sum; /* (1) f64 */
    bool accumulate;
    tensor x;     /* (R) stat */
    tensor hyper; /* ? the hyper struct as u8 */
    double scale;
} loss_op;

/* A tensor, and where the sum of its squares goes. */
typedef struct {
    tensor slot; /* (1) f64 */
    tensor x;
} sumsq_item;

/* slot = sum(x^2) of each item, in double, in a fixed order that depends on the element count only */
typedef struct {
    const sumsq_item *items;
    int64_t n;
} sumsq_op;

/* x = x / (sqrt(squares) + eps), in place: divided by its norm, when squares is sumsq's slot of x */
typedef struct {
    tensor x;
    tensor squares; /* (1) f64 */
    double eps;
} normalize_op;

/* hyper.grad_norm = sqrt(sum of slots in order); hyper.clip = min(1, max_norm / grad_norm), 1 if
 * max_norm is 0 */
typedef struct {
    tensor slots; /* (n) f64 */
    tensor hyper;
    double max_norm;
} clip_op;

/* One tensor of an optimizer step: p, g and the rule's states, all with as many elements.  All are
 * f32; or, fused only, in one of the forms of core/stored_numbers.h:
 *
 *     p        bf16, with a master (? f32, i16: split16, i8: split8) or rounded at random
 *     g        bf16 if p is
 *     state    f32, bf16, or i8 (signed), u8 (squares) with a scale for each STATE_BLOCK elements */
typedef struct {
    tensor p, g, state[MAX_STATES];
    tensor master;            /* ? */
    tensor scale[MAX_STATES]; /* ? f32, (elements / STATE_BLOCK, rounded up), with i8 and u8 */
    uint32_t id;              /* sets apart what is rounded at random in different tensors */
    tensor temp; /* ? the intermediate of the pass-by-pass form; may lie on g or on a state */
    tensor slot; /* ? (1) f64: sum of g^2 before anything is changed (fused form only) */
    bool decay;  /* apply weight decay */
} optim_item;

/* Runs a rule over all items: its passes in registers when fused, else pass after pass over all
 * items. Does nothing when hyper.ok is 0.  The fused form leaves g as it was (but where a rule's
 * result is its temp, and lies there); the other may change g and temp. */
typedef struct {
    int rule; /* a rule_id of optim/rules/all.h */
    bool fused;
    tensor hyper; /* the hyper struct as u8 */
    const optim_item *items;
    int64_t n;
} optim_op;

/* count = how many elements of x are NaN or infinite (synchronous; for finding faults) */
typedef struct {
    int64_t *count;
    tensor x;
} nonfinite_op;

/* ---- images ---- */

/* Images cut into patches of h x w, row after row of them (W' = W / w of them in a row):
 * out[b, i W' + j, (c h + y) w + x] = images[b, c, i h + y, j w + x] */
typedef struct {
    tensor out;    /* (B,N,Ch*h*w), N = H/h * W/w */
    tensor images; /* (B,Ch,H,W) stat */
    int64_t height, width;
} patches_op;

/* out[b,t,:] = (t < P ? first[t,:] : x[b,t-P,:]) + positions[t,:] */
typedef struct {
    tensor out;       /* (B,T,C); may be x without first */
    tensor x;         /* (B,T-P,C) */
    tensor first;     /* ? (P,C) */
    tensor positions; /* (T,C) */
} positions_op;

/* dx[b,t-P,:] = dout[b,t,:];  dfirst[t,:] (+)= sum_b dout[b,t,:];  dpositions likewise */
typedef struct {
    tensor dx;       /* (B,T-P,C); may be dout when P is 0 */
    grad dfirst;     /* ? (P,C) */
    grad dpositions; /* ? (T,C) */
    tensor dout;     /* (B,T,C) */
} positions_grad_op;

/* out[b,:] = x[b,0,:] if first, else the mean over t of x[b,t,:] */
typedef struct {
    tensor out; /* (B,C) */
    tensor x;   /* (B,T,C) */
    bool first;
} pool_op;

/* dx[b,t,:] = dout[b,:] for t = 0 and 0 for the others if first, else dout[b,:] / T */
typedef struct {
    tensor dx;   /* (B,T,C), written */
    tensor dout; /* (B,C) */
    bool first;
} pool_grad_op;

/* out[b,t,:] = scale[b] x[b,t,:] + residual[b,t,:] */
typedef struct {
    tensor out;      /* (B,T,C); may be x */
    tensor x;        /* (B,T,C) */
    tensor scale;    /* (B) stat */
    tensor residual; /* ? (B,T,C); not out */
} scale_samples_op;

/* Classification against weights of classes (one-hot, smoothed, mixed; all 0: no sample):
 * losses_i = sum_v t_iv (lse(logits_i) - logits_iv); hits_i = 1 if the largest logit (the first of
 * equals) is where the largest t is and that is not 0, else 0; with backward, logits become
 * (softmax(logits_i) sum_v t_iv - t_iv) * scale, in place */
typedef struct {
    tensor logits;  /* (R,V), ld may exceed V */
    tensor targets; /* (R,V) stat t, contiguous, not negative */
    tensor losses;  /* (R) stat */
    tensor hits;    /* ? (R) stat */
    bool backward;
    double scale;
} classify_soft_op;

/* ---- non-zeros ----
 *
 * Which elements of a matrix are there is a set of bits, those that are there a list of values in
 * the order of the elements:
 *
 *     bits     (G,32) i32   element e is there: bit e % 32 of word e / 32.  G groups of
 *                           SPARSE_GROUP elements; 0 behind the last element
 *     starts   (G+1) i64    starts[g]: index in `values` of the first one of group g
 *     values   (N)          of any matrices: `starts` says where this one's begin
 *
 * How many there are is in `starts`, not in a shape, so that it may change. */
enum { SPARSE_GROUP = 1024, SPARSE_WORDS = SPARSE_GROUP / 32 };

/* out = the values where their elements are, 0 elsewhere */
typedef struct {
    tensor out;                  /* any type */
    tensor values, bits, starts; /* values: of out's type */
} expand_op;

/* values (+)= x at the elements that are there */
typedef struct {
    grad values; /* any type; to accumulate, a working one */
    tensor x;    /* of that type */
    tensor bits, starts;
} compress_op;

/* starts[0] = 0, starts[g+1] = starts[g] + ones in group g of bits */
typedef struct {
    tensor starts, bits;
} starts_op;

/* count = how many |x| < limit (NaN is not) */
typedef struct {
    tensor count; /* (1) i64 */
    tensor x;
    double limit;
} count_below_op;

/* kept = bits without the elements whose |value| < limit */
typedef struct {
    tensor kept; /* (G,32) i32; not bits */
    tensor values, bits, starts;
    double limit;
} prune_op;

/* n elements that are not in `taken` become ones of `bits`, at random: the F elements that are not
 * taken, in order, are cut into n runs, run j from floor(j F / n) on, and one of each is drawn
 * (core/sparse_bits.h).  A drawing has a number of its own: of the matrix, and of the event. */
typedef struct {
    tensor bits;          /* (G,32) i32; not taken */
    tensor taken, starts; /* starts: of taken */
    int64_t elements;     /* of the matrix, < 2^31 */
    int64_t n;            /* <= F */
    uint64_t seed;
    uint32_t matrix, event;
} regrow_op;

#define SPARSE_OPS(X) X(expand) X(compress) X(starts) X(count_below) X(prune) X(regrow)

#define MATRIX_OPS(X) X(matmul) X(normalize)

#define IMAGE_OPS(X)                                                                               \
    X(patches) X(positions) X(positions_grad) X(pool) X(pool_grad) X(scale_samples) X(classify_soft)

#define DEVICE_OPS(X)                                                                              \
    X(fill)                                                                                        \
    X(copy)                                                                                        \
    X(add)                                                                                         \
    X(embedding)                                                                                   \
    X(embedding_grad)                                                                              \
    X(norm)                                                                                        \
    X(norm_grad)                                                                                   \
    X(linear)                                                                                      \
    X(activate)                                                                                    \
    X(linear_dx)                                                                                   \
    X(linear_dw)                                                                                   \
    X(attention)                                                                                   \
    X(attention_grad)                                                                              \
    X(attention_cached)                                                                            \
    X(head_norm)                                                                                   \
    X(head_norm_grad) X(rotary) X(gate) X(gate_grad) X(classify) X(loss) X(sumsq) X(clip) X(optim) \
        X(nonfinite) MATRIX_OPS(X) IMAGE_OPS(X) SPARSE_OPS(X)

typedef struct {
    const char *name;
    unsigned working_types; /* bit set of 1 << dtype */
    /* Memory.  put and get copy between host and device in stream order.  put has taken the host's
     * bytes when it returns; what get brings is there after sync. */
    error *(*alloc)(device *, size_t bytes, void **out); /* at least 256-byte aligned */
    void (*release)(device *, void *memory);
    void (*put)(device *, int stream, void *dst, const void *host, size_t bytes);
    void (*get)(device *, int stream, void *host, const void *src, size_t bytes);
    void (*set)(device *, int stream, void *dst, int byte, size_t bytes);
    void (*sync)(device *, int stream);
    void (*fork)(device *, int from, int to); /* what comes on `to` waits for what was on `from` */
    void (*join)(device *, int from, int to);
    /* ? Takes room to work in beside the operands, or with {0} gives it up; see op_lend. */
    void (*lend)(device *, tensor room);
    /* ? Graphs.  Between graph_begin and graph_end the operations on this stream, and on what is
     * forked from it, are noted and not done; graph_launch does all of them, with the same operands.
     * Only operations on device memory may be noted: no put, get, sync, alloc. */
    void (*graph_begin)(device *, int stream);
    void *(*graph_end)(device *, int stream); /* NULL after a failure */
    void (*graph_launch)(device *, int stream, void *graph);
    void (*graph_free)(device *, void *graph);
#define OP_MEMBER(name) void (*name)(device *, int stream, const name##_op *);
    DEVICE_OPS(OP_MEMBER)
#undef OP_MEMBER
} device_ops;

struct device {
    const device_ops *ops;
    void *state;    /* the implementation's own */
    int threads;    /* CPU threads it may use */
    bool async;     /* operations go on when they have returned: host time is not theirs */
    error *failure; /* the first one; see device_status */
    /* When set, called with every tensor that an operation has written. */
    void (*watch)(void *context, device *, const char *op, tensor written);
    void *watch_context;
};

#define OP(name, dev, stream, ...) op_##name(dev, stream, &(name##_op){__VA_ARGS__})

#define OP_FRONT(name) void op_##name(device *dev, int stream, const name##_op *o);
DEVICE_OPS(OP_FRONT)
#undef OP_FRONT

/* Host <-> device copies of a whole contiguous tensor; ordered like operations. */
void op_put(device *dev, int stream, tensor dst, const void *host);
void op_get(device *dev, int stream, void *host, tensor src);
/* Working numbers as floats: f32 as they are, bf16 widened.  There when it returns. */
void op_get_floats(device *dev, int stream, float *host, tensor src);
/* Every byte of x becomes 0. */
void op_clear(device *dev, int stream, tensor x);
void op_sync(device *dev, int stream);
void op_fork(device *dev, int from, int to);
void op_join(device *dev, int from, int to);

/* What a device needs beside the operands of its operations it does not take for itself: it is planned
 * with all the rest, and lent (u8; absent: taken back).  How much: train/choose_device.h. */
void op_lend(device *dev, tensor room);

/* See device_ops; op_graph_end must follow op_graph_begin also after a failure. */
bool op_has_graphs(const device *dev);
void op_graph_begin(device *dev, int stream);
void *op_graph_end(device *dev, int stream);
void op_graph_launch(device *dev, int stream, void *graph);
void op_graph_free(device *dev, void *graph); /* NULL is ignored */

/* Keeps e if it is the first failure, else frees it. */
void device_fail(device *dev, error *e);
/* The first failure since the last call, or NULL; clears it. */
error *device_status(device *dev) NODISCARD;

/* The device that computes nothing and owns nothing: for recording programs. */
device device_null(void);

#endif

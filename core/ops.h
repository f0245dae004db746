/* ops.h - what a device is, and how it is asked to do something.
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
 * What the operations are, with their formulas, operands and costs, is a table of its own:
 * core/ops.def.
 *
 * Operations return nothing.  A misuse or a failure is kept in the device (the first one) and
 * every later operation does nothing; device_status() hands it out.  So the code of a model reads
 * like its formula, and no failure is lost.
 *
 * Operands are tensors; matrices are row-major.  Absent operands ({0}) are optional
 * where "?" or OPT_ says so.
 *
 * Types.  "Working" tensors are parameters, activations, their gradients: all those of one operation
 * have the same type, one of the device's: f32 or bf16 (f64 in the reference).  "stat" tensors (mean,
 * rstd, lse, losses, images, weights of classes) are f32 for f32 and bf16, f64 for f64.  In bf16 an
 * operation computes in f32, sums in f32, and rounds once, to the nearest (ties to even), what it
 * stores; what it adds to is a term of the sum.  A formula's names are the unrounded values:
 * out = act(pre) is not of the pre that was stored.
 *
 * Every operation is deterministic: same operands and thread count, same bits.
 */
#ifndef REGRAD_OPS_H
#define REGRAD_OPS_H

#include "core/device_kind.h"
#include "core/rope.h"
#include "base/error.h"
#include "core/tensor.h"
#include "core/rule.h"

typedef struct device device;

/* Operations on one stream run in order; fork/join order two streams. */
enum { STREAM_COMPUTE, STREAM_COMM, STREAM_COUNT };

/* silu(x) = x logistic(x) */
typedef enum { ACT_NONE, ACT_GELU_TANH, ACT_GELU_ERF, ACT_SILU } activation;

/* How much a score of head h of `heads` falls with each token of distance (Press, Smith, Lewis
 * 2022: "Train short, test long"): 2^(-8 (h+1)/n), n the largest power of two in `heads`; further
 * heads have the odd ones of 2n heads. */
double alibi_slope(int64_t heads, int64_t h);

/* Row groups of a norm's weight gradient: partial sums per group, added in order (any device). */
enum { NORM_GROUPS = 32 };

/* Elements whose bits, and the index of whose first value, belong together (core/ops.def). */
enum { SPARSE_GROUP = 1024, SPARSE_WORDS = SPARSE_GROUP / 32 };

/* ---- the items of operations that do many tensors at once ---- */

/* A tensor, and where the sum of its squares goes. */
typedef struct {
    tensor slot; /* (1) f64 */
    tensor x;
} sumsq_item;

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
    tensor temp; /* ? the intermediate of the pass-by-pass form; may be on g or on a state */
    tensor slot; /* ? (1) f64: sum of g^2 before anything is changed (fused form only) */
    bool decay;  /* apply weight decay */
} optim_item;

/* ---- the operations: NAME_op for each row of core/ops.def ---- */

/* clang-format off */
#define OPERATION(name)                 typedef struct {
#define TENSOR(role, name, type, shape) tensor name;
#define GRADIENT(name, type, shape)     grad name;
#define ITEMS(type, name, written)      const type *name; int64_t n;
#define VALUE(type, name)               type name;
#define COST(name, flops, bytes)        } name##_op;
#include "core/ops.def"
/* clang-format on */

typedef struct {
    const char *name;
    unsigned working_types; /* bit set of 1 << dtype */
    bool documents;         /* attention and embedding heed `starts` */
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
     * forked from it, are noted and not done; graph_launch does all of them, with the same
     * operands.  Only operations on device memory may be noted: no put, get, sync, alloc. */
    void (*graph_begin)(device *, int stream);
    void *(*graph_end)(device *, int stream); /* NULL after a failure */
    void (*graph_launch)(device *, int stream, void *graph);
    void (*graph_free)(device *, void *graph);
#define OPERATION(name) void (*name)(device *, int stream, const name##_op *);
#include "core/ops.def"
} device_ops;

struct device {
    const device_ops *ops;
    const device_kind *kind; /* ? what else can be asked of it */
    void *state;             /* the implementation's own */
    int threads;             /* CPU threads it may use */
    bool async;     /* operations continue after they have returned: host time is not theirs */
    int64_t alike;  /* each operation stands for as many, if this is not 0; see op_alike */
    error *failure; /* the first one; see device_status */
    /* When set, called with every tensor that an operation has written. */
    void (*watch)(void *context, device *, const char *op, tensor written);
    void *watch_context;
};

#define OP(name, dev, stream, ...) op_##name(dev, stream, &(name##_op){__VA_ARGS__})

#define OPERATION(name) void op_##name(device *dev, int stream, const name##_op *o);
#include "core/ops.def"

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

/* What a device needs beside the operands of its operations it does not take for itself: it is
 * planned with all the rest, and lent (u8; absent: taken back).  How much: its kind's `room`. */
void op_lend(device *dev, tensor room);

/* For a loop whose next n iterations differ in addresses only: how many of them the one that
 * follows does.  A device that computes nothing has seen all of them with one, which counts as n,
 * so that a plan takes as long for a large batch as for a small one; any other does them one by
 * one.  The loop ends with op_alike(dev, 1). */
int64_t op_alike(device *dev, int64_t n);

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

/* ops.h - what a device is, and how operations are called.
 *
 * Models, optimizers and the training loop are written once, over this interface.  A device
 * implements it:
 *
 *     model, optim, train           OP(linear, dev, stream, .out = qkv, .x = ln1, .w = w)
 *           |                                           |
 *      core/ops.c   checks shapes and types, once for every device
 *           |
 *     null      cpu       cuda      reference (test/): plain loops in double
 *     (plans)
 *
 * The operations, with their formulas, operands and costs, are listed in core/ops.def.
 *
 * Operations return nothing.  The first misuse or failure is kept in the device, and every later
 * operation does nothing; device_status() returns it.  So the code of a model reads like its
 * formula, and no failure is lost.
 *
 * Operands are tensors; matrices are row-major.  Absent operands ({0}) are optional
 * where "?" or OPT_ says so.
 *
 * Types.  "Working" tensors are parameters, activations and their gradients: in one operation they
 * all have the same type, one of the device's: f32 or bf16 (f64 in the reference).  "stat" tensors
 * (mean, rstd, lse, losses, images, weights of classes) are f32 for f32 and bf16, f64 for f64.  In
 * bf16 an operation computes and accumulates in f32 and rounds each result once, to nearest even;
 * where it accumulates, the old value is a term of the sum.  Names in a formula are unrounded
 * values: out = act(pre) is not computed from the stored pre.
 *
 * Every operation is deterministic: same operands and thread count, same bits.
 */
#ifndef REGRAD_OPS_H
#define REGRAD_OPS_H

#include "core/device_kind.h"
#include "core/narrow.h"
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
 * 2022: "Train short, test long"): 2^(-8 (h+1)/n), n the largest power of two in `heads`; the
 * remaining heads get the odd ones of 2n heads. */
double alibi_slope(int64_t heads, int64_t h);

/* Row groups of a norm's weight gradient: partial sums per group, added in order (on every
 * device). */
enum { NORM_GROUPS = 32 };

/* Elements per group of bits: each group has its words of bits and one entry of `starts`
 * (core/ops.def). */
enum { SPARSE_GROUP = 1024, SPARSE_WORDS = SPARSE_GROUP / 32 };

/* ---- the items of operations on many tensors at once ---- */

/* A tensor, and where to put the sum of its squares. */
typedef struct {
    tensor slot; /* (1) f64 */
    tensor x;
} sumsq_item;

/* One tensor of an optimizer step: p, g and the rule's states, all with the same number of
 * elements. All are f32; or, fused only, in one of the forms of core/stored_numbers.h:
 *
 *     p        bf16, with a master (? f32, i16: split16, i8: split8) or rounded at random
 *     g        bf16 if p is
 *     state    f32, bf16, or i8 (signed), u8 (squares) with a scale for each STATE_BLOCK elements */
typedef struct {
    tensor p, g, state[MAX_STATES];
    tensor master;            /* ? */
    tensor scale[MAX_STATES]; /* ? f32, (elements / STATE_BLOCK, rounded up), with i8 and u8 */
    uint32_t id;              /* gives each tensor random numbers of its own for rounding */
    int64_t first;            /* of a piece of a tensor: its first element, a multiple of a block */
    tensor temp;    /* ? the intermediate of the pass-by-pass form; may be on g or on a state */
    tensor slot;    /* ? (1) f64: sum of g^2 before anything is changed (fused form only) */
    bool decay;     /* apply weight decay */
    float lr_scale; /* factor of its learning rate; 0 means 1 */
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
    /* Memory.  put and get copy between host and device in stream order.  put has read the host's
     * bytes when it returns; the result of get is valid after sync. */
    error *(*alloc)(device *, size_t bytes, void **out); /* at least 256-byte aligned */
    void (*release)(device *, void *memory);
    void (*put)(device *, int stream, void *dst, const void *host, size_t bytes);
    void (*get)(device *, int stream, void *host, const void *src, size_t bytes);
    void (*set)(device *, int stream, void *dst, int byte, size_t bytes);
    void (*sync)(device *, int stream);
    void (*fork)(device *, int from, int to); /* later work on `to` waits for earlier work on
                                               * `from` */
    void (*join)(device *, int from, int to);
    /* ? Lends workspace beside the operands; {0} takes it back; see op_lend. */
    void (*lend)(device *, tensor room);
    void (*lend_narrow)(device *, tensor room); /* ? see op_lend_narrow */
    /* ? Graphs.  Between graph_begin and graph_end operations on this stream, and on streams forked
     * from it, are captured instead of executed; graph_launch executes all of them, with the same
     * operands.  Only operations on device memory may be captured: no put, get, sync, alloc. */
    void (*graph_begin)(device *, int stream);
    void *(*graph_end)(device *, int stream); /* NULL after a failure */
    void (*graph_launch)(device *, int stream, void *graph);
    void (*graph_free)(device *, void *graph);
#define OPERATION(name) void (*name)(device *, int stream, const name##_op *);
#include "core/ops.def"
} device_ops;

struct device {
    const device_ops *ops;
    const device_kind *kind; /* ? its kind, for further queries */
    void *state;             /* the implementation's own */
    int threads;             /* CPU threads it may use */
    bool async;              /* asynchronous: operations run on after they have returned */
    int64_t alike;           /* each operation counts this many times, if not 0; see op_alike */
    error *failure;          /* the first one; see device_status */
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
/* Working numbers as floats: f32 unchanged, bf16 widened.  Synchronous. */
void op_get_floats(device *dev, int stream, float *host, tensor src);
/* Sets every byte of x to 0. */
void op_clear(device *dev, int stream, tensor x);
void op_sync(device *dev, int stream);
void op_fork(device *dev, int from, int to);
void op_join(device *dev, int from, int to);

/* A device does not allocate what it needs beside operands: its workspace is planned with
 * everything else, and lent (u8; absent: taken back).  The kind's `room` says how much. */
void op_lend(device *dev, tensor room);
/* Likewise for operands in 8 bits (core/narrow.h): from now on products that are marked so have
 * those. */
void op_lend_narrow(device *dev, tensor room);

/* For a loop whose next n iterations differ in addresses only: returns how many of them the
 * following iteration stands for.  A device that computes nothing needs only one, which counts as
 * n, so that planning takes as long for a large batch as for a small one; other devices execute
 * them one by one.  The loop ends with op_alike(dev, 1). */
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

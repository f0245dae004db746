/* device_kind.h - what a kind of device can be asked: before one is opened, and while it is open.
 *
 *      --device NAME  ->  a kind  --open-->  device  --close-->
 *                           |                  |
 *      for plans:  room, workspaces,           for runs:  describe, memory, free memory,
 *      what it cannot do                       prepare, join
 *
 * A plan is made without a device, also for a GPU that is not here; so what decides about memory is
 * answered by the kind alone, from sizes.  Another backend is another of these tables, and one line
 * in train/choose_device.c.
 */
#ifndef REGRAD_DEVICE_KIND_H
#define REGRAD_DEVICE_KIND_H

#include "base/error.h"
#include "core/tensor.h"

struct device;
struct comm; /* ranks/comm.h */

/* Sizes of an attention, and what else decides by what it can be computed. */
typedef struct {
    int64_t batch, heads, kv_heads, length, head_size; /* B, H, KV, T, D */
    dtype type;
    bool alibi, windowed, capped;
} attention_sizes;

/* A device has one or several methods of attention, numbered in the order of its list.  0 is its
 * own and needs no workspace; what the others are is for it to say. */
enum { ATTENTION_OWN };

typedef struct device_kind {
    const char *name; /* as --device takes it */
    size_t room; /* most bytes it wants to be lent (op_lend) for its libraries and sums; 0: none */
    bool costly_launch; /* an operation costs time for being one: small updates share one */
    int64_t logits_mib; /* of logits at a time, if more are faster; 0: what suits any device */
    /* ? Of these, what products want whose results are (m,n), with a sum over k each; NULL: all. */
    size_t (*room_for)(int64_t m, int64_t n, int64_t k);

    /* ---- methods of attention ---- */
    const char *const *attention; /* (n_attention) names */
    int n_attention;
    /* ? Why a method cannot take these sizes, in words that complete "--attention cudnn ..."; NULL:
     * it can.  Batch and length need not be known. */
    const char *(*attention_lacks)(int method, const attention_sizes *);
    /* ? Bytes an attention or its gradient works in, beside its operands. */
    int64_t (*attention_workspace)(int method, const attention_sizes *, bool backward);
    /* ? Does a method give other bits from run to run? */
    bool (*attention_varies)(int method);

    /* ---- opening ---- */
    bool (*likely)(void); /* could one be opened here?  Nothing is started to find out */
    error *(*open)(int threads, struct device *out);
    void (*close)(struct device *);

    /* ---- an open device ---- */
    const char *(*describe)(const struct device *, char *buffer, size_t size); /* returns buffer */
    /* ? Bytes of a memory of its own, and of what nobody has taken of it. */
    size_t (*memory)(const struct device *);
    size_t (*free_memory)(struct device *);
    /* ? Chooses by what it computes: a kernel of its own, and whose matrix products. */
    error *(*use)(struct device *, const char *kernel, const char *products);
    /* ? Loads what a method of attention needs.  User error: it is not here. */
    error *(*prepare)(struct device *, int method);

    /* ---- ranks ----
     * A device with an engine of its own carries tensors between ranks itself; without one (NULL)
     * what has started them does, over the host's memory. */
    error *(*join)(struct device *, struct comm *);
    /* ? Are there enough for n ranks on this machine?  Makes the one of a local rank the
     * device that `open` opens. */
    error *(*enough)(int n);
    error *(*choose)(int local_rank);
} device_kind;

/* The same of a device whose kind is not known (NULL): 0. */
static inline int64_t attention_workspace(const device_kind *kind, int method,
                                          const attention_sizes *sizes, bool backward)
{
    return kind && kind->attention_workspace ? kind->attention_workspace(method, sizes, backward)
                                             : 0;
}

#endif

/* device_kind.h - what a kind of device can answer before one is opened, and while it is open.
 *
 *      --device NAME  ->  a kind  --open-->  device  --close-->
 *                           |                  |
 *      for plans:  room, workspaces,           for runs:  describe, memory, free memory,
 *      restrictions                            prepare, join
 *
 * Plans are made without a device, also for GPUs that are not present; so everything that affects
 * memory is answered by the kind alone, from sizes.  Another backend is another table of this type,
 * and one line in train/choose_device.c.
 */
#ifndef REGRAD_DEVICE_KIND_H
#define REGRAD_DEVICE_KIND_H

#include "base/error.h"
#include "core/tensor.h"

struct device;
struct comm; /* ranks/comm.h */

/* Dimensions of an attention, and whatever else decides which method can compute it. */
typedef struct {
    int64_t batch, heads, kv_heads, length, head_size; /* B, H, KV, T, D */
    dtype type;
    bool alibi, windowed, capped;
} attention_sizes;

/* A device has one or several methods of attention, numbered in the order of its list.  0 is its
 * own and needs no workspace; the others are up to the device. */
enum { ATTENTION_OWN };

typedef struct device_kind {
    const char *name; /* as --device takes it */
    size_t room; /* workspace it wants to be lent (op_lend) for its libraries and reductions; 0:
                  * none */
    bool costly_launch; /* launching an operation has a cost: small updates share one */
    int64_t logits_mib; /* preferred MiB per chunk of logits; 0: no preference */
    /* ? How much of it products with results (m,n) want, summed over k each; NULL: all. */
    size_t (*room_for)(int64_t m, int64_t n, int64_t k);

    int narrow_size; /* bytes of a number in an operand that is rounded to 8 bits (core/narrow.h) */

    /* ---- methods of attention ---- */
    const char *const *attention; /* (n_attention) names */
    int n_attention;
    /* ? Why a method cannot compute these sizes, in words that complete "--attention cudnn ...";
     * NULL: it can.  Batch and length may be unknown. */
    const char *(*attention_lacks)(int method, const attention_sizes *);
    /* ? Workspace of an attention or its gradient, in bytes. */
    int64_t (*attention_workspace)(int method, const attention_sizes *, bool backward);
    /* ? Is a method nondeterministic? */
    bool (*attention_varies)(int method);

    /* ---- opening ---- */
    bool (*likely)(void); /* can one be opened on this machine?  Does not initialize anything */
    error *(*open)(int threads, struct device *out);
    void (*close)(struct device *);

    /* ---- an open device ---- */
    const char *(*describe)(const struct device *, char *buffer, size_t size); /* returns buffer */
    /* ? Bytes of the device's own memory, and how many of them are free. */
    size_t (*memory)(const struct device *);
    size_t (*free_memory)(struct device *);
    /* ? Chooses the implementation: the device's own kernels or a vendor library, and whose matrix
     * products. */
    error *(*use)(struct device *, const char *kernel, const char *products);
    /* ? Loads what a method of attention needs.  User error if it is not installed. */
    error *(*prepare)(struct device *, int method);

    /* ---- ranks ----
     * A device with communication of its own joins ranks itself; without it (NULL) the ranks'
     * launcher does, through host memory. */
    error *(*join)(struct device *, struct comm *);
    /* ? Are there enough devices for n ranks on this machine?  Selects the local rank's device,
     * which `open` will open. */
    error *(*enough)(int n);
    error *(*choose)(int local_rank);
} device_kind;

/* The same for a device whose kind is unknown (NULL): 0. */
static inline int64_t attention_workspace(const device_kind *kind, int method,
                                          const attention_sizes *sizes, bool backward)
{
    return kind && kind->attention_workspace ? kind->attention_workspace(method, sizes, backward)
                                             : 0;
}

#endif

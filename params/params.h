/* params.h - the parameter table and its four hooks.
 *
 * One row per parameter: name, shape, layer, decay or not, trainable or not, initialiser.  The
 * table drives initialisation, the optimizer, freezing, sharding and checkpoints.
 *
 * A model accesses a weight only between param_use and param_done, and a gradient only between
 * grad_begin and grad_done.  What the hooks do is policy, which models never see:
 *
 *   own       each gradient has its own memory for the whole run
 *   overlay   a gradient is allocated where activations have died, when it is first written, and
 *             freed after the optimizer's step
 *   release   once a gradient is complete and the weight will not be read again, `complete` is
 *             called (the optimizer updates that parameter) and the space is freed at once
 *   fold      the same in every micro-batch: `complete` accumulates its gradient in the optimizer's
 *             states, and updates the parameter in the last one
 *
 *                   backward of layer l                     backward of layer l-1
 *   use w | dx = dout w | begin g | dw = dout' x | done g | done w --> update w, free g | ...
 *
 * A gradient with several writers in one backward (a tied embedding) is complete after the last.
 * Under fold the earlier micro-batches wait for the readers, too, although the weight does not
 * change yet: so all micro-batches allocate alike, and a recording of two is valid for all. If
 * several ranks share a run, or values are not stored as they are read, the hooks call a backing
 * (param_backing below); models do not see that either.
 *
 * The contract for models: rows are in the order of the forward pass; in backward, every use of a
 * weight has begun by the time the last writer of its gradient is done; a use after the weight's
 * update is reported as an internal error.
 */
#ifndef REGRAD_PARAMS_H
#define REGRAD_PARAMS_H

#include "core/block_codes.h"
#include "core/far.h"
#include "core/scale_codes.h"
#include "params/block_kinds.h"
#include "ranks/comm.h"
#include "params/step_clock.h"

typedef enum { GRADS_OWN, GRADS_OVERLAY, GRADS_RELEASE, GRADS_FOLD, GRADS_AUTO } grad_policy;

const char *grad_policy_name(grad_policy policy);

/* The rest of a bf16 parameter's f32 value, stored beside it (core/stored_numbers.h). */
typedef enum { MASTER_F32, MASTER_SPLIT16, MASTER_SPLIT8, MASTER_NONE } master_form;

typedef enum { INIT_ZERO, INIT_ONE, INIT_NORMAL, INIT_VALUE, INIT_UNIFORM } init_kind;

typedef struct runtime runtime;

/* A model's declaration of a parameter. */
typedef struct {
    const char *name; /* Hugging Face's name, with at most one %d for the layer */
    int layer;        /* -1 outside of layers */
    shape shape;
    bool decay;
    init_kind init;
    double std;   /* INIT_NORMAL; the value of INIT_VALUE; the bound of INIT_UNIFORM */
    int64_t rows; /* of its products for each sample, if fewer than the model's positions; else 0 */
    int writers;  /* writers of its gradient in one backward; 0 means 1 */
    bool embedding;       /* a table of which a step may use some rows only */
    bool hidden;          /* a weight between hidden layers: for rules that see whole matrices */
    bool file_transposed; /* files store the transpose: (in, out), Hugging Face's Conv1D */
    int64_t part_rows[3]; /* rows of the matrices stacked in it; 0: just one.  With a name like
                           * "{q,k,v}_proj" files have a tensor for each */
    int64_t file_groups;  /* ? files have the rows in groups: part_rows[i] / file_groups rows of
                           * each part in turn */
    bool state; /* not a weight but numbers that training's forward passes write: f32 where weights
                 * are bf16, whole on every rank, never trained (BatchNorm's running statistics) */
    /* Of an adapter's A and B (model/lora.h): the scale of their product; else 0.  B's part_rows
     * are columns. */
    double adapter_scale;
} param_spec;

typedef struct {
    param_spec spec;
    char *name; /* spec.name, in memory of the table */
    bool trainable;
    int64_t count;          /* elements */
    int64_t own_first, own; /* the range that this process updates: all, unless ranks share the
                             * work */
    tensor value;           /* complete; with backing.expand only while a use is open */
    tensor stored;          /* ? with backing.expand: (own) what is stored the rest of the time */
    bool coded;             /* stored as codes; decoded only while a use is open */
    tensor codes, scales;   /* ? the codes; packed scales only while codes are read or written: */
    tensor scale_codes, scale_groups; /* ? what is stored of those (core/scale_codes.h) */
    tensor master;                    /* ? the rest of a bf16 value: (own), f32, i16 or i8 */
    /* ? --offload (params/offload.h): where they are; value and master are then here only while a
     * use is open or while they are filled */
    far_block far_value, far_master;
    int64_t coming; /* the request (core/far.h) or the mark (ranks/comm.h) that brings the value */
    /* in a step */
    tensor gradient;  /* complete, of this process */
    tensor collected; /* ? with backing.collects: (own) the sum over all ranks and micro-batches */
    int readers, writes;
    bool has_gradient, updated, has_collected;
} param;

/* Where values and gradients are between their uses, if not complete in this process: the seam for
 * ZeRO (params/sharded_backing.c), and for anything that stores less than it computes with.
 *
 *     param_use, the first that is open      expand    stored -> value, in memory allocated for it;
 *                                                      or before, for several: fetch, arrive
 *     param_done, the last                             that memory is freed
 *     grad_done: complete in a micro-batch   collect   starts to reduce the own range ...
 *                                            settle    ... and waits for it; then it is added to
 *                                                      `collected` or the optimizer runs, and its
 *                                                      space is freed, as the policy says
 *     params_end_step: all are updated       spread    own ranges of values -> all ranks
 */
typedef struct {
    void *own;
    bool collects;  /* gradients accumulate in `collected`; otherwise they stay, and are collected
                     * once */
    int64_t bucket; /* bytes of gradients that are collected together; 0: each on its own */
    /* ? Index of the row that stores the non-zeros of all pooled matrices
     * (params/sparse_backing.h), which own nothing themselves; other rows are unaffected. 0:
     * none. */
    int pool;
    void (*expand)(void *own, runtime *r, int id); /* ? NULL: values are stored complete */
    /* ? The halves of expand, the first for several: it returns a mark, the second waits for it. */
    int64_t (*fetch)(void *own, runtime *r, const int *ids, int n);
    void (*arrive)(void *own, runtime *r, int64_t mark);
    void (*collect)(void *own, runtime *r, const int *ids, int n);
    void (*settle)(void *own, runtime *r);
    void (*spread)(void *own, runtime *r);
} param_backing;

typedef struct {
    param *row;
    int n, room;
    code_form form;     /* of coded rows */
    bool packs;         /* their scales */
    bool adapted;       /* some rows are adapters (spec.adapter_scale): only these go into a run's
                   * files */
    dtype type;         /* working type of the run: parameters, their gradients, activations */
    master_form master; /* with type BF16 */
    grad_policy policy; /* GRADS_AUTO must be resolved before params_place */
    int first;          /* first trainable row, n if there is none; see grads_below */
    bool training;      /* gradient hooks are active */
    int micro, micro_batches; /* of the current step */
    /* release, fold: these parameters' gradients are complete, for the whole step or for a part of
     * it */
    void (*complete)(void *context, const int *ids, int n, fold_part part);
    /* release: a vector's gradient is queued until the next matrix's, so that one operation updates
     * both (on a GPU a launch costs more than a vector) */
    bool together;
    void *context;
    const param_backing *backing; /* NULL: everything is stored here, complete */
    far *far;                     /* ? --offload: the second place.  There are */
    bool states_far;              /* masters and states of large matrices, */
    bool values_far;              /* and their values */
    int ahead;                    /* layers whose values are fetched before they are used */
    struct use_order *order;      /* ? of the current pass (params/use_order.h) */
    /* gradients to be collected: queued, and under way; without backing, vectors that wait for a
     * matrix */
    int *queue; /* (2 n): waiting[], then under_way[] */
    int waiting, under_way;
    int64_t waiting_bytes;
} params;

/* What dropout drops in a training pass (core/dropout.h); absent start: nothing. */
typedef struct {
    double rate, adapter_rate;
    uint64_t seed;
    tensor start; /* ? (2) i32: the batch's first row, counted over the run */
} runtime_dropout;

/* What a pass over the model is executed with. */
struct runtime {
    device *dev;
    arena *arena;
    params *params;
    int stream;
    phase_clock *phases;     /* ? the step's */
    comm *comm;              /* ? the other ranks */
    struct far_keeps *keeps; /* ? --offload activations (model/far_keeps.h) */
    tensor starts; /* ? (B,T) i32, for packed documents: where each token's document begins */
    runtime_dropout dropout;
    bool narrow; /* products of hidden layers are of operands in 8 bits (core/narrow.h) */
};

/* Adds a row, with a copy of its name; returns its id (0, 1, 2 ...), or -1 if out of memory. */
int params_add(params *p, param_spec spec);
void params_free(params *p);
void params_freeze(params *p);         /* no row is trained, so no gradient is placed */
int64_t params_count(const params *p); /* elements of all parameters, without states and the pool */

/* Is the row written to a run's files? */
bool param_saved(const params *p, int id);

/* The parameter's name, e.g. "h.3.ln_1.weight". */
const char *param_text(const param *row, char *buffer, size_t size);

/* Part k of a name in braces, "a.{q,k,v}_proj" -> "a.k_proj"; without braces the name is its only
 * part. False if there is no part k. */
bool param_name_part(const char *name, int k, char *out, size_t size);

/* Before params_place: stores the frozen matrices of the blocks in that form; packs: and their
 * scales in a byte each (core/scale_codes.h). */
void params_encode(params *p, code_form form, bool packs);
/* For filling a coded or offloaded row: begin allocates its value (and master), end encodes it, or
 * writes it to the file. For other rows: their value. */
tensor param_fill_begin(runtime *r, int id);
void param_fill_end(runtime *r, int id);

/* Takes the parameters (and own gradients) from the arena; once while recording and once in the
 * run. */
void params_place(params *p, arena *a);

/* Initial values: counter-based, so they depend only on the seed and on the parameter's place in
 * the table. */
error *params_initialize(params *p, device *dev, uint64_t seed) NODISCARD;
/* The values of one parameter, or of the part stored here. */
error *param_initialize(const params *p, device *dev, uint64_t seed, int id) NODISCARD;

/* After parameters were set from elsewhere: makes the masters agree. */
error *params_adopt(params *p, device *dev) NODISCARD;
error *param_adopt(const params *p, device *dev, int id) NODISCARD;

/* Sets where values and gradients are stored, if not each in one block; before params_place. The
 * backing must outlive the table. */
void params_back(params *p, const param_backing *backing);

/* A training step: begin, micro-batches 0, 1, ..., then (under own and overlay) the optimizer reads
 * row[i].gradient, then end. */
void params_begin_step(runtime *r, int micro_batches);
void params_begin_micro(runtime *r, int micro);
void params_end_micro(runtime *r); /* the gradients are final */
void params_end_step(runtime *r);

/* What this process updates of a parameter: its own range of the value and of the gradient, flat;
 * in full and in shape if it owns everything.  Absent if it owns nothing. */
tensor param_own_value(const params *p, int id);
tensor param_own_gradient(const params *p, int id);
shape param_own_shape(const params *p, int id);
/* The part of a value's elements [first, first + n) that is stored here between uses; *skipped: how
 * many of them come before it. */
tensor param_part(const param *row, int64_t first, int64_t n, int64_t *skipped);
/* Does each rank update only a part? */
bool params_divided(const params *p);
/* Whether a gradient is consumed, and its space freed, as soon as it is complete. */
bool params_at_once(const params *p);
/* Are some values or masters stored otherwise than they are used, and filled by
 * param_fill_begin? */
bool params_fill(const params *p);
/* Is every value, or the rank's part of it, stored as it is used, so that files are read to where
 * it lies? */
bool params_in_place(const params *p);
/* Is this row the pool, not a parameter of the model?  Are the row's own values only in the
 * pool? */
bool param_is_pool(const params *p, int id);
bool param_in_pool(const params *p, int id);
/* Is it a matrix whose products may be of operands in 8 bits (core/narrow.h)? */
bool param_narrow(const params *p, int id);

/* Whether parameter id wants its gradient, and whether any before it does.  The table is in the
 * order of the forward pass; so in backward a layer passes a gradient on only if that is needed
 * below, and forward keeps only what that requires.  No id (-1) wants nothing. */
bool grad_wanted(const runtime *r, int id);
bool grads_below(const runtime *r, int id);

/* ---- the hooks ---- */
tensor param_use(runtime *r, int id);
void param_done(runtime *r, int id);
grad grad_begin(runtime *r, int id); /* .t is absent if this gradient is not wanted */
void grad_done(runtime *r, int id);

#endif

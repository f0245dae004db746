/* params.h - the parameter table and its four hooks.
 *
 * One row per parameter: name, shape, layer, decay or not, trainable or not, initialiser.  The
 * table drives initialisation, the optimizer, freezing, sharding and checkpoints.
 *
 * A model reaches a weight only between param_use and param_done, and a gradient only between
 * grad_begin and grad_done.  What the hooks do is policy, and the models never know it:
 *
 *   own       gradients have a place of their own for the whole run
 *   overlay   a gradient is taken where activations have died when it is first written, and given
 *             back after the optimizer's step
 *   release   as soon as a gradient is complete and no one reads the weight any more, `complete` is
 *             called (the optimizer updates that parameter) and the space is given back at once
 *   fold      the same in every micro-batch: `complete` takes each one's gradient into the
 *             optimizer's states, and updates the parameter in the last
 *
 *                   backward of layer l                     backward of layer l-1
 *   use w | dx = dout w | begin g | dw = dout' x | done g | done w --> update w, drop g | ...
 *
 * A gradient with several writers in one backward (a tied embedding) is complete after the last.
 * Under fold the earlier micro-batches wait for the readers, too, though the weight does not change
 * yet: so all micro-batches ask for the same memory, and what is recorded of two holds for all.
 * Where several ranks share a run, or values are stored otherwise than they are read, a backing
 * is hidden by the hooks (param_backing below); models do not know that either.
 *
 * The contract for models: rows come in the order of the forward pass; in backward, every use of a
 * weight has begun by the time the last writer of its gradient is done; a use after the weight's
 * update is reported as an internal error.
 */
#ifndef REGRAD_PARAMS_H
#define REGRAD_PARAMS_H

#include "core/block_codes.h"
#include "params/block_kinds.h"
#include "ranks/comm.h"
#include "params/step_clock.h"

typedef enum { GRADS_OWN, GRADS_OVERLAY, GRADS_RELEASE, GRADS_FOLD, GRADS_AUTO } grad_policy;

const char *grad_policy_name(grad_policy policy);

/* What is kept of a bf16 parameter's f32 value beside the parameter (core/stored_numbers.h). */
typedef enum { MASTER_F32, MASTER_SPLIT16, MASTER_SPLIT8, MASTER_NONE } master_form;

typedef enum { INIT_ZERO, INIT_ONE, INIT_NORMAL, INIT_VALUE, INIT_UNIFORM } init_kind;

typedef struct run run;

/* What a model says of a parameter. */
typedef struct {
    const char *name; /* Hugging Face's, with at most one %d for the layer */
    int layer;        /* -1 outside of layers */
    shape shape;
    bool decay;
    init_kind init;
    double std;           /* INIT_NORMAL; the value of INIT_VALUE; the bound of INIT_UNIFORM */
    int writers;          /* of its gradient in one backward; 0 means 1 */
    bool embedding;       /* a table of which a step may touch some rows only */
    bool hidden;          /* a weight between hidden layers: of those that see whole matrices */
    bool file_transposed; /* files hold the transpose: (in, out), Hugging Face's Conv1D */
    int64_t part_rows[3]; /* rows of the matrices that are in it, one below the other; 0: one.  With
                           * a name like "{q,k,v}_proj" files have a tensor for each */
    int64_t file_groups;  /* ? files have row group by group: part_rows[i] / file_groups rows of
                           * each part in turn */
    /* Of an adapter's A and B (model/lora.h): what their product is multiplied by; else 0.  B's
     * part_rows are columns. */
    double adapter_scale;
} param_spec;

typedef struct {
    param_spec spec;
    char *own_name; /* ? spec.name, if it must be freed */
    bool trainable;
    int64_t count;          /* elements */
    int64_t own_first, own; /* those that this process updates: all, unless ranks share the work */
    tensor value;  /* whole; under backing.expand present between its uses' first and last */
    tensor stored; /* ? under backing.expand: (own) what is there otherwise */
    bool coded; /* it is stored as codes, and its value is there between its uses' first and last */
    tensor codes, scales; /* ? then */
    tensor master;        /* ? of a bf16 value: (own), f32, i16 or i8 */
    /* in a step */
    tensor gradient;  /* whole, of this process */
    tensor collected; /* ? under backing.collects: (own) the sum of all ranks and micro-batches */
    int readers, writes;
    bool has_gradient, updated, has_collected;
} param;

/* Where values and gradients are between their uses, if not whole in this process: the seam for
 * ZeRO (params/sharded_backing.c), and for whatever stores less than it computes with.
 *
 *     param_use, the first of those open     expand    stored -> value, in memory taken for it
 *     param_done, the last                             that memory is given back
 *     grad_done: complete in a micro-batch   collect   its own range becomes what counts of it ...
 *                                            settle    ... by now; then it is added to `collected`
 *                                                      or the optimizer runs, and its space is given
 *                                                      back, as the policy says
 *     params_end_step: all are updated       spread    own ranges of values -> everybody's
 */
typedef struct {
    void *own;
    bool collects;  /* gradients are kept as `collected`; else as they are, and collected once */
    int64_t bucket; /* bytes of gradients that are collected together; 0: each at once */
    /* ? Index of the row that stores the non-zeros of all pooled matrices
     * (params/sparse_backing.h), which own nothing themselves; other rows are as
     * without a backing.  0: none. */
    int pool;
    void (*expand)(void *own, run *r, int id); /* ? NULL: values are kept whole */
    void (*collect)(void *own, run *r, const int *ids, int n);
    void (*settle)(void *own, run *r);
    void (*spread)(void *own, run *r);
} param_backing;

typedef struct {
    param *row;
    int n, room;
    code_form form; /* of coded rows */
    bool adapted; /* some rows are adapters' (spec.adapter_scale): a run's files have these alone */
    dtype type;   /* working type of the run: parameters, their gradients, activations */
    master_form master;       /* with type BF16 */
    grad_policy policy;       /* GRADS_AUTO must be resolved before params_place */
    int first;                /* trainable row of the table, n if there is none; see grads_below */
    bool training;            /* hooks of gradients are alive */
    int micro, micro_batches; /* of the step under way */
    /* release, fold: these parameters' gradients are complete, those of the
     * whole step or of a part */
    void (*complete)(void *context, const int *ids, int n, fold_part part);
    /* release: a vector's gradient waits for the next matrix's, so that one operation takes both
     * (on a GPU a launch costs more than a vector) */
    bool together;
    void *context;
    const param_backing *backing; /* NULL: all lies here, whole */
    /* gradients on their way to being collected: waiting, and under way; without backing, those
     * that wait for a matrix's */
    int *queue; /* (2 n): waiting[], then under_way[] */
    int waiting, under_way;
    int64_t waiting_bytes;
} params;

/* What a training pass leaves out at random (core/dropout.h); absent start: nothing. */
typedef struct {
    double rate, adapter_rate;
    uint64_t seed;
    tensor start; /* ? (2) i32: the run's number of the batch's first row */
} run_dropout;

/* What a pass over the model needs. */
struct run {
    device *dev;
    arena *arena;
    params *params;
    int stream;
    phase_clock *phases; /* ? the step's */
    comm *comm;          /* ? the other ranks */
    tensor starts; /* ? (B,T) i32, of a batch of packed documents: where each token's begins */
    run_dropout dropout;
};

/* Adds a row; returns its id (0, 1, 2 ...), or -1 when there is no memory. */
int params_add(params *p, param_spec spec);
void params_free(params *p);
int64_t params_count(const params *p); /* elements of all parameters, but the pool */

/* Do the files that a run writes have it? */
bool param_saved(const params *p, int id);

/* The parameter's name, e.g. "h.3.ln_1.weight". */
const char *param_text(const param *row, char *buffer, size_t size);

/* Part k of a name in braces, "a.{q,k,v}_proj" -> "a.k_proj"; a name without them is its only part.
 * False if there is no part k. */
bool param_name_part(const char *name, int k, char *out, size_t size);

/* Before params_place: matrices of the blocks that are not trained are stored in that form. */
void params_encode(params *p, code_form form);
/* A coded row's value is there from begin on, to be filled; end makes codes of it.
 * Other rows: their value. */
tensor param_fill_begin(run *r, int id);
void param_fill_end(run *r, int id);

/* Asks the arena for the parameters (and own gradients); once in the record and once in the run. */
void params_place(params *p, arena *a);

/* Initial values: counter-based, so a parameter's values depend on seed and its
 * place in the table. */
error *params_initialize(params *p, device *dev, uint64_t seed) NODISCARD;
/* Those of one parameter, or of what is here of them. */
error *param_initialize(const params *p, device *dev, uint64_t seed, int id) NODISCARD;

/* After the parameters were given values from elsewhere: the masters say the same. */
error *params_adopt(params *p, device *dev) NODISCARD;
error *param_adopt(const params *p, device *dev, int id) NODISCARD;

/* Where values and gradients are kept, if not each in one block of its own; before params_place.
 * The backing must outlive the table. */
void params_back(params *p, const param_backing *backing);

/* A training step: begin, micro-batches 0, 1, ..., then (under own and overlay) the optimizer reads
 * row[i].gradient, then end. */
void params_begin_step(run *r, int micro_batches);
void params_begin_micro(run *r, int micro);
void params_end_micro(run *r); /* gradients are what they are */
void params_end_step(run *r);

/* What this process updates of a parameter: its own range of the value, and of what counts of the
 * gradient; whole, and of its shape, where it owns all.  Absent where it owns nothing. */
tensor param_own_value(const params *p, int id);
tensor param_own_gradient(const params *p, int id);
shape param_own_shape(const params *p, int id);
/* What is kept here of a value's elements [first, first + n), outside of its uses; *skipped: how
 * many of them come before that. */
tensor param_part(const param *row, int64_t first, int64_t n, int64_t *skipped);
/* Does each rank update a part, not all? */
bool params_divided(const params *p);
/* Is this row the pool, and no parameter of the model?  Does it own what it has only there? */
bool param_is_pool(const params *p, int id);
bool param_in_pool(const params *p, int id);

/* Whether parameter id wants its gradient, and whether any before it does.  The table's order is
 * that of the forward pass; so in backward a layer passes a gradient on only if there is one below,
 * and forward keeps only what that needs.  No id (-1) wants nothing. */
bool grad_wanted(const run *r, int id);
bool grads_below(const run *r, int id);

/* ---- the hooks ---- */
tensor param_use(run *r, int id);
void param_done(run *r, int id);
grad grad_begin(run *r, int id); /* .t is absent when nobody wants this gradient */
void grad_done(run *r, int id);

#endif

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
 * The contract for models: in backward, every use of a weight is open or over when its last writer
 * is done; a use after its update is reported as an internal error.
 */
#ifndef REGRAD_PARAMS_H
#define REGRAD_PARAMS_H

#include "core/arena.h"
#include "core/phases.h"

typedef enum { GRADS_OWN, GRADS_OVERLAY, GRADS_RELEASE, GRADS_FOLD, GRADS_AUTO } grad_policy;

const char *grad_policy_name(grad_policy policy);

/* What is kept of a bf16 parameter's f32 value besides itself (core/storage.h). */
typedef enum { MASTER_F32, MASTER_SPLIT16, MASTER_SPLIT8, MASTER_NONE } master_form;

typedef enum { INIT_ZERO, INIT_ONE, INIT_NORMAL } init_kind;

/* What a model says of a parameter. */
typedef struct {
    const char *name; /* Hugging Face's, with at most one %d for the layer */
    int layer;        /* -1 outside of layers */
    shape shape;
    bool decay;
    init_kind init;
    double std;           /* INIT_NORMAL */
    int writers;          /* of its gradient in one backward; 0 means 1 */
    bool embedding;       /* a table of which a step may touch some rows only */
    bool file_transposed; /* files hold the transpose: (in, out), Hugging Face's Conv1D */
    int64_t part_rows[3]; /* with a name like "{q,k,v}_proj": rows of each of its tensors */
    int64_t file_groups;  /* ? files have row group by group: part_rows[i] / file_groups rows of
                           * each part in turn */
} param_spec;

typedef struct {
    param_spec spec;
    bool trainable;
    int64_t count; /* elements */
    tensor value;
    tensor master; /* ? of the same shape: f32, i16 or i8 */
    /* in a step */
    tensor gradient;
    int readers, writes;
    bool has_gradient, updated;
} param;

typedef struct {
    param *row;
    int n, room;
    dtype type;         /* working type of the run: parameters, their gradients, activations */
    master_form master; /* with type BF16 */
    grad_policy policy; /* GRADS_AUTO must be resolved before params_place */
    bool training;      /* hooks of gradients are alive */
    int micro, micro_batches; /* of the step under way */
    /* release, fold: parameter id's gradient is complete, that of the whole step or of a part */
    void (*complete)(void *context, int id, fold_part part);
    void *context;
} params;

/* What a pass over the model needs. */
typedef struct {
    device *dev;
    arena *arena;
    params *params;
    int stream;
    phase_clock *phases; /* ? the step's */
} run;

/* Adds a row; returns its id (0, 1, 2 ...), or -1 when there is no memory. */
int params_add(params *p, param_spec spec);
void params_free(params *p);
int64_t params_count(const params *p); /* elements of all parameters */

/* The parameter's name, e.g. "h.3.ln_1.weight". */
const char *param_text(const param *row, char *buffer, size_t size);

/* Asks the arena for the parameters (and own gradients); once in the record and once in the run. */
void params_place(params *p, arena *a);

/* Initial values: counter-based, so a parameter's values depend on seed and its
 * place in the table. */
error *params_initialize(params *p, device *dev, uint64_t seed) NODISCARD;

/* After the parameters were given values from elsewhere: the masters say the same. */
error *params_adopt(params *p, device *dev) NODISCARD;

/* A training step: begin, then micro-batches 0, 1, ..., then (under own and overlay) the optimizer
 * reads row[i].gradient, then end. */
void params_begin_step(run *r, int micro_batches);
void params_begin_micro(run *r, int micro);
void params_end_step(run *r);

/* ---- the hooks ---- */
tensor param_use(run *r, int id);
void param_done(run *r, int id);
grad grad_begin(run *r, int id); /* .t is absent when nobody wants this gradient */
void grad_done(run *r, int id);

#endif

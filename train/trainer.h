/* trainer.h - one training run: its memory, its programs, its steps.
 *
 *   trainer_plan     builds model, optimizer and arena and records the programs over the null
 *                    device: train, eval, sample.  Needs hardly any memory, and no data.
 *   trainer_commit   allocates the memory on a device, sets the initial values
 *   trainer_step     one step; trainer_evaluate, decoder: the other programs
 *
 * The same functions record and run: they ask the arena, which knows which of the two it is.
 */
#ifndef REGRAD_TRAINER_H
#define REGRAD_TRAINER_H

#include "core/cost.h"
#include "params/sparse_backing.h"
#include "data/source.h"
#include "params/sharded_backing.h"
#include "infer/decoder.h"
#include "params/offload.h"
#include "run/gather.h"
#include "run/run_state.h"
#include "train/options.h"

/* The last micro-batch includes the optimizer's step; a single one is the last. */
enum { GRAPH_FIRST, GRAPH_MIDDLE, GRAPH_LAST, GRAPHS };

typedef struct {
    const options *o;
    const model_kind *kind;
    device null;
    work_count counted; /* counted by the null device so far */
    work_count work;    /* of a training step, counted while it was recorded */
    arena *arena;
    params params;
    runtime r;
    phase_clock phases; /* of the current step */
    model *model;
    double data_seconds; /* of the step so far */
    optimizer *optimizer;
    batch batch;
    zero *zero;     /* ? with other ranks */
    tensor room;    /* ? u8, workspace lent to the device */
    tensor narrow;  /* ? likewise, for operands in 8 bits */
    sparse *sparse; /* ? with --sparsity */
    tensor hits;    /* ? (1) f64 */
    tensor loss;    /* (1) f64 */
    tensor sums;    /* ? (4) f64, with several ranks: loss, hits, stop request, total loss */
    parameter_fill filling;
    use_order orders[2];  /* of training and evaluation, where params_ordered */
    far_moved step_moved; /* with --offload: traffic of a step, counted while it was recorded */
    double stop;          /* this rank's stop request */
    bool stop_agreed;     /* trainer_stop_wished has reported it */
    double left_out;      /* in an evaluation: samples that this rank could not read */
    decoder decoder;      /* with --sample-every */
    tensor predictions;   /* ? (B,V): logits of a batch */
    /* of --checkpoint-async: room for a copy of what this rank writes of a checkpoint */
    size_t copy_bytes;
    bool copies_to_host; /* beside a device with memory of its own; else in the arena */
    tensor copy;
    char *host_copy;
    float *host_noise;
    uint32_t host_start[2];             /* of the batch's start */
    int32_t *host_starts, *host_rows;   /* ? of a packed batch */
    void *host_inputs, *host_targets;   /* staging, as large as the batch's tensors */
    void *graph[GRAPHS];                /* of the step's micro-batches, if the device has graphs */
    comm_traffic graph_traffic[GRAPHS]; /* traffic of each between ranks */
} trainer;

typedef struct {
    double loss;
    double grad_norm;
    double accuracy;             /* of a classifier, else NAN */
    double data_seconds;         /* waiting for data */
    double seconds[PHASE_COUNT]; /* of this step; NAN on an asynchronous device */
    /* false: the loss was infinite or NaN, and no parameter has changed (nor has a state, except
     * under the policy fold, where states contain the gradients of earlier micro-batches) */
    bool finite;
    bool stop; /* some rank has requested it */
} step_result;

typedef struct {
    double loss;
    double accuracy; /* of a classifier, else NAN */
    bool stopped;    /* interrupted by a stop request: the numbers are partial */
} eval_result;

error *trainer_plan(const options *o, const model_kind *kind, trainer **out) NODISCARD;
error *trainer_commit(trainer *t, device *dev, bool fill_fresh) NODISCARD;
void trainer_destroy(trainer *t);

/* Where the loaded model's values go, one after the other, if they are not all in memory at once;
 * in a program of the arena, between begin and end. */
tensor_source trainer_fill_begin(trainer *t);
void trainer_fill_end(trainer *t);

/* The part of the table that files contain, or are made from. */
run_tensors trainer_tensors(trainer *t);

/* Room for a copy of what a checkpoint holds, or NULL; how much of it is in the host's memory,
 * beside a device's. */
char *trainer_copy_room(const trainer *t);
size_t trainer_host_bytes(const trainer *t);

/* Step 1, 2, ...: accum micro-batches of data, one update.  Where trainer_has_graphs, the first
 * step of a process is executed and then captured; later ones launch the graphs.  The bits are the
 * same either way; --no-cuda-graph turns it off. */
error *trainer_step(trainer *t, source *data, int64_t step, double lr, step_result *out) NODISCARD;
/* Is a step captured on this device?  Not one of packed documents: each batch has its own number of
 * learned rows, by which the host decides.  Nor with a second place, whose copies are counted as
 * they are asked for. */
bool trainer_has_graphs(const trainer *t, const device *dev);
/* How many samples an evaluation uses: eval_batches batches, or all that there are, in full batches
 * if the source is endless.  No sample twice. */
int64_t trainer_eval_samples(const trainer *t, const source *data);

/* Mean loss over eval_batches batches; with 0, and for a finite source, over at most all.
 * Unreadable samples do not count. */
error *trainer_evaluate(trainer *t, source *data, eval_result *out) NODISCARD;

/* With --ema: weights and their averages change places.  What uses the trained model calls it
 * before and after; trainer_evaluate does so itself. */
void trainer_exchange(trainer *t);

/* Has any rank requested a stop?  All ranks ask together: an evaluation or a sample may take too
 * long to wait for. */
bool trainer_stop_wished(trainer *t);

/* Logits (B,V) of samples [first, first + batch); inputs (as the source gives them) are left in
 * t->host_inputs, targets in t->host_targets.  For tasks with o->images.predict. */
error *trainer_predict(trainer *t, source *data, int64_t first, float *logits) NODISCARD;

/* After a step that was not finite: runs it again without updates, watching every operation, and
 * names the first tensor with a NaN or infinity.  Always an error. */
error *trainer_find_fault(trainer *t, source *data, int64_t step, double loss) NODISCARD;

#endif

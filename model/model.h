/* model.h - the interface between training and models.
 *
 * Each model exports a `model_kind`; a task (train/task.h) combines it with data.
 */
#ifndef REGRAD_MODEL_H
#define REGRAD_MODEL_H

#include "params/params.h"
#include "model/config.h"
#include "model/training_policy.h"

typedef struct model model;

/* One micro-batch on the device. */
typedef struct {
    tensor inputs;  /* GPT: (B,T) i32 tokens; ViT: (B,Ch,H,W) images */
    tensor targets; /* GPT: (B,T) i32 tokens, the inputs shifted by one; ViT: (B,classes) weights */
    tensor noise;   /* ? ViT: (2 layers, B) stat, what `draw` has drawn */
    /* GPT with training_policy.packed: */
    tensor starts; /* ? (B,T) i32: where each token's document begins in its row */
    tensor
        rows; /* ? (1,B T) i32: the first n_learned of them are the learned rows, ascending, and the
               * first n_learned of targets belong to them */
    int64_t n_learned;
    tensor start; /* ? GPT with dropout: (2) i32, the first row's number in the run (core/ops.def,
                * dropout) */
} batch;

/* Where a pass accumulates its loss. */
typedef struct {
    tensor sum;      /* (1) f64 */
    bool accumulate; /* otherwise it is overwritten */
    tensor hyper;    /* ? its ok becomes 0 if the loss is infinite or NaN */
    double scale;    /* factor of the sum over all targets, and of the gradients */
    tensor hits;     /* ? (1) f64: the number of correctly classified samples is added, or
                      * written */
    tensor all;      /* ? (n) f64: contains sum and hits; all-reduced over the ranks ... */
    tensor total;    /* ? (1) f64: ... and copied to sum before anything is updated */
} loss_sink;

/* After the losses were added and before any gradient is done: an infinite or NaN loss on one rank
 * stops the updates on all. */
static inline void loss_agree(runtime *r, const loss_sink *s)
{
    if (!present(s->all)) return;
    comm_sum(r->comm, r->dev, r->stream, s->all);
    OP(sum, r->dev, r->stream, .sum = s->total, .x = s->sum, .hyper = s->hyper, .scale = 1);
}

/* One step of generation or scoring: the next n tokens of each of B sequences. */
typedef struct {
    tensor tokens;         /* (B,n) i32 */
    int64_t position;      /* of the first; all earlier ones are in the caches */
    int64_t room;          /* the largest n of the program: its memory is the same for every step */
    tensor logits;         /* ? (B,V): for the token after the last */
    const loss_sink *loss; /* ? for a scoring program, in every step */
    tensor targets;        /* ? (B,n) i32, with loss: the token after each; absent: not scored */
} decode_step;

typedef struct {
    const char *program;       /* "train_gpt" */
    const char *default_model; /* one of its presets */
    const preset_list *presets;
    bool hits; /* a classifier: loss_sink.hits is filled in */

    error *(*create)(const model_config *, const training_policy *, params *, model **out);
    void (*destroy)(model *);
    /* Memory for the batch: b sequences of t positions. */
    batch (*place_batch)(const model *, arena *, int64_t b, int64_t t);
    /* Targets (losses) per sample of t positions. */
    int64_t (*targets)(const model *, int64_t t);
    /* Forward and backward: gradients go through the hooks of r->params. */
    void (*train)(runtime *r, model *, const batch *, const loss_sink *);
    /* ? The noise for samples first, first + 1, ... of the run: host numbers for batch.noise. */
    void (*draw)(const model *, uint64_t seed, int64_t first, int64_t b, float *noise);
    /* Forward and loss only. */
    void (*evaluate)(runtime *r, model *, const batch *, const loss_sink *);
    /* ? logits (B,V) of a batch; its targets are not read */
    void (*predict)(runtime *r, model *, const batch *, tensor logits);
    /* ? Text generation.  Inside one program: allocates caches for b sequences of up to `length`
     * tokens; each step computes only its new tokens; the caches are freed. */
    void (*open_caches)(runtime *r, model *, int64_t b, int64_t length);
    void (*decode)(runtime *r, model *, const decode_step *);
    void (*close_caches)(runtime *r, model *);
} model_kind;

/* image_kind: a ViT, a ConvNeXt or a residual network, by the configuration (image_kind.c). */
extern const model_kind gpt_kind, image_kind;

#endif

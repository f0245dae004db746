/* model.h - what train.c knows of a model.
 *
 * Each model exports a `model_kind`; a task (train/task.h) joins it to its data.
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
    tensor targets; /* GPT: (B,T) i32 tokens, the inputs moved by one; ViT: (B,classes) weights */
    tensor noise;   /* ? ViT: (2 layers, B) stat, what `draw` has drawn */
    /* GPT with training_policy.packed: */
    tensor starts; /* ? (B,T) i32: where in its row each token's document begins */
    tensor
        rows; /* ? (1,B T) i32: the first n_learned of them are the rows that are learned, ascending,
                      * and the first n_learned of targets are theirs */
    int64_t n_learned;
    tensor
        start; /* ? GPT with dropout: (2) i32, the run's number of the first row (core/ops.def, dropout) */
} batch;

/* Where a pass adds its loss. */
typedef struct {
    tensor sum;      /* (1) f64 */
    bool accumulate; /* else overwritten */
    tensor hyper;    /* ? its ok becomes 0 when the loss is not finite */
    double scale;    /* of the sum of the losses of all targets; the gradients' too */
    tensor hits;     /* ? (1) f64: how many samples are classified right is added, or written */
    tensor all;      /* ? (n) f64: with sum and hits in it; all ranks' are added up ... */
    tensor total;    /* ? (1) f64: ... and sum put here, before anything is updated */
} loss_sink;

/* After the losses have been added, and before any gradient is done: a loss that is not finite in
 * one rank stops the updates of all. */
static inline void loss_agree(run *r, const loss_sink *s)
{
    if (!present(s->all)) return;
    comm_sum(r->comm, r->dev, r->stream, s->all);
    OP(sum, r->dev, r->stream, .sum = s->total, .x = s->sum, .hyper = s->hyper, .scale = 1);
}

/* One step of generation or scoring: the next n tokens of each of B sequences. */
typedef struct {
    tensor tokens;         /* (B,n) i32 */
    int64_t position;      /* of the first of them; all before are in the caches */
    int64_t room;          /* the largest n of the program: its memory is the same for every step */
    tensor logits;         /* ? (B,V): of what follows the last of them */
    const loss_sink *loss; /* ? for a program of scoring, in every step */
    tensor targets; /* ? (B,n) i32, with loss: what follows each of them; absent: not scored */
} decode_step;

typedef struct {
    const char *program;       /* "train_gpt" */
    const char *default_model; /* one of its presets */
    const preset_list *presets;
    bool hits; /* it classifies: loss_sink.hits is filled in */

    error *(*create)(const model_config *, const training_policy *, params *, model **out);
    void (*destroy)(model *);
    /* The batch's memory: b sequences of t positions. */
    batch (*place_batch)(const model *, arena *, int64_t b, int64_t t);
    /* Targets (losses) in a sample of t positions. */
    int64_t (*targets)(const model *, int64_t t);
    /* Forward and backward: gradients through the hooks of r->params. */
    void (*train)(run *r, model *, const batch *, const loss_sink *);
    /* ? The noise of a micro-batch's samples first, first + 1, ... of the run: host numbers for
     * batch.noise. */
    void (*draw)(const model *, uint64_t seed, int64_t first, int64_t b, float *noise);
    /* Forward and loss alone. */
    void (*evaluate)(run *r, model *, const batch *, const loss_sink *);
    /* ? logits (B,V) of a batch; its targets are not read */
    void (*predict)(run *r, model *, const batch *, tensor logits);
    /* ? Continuing sequences.  Inside one program: caches for b sequences of up to `length` tokens
     * are taken; each step costs what its own tokens cost; the caches are dropped. */
    void (*open_caches)(run *r, model *, int64_t b, int64_t length);
    void (*decode)(run *r, model *, const decode_step *);
    void (*close_caches)(run *r, model *);
} model_kind;

/* image_kind: vit_kind or convnext_kind, by the configuration (model/image_kind.c). */
extern const model_kind gpt_kind, vit_kind, convnext_kind, image_kind;

#endif

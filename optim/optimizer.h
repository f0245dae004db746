/* optimizer.h - applies a rule to the parameter table, in the memory that its policy provides.
 *
 * Two switches, so that each saving can be measured alone:
 *   gradients  own | overlay | release | fold   where gradients are (params/params.h)
 *   impl       fused | passes                   intermediates in registers, or over whole tensors:
 *                                               N elements of their own, or (_r) in the space of
 *                                               dead gradients
 * `adamw` is own + fused; the suffix _r means gradients auto and, under passes, reused space.
 * Rules that fold (adama) always have that policy, whatever the number of micro-batches; passes
 * then run tensor by tensor, so that an intermediate has the size of one tensor, too.
 *
 *   copies of N (f32)      passes   passes _r   fused   fused _r with release
 *   adamw                     5         4          4         3 + live gradient
 *   adama                     3 + live gradient (and intermediate) in all forms, any --accum
 *   adan                      7         6          6         5 + live gradient
 *   lion                      4         3          3         2 + live gradient
 *
 * A rule that sees whole matrices (muon) processes them one at a time, after the others, in both
 * forms; its workspace is where something has died (optim/newton_schulz.h).  Under overlay each
 * gradient's space is freed as soon as its parameter is updated, which makes room for the next
 * matrix.
 */
#ifndef REGRAD_OPTIMIZER_H
#define REGRAD_OPTIMIZER_H

#include "params/params.h"
#include "optim/averages.h"
#include "optim/layer_rates.h"
#include "optim/registry.h"
#include "optim/update_window.h"

/* The form of the states (core/stored_numbers.h). */
typedef enum { STATE_F32, STATE_BF16, STATE_INT8 } state_form;

typedef struct {
    rule_id rule;
    bool reduced, fused;
    grad_policy gradients;
    double beta[MAX_BETAS], eps, weight_decay;
    double clip; /* largest global gradient norm; 0 = no clipping */
    double ema;  /* decay of the weights' average (optim/averages.h); 0: none is kept */
    bool ema_warmup;
    double layer_decay; /* optim/layer_rates.h; 0 or 1: the same learning rate for all */
    state_form state;
    bool state_all; /* also for small tensors and embeddings; otherwise theirs are f32 */
    dtype type;     /* of parameters and gradients; 0: f32 */
    bool sparse;   /* matrices are stored as their non-zeros in one row (params/sparse_backing.h) */
    uint64_t seed; /* for stochastic rounding */
    /* for rules that see whole matrices: Newton-Schulz iterations; and the hyperparameters of the
     * rule for the rest, whose learning rate is lr_ratio times theirs in every step */
    int64_t newton_schulz_steps;
    struct {
        double lr_ratio, beta[2], eps;
    } others;
} optim_config;

/* The defaults of the named optimizer. */
error *optim_defaults(const char *name, optim_config *out) NODISCARD;

/* The same, stored like those of `like`: types, states and non-zeros. */
error *optim_another(const char *name, const optim_config *like, optim_config *out) NODISCARD;

/* The table of what an optimizer cannot be combined with (optim/optim_conflicts.c): whether a row
 * applies, with a short note (NULL: not worth a line); and the same as a user error. */
bool optim_conflicts(const optim_config *c, int64_t micro_batches, const char **with);
error *optim_refuse(const optim_config *c, int64_t micro_batches) NODISCARD;

/* Resolves `auto` to a policy, with the reason in words; refuses what that table lists. */
error *optim_resolve(optim_config *c, int64_t micro_batches, const char **reason) NODISCARD;

/* Can it run pass by pass?  Passes store each result in memory, and with less than 32 bits it would
 * differ from the fused form. */
bool optim_has_passes(const optim_config *c);

typedef struct {
    optim_config c;
    const rule_info *info;
    runtime *r;
    tensor hyper;                /* struct hyper as u8 */
    tensor slots;                /* (n) f64: squared gradient norm by parameter */
    tensor sums;                 /* fold: (n) f64: sums of the slots over the step's
                                  * micro-batches */
    tensor (*state)[MAX_STATES]; /* [n] */
    tensor (*scale)[MAX_STATES]; /* [n] of 8-bit states */
    /* ? [n] --offload: what of a parameter's numbers lies far; those states are absent above */
    far_item *far;
    update_window window;
    averages *averages;  /* ? */
    far_item *far_items; /* [n] scratch for one call, of items that have some */
    tensor squares;      /* ? (1) f64: squared norm of a matrix that is being orthogonalized */
    float *rate;         /* ? [n] with layer_decay: factors of the learning rate */
    optim_item *items;   /* [n] scratch for one call */
    sumsq_item *norms;   /* the same */
    hyper host;          /* hyperparameters of this step */
} optimizer;

error *optimizer_create(const optim_config *c, runtime *r, optimizer **out) NODISCARD;
void optimizer_destroy(optimizer *o);

/* The rule of parameter i: it determines the states. */
const rule_info *optimizer_rule_of(const optimizer *o, int i);

/* Takes states and scalars from the arena; once while recording and once in the run. */
void optimizer_place(optimizer *o);
/* Sets the states to zero. */
void optimizer_clear(optimizer *o);

/* Writes the step's hyperparameters to the device; step counts from 1. */
void optimizer_begin_step(optimizer *o, int64_t step, double lr);
/* After backward: updates what has not been updated yet, and leaves the gradient norm in hyper. */
void optimizer_end_step(optimizer *o);
/* After all weights have been updated, everywhere. */
void optimizer_average(optimizer *o);
/* Copies the step's results (grad_norm, clip, ok) to the host. */
hyper optimizer_results(optimizer *o);

#endif

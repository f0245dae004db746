/* optimizer.h - runs a rule over the parameter table, in the memory that its policy gives.
 *
 * Two switches, so that each saving can be seen alone:
 *   gradients  own | overlay | release | fold   where gradients are (params/params.h)
 *   impl       fused | passes                   intermediates in registers, or over whole tensors:
 *                                               N elements of their own, or (_r) in dead gradient
 *                                               space
 * `adamw` is own + fused; the suffix _r means gradients auto and, under passes, reused space.
 * Rules that fold (adama) have that policy always, whatever the number of micro-batches; passes
 * then run tensor by tensor, so that an intermediate is one tensor's, too.
 *
 *   copies of N (f32)      passes   passes _r   fused   fused _r with release
 *   adamw                     5         4          4         3 + live gradient
 *   adama                     3 + live gradient (and intermediate) in all forms, any --accum
 *   adan                      7         6          6         5 + live gradient
 *   lion                      4         3          3         2 + live gradient
 *
 * A rule that sees whole matrices (muon) goes through them one at a time, after the others, in both
 * forms; what its products need is where something has died (optim/newton_schulz.h).  Under
 * overlay each gradient's space is given back as soon as its parameter is updated, so that the next
 * matrix finds room there.
 */
#ifndef REGRAD_OPTIMIZER_H
#define REGRAD_OPTIMIZER_H

#include "params/params.h"
#include "optim/registry.h"

/* The form of the states (core/stored_numbers.h). */
typedef enum { STATE_F32, STATE_BF16, STATE_INT8 } state_form;

typedef struct {
    rule_id rule;
    bool reduced, fused;
    grad_policy gradients;
    double beta[MAX_BETAS], eps, weight_decay;
    double clip; /* largest global gradient norm; 0 = no clipping */
    state_form state;
    bool state_all; /* of small tensors and embeddings, too; else theirs are f32 */
    dtype type;     /* of parameters and gradients; 0: f32 */
    bool sparse;   /* matrices are stored as their non-zeros in one row (params/sparse_backing.h) */
    uint64_t seed; /* of what is rounded at random */
    /* of rules that see whole matrices: products in a row; and the numbers of what they leave to
     * another rule, whose learning rate is lr_ratio times theirs in every step */
    int64_t newton_schulz_steps;
    struct {
        double lr_ratio, beta[2], eps;
    } others;
} optim_config;

/* The defaults of the named optimizer. */
error *optim_defaults(const char *name, optim_config *out) NODISCARD;

/* The same, of numbers that are stored as those of `like`: their types, states and non-zeros. */
error *optim_another(const char *name, const optim_config *like, optim_config *out) NODISCARD;

/* The table of what an optimizer cannot be combined with (optim/optim_conflicts.c): does a row of it hold,
 * and with what in few words (NULL: not worth a line); and the same as a user error. */
bool optim_conflicts(const optim_config *c, int64_t micro_batches, const char **with);
error *optim_refuse(const optim_config *c, int64_t micro_batches) NODISCARD;

/* Turns `auto` into a policy, with the reason in words; refuses what that table has. */
error *optim_resolve(optim_config *c, int64_t micro_batches, const char **reason) NODISCARD;

/* Can it run pass by pass?  Passes leave each result in memory, and in less than 32 bits it would not
 * be that of the fused form. */
bool optim_has_passes(const optim_config *c);

typedef struct {
    optim_config c;
    const rule_info *info;
    run *r;
    tensor hyper;                /* struct hyper as u8 */
    tensor slots;                /* (n) f64: squared gradient norm by parameter */
    tensor sums;                 /* fold: (n) f64: the slots of the step's micro-batches added up */
    tensor (*state)[MAX_STATES]; /* [n] */
    tensor (*scale)[MAX_STATES]; /* [n] of states of 8 bits */
    tensor squares;              /* ? (1) f64: of a matrix, while it is made orthogonal */
    optim_item *items;           /* [n] scratch for one call */
    sumsq_item *norms;           /* the same */
    hyper host;                  /* this step's numbers */
} optimizer;

error *optimizer_create(const optim_config *c, run *r, optimizer **out) NODISCARD;
void optimizer_destroy(optimizer *o);

/* The rule of parameter i: it says which states that has. */
const rule_info *optimizer_rule_of(const optimizer *o, int i);

/* Asks the arena for states and scalars; once in the record and once in the run. */
void optimizer_place(optimizer *o);
/* States to zero. */
void optimizer_clear(optimizer *o);

/* Writes the step's numbers to the device; step counts from 1. */
void optimizer_begin_step(optimizer *o, int64_t step, double lr);
/* After backward: updates what has not been updated, and leaves the gradient norm in hyper. */
void optimizer_end_step(optimizer *o);
/* Copies the step's results (grad_norm, clip, ok) to the host. */
hyper optimizer_results(optimizer *o);

#endif

/* rule.h - what an update rule is.
 *
 * A rule is one inline function over one element and everything that belongs to it (a lane),
 * divided into the passes of the published whole-tensor form.  The same function serves both
 * implementations:
 *
 *     fused:   load p g s0 s1      pass 0, 1, 2 ... in registers       store p s0 s1
 *     passes:  for each pass: for each tensor: for each element: load, pass, store what it wrote
 *
 * Each pass returns the set of lane members that it wrote.  Both forms execute the same operations
 * with the same rounding (compiled without contraction), so both give the same bits. Compiled for
 * the host and for CUDA: float arithmetic and sqrtf only.
 */
#ifndef REGRAD_RULE_H
#define REGRAD_RULE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/host_device.h"

enum { MAX_STATES = 4, MAX_BETAS = 3, MAX_PASSES = 16 };

/* A step's hyperparameters for the parameters that a rule leaves to another (rule_info.others). */
typedef struct {
    float lr, lr_wd, beta[2], rest[2], debias[2], eps;
} others_numbers;

/* All hyperparameters of a step, in device memory, written before the step (grad_norm, clip and ok
 * by the step itself).  Host control flow never depends on them. */
typedef struct {
    float lr;
    float lr_wd;             /* lr * weight decay */
    float beta[MAX_BETAS];   /* decay rates of the moving averages */
    float rest[MAX_BETAS];   /* 1 - beta, from double */
    float debias[MAX_BETAS]; /* 1 - beta^t */
    float eps;
    others_numbers others;
    float average_rest;     /* 1 - the decay of the weights' average */
    float clip;             /* gradient factor; 1 without clipping */
    float grad_norm;        /* L2 norm over all parameters, before clipping */
    int32_t first;          /* 1 in the first step: there is no previous gradient */
    int32_t ok;             /* 0 once the loss is NaN or infinite: no parameter changes any more */
    uint32_t seed[2], step; /* for stochastic rounding (core/stored_numbers.h) */
} hyper;

/* Those of a tensor whose learning rate is `scale` times the others'; 0 means 1. */
HOST_DEVICE hyper hyper_scaled(hyper h, float scale)
{
    if (scale == 0) return h;
    h.lr *= scale;
    h.lr_wd *= scale;
    h.others.lr *= scale;
    h.others.lr_wd *= scale;
    return h;
}

/* One element.  t is the intermediate of the pass-by-pass form. */
typedef struct {
    float p, g, s[MAX_STATES], t;
    float wd; /* lr * weight decay for this tensor, 0 if it does not decay */
} lane;

enum {
    LANE_P = 1,
    LANE_G = 2,
    LANE_T = 4,
    LANE_S0 = 8,
    LANE_S1 = 16,
    LANE_S2 = 32,
    LANE_S3 = 64,
    LANE_RESULT = 128 /* with LANE_T: t is the rule's result, so the fused form stores it */
};

/* Which gradient of a step a rule receives: that of a micro-batch (the first, a middle one, the
 * last), or the sum of all. */
typedef enum { FOLD_FIRST, FOLD_LATER, FOLD_LAST, FOLD_PARTS, FOLD_ALL = FOLD_PARTS } fold_part;

/* How much of a tensor a rule must see at once.  A rule BY_MATRIX consists of two, with a device's
 * matrix products between them (optim/newton_schulz.h):
 *
 *     rule       g -> states, and its result into temp     element by element
 *                temp -> orthogonal temp                   the whole matrix
 *     apply      p, with temp as its gradient              element by element
 *
 * It applies to the weights between hidden layers; all other parameters use the rule `others`. */
typedef enum { BY_ELEMENT, BY_MATRIX } granularity;

/* The hyperparameters that a rule has options for. */
enum { HAS_BETA1 = 1, HAS_BETA2 = 2, HAS_BETA3 = 4, HAS_EPS = 8, HAS_OTHERS = 16 };

/* A rule's entry in the registry (optim/rules/all.h). */
typedef struct {
    const char *name;
    const char *summary;           /* one line for --help and the README */
    const char *state[MAX_STATES]; /* names in checkpoints; PyTorch's if it has them */
    int n_states;
    int n_passes;
    bool needs_temp;      /* the passes need an intermediate of N elements ... */
    unsigned r_temp;      /* ... which the _r form puts here: LANE_G or LANE_Sk */
    const char *r_passes; /* or the rule whose passes the _r form runs instead */
    /* The rules that accumulate each micro-batch's gradient as soon as it is complete, if there are
     * several; none: the rule runs on their sum. */
    const char *fold[FOLD_PARTS];
    granularity sees;
    unsigned squares;           /* LANE_Sk: averages of squares, never negative */
    unsigned copies;            /* LANE_Sk: a previous gradient, no average */
    const char *others, *apply; /* BY_MATRIX: rules, see above */
    bool inner;                 /* no optimizer that could be asked for */
    bool linear;                /* the states are linear in the gradient */
    unsigned options;           /* HAS_... */
    double lr, beta[MAX_BETAS], eps, weight_decay; /* defaults */
} rule_info;

/* Before a rule's NAME_info: C++ (CUDA) evaluates it at compile time. */
#ifdef __cplusplus
#define RULE_INFO static constexpr rule_info
#else
#define RULE_INFO static const rule_info
#endif

#endif

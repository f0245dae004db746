/* averages.h - an exponential moving average of the weights (--ema), with which a run is evaluated
 * and which is the model that it leaves.
 *
 *     after step 1      average = weight
 *     after step t      average = d average + (1 - d) weight
 *     d                 --ema; with --ema-warmup the smaller of it and 1 - t^(-2/3)
 *
 * That is timm's ModelEmaV3, which train.py updates after each step with the number of steps done:
 * --model-ema-decay is --ema, --model-ema-warmup is --ema-warmup (with timm's power of 2/3 and
 * gamma of 1).  Averaged is what is trained, and BatchNorm's running statistics, which timm
 * averages, too.  A frozen weight is its own average.
 *
 * A pass reads weights where they are, so to evaluate, weights and averages change places, tensor
 * by tensor through one workspace, and change back afterwards.  Nothing is rounded by that, as an
 * average is stored as a weight is:
 *
 *     fp32 run      average f32                                                     4 bytes
 *     bf16 run      average bf16, and the 16 bits that it lacks of an f32           2 + 2
 *                   (core/stored_numbers.h: split16); what changes places is the bf16
 *
 * In a bf16 run the average is of the weights that the passes compute with, not of the masters; so
 * it is the same for all forms of master that train alike.  Among ranks each keeps the average of
 * what it updates, and values are gathered after a change of places as after an update.
 */
#ifndef REGRAD_AVERAGES_H
#define REGRAD_AVERAGES_H

#include "core/ops.h"
#include "params/params.h"

/* The decay after `step` steps (1, 2, ...). */
double average_decay(double decay, bool warmup, int64_t step);

/* Has parameter id an average, on this rank or on another? */
bool param_averaged(const params *p, int id);

typedef struct {
    tensor value; /* ? as the weight, or this rank's part of it; absent for what is not averaged */
    tensor low;   /* ? i16, with bf16 */
} average;

typedef struct {
    average *of;       /* [n] by parameter */
    optim_item *items; /* [n] scratch */
} averages;

error *averages_create(const params *p, averages **out) NODISCARD;
void averages_destroy(averages *a); /* NULL is ignored */

/* Takes them from the arena; once while recording and once in the run. */
void averages_place(averages *a, runtime *r);
/* Before the first step: what the weights are, which may be evaluated and written, too. */
void averages_begin(averages *a, runtime *r);
/* After a step, whose decay is in its numbers (struct hyper, on the device). */
void averages_update(averages *a, runtime *r, tensor numbers);
/* Weights and averages change places, within a program of the arena. */
void averages_exchange(averages *a, runtime *r);

#endif

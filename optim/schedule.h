/* schedule.h - the learning rate of each step.
 *
 *   warm-up    lr (step + 1) / warmup
 *
 * and after it, with x going from 0 to 1 over the remaining steps:
 *
 *   constant   lr
 *   linear     lr (1 - x (1 - f))
 *   cosine     lr (f + (1 - f) (1 + cos(pi x)) / 2)     Loshchilov, Hutter: SGDR, ICLR 2017
 *   wsd        lr, then linearly to f lr over the       warm-up, stable, decay: Hu et al., MiniCPM,
 *              last fifth                               2024
 *
 * f is the final fraction.  The last step has an x just below 1.
 */
#ifndef REGRAD_SCHEDULE_H
#define REGRAD_SCHEDULE_H

#include "base/error.h"
#include <stdint.h>

typedef enum {
    SCHEDULE_COSINE,
    SCHEDULE_LINEAR,
    SCHEDULE_CONSTANT,
    SCHEDULE_WSD,
    SCHEDULE_COUNT
} schedule_kind;

typedef struct {
    schedule_kind kind;
    double lr;
    int64_t warmup, steps;
    double final_fraction;
} schedule;

error *schedule_find(const char *name, schedule_kind *out) NODISCARD;
double schedule_lr(const schedule *s, int64_t step);

#endif

/* schedule.h - the learning rate of each step.
 *
 *   warmup        lr (step + 1) / warmup, then from step = warmup on, with x from 0 to 1 over the
 * rest: constant      lr linear        lr (1 - x (1 - f)) cosine        lr (f + (1 - f) (1 + cos(pi
 * x)) / 2)       Loshchilov, Hutter, ICLR 2017 wsd           lr, and over the last fifth linearly
 * to f lr    warm-up, stable, decay: Hu et al. 2024
 *
 * f is the final fraction; the last step runs at x just below 1.
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

const char *schedule_name(schedule_kind kind);
error *schedule_find(const char *name, schedule_kind *out) NODISCARD;
double schedule_lr(const schedule *s, int64_t step);

#endif

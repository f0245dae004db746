/* show_step.h - a step for people: one line on the terminal. */
#ifndef REGRAD_SHOW_STEP_H
#define REGRAD_SHOW_STEP_H

#include "run/log.h"

/* On stdout; unit: what speed is counted in, in short ("tok"). */
void show_step(const step_record *s, const char *unit);

#endif

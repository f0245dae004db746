/* show_step.h - prints a step as one line on the terminal. */
#ifndef REGRAD_SHOW_STEP_H
#define REGRAD_SHOW_STEP_H

#include "run/log.h"

/* To stdout; unit: the unit of speed, abbreviated ("tok"). */
void show_step(const step_record *s, const char *unit);

#endif

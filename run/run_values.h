/* run_values.h - state.json: every value that a run resumes from, and all that it was made with.
 *
 * How each is treated that has changed since is in the table of run_values.c; of an option, in the
 * option's own row.
 */
#ifndef REGRAD_RUN_VALUES_H
#define REGRAD_RUN_VALUES_H

#include "run/run_contents.h"

error *run_values_write(const run_contents *c, const char *path) NODISCARD;

/* Fills c->step, c->log_bytes and the best of the evaluations.  User error: what has changed and
 * must not, by name. */
error *run_values_read(const char *path, run_contents *c) NODISCARD;

#endif

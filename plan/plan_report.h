/* plan_report.h - the memory plan for people (plan.txt), for programs (JSON) and as a picture
 * (SVG). */
#ifndef REGRAD_PLAN_REPORT_H
#define REGRAD_PLAN_REPORT_H

#include "train/loop.h"
#include <stdio.h>

/* The table: bytes by kind at the peak, when it occurs, the policy and why. */
error *plan_summary(const trainer *t, FILE *out) NODISCARD;

/* The same, with what each reuse saves, and all optimizers side by side: about forty plans, each of
 * which takes milliseconds, or tenths of a second for a thousand layers. */
error *plan_print(const trainer *t, FILE *out) NODISCARD;

/* One object: peak_bytes, load_bytes, gradient_policy, by_kind {...}.  Free *out. */
error *plan_json(const trainer *t, char **out) NODISCARD;

/* plan.txt and plan.svg into the directory --out, beside the plan of --plan-beside. */
error *plan_write(const trainer *t) NODISCARD;

/* plan.txt and plan.svg, for train_loop. */
extern const run_report plan_files[];

#endif

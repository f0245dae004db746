/* cost.h - a device that computes nothing and counts what would be computed and moved.
 *
 * A program recorded over it tells its work: floating-point operations of the products and of
 * attention, and bytes that operations read and write.  Over two rates of a machine that is a time
 * (plan/memory_search.h).  Each operand of an operation counts once, however often its tiles are
 * read, those of products three times (they are rearranged first), and an attention's scores, which
 * never reach memory, count as operations only.
 */
#ifndef REGRAD_COST_H
#define REGRAD_COST_H

#include "core/ops.h"

typedef struct {
    double flops; /* of matrix products and attention */
    double bytes; /* of all operations */
} work_count;

/* Like device_null(), and adds to *count, which must outlive it. */
device device_counting(work_count *count);

#endif

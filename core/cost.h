/* cost.h - a device that computes nothing and counts the work of each operation.
 *
 * Recording a program over it yields the floating-point operations of matrix products and
 * attention, and the bytes that operations read and write.  Divided by two rates of a machine these
 * give a time (plan/memory_search.h).  Each operand of an operation counts once, however often its
 * tiles are read; those of products count three times (they are packed first); attention scores
 * never reach memory and count as operations only.
 */
#ifndef REGRAD_COST_H
#define REGRAD_COST_H

#include "core/ops.h"

typedef struct {
    double flops; /* of matrix products and attention */
    double bytes; /* of all operations */
} work_count;

/* Like device_null(); adds to *count, which must outlive it. */
device device_counting(work_count *count);

#endif

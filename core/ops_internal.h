/* ops_internal.h - between ops.c and ops_written.c */
#ifndef REGRAD_OPS_INTERNAL_H
#define REGRAD_OPS_INTERNAL_H

#include "core/ops.h"

enum { MAX_WRITTEN = 4 };

/* The tensors that an operation writes, at most MAX_WRITTEN, some of them perhaps absent; returns how
 * many. */
#define OP_WRITTEN(name) int written_##name(const name##_op *o, tensor *w);
DEVICE_OPS(OP_WRITTEN)
#undef OP_WRITTEN

#endif

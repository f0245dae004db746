/* ops_internal.h - between ops.c, ops_sparse.c and ops_written.c */
#ifndef REGRAD_OPS_INTERNAL_H
#define REGRAD_OPS_INTERNAL_H

#include "core/ops.h"

enum { MAX_WRITTEN = 4 };

/* The tensors that an operation writes, at most MAX_WRITTEN, some of them perhaps absent; returns how
 * many. */
#define OP_WRITTEN(name) int written_##name(const name##_op *o, tensor *w);
DEVICE_OPS(OP_WRITTEN)
#undef OP_WRITTEN

/* ---- checks ---- */

/* The device fails: a sentence that must hold, and the two tensors to show. */
void op_misuse(device *dev, const char *op, const char *sentence, tensor a, tensor b);

/* Inside a check function: CHECK(sentence, the two tensors to show). */
#define CHECK(sentence, a, b)                                                                      \
    do {                                                                                           \
        if (!(sentence)) {                                                                         \
            op_misuse(dev, op, #sentence, a, b);                                                   \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static inline bool working(const device *dev, tensor t)
{
    return dev->ops->working_types >> t.type & 1;
}

/* t is absent, or contiguous with this type and element count */
static inline bool fits(tensor t, dtype type, int64_t count)
{
    return !present(t) || (t.type == type && tensor_count(t) == count && tensor_contiguous(t));
}

/* Those that are not in ops.c. */
#define OP_CHECK(name) bool check_##name(device *dev, const char *op, const name##_op *o);
SPARSE_OPS(OP_CHECK)
#undef OP_CHECK

#endif

/* ops_internal.h - the vocabulary of core/ops.def: macros that describe a call `o`.
 *
 * Preconditions (core/ops.c) and costs (core/cost.c) are written in it.
 */
#ifndef REGRAD_OPS_INTERNAL_H
#define REGRAD_OPS_INTERNAL_H

#include "core/block_codes.h"
#include "core/scale_codes.h"
#include "core/ops.h"

/* ---- roles and types ---- */

enum { IN = 1, OUT = 2, INOUT = IN | OUT, PART = 4, SCRATCH = 8, OPT = 16 };
enum {
    OPT_IN = OPT | IN,
    OPT_OUT = OPT | OUT,
    OPT_INOUT = OPT | INOUT,
    OPT_SCRATCH = OPT | SCRATCH
};
enum { WORK = DTYPE_COUNT, EXACT, STAT, SAME, ANY }; /* beside the dtypes */

/* ---- sizes; 0 for absent operands ---- */

static inline int64_t rows(tensor t)
{
    return present(t) ? tensor_rows(t) : 0;
}

static inline int64_t cols(tensor t)
{
    return present(t) ? tensor_cols(t) : 0;
}

static inline int64_t count(tensor t)
{
    return present(t) ? tensor_count(t) : 0;
}

/* Dimension i. */
static inline int64_t dim(tensor t, int i)
{
    return i < t.rank ? t.dim[i] : 0;
}

/* Groups of bits for n elements. */
static inline int64_t groups_of(int64_t n)
{
    return n / SPARSE_GROUP + (n % SPARSE_GROUP > 0);
}

/* ---- what must hold ---- */

/* Same address; while recording, the same offset in the same block. */
static inline bool overlap(tensor a, tensor b)
{
    return present(a) && present(b) && a.data == b.data;
}

static inline bool working(const device *dev, tensor t)
{
    return dev->ops->working_types >> t.type & 1;
}

/* t is absent, or contiguous with this type and element count */
static inline bool fits(tensor t, dtype type, int64_t count)
{
    return !present(t) || (t.type == type && tensor_count(t) == count && tensor_contiguous(t));
}

/* Rows of `cols` numbers are `first` heads of D numbers, `second` of E, and further whole heads of
 * E. */
static inline bool heads_fit(int64_t cols, int64_t D, int64_t E, int64_t first, int64_t second)
{
    return D > 0 && E > 0 && cols % E == 0 && first >= 0 && second >= 0 && (first || second) &&
           first <= cols / D && second <= (cols - first * D) / E;
}

/* Is the workspace of this device's attention large enough? */
static inline bool room_fits(const device *dev, tensor workspace, int method, int64_t B, int64_t H,
                             int64_t T, int64_t D, bool backward)
{
    attention_sizes s = {.batch = B, .heads = H, .length = T, .head_size = D};
    return count(workspace) >= attention_workspace(dev->kind, method, &s, backward);
}

/* ---- what it costs ---- */

static inline double bytes(tensor t)
{
    return (double)count(t) * (double)dtype_size(t.type);
}

/* An accumulated gradient is read, too. */
static inline double added_bytes(grad g)
{
    return bytes(g.t) * (g.accumulate ? 2 : 1);
}

/* A product's own traffic.  BLAS packs its operands into tiles first: each is read, written and
 * read again.  With many rows that is negligible; with few it is the cost of the weights. */
static inline double arranged(tensor a, tensor b, tensor out)
{
    return 3 * (bytes(a) + bytes(b) + bytes(out));
}

/* How many of n keys are inside a window; 0: all. */
static inline double seen(double n, double window)
{
    return window > 0 && window < n ? window : n;
}

/* Pairs of a query, one of t tokens after `before` others, and a key that it sees. */
static inline double pairs(double before, double t, bool causal, double window)
{
    double all = before + t, none = seen(before, window), part = seen(all, window);
    if (!causal) return t * all;
    /* queries whose window is not full yet see one key more each; the others see a full one */
    return (part * (part + 1) - none * (none + 1)) / 2 + (t - (part - none)) * part;
}

#endif

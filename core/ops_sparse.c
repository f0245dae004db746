/* ops_sparse.c - the front of the operations on non-zeros (core/ops.h): what must hold of their
 * operands, and what they write.
 */
#include "core/ops_internal.h"

/* Bits of a matrix of n elements, and where its groups' values begin. */
static bool set_fits(tensor bits, tensor starts, int64_t n)
{
    int64_t groups = (n + SPARSE_GROUP - 1) / SPARSE_GROUP;
    return present(bits) && fits(bits, I32, groups * SPARSE_WORDS) && present(starts) &&
           fits(starts, I64, groups + 1);
}

/* The same, of whole groups: as many as there are bits. */
static bool groups_fit(tensor bits, tensor starts)
{
    return present(bits) && tensor_cols(bits) == SPARSE_WORDS &&
           set_fits(bits, starts, tensor_rows(bits) * SPARSE_GROUP);
}

bool check_expand(device *dev, const char *op, const expand_op *o)
{
    CHECK(present(o->out) && tensor_contiguous(o->out), o->out, o->values);
    CHECK(o->values.type == o->out.type && tensor_contiguous(o->values), o->out, o->values);
    CHECK(set_fits(o->bits, o->starts, tensor_count(o->out)), o->bits, o->starts);
    return true;
}

bool check_compress(device *dev, const char *op, const compress_op *o)
{
    tensor values = o->values.t;
    CHECK(present(o->x) && tensor_contiguous(o->x), o->x, values);
    CHECK(values.type == o->x.type && tensor_contiguous(values), o->x, values);
    CHECK(!o->values.accumulate || working(dev, o->x), o->x, values);
    CHECK(set_fits(o->bits, o->starts, tensor_count(o->x)), o->bits, o->starts);
    return true;
}

bool check_starts(device *dev, const char *op, const starts_op *o)
{
    CHECK(groups_fit(o->bits, o->starts), o->bits, o->starts);
    return true;
}

bool check_count_below(device *dev, const char *op, const count_below_op *o)
{
    CHECK(working(dev, o->x) && tensor_contiguous(o->x), o->x, o->count);
    CHECK(o->count.type == I64 && tensor_count(o->count) == 1, o->count, o->x);
    return true;
}

bool check_prune(device *dev, const char *op, const prune_op *o)
{
    CHECK(working(dev, o->values) && tensor_contiguous(o->values), o->values, o->kept);
    CHECK(groups_fit(o->bits, o->starts), o->bits, o->starts);
    CHECK(present(o->kept) && fits(o->kept, I32, tensor_count(o->bits)), o->kept, o->bits);
    CHECK(o->kept.data != o->bits.data, o->kept, o->bits);
    return true;
}

bool check_regrow(device *dev, const char *op, const regrow_op *o)
{
    CHECK(o->elements > 0 && o->elements < INT32_MAX, o->bits, o->taken);
    CHECK(o->n >= 0 && o->n <= o->elements, o->bits, o->taken);
    CHECK(set_fits(o->taken, o->starts, o->elements), o->taken, o->starts);
    CHECK(present(o->bits) && fits(o->bits, I32, tensor_count(o->taken)), o->bits, o->taken);
    CHECK(o->bits.data != o->taken.data, o->bits, o->taken);
    return true;
}

/* ---- what they write ---- */

int written_expand(const expand_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_compress(const compress_op *o, tensor *w)
{
    return w[0] = o->values.t, 1;
}
int written_starts(const starts_op *o, tensor *w)
{
    return w[0] = o->starts, 1;
}
int written_count_below(const count_below_op *o, tensor *w)
{
    return w[0] = o->count, 1;
}
int written_prune(const prune_op *o, tensor *w)
{
    return w[0] = o->kept, 1;
}
int written_regrow(const regrow_op *o, tensor *w)
{
    return w[0] = o->bits, 1;
}

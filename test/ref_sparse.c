/* ref_sparse.c - the reference's operations on non-zeros (see ref.h): element by element. */
#include "core/sparse_bits.h"
#include "test/ref.h"

#include <math.h>
#include <string.h>

static bool is_there(tensor bits, int64_t e)
{
    return ((const uint32_t *)bits.data)[e / 32] >> (e % 32) & 1;
}

/* The index of element e's value. */
static int64_t index_of(tensor bits, tensor starts, int64_t e)
{
    int64_t first = e / SPARSE_GROUP * SPARSE_GROUP,
            index = ((const int64_t *)starts.data)[e / SPARSE_GROUP];
    for (int64_t k = first; k < e; k++)
        index += is_there(bits, k);
    return index;
}

static void *element(tensor t, int64_t i)
{
    return (char *)t.data + (size_t)i * dtype_size(t.type);
}

void ref_expand(device *dev, int stream, const expand_op *o)
{
    (void)dev, (void)stream;
    size_t size = dtype_size(o->out.type);
    for (int64_t e = 0; e < tensor_count(o->out); e++) {
        memset(element(o->out, e), 0, size);
        if (is_there(o->bits, e))
            memcpy(element(o->out, e), element(o->values, index_of(o->bits, o->starts, e)), size);
    }
}

void ref_compress(device *dev, int stream, const compress_op *o)
{
    (void)dev, (void)stream;
    for (int64_t e = 0; e < tensor_count(o->x); e++) {
        if (!is_there(o->bits, e)) continue;
        void *value = element(o->values.t, index_of(o->bits, o->starts, e));
        if (o->values.accumulate)
            *(double *)value += *(const double *)element(o->x, e);
        else
            memcpy(value, element(o->x, e), dtype_size(o->x.type));
    }
}

void ref_starts(device *dev, int stream, const starts_op *o)
{
    (void)dev, (void)stream;
    int64_t *starts = o->starts.data, sum = 0;
    for (int64_t e = 0; e < tensor_rows(o->bits) * SPARSE_GROUP; e++) {
        if (e % SPARSE_GROUP == 0) starts[e / SPARSE_GROUP] = sum;
        sum += is_there(o->bits, e);
    }
    starts[tensor_rows(o->bits)] = sum;
}

void ref_count_below(device *dev, int stream, const count_below_op *o)
{
    (void)dev, (void)stream;
    int64_t *count = o->count.data;
    *count = 0;
    for (int64_t i = 0; i < tensor_count(o->x); i++)
        *count += fabs(((const double *)o->x.data)[i]) < o->limit;
}

void ref_prune(device *dev, int stream, const prune_op *o)
{
    (void)dev, (void)stream;
    uint32_t *remaining = o->remaining.data;
    memcpy(remaining, o->bits.data, tensor_bytes(o->bits));
    for (int64_t e = 0; e < tensor_rows(o->bits) * SPARSE_GROUP; e++) {
        if (!is_there(o->bits, e)) continue;
        double value = ((const double *)o->values.data)[index_of(o->bits, o->starts, e)];
        if (fabs(value) < o->limit) remaining[e / 32] &= ~(1u << e % 32);
    }
}

void ref_regrow(device *dev, int stream, const regrow_op *o)
{
    (void)dev, (void)stream;
    drawing d = {.seed = {(uint32_t)o->seed, (uint32_t)(o->seed >> 32)},
                 .matrix = o->matrix,
                 .event = o->event,
                 .n = o->n};
    for (int64_t e = 0; e < o->elements; e++)
        d.free += !is_there(o->taken, e);
    int64_t j = 0, free_before = 0;
    for (int64_t e = 0; e < o->elements && j < o->n; e++) {
        if (is_there(o->taken, e)) continue;
        if (free_before++ != drawn_of(&d, j)) continue;
        ((uint32_t *)o->bits.data)[e / 32] |= 1u << e % 32;
        j++;
    }
}

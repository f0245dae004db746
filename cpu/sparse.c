/* sparse.c - the operations on non-zeros: a thread handles groups of 1024 elements, bit by bit;
 * words of only zeros or only ones are handled as a whole.
 */
#include "cpu/cpu_internal.h"
#include "core/sparse_bits.h"

#include <math.h>
#include <string.h>

static int64_t groups_between(tensor starts)
{
    return tensor_count(starts) - 1;
}

/* ---- expand, compress ---- */

/* A group's elements and their values, `size` bytes each. */
ROW_FN void expand_group(char *out, const char *values, const uint32_t *bits, int64_t n,
                         size_t size)
{
    memset(out, 0, (size_t)n * size);
    for (int64_t w = 0; 32 * w < n; w++) {
        char *to = out + (size_t)(32 * w) * size;
        for (uint32_t word = bits[w]; word; word &= word - 1, values += size)
            memcpy(to + (size_t)__builtin_ctz(word) * size, values, size);
    }
}

ROW_FN void compress_group(char *values, const char *x, const uint32_t *bits, int64_t n,
                           size_t size)
{
    for (int64_t w = 0; 32 * w < n; w++) {
        const char *from = x + (size_t)(32 * w) * size;
        for (uint32_t word = bits[w]; word; word &= word - 1, values += size)
            memcpy(values, from + (size_t)__builtin_ctz(word) * size, size);
    }
}

ROW_FN void add_group(void *values, const void *x, const uint32_t *bits, int64_t n, int type)
{
    int64_t at = 0;
    for (int64_t w = 0; 32 * w < n; w++)
        for (uint32_t word = bits[w]; word; word &= word - 1, at++)
            store(type, values, at,
                  load(type, values, at) + load(type, x, 32 * w + __builtin_ctz(word)));
}

/* Runs `call` with SIZE as a constant. */
#define FOR_SIZE(size, call)                                                                       \
    do {                                                                                           \
        switch (size) {                                                                            \
        case 1: {                                                                                  \
            enum { SIZE = 1 };                                                                     \
            call;                                                                                  \
            break;                                                                                 \
        }                                                                                          \
        case 2: {                                                                                  \
            enum { SIZE = 2 };                                                                     \
            call;                                                                                  \
            break;                                                                                 \
        }                                                                                          \
        case 4: {                                                                                  \
            enum { SIZE = 4 };                                                                     \
            call;                                                                                  \
            break;                                                                                 \
        }                                                                                          \
        default: {                                                                                 \
            enum { SIZE = 8 };                                                                     \
            call;                                                                                  \
        }                                                                                          \
        }                                                                                          \
    } while (0)

/* Where group g of a matrix of n elements is. */
typedef struct {
    int64_t first, n;
    const uint32_t *bits;
    int64_t value; /* index of its first */
} group;

static group group_at(tensor bits, tensor starts, int64_t n, int64_t g)
{
    int64_t first = g * SPARSE_GROUP;
    return (group){.first = first,
                   .n = min64(SPARSE_GROUP, n - first),
                   .bits = (const uint32_t *)bits.data + g * SPARSE_WORDS,
                   .value = ((const int64_t *)starts.data)[g]};
}

static void expand_range(const void *op, int64_t first, int64_t end)
{
    const expand_op *o = op;
    size_t size = dtype_size(o->out.type);
    int64_t n = tensor_count(o->out);
    for (int64_t i = first; i < end; i++) {
        group g = group_at(o->bits, o->starts, n, i);
        char *out = (char *)o->out.data + (size_t)g.first * size;
        const char *values = (const char *)o->values.data + (size_t)g.value * size;
        FOR_SIZE(size, expand_group(out, values, g.bits, g.n, SIZE));
    }
}

CPU_ENTRY(expand, groups_between(o->starts), 8)

static void compress_range(const void *op, int64_t first, int64_t end)
{
    const compress_op *o = op;
    size_t size = dtype_size(o->x.type);
    int64_t n = tensor_count(o->x);
    for (int64_t i = first; i < end; i++) {
        group g = group_at(o->bits, o->starts, n, i);
        const char *x = (const char *)o->x.data + (size_t)g.first * size;
        char *values = (char *)o->values.t.data + (size_t)g.value * size;
        if (o->values.accumulate)
            FOR_WORKING_TYPE(o->x.type, add_group(values, x, g.bits, g.n, TYPE));
        else
            FOR_SIZE(size, compress_group(values, x, g.bits, g.n, SIZE));
    }
}

CPU_ENTRY(compress, groups_between(o->starts), 8)

/* ---- changing the set ---- */

void cpu_starts(device *dev, int stream, const starts_op *o)
{
    (void)dev, (void)stream;
    const uint32_t *bits = o->bits.data;
    int64_t *starts = o->starts.data;
    starts[0] = 0;
    for (int64_t g = 0; g < groups_between(o->starts); g++) {
        int64_t ones = 0;
        for (int64_t w = 0; w < SPARSE_WORDS; w++)
            ones += ones_of(bits[g * SPARSE_WORDS + w]);
        starts[g + 1] = starts[g] + ones;
    }
}

ROW_FN int64_t count_part(const void *x, int64_t first, int64_t end, float limit, int type)
{
    int64_t count = 0;
    for (int64_t i = first; i < end; i++)
        count += fabsf(load(type, x, i)) < limit;
    return count;
}

static void count_range(const void *op, int64_t first, int64_t end)
{
    const count_below_op *o = op;
    int64_t found;
    FOR_WORKING_TYPE(o->x.type, found = count_part(o->x.data, first, end, (float)o->limit, TYPE));
    __atomic_fetch_add((int64_t *)o->count.data, found, __ATOMIC_RELAXED);
}

void cpu_count_below(device *dev, int stream, const count_below_op *o)
{
    (void)stream;
    *(int64_t *)o->count.data = 0;
    pool_for(cpu_threads(dev), tensor_count(o->x), rows_at_once(1), count_range, o);
}

static void prune_range(const void *op, int64_t first, int64_t end)
{
    const prune_op *o = op;
    float limit = (float)o->limit;
    for (int64_t i = first; i < end; i++) {
        group g = group_at(o->bits, o->starts, (i + 1) * SPARSE_GROUP, i);
        uint32_t *remaining = (uint32_t *)o->remaining.data + i * SPARSE_WORDS;
        for (int64_t w = 0; w < SPARSE_WORDS; w++) {
            remaining[w] = g.bits[w];
            for (uint32_t word = g.bits[w]; word; word &= word - 1, g.value++) {
                float x = o->values.type == BF16 ? load(BF16, o->values.data, g.value)
                                                 : load(F32, o->values.data, g.value);
                if (fabsf(x) < limit) remaining[w] &= ~(word & (0u - word));
            }
        }
    }
}

CPU_ENTRY(prune, groups_between(o->starts), 8)

static void regrow_range(const void *op, int64_t first, int64_t end)
{
    const regrow_op *o = op;
    const int64_t *starts = o->starts.data;
    int64_t groups = groups_between(o->starts);
    drawing d = {.seed = {(uint32_t)o->seed, (uint32_t)(o->seed >> 32)},
                 .matrix = o->matrix,
                 .event = o->event,
                 .free = o->elements - (starts[groups] - starts[0]),
                 .n = o->n};
    for (int64_t g = first; g < end; g++)
        draw_words(&d, o->bits.data, o->taken.data, g * SPARSE_WORDS, SPARSE_WORDS,
                   g * SPARSE_GROUP - (starts[g] - starts[0]), o->elements);
}

CPU_ENTRY(regrow, o->n ? groups_between(o->starts) : 0, 8)

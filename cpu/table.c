/* table.c - the operation table, memory, and the operations that only move bytes.
 *
 * There is one stream: operations have finished when they return, so sync, fork and join do
 * nothing.
 */
#include "cpu/cpu_internal.h"
#include "cpu/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CHUNK = 1 << 18, HUGE_PAGE = 2 << 20 }; /* bytes */

static error *cpu_alloc(device *dev, size_t bytes, void **out)
{
    (void)dev;
    size_t rounded = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    *out = rounded >= bytes ? aligned_alloc(HUGE_PAGE, rounded) : NULL;
    if (!*out)
        return user_error("no memory for %.1f MiB: train a smaller model, batch or sequence",
                          (double)bytes / (1 << 20));
    madvise(*out, rounded, MADV_HUGEPAGE); /* a hint: fewer TLB misses */
    return NULL;
}

static void cpu_release(device *dev, void *memory)
{
    (void)dev;
    free(memory);
}

/* Copies `rows` rows of some bytes, with these distances. */
typedef struct {
    char *to;
    const char *from;
    size_t to_step, from_step, bytes;
} rows_to_move;

static void move_range(const void *context, int64_t first, int64_t end)
{
    const rows_to_move *m = context;
    for (int64_t r = first; r < end; r++)
        memcpy(m->to + (size_t)r * m->to_step, m->from + (size_t)r * m->from_step, m->bytes);
}

static void move(device *dev, void *to, const void *from, size_t bytes)
{
    size_t chunks = bytes / CHUNK, rest = bytes % CHUNK;
    rows_to_move m = {to, from, CHUNK, CHUNK, CHUNK};
    pool_for(cpu_threads(dev), (int64_t)chunks, 1, move_range, &m);
    memcpy((char *)to + chunks * CHUNK, (const char *)from + chunks * CHUNK, rest);
}

static void cpu_put(device *dev, int stream, void *dst, const void *host, size_t bytes)
{
    (void)stream;
    move(dev, dst, host, bytes);
}

static void cpu_get(device *dev, int stream, void *host, const void *src, size_t bytes)
{
    (void)stream;
    move(dev, host, src, bytes);
}

typedef struct {
    char *to;
    int byte;
    size_t bytes;
} bytes_to_set;

static void set_range(const void *context, int64_t first, int64_t end)
{
    const bytes_to_set *b = context;
    size_t from = (size_t)first * CHUNK, to = (size_t)end * CHUNK;
    memset(b->to + from, b->byte, (to < b->bytes ? to : b->bytes) - from);
}

static void cpu_set(device *dev, int stream, void *dst, int byte, size_t bytes)
{
    (void)stream;
    pool_for(cpu_threads(dev), (int64_t)((bytes + CHUNK - 1) / CHUNK), 1, set_range,
             &(bytes_to_set){dst, byte, bytes});
}

void cpu_copy(device *dev, int stream, const copy_op *o)
{
    (void)stream;
    if (tensor_contiguous(o->dst) && tensor_contiguous(o->src)) {
        move(dev, o->dst.data, o->src.data, tensor_bytes(o->src));
        return;
    }
    size_t size = dtype_size(o->src.type);
    rows_to_move m = {.to = o->dst.data,
                      .from = o->src.data,
                      .to_step = (size_t)o->dst.ld * size,
                      .from_step = (size_t)o->src.ld * size,
                      .bytes = (size_t)tensor_cols(o->src) * size};
    pool_for(cpu_threads(dev), tensor_rows(o->src), rows_at_once(tensor_cols(o->src)), move_range,
             &m);
}

ROW_FN void fill_part(void *x, int64_t first, int64_t end, float value, int type)
{
#pragma omp simd
    for (int64_t i = first; i < end; i++)
        store(type, x, i, value);
}

static void fill_range(const void *op, int64_t first, int64_t end)
{
    const fill_op *o = op;
    FOR_WORKING_TYPE(o->x.type, fill_part(o->x.data, first, end, (float)o->value, TYPE));
}

CPU_ENTRY(fill, tensor_count(o->x), rows_at_once(1))

ROW_FN int64_t count_nonfinite(const void *x, int64_t n, int type)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += !isfinite(load(type, x, i));
    return count;
}

ROW_FN void add_part(void *x, const void *y, int64_t first, int64_t end, int type)
{
#pragma omp simd
    for (int64_t i = first; i < end; i++)
        store(type, x, i, load(type, x, i) + load(type, y, i));
}

static void add_range(const void *op, int64_t first, int64_t end)
{
    const add_op *o = op;
    FOR_WORKING_TYPE(o->x.type, add_part(o->x.data, o->y.data, first, end, TYPE));
}

CPU_ENTRY(add, tensor_count(o->x), rows_at_once(1))

static void nonfinite_range(const void *op, int64_t first, int64_t end)
{
    const nonfinite_op *o = op;
    int64_t cols = tensor_cols(o->x), count = 0;
    for (int64_t r = first; r < end; r++)
        FOR_WORKING_TYPE(o->x.type, count += count_nonfinite(element_at(o->x, r, 0), cols, TYPE));
    __atomic_fetch_add(o->count, count, __ATOMIC_RELAXED);
}

void cpu_nonfinite(device *dev, int stream, const nonfinite_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->x), cols = tensor_cols(o->x);
    *o->count = 0;
    if (o->x.type == F32 || o->x.type == BF16)
        pool_for(cpu_threads(dev), rows, rows_at_once(cols), nonfinite_range, o);
    else if (o->x.type == F64)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++)
                *o->count += !isfinite(((const double *)o->x.data)[r * o->x.ld + c]);
}

static void cpu_lend(device *dev, tensor room)
{
    cpu_state *s = dev->state;
    s->room = tensor_count(room) < PRODUCT_ROOM_LEAST ? (tensor){0} : room;
}

static void cpu_lend_narrow(device *dev, tensor room)
{
    ((cpu_state *)dev->state)->narrow = room;
}

const cpu_kernel CPU_KERNEL = {
    .burn = burn_lanes,
    .stream = stream_lanes,
    .ops =
        {
            .name = "cpu",
            .working_types = 1u << F32 | 1u << BF16,
            .alloc = cpu_alloc,
            .release = cpu_release,
            .put = cpu_put,
            .get = cpu_get,
            .set = cpu_set,
            .lend = cpu_lend,
            .lend_narrow = cpu_lend_narrow,
#define OPERATION(name) .name = cpu_##name,
#include "core/ops.def"
        },
};

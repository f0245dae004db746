/* cpu_device.c - see cpu.h: the table, memory, and the operations that only move bytes.
 *
 * There is one stream: an operation has run when it returns, so sync, fork and join are nothing.
 */
#include "cpu/cpu_internal.h"

#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
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
    madvise(*out, rounded, MADV_HUGEPAGE); /* a wish: fewer TLB misses */
    return NULL;
}

static void cpu_release(device *dev, void *memory)
{
    (void)dev;
    free(memory);
}

static void move(device *dev, void *to, const void *from, size_t bytes)
{
#pragma omp parallel for num_threads(dev->threads) if (bytes > CHUNK)
    for (size_t at = 0; at < bytes; at += CHUNK)
        memcpy((char *)to + at, (const char *)from + at, bytes - at < CHUNK ? bytes - at : CHUNK);
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

static void cpu_set(device *dev, int stream, void *dst, int byte, size_t bytes)
{
    (void)stream;
#pragma omp parallel for num_threads(dev->threads)
    for (size_t at = 0; at < bytes; at += CHUNK)
        memset((char *)dst + at, byte, bytes - at < CHUNK ? bytes - at : CHUNK);
}

void cpu_copy(device *dev, int stream, const copy_op *o)
{
    (void)stream;
    if (tensor_contiguous(o->dst) && tensor_contiguous(o->src)) {
        move(dev, o->dst.data, o->src.data, tensor_bytes(o->src));
        return;
    }
    size_t bytes = (size_t)tensor_cols(o->src) * dtype_size(o->src.type);
    size_t from = (size_t)o->src.ld * dtype_size(o->src.type),
           to = (size_t)o->dst.ld * dtype_size(o->src.type);
#pragma omp parallel for num_threads(dev->threads) if (tensor_count(o->src) >= CHUNK)
    for (int64_t r = 0; r < tensor_rows(o->src); r++)
        memcpy((char *)o->dst.data + (size_t)r * to, (const char *)o->src.data + (size_t)r * from,
               bytes);
}

ROW_FN void fill_part(device *dev, void *x, int64_t n, float value, int type)
{
#pragma omp parallel for simd num_threads(dev->threads)
    for (int64_t i = 0; i < n; i++)
        store(type, x, i, value);
}

void cpu_fill(device *dev, int stream, const fill_op *o)
{
    (void)stream;
    FOR_WORKING_TYPE(o->x.type,
                     fill_part(dev, o->x.data, tensor_count(o->x), (float)o->value, TYPE));
}

ROW_FN int64_t count_nonfinite(const void *x, int64_t n, int type)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += !isfinite(load(type, x, i));
    return count;
}

ROW_FN void add_part(device *dev, void *x, const void *y, int64_t n, int type)
{
#pragma omp parallel for simd num_threads(dev->threads)
    for (int64_t i = 0; i < n; i++)
        store(type, x, i, load(type, x, i) + load(type, y, i));
}

void cpu_add(device *dev, int stream, const add_op *o)
{
    (void)stream;
    FOR_WORKING_TYPE(o->x.type, add_part(dev, o->x.data, o->y.data, tensor_count(o->x), TYPE));
}

void cpu_nonfinite(device *dev, int stream, const nonfinite_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->x), cols = tensor_cols(o->x), count = 0;
    if (o->x.type == F32 || o->x.type == BF16) {
#pragma omp parallel for num_threads(dev->threads) reduction(+ : count)
        for (int64_t r = 0; r < rows; r++)
            FOR_WORKING_TYPE(o->x.type, count += count_nonfinite(place(o->x, r, 0), cols, TYPE));
    } else if (o->x.type == F64) {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++)
                count += !isfinite(((const double *)o->x.data)[r * o->x.ld + c]);
    }
    *o->count = count;
}

static const device_ops cpu_ops = {
    .name = "cpu",
    .working_types = 1u << F32 | 1u << BF16,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .put = cpu_put,
    .get = cpu_get,
    .set = cpu_set,
#define OPERATION(name) .name = cpu_##name,
#include "core/ops.def"
};

/* Cores this process may run on. */
static int cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? omp_get_num_procs() : CPU_COUNT(&set);
}

error *cpu_device(int threads, device *out)
{
    enum { MOST = 1024 };
    if (threads < 0 || threads > MOST)
        return user_error("%d threads: give a number from 1 to %d, or 0 for one per core", threads,
                          MOST);
    if (!threads) threads = cores();
    blas *b;
    TRY(alloc_array(&b, 1, sizeof *b));
    error *e = blas_open(threads, b);
    if (e) {
        free(b);
        return e;
    }
    *out = (device){.ops = &cpu_ops, .state = b, .threads = threads};
    return NULL;
}

void cpu_close(device *dev)
{
    free(dev->state);
    *dev = (device){0};
}

const blas *cpu_blas(const device *dev)
{
    return dev->state;
}

const char *cpu_describe(const device *dev, char *buffer, size_t size)
{
    snprintf(buffer, size, "%d thread%s, %s", dev->threads, dev->threads > 1 ? "s" : "",
             cpu_blas(dev)->about);
    return buffer;
}

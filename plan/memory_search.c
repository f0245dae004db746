/* memory_search.c - see memory_search.h */
#include "plan/memory_search.h"
#include "base/clock.h"
#include "train/task.h"

#include <math.h>
#include <stdio.h>

error *fit_available(device *dev, size_t *out)
{
    *out = device_free_memory(dev);
    if (*out) return NULL;
    FILE *f = fopen("/proc/meminfo", "r");
    char line[200];
    unsigned long long kib = 0;
    while (f && !kib && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) != 1) kib = 0;
    if (f) fclose(f);
    if (!kib)
        return user_error("--memory auto: /proc/meminfo does not say what is free: give the size, "
                          "like 8G");
    *out = (size_t)kib * 1024;
    return NULL;
}

/* ---- rates ---- */

enum { SIDE = 1024, STREAM_FLOATS = 16 << 20 };

/* Seconds of an operation in a type: the least of some. */
static double time_of(device *dev, void (*work)(device *, void *, dtype), void *memory, dtype type)
{
    double best = INFINITY, total = 0;
    work(dev, memory, type); /* threads and pages are there from here on */
    op_sync(dev, STREAM_COMPUTE);
    for (int i = 0; i < 20 && total < 0.15; i++) {
        double begin = clock_now();
        work(dev, memory, type);
        op_sync(dev, STREAM_COMPUTE);
        double took = clock_now() - begin;
        total += took;
        best = fmin(best, took);
    }
    return best;
}

static tensor square_at(void *memory, dtype type, int i)
{
    return tensor_of((float *)memory + (size_t)i * SIDE * SIDE, type, SHAPE(SIDE, SIDE));
}

static void multiply(device *dev, void *memory, dtype type)
{
    OP(linear, dev, STREAM_COMPUTE, .out = square_at(memory, type, 0),
       .x = square_at(memory, type, 1), .w = square_at(memory, type, 2));
}

/* Reads one half and writes the other. */
static void stream(device *dev, void *memory, dtype type)
{
    int64_t half = STREAM_FLOATS / 2;
    OP(copy, dev, STREAM_COMPUTE, .dst = tensor_of(memory, type, SHAPE(half)),
       .src = tensor_of((float *)memory + half, type, SHAPE(half)));
}

/* The same with a little to compute on the way. */
static void activate(device *dev, void *memory, dtype type)
{
    shape half = SHAPE(STREAM_FLOATS / 2 / SIDE, SIDE);
    OP(activate, dev, STREAM_COMPUTE, .out = tensor_of(memory, type, half),
       .x = tensor_of((float *)memory + STREAM_FLOATS / 2, type, half), .act = ACT_GELU_TANH);
}

error *fit_measure(device *dev, machine_rates *out)
{
    void *memory;
    size_t bytes = (size_t)STREAM_FLOATS * sizeof(float);
    double product[2] = {INFINITY, INFINITY}, copy = INFINITY, computed[2] = {INFINITY, INFINITY};
    static const dtype types[] = {F32, BF16};
    TRY(dev->ops->alloc(dev, bytes, &memory));
    op_clear(dev, STREAM_COMPUTE, tensor_of(memory, F32, SHAPE(STREAM_FLOATS)));
    for (int round = 0; round < 2; round++) { /* a moment's trouble then falls on one of them */
        copy = fmin(copy, time_of(dev, stream, memory, F32));
        for (int i = 0; i < 2; i++) {
            product[i] = fmin(product[i], time_of(dev, multiply, memory, types[i]));
            computed[i] = fmin(computed[i], time_of(dev, activate, memory, types[i]));
        }
    }
    out->gflops = 2.0 * SIDE * SIDE * SIDE / product[0] * 1e-9;
    out->gflops_bf16 = 2.0 * SIDE * SIDE * SIDE / product[1] * 1e-9;
    out->gbs = (double)bytes / copy * 1e-9;
    out->gbs_bf16 = out->gbs * computed[0] / computed[1] / 2;
    dev->ops->release(dev, memory);
    return device_status(dev);
}

double fit_seconds(const work_count *work, dtype type, const machine_rates *rates)
{
    double gflops = type == BF16 ? rates->gflops_bf16 : rates->gflops,
           gbs = type == BF16 ? rates->gbs_bf16 : rates->gbs;
    return work->flops / (gflops * 1e9) + work->bytes / (gbs * 1e9);
}

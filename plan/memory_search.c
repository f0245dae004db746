/* memory_search.c - see memory_search.h */
#include "plan/memory_search.h"
#include "base/clock.h"
#include "base/process_memory.h"

#include <math.h>
#include <stdio.h>

error *fit_available(device *dev, size_t *out)
{
    *out = device_free_memory(dev);
    if (!*out) *out = memory_left();
    if (*out) return NULL;
    return user_error("--memory auto: /proc/meminfo does not say what is free: give the size, like "
                      "8G");
}

/* ---- rates ---- */

/* What is measured, in memory that even a small budget has: a product of two squares, and passes
 * from one half of it to the other. */
enum { LEAST_SIDE = 128, MOST_SIDE = 1024, MOST_BYTES = 64 << 20 };

typedef struct {
    void *memory;
    int64_t side, half; /* of a square, of the floats */
} bench_room;

typedef void (*bench_work)(device *, const bench_room *, dtype);

/* Seconds of an operation in a type: the minimum of several. */
static double time_of(device *dev, bench_work work, const bench_room *room, dtype type)
{
    double best = INFINITY, total = 0;
    work(dev, room, type); /* creates threads and pages */
    op_sync(dev, STREAM_COMPUTE);
    for (int i = 0; i < 20 && total < 0.15; i++) {
        double begin = clock_now();
        work(dev, room, type);
        op_sync(dev, STREAM_COMPUTE);
        double took = clock_now() - begin;
        total += took;
        best = fmin(best, took);
    }
    return best;
}

static tensor square_at(const bench_room *room, dtype type, int i)
{
    return tensor_of((float *)room->memory + i * room->side * room->side, type,
                     SHAPE(room->side, room->side));
}

static void multiply(device *dev, const bench_room *room, dtype type)
{
    OP(linear, dev, STREAM_COMPUTE, .out = square_at(room, type, 0), .x = square_at(room, type, 1),
       .w = square_at(room, type, 2));
}

/* Reads one half and writes the other. */
static void stream(device *dev, const bench_room *room, dtype type)
{
    OP(copy, dev, STREAM_COMPUTE, .dst = tensor_of(room->memory, type, SHAPE(room->half)),
       .src = tensor_of((float *)room->memory + room->half, type, SHAPE(room->half)));
}

/* The same with a little arithmetic. */
static void activate(device *dev, const bench_room *room, dtype type)
{
    shape rows = SHAPE(room->half / room->side, room->side);
    OP(activate, dev, STREAM_COMPUTE, .out = tensor_of(room->memory, type, rows),
       .x = tensor_of((float *)room->memory + room->half, type, rows), .act = ACT_GELU_TANH);
}

/* From its host's memory to the device's; unchanged if that is the same. */
static error *copy_rate(device *dev, void *memory, size_t bytes, double *out)
{
    double best = INFINITY;
    const far_host *host = device_host(dev);
    void *own;
    if (!host) return NULL;
    TRY(host->open(dev, STREAM_COMPUTE, bytes, &own));
    for (int i = 0; i < 4 && !dev->failure; i++) {
        double begin = clock_now();
        host->wait(own, host->copy(own, 0, memory, bytes, false));
        op_sync(dev, STREAM_COMPUTE);
        best = fmin(best, clock_now() - begin);
    }
    host->close(own);
    *out = (double)bytes / best * 1e-9;
    return NULL;
}

error *fit_measure(device *dev, size_t most, machine_rates *out)
{
    static const dtype types[] = {F32, BF16};
    double product[2] = {INFINITY, INFINITY}, copy = INFINITY, computed[2] = {INFINITY, INFINITY};
    bench_room room = {.side = MOST_SIDE};
    size_t bytes = most < MOST_BYTES ? most : MOST_BYTES;
    while (room.side > LEAST_SIDE && (size_t)(4 * room.side * room.side) * sizeof(float) > bytes)
        room.side /= 2;
    size_t squares = (size_t)(4 * room.side * room.side) * sizeof(float);
    if (bytes < squares) bytes = squares;
    room.half = (int64_t)(bytes / sizeof(float) / 2) / room.side * room.side;
    bytes = (size_t)(2 * room.half) * sizeof(float);
    TRY(dev->ops->alloc(dev, bytes, &room.memory));
    op_clear(dev, STREAM_COMPUTE, tensor_of(room.memory, F32, SHAPE(2 * room.half)));
    for (int round = 0; round < 2; round++) { /* so a short disturbance affects only one of them */
        copy = fmin(copy, time_of(dev, stream, &room, F32));
        for (int i = 0; i < 2; i++) {
            product[i] = fmin(product[i], time_of(dev, multiply, &room, types[i]));
            computed[i] = fmin(computed[i], time_of(dev, activate, &room, types[i]));
        }
    }
    double operations = 2.0 * (double)(room.side * room.side * room.side);
    out->gflops = operations / product[0] * 1e-9;
    out->gflops_bf16 = operations / product[1] * 1e-9;
    out->gbs = (double)bytes / copy * 1e-9;
    out->gbs_bf16 = out->gbs * computed[0] / computed[1] / 2;
    out->host_gbs = 0;
    error *e = copy_rate(dev, room.memory, bytes, &out->host_gbs);
    dev->ops->release(dev, room.memory);
    return error_first(e, device_status(dev));
}

double fit_seconds(const work_count *work, dtype type, const machine_rates *rates)
{
    double gflops = type == BF16 ? rates->gflops_bf16 : rates->gflops,
           gbs = type == BF16 ? rates->gbs_bf16 : rates->gbs;
    return work->flops / (gflops * 1e9) + work->bytes / (gbs * 1e9);
}

double fit_offload_seconds(const trainer *t, const machine_rates *rates)
{
    double in = (double)t->step_moved.read, out = (double)t->step_moved.written,
           disk = t->o->disk_rate;
    if (t->o->device != DEVICE_CUDA) return disk > 0 ? (in + out) / (disk * 1e9) : 0;
    return rates->host_gbs > 0 ? fmax(in, out) / (rates->host_gbs * 1e9) : 0;
}

double fit_step_seconds(const trainer *t, const machine_rates *rates)
{
    return fmax(fit_seconds(&t->work, t->o->type, rates), fit_offload_seconds(t, rates));
}

/* fit.c - see fit.h */
#include "train/fit.h"
#include "train/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- sizes ---- */

static bool take_size(const char **at, size_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(*at, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (end == *at || !(value > 0)) return false;
    if (unit) end++;
    for (; unit && unit >= units; unit--)
        value *= 1024;
    if (value > 1e18 || (*end && *end != ',')) return false;
    *out = (size_t)value;
    *at = end;
    return true;
}

error *fit_parse(const char *text, size_t sizes[MOST_SIZES], int *n)
{
    const char *at = text;
    *n = 0;
    sizes[0] = 0;
    if (!strcmp(text, "auto")) {
        *n = 1;
        return NULL;
    }
    do {
        if (*n == MOST_SIZES || !take_size(&at, &sizes[*n]))
            return user_error("--memory %s: must be a size like 8G or 600M, or auto; with --plan "
                              "up to %d sizes with commas between",
                              text, MOST_SIZES);
        ++*n;
    } while (*at++ == ',');
    return NULL;
}

static bool take_word(const char **at, const char *option, const char *const *names, int n,
                      unsigned *bits)
{
    size_t length = strlen(option);
    if (strncmp(*at, option, length)) return false;
    for (int i = 0; i < n; i++) {
        size_t all = length + strlen(names[i]);
        if (strncmp(*at + length, names[i], strlen(names[i])) || ((*at)[all] && (*at)[all] != ','))
            continue;
        *bits |= 1u << i;
        *at += all;
        return true;
    }
    return false;
}

error *fit_parse_allow(const char *text, unsigned *masters, unsigned *states)
{
    const char *at = text;
    *masters = *states = 0;
    do {
        if (!take_word(&at, "master=", master_names, MASTER_FORMS, masters) &&
            !take_word(&at, "state=", state_names, STATE_FORMS, states))
            return user_error("--allow %s: must be some of master=fp32, master=split16, "
                              "master=split8, master=none (of bf16 weights), state=bf16, "
                              "state=int8, with commas between",
                              text);
    } while (*at++ == ',');
    return NULL;
}

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

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of an operation: the least of some. */
static double time_of(device *dev, void (*work)(device *, void *), void *memory)
{
    double best = INFINITY, total = 0;
    work(dev, memory); /* threads and pages are there from here on */
    op_sync(dev, STREAM_COMPUTE);
    for (int i = 0; i < 20 && total < 0.25; i++) {
        double begin = now();
        work(dev, memory);
        op_sync(dev, STREAM_COMPUTE);
        double took = now() - begin;
        total += took;
        best = fmin(best, took);
    }
    return best;
}

static tensor square_at(void *memory, dtype type, int i)
{
    return tensor_of((float *)memory + (size_t)i * SIDE * SIDE, type, SHAPE(SIDE, SIDE));
}

static void multiply_in(device *dev, void *memory, dtype type)
{
    OP(linear, dev, STREAM_COMPUTE, .out = square_at(memory, type, 0),
       .x = square_at(memory, type, 1), .w = square_at(memory, type, 2));
}

static void multiply(device *dev, void *memory)
{
    multiply_in(dev, memory, F32);
}

static void multiply_bf16(device *dev, void *memory)
{
    multiply_in(dev, memory, BF16);
}

static void stream(device *dev, void *memory)
{
    int64_t half = STREAM_FLOATS / 2;
    OP(copy, dev, STREAM_COMPUTE, .dst = tensor_of(memory, F32, SHAPE(half)),
       .src = tensor_of((float *)memory + half, F32, SHAPE(half)));
}

error *fit_measure(device *dev, machine_rates *out)
{
    void *memory;
    size_t bytes = (size_t)STREAM_FLOATS * sizeof(float);
    TRY(dev->ops->alloc(dev, bytes, &memory));
    op_clear(dev, STREAM_COMPUTE, tensor_of(memory, F32, SHAPE(STREAM_FLOATS)));
    out->gflops = 2.0 * SIDE * SIDE * SIDE / time_of(dev, multiply, memory) * 1e-9;
    out->gflops_bf16 = 2.0 * SIDE * SIDE * SIDE / time_of(dev, multiply_bf16, memory) * 1e-9;
    out->gbs = (double)bytes / time_of(dev, stream, memory) * 1e-9;
    dev->ops->release(dev, memory);
    return device_status(dev);
}

double fit_seconds(const work_count *work, dtype type, const machine_rates *rates)
{
    double gflops = type == BF16 ? rates->gflops_bf16 : rates->gflops;
    return work->flops / (gflops * 1e9) + work->bytes / (rates->gbs * 1e9);
}

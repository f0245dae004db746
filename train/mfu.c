/* mfu.c - see mfu.h */
#include "train/mfu.h"
#include "base/clock.h"

#include <math.h>
#include <string.h>

/* Dense FLOP/s x 10^12 from NVIDIA's data sheets: bf16 with f32 accumulation, and f32 without TF32.
 * The first matching name counts. */
static const struct {
    const char *name;
    double bf16, f32;
} gpus[] = {
    {"H100 PCIe", 756, 51.2}, {"H100 NVL", 835, 60},     {"H100", 989.4, 66.9},
    {"H200", 989.4, 66.9},    {"GH200", 989.4, 66.9},    {"B200", 2250, 75},
    {"A100", 312, 19.5},      {"L40S", 362, 91.6},       {"L4", 121, 30.3},
    {"A10", 125, 31.2},       {"RTX 4090", 165.2, 82.6},
};

/* A token has no such count where weights are used at several places of a map: networks of
 * convolutions. */
static bool by_tokens(const model_config *c)
{
    return !c->stage[0];
}

static double attention(const model_config *c, int64_t tokens)
{
    return (double)c->layers * (double)c->heads * (double)c->head_size * (double)tokens;
}

double mfu_llmc(const model_config *c, int64_t parameters, int64_t tokens)
{
    return by_tokens(c) ? 6 * (double)parameters + 6 * attention(c, tokens) : NAN;
}

double mfu_palm(const model_config *c, int64_t parameters, int64_t tokens)
{
    return by_tokens(c) ? 6 * (double)parameters + 12 * attention(c, tokens) : NAN;
}

/* "A10" does not match "NVIDIA A100". */
static bool has_word(const char *text, const char *word)
{
    const char *at = strstr(text, word);
    return at && !strchr("0123456789", at[strlen(word)]);
}

double mfu_listed_peak(const char *about, size_t bytes)
{
    for (size_t i = 0; i < sizeof gpus / sizeof *gpus; i++)
        if (has_word(about, gpus[i].name)) return 1e12 * (bytes == 2 ? gpus[i].bf16 : gpus[i].f32);
    return NAN;
}

/* The fastest of several products, after an untimed one. */
static double time_products(device *dev, tensor out, tensor x, tensor w)
{
    enum { TIMES = 4 };
    double best = INFINITY;
    for (int i = 0; i < TIMES && !dev->failure; i++) {
        double begin = clock_now();
        OP(linear, dev, STREAM_COMPUTE, .out = out, .x = x, .w = w);
        op_sync(dev, STREAM_COMPUTE);
        if (i > 0) best = fmin(best, clock_now() - begin);
    }
    return best;
}

error *mfu_measure_peak(device *dev, dtype type, size_t memory, double *out)
{
    const int64_t least = 64, most = 8192;
    int64_t n = least;
    while (n < most && (size_t)(2 * n) * (size_t)(2 * n) * 3 * dtype_size(type) < memory / 256)
        n *= 2;
    size_t bytes = (size_t)(n * n) * dtype_size(type);
    void *block;
    TRY(dev->ops->alloc(dev, 3 * bytes, &block));
    dev->ops->set(dev, STREAM_COMPUTE, block, 0, 3 * bytes);
    tensor x = tensor_of(block, type, SHAPE(n, n)),
           w = tensor_of((char *)block + bytes, type, SHAPE(n, n)),
           y = tensor_of((char *)block + 2 * bytes, type, SHAPE(n, n));
    double seconds = time_products(dev, y, x, w);
    dev->ops->release(dev, block);
    *out = 2 * (double)n * (double)n * (double)n / seconds;
    return device_status(dev);
}

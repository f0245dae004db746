/* cost.c - see cost.h */
#include "core/cost.h"
#include "core/ops_internal.h"

static double sumsq_bytes(const sumsq_op *o)
{
    double sum = 0;
    for (int64_t i = 0; i < o->n; i++)
        sum += bytes(o->items[i].x);
    return sum;
}

static double optim_bytes(const optim_op *o)
{
    double sum = 0;
    for (int64_t i = 0; i < o->n; i++) {
        const optim_item *it = &o->items[i];
        sum += 2 * bytes(it->p) + bytes(it->g) + 2 * bytes(it->temp) + 2 * bytes(it->master);
        for (int k = 0; k < MAX_STATES; k++)
            sum += 2 * (bytes(it->state[k]) + bytes(it->scale[k]));
    }
    /* a pass of the published form reads and writes about three tensors */
    return o->fused ? sum : 3 * sum;
}

static void count_work(device *dev, double flops, double moved)
{
    work_count *c = dev->state;
    double times = dev->alike ? (double)dev->alike : 1;
    c->flops += times * flops;
    c->bytes += times * moved;
}

/* The letters of a row are doubles here, so their products do not overflow. */
#pragma GCC diagnostic ignored "-Wconversion"

/* clang-format off */
#define OPERATION(name)                                                                            \
    static void cost_##name(device *dev, int stream, const name##_op *o)                           \
    {                                                                                              \
        (void)stream;
#define WHERE(...) __attribute__((unused)) const double __VA_ARGS__;
#define COST(name, flops, bytes)                                                                   \
        count_work(dev, flops, bytes);                                                             \
    }
#include "core/ops.def"
/* clang-format on */

device device_counting(work_count *count)
{
    static const device_ops ops = {
        .name = "null",
        .working_types = 1u << F32 | 1u << F64 | 1u << BF16,
#define OPERATION(name) .name = cost_##name,
#include "core/ops.def"
    };
    device dev = device_null();
    dev.ops = &ops;
    dev.state = count;
    return dev;
}

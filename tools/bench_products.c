/* bench_products.c - how close matrix products come to the processor's limit.
 *
 *   bench_products [threads [bf16] [ROWSxOUTxIN ...]]      a table on stdout
 *
 * For each shape (rows, out, in) the three products of a layer, alternating with a loop of only
 * fused multiply-adds, so that a drift of the machine's speed affects both: medians, and their
 * ratio.
 */
#include "base/bf16.h"
#include "base/clock.h"
#include "cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 5 };

typedef struct {
    int64_t rows, out, in;
} layer;

static const layer layers[] = {
    {256, 2304, 768},  {256, 768, 768},   {256, 3072, 768},  {256, 768, 3072},  {256, 50304, 768},
    {1024, 2304, 768}, {1024, 768, 768},  {1024, 3072, 768}, {1024, 768, 3072}, {784, 768, 3072},
    {800, 2304, 768},  {800, 768, 768},   {4096, 1152, 384}, {4096, 384, 384},  {4096, 1536, 384},
    {4096, 384, 1536}, {4096, 2048, 384}, {3136, 576, 192},  {3136, 192, 192},  {3136, 768, 192},
    {3136, 192, 768},  {2048, 2048, 2048}};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x)
{
    qsort(x, ROUNDS, sizeof *x, ascending);
    return x[ROUNDS / 2];
}

/* GFLOP/s of the limit, measured for about 10 ms */
static double limit(device *dev)
{
    double start = clock_now(), flops = cpu_burn(dev, 200);
    return flops / (clock_now() - start) / 1e9;
}

static double rate_of(device *dev, int which, layer l, tensor x, tensor w, tensor y)
{
    double start = clock_now();
    int n = 0;
    do {
        if (which == 0) OP(linear, dev, 0, .out = y, .x = x, .w = w);
        if (which == 1) OP(linear_dx, dev, 0, .dx = x, .dout = y, .w = w);
        if (which == 2) OP(linear_dw, dev, 0, .dw = {.t = w}, .x = x, .dout = y);
        n++;
    } while (clock_now() - start < 0.02);
    return 2.0 * (double)l.rows * (double)l.out * (double)l.in * n / (clock_now() - start) / 1e9;
}

static error *measure(device *dev, dtype type, layer l)
{
    static const char *const names[] = {"x w'", "dout w", "dout' x"};
    char *x, *w, *y;
    size_t nx = (size_t)(l.rows * l.in), nw = (size_t)(l.out * l.in), ny = (size_t)(l.rows * l.out);
    size_t size = dtype_size(type);
    TRY(dev->ops->alloc(dev, (nx + nw + ny) * size, (void **)&x));
    w = x + nx * size, y = w + nw * size;
    for (size_t i = 0; i < nx + nw + ny; i++) {
        float value = 1e-3f * (float)(i % 997) - 0.5f;
        if (type == BF16)
            ((uint16_t *)(void *)x)[i] = bf16_of_float(value);
        else
            ((float *)(void *)x)[i] = value;
    }
    tensor tx = tensor_of(x, type, SHAPE(l.rows, l.in)),
           tw = tensor_of(w, type, SHAPE(l.out, l.in)),
           ty = tensor_of(y, type, SHAPE(l.rows, l.out));
    printf("| %lld x %lld x %lld |", (long long)l.rows, (long long)l.out, (long long)l.in);
    for (int which = 0; which < 3; which++) {
        double rate[ROUNDS], most[ROUNDS], ratio[ROUNDS];
        rate_of(dev, which, l, tx, tw, ty);
        for (int r = 0; r < ROUNDS; r++) {
            most[r] = limit(dev);
            rate[r] = rate_of(dev, which, l, tx, tw, ty);
            most[r] = 0.5 * (most[r] + limit(dev));
            ratio[r] = rate[r] / most[r];
        }
        printf(" %s %.0f of %.0f: %.2f |", names[which], median(rate), median(most), median(ratio));
        fflush(stdout);
    }
    printf("\n");
    dev->ops->release(dev, x);
    return device_status(dev);
}

static error *bench_products(int argc, char **argv)
{
    device dev;
    void *room;
    char about[200];
    TRY(cpu_device(argc > 1 ? atoi(argv[1]) : 0, &dev));
    TRY(dev.ops->alloc(&dev, CPU_ROOM, &room));
    op_lend(&dev, tensor_of(room, U8, SHAPE(CPU_ROOM)));
    printf("%s\n", cpu_describe(&dev, about, sizeof about));
    dtype type = argc > 2 && !strcmp(argv[2], "bf16") ? BF16 : F32;
    int from = type == BF16 ? 3 : 2;
    for (int i = from; i < argc; i++) {
        long long rows, out, in;
        if (sscanf(argv[i], "%lldx%lldx%lld", &rows, &out, &in) != 3 || rows < 1 || out < 1 ||
            in < 1)
            return user_error("%s: a shape is ROWSxOUTxIN", argv[i]);
        TRY(measure(&dev, type, (layer){rows, out, in}));
    }
    for (size_t i = 0; i < sizeof layers / sizeof *layers && argc <= from; i++)
        TRY(measure(&dev, type, layers[i]));
    dev.ops->release(&dev, room);
    cpu_close(&dev);
    return NULL;
}

int main(int argc, char **argv)
{
    error *e = bench_products(argc, argv);
    return e ? error_report("bench_products", e) : 0;
}

/* gpu_model.c - one training step as a GPU would be given it, operation by operation, without
 * a GPU and without doing it: a line for each operation, with its operands, and for each
 * kernel, copy and product in it.
 *
 *     gpu_model [train_gpt's options]  ->  tab-separated lines on stdout:
 *
 *         op      norm    out=25165824 x=25165824 ... flops
 *         launch  norm_kernel<element>
 *
 * scripts/gpu-model makes docs/gpu-model.md of it.  The step is the trainer's own, on the CUDA
 * device of the emulator, which only notes what it is asked for (emu_record): so what is
 * counted is what is launched.
 */
#include "core/ops_internal.h"
#include "core/cost.h"
#include "cuda/cuda.h"
#include "test/cudasim/runtime.h"
#include "train/task.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
    const device_ops *cuda; /* the device's own */
    work_count counted;
    device counting;
} step;

static void note(void *context, const char *what)
{
    (void)context;
    printf("launch\t%s\n", what);
}

static void tell(const char *name, tensor t)
{
    if (present(t)) printf(" %s=%zu", name, tensor_bytes(t));
}

static void tell_items(const optim_item *it, int64_t n)
{
    for (int64_t i = 0; i < n; i++, it++) {
        tell("p", it->p), tell("g", it->g), tell("master", it->master);
        for (int k = 0; k < MAX_STATES; k++)
            tell("state", it->state[k]);
    }
}

static void tell_sums(const sumsq_item *it, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        tell("x", it[i].x);
}

/* clang-format off */
#define ITEMS(type, name_, written)                                                                \
    _Generic(o->name_, const optim_item *: tell_items, const sumsq_item *: tell_sums)(o->name_,    \
                                                                                      o->n);
#define TENSOR(role, name_, type, shape) tell(#role "." #name_, o->name_);
#define GRADIENT(name_, type, shape)                                                               \
    tell(o->name_.accumulate ? "INOUT." #name_ : "OUT." #name_, o->name_.t);
#define OPERATION(name)                                                                            \
    static void model_##name(device *dev, int stream, const name##_op *o)                          \
    {                                                                                              \
        printf("op\t%s\t", #name);
#define COST(name, of_flops, of_bytes)                                                             \
        double before = step.counted.flops;                                                       \
        step.counting.ops->name(&step.counting, stream, o);                                      \
        printf(" flops=%.0f\n", step.counted.flops - before);                                     \
        if (step.cuda->name) step.cuda->name(dev, stream, o);                                    \
    }
#include "core/ops.def"
/* clang-format on */

/* The device's table with each operation noted. */
static device_ops noted(const device_ops *cuda)
{
    device_ops all = *cuda;
#define OPERATION(name) all.name = model_##name;
#include "core/ops.def"
    return all;
}

static error *model_step(options o)
{
    trainer *t;
    device dev;
    step_result result;
    comm alone = {.size = 1};
    o.comm = &alone;
    o.device = DEVICE_CUDA;
    TRY(trainer_plan(&o, text_task.kind, &t));
    TRY(cuda_device(&dev));
    TRY(trainer_commit(t, &dev, false));
    source *data;
    TRY(text_task.open(&o, true, &data));
    step.cuda = dev.ops;
    step.counting = device_counting(&step.counted);
    device_ops table = noted(dev.ops);
    dev.ops = &table;
    printf("begin\t%lld\n", (long long)(o.batch * o.seq));
    error *e = trainer_step(t, data, 1, 1e-3, &result);
    printf("end\n");
    fflush(stdout);
    dev.ops = step.cuda;
    source_close(data);
    trainer_destroy(t);
    cuda_close(&dev);
    return e;
}

int main(int argc, char **argv)
{
    options o;
    emu_record(note, NULL);
    error *e = options_parse(&text_task, argc, argv, &o);
    if (!e) e = model_step(o);
    options_free(&o);
    if (!e) return 0;
    fprintf(stderr, "gpu_model: %s\n", error_text(e));
    return 1;
}

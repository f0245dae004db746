/* choose_device.c - see device.h */
#include "train/choose_device.h"

#include "cpu/cpu.h"
#include "cuda/cuda.h"

#include <stdio.h>
#include <string.h>

const char *const place_names[PLACE_COUNT] = {"auto", "cpu", "cuda"};

static bool is_cuda(const device *dev)
{
    return !strcmp(dev->ops->name, "cuda");
}

error *device_open(place_choice where, int threads, device *out)
{
    if (where == PLACE_CUDA) return cuda_device(out);
    if (where == PLACE_AUTO && cuda_driver_here()) {
        error *e = cuda_device(out);
        if (!e) return NULL;
        printf("not on the GPU: %s\n", error_text(e));
        error_free(e);
    }
    return cpu_device(threads, out);
}

error *device_use(device *dev, const char *kernel, const char *products)
{
    if (is_cuda(dev)) return NULL;
    TRY(cpu_use_kernel(dev, kernel));
    return cpu_use_products(dev, products);
}

void device_close(device *dev)
{
    if (is_cuda(dev))
        cuda_close(dev);
    else
        cpu_close(dev);
}

const char *device_describe(const device *dev, char *buffer, size_t size)
{
    char about[300];
    if (is_cuda(dev))
        cuda_describe(dev, about, sizeof about);
    else
        cpu_describe(dev, about, sizeof about);
    snprintf(buffer, size, "%s, %s", dev->ops->name, about);
    return buffer;
}

size_t device_memory(const device *dev)
{
    return is_cuda(dev) ? cuda_memory(dev) : 0;
}

size_t device_free_memory(device *dev)
{
    return is_cuda(dev) ? cuda_free_memory(dev) : 0;
}

place_choice device_likely(place_choice where)
{
    return where != PLACE_AUTO ? where : cuda_driver_here() ? PLACE_CUDA : PLACE_CPU;
}

place_choice device_place(const device *dev)
{
    return is_cuda(dev) ? PLACE_CUDA : PLACE_CPU;
}

error *device_prepare(device *dev, attention_method how)
{
    return how != ATTENTION_FLASH && is_cuda(dev) ? cuda_try_cudnn(dev) : NULL;
}

size_t device_room(place_choice where)
{
    return where == PLACE_CUDA ? CUDA_ROOM : CPU_ROOM;
}

/* absent.c - stands in for the CUDA device in a build without CUDA; see cuda.h */
#include "cuda/copies.h"
#include "cuda/cuda.h"

const far_host cuda_host = {0};

const char *cuda_built_for(void)
{
    return NULL;
}

bool cuda_driver_here(void)
{
    return false;
}

error *cuda_device(device *out)
{
    (void)out;
    return user_error("this program was built without CUDA: install the CUDA toolkit and run make "
                      "again, or use --device cpu");
}

error *cuda_join(device *dev, comm *c)
{
    (void)dev, (void)c;
    return internal_error("ranks on GPUs in a build without CUDA");
}

error *cuda_use(device *dev, const char *kernel, const char *products)
{
    (void)dev, (void)kernel, (void)products;
    return internal_error("products on a GPU in a build without CUDA");
}

error *cuda_try_cudnn(device *dev)
{
    (void)dev;
    return internal_error("cuDNN in a build without CUDA");
}

void cuda_close(device *dev)
{
    *dev = (device){0};
}

const char *cuda_describe(const device *dev, char *buffer, size_t size)
{
    (void)dev;
    if (size) buffer[0] = 0;
    return buffer;
}

size_t cuda_memory(const device *dev)
{
    (void)dev;
    return 0;
}

size_t cuda_free_memory(device *dev)
{
    (void)dev;
    return 0;
}

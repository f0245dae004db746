/* driver.c - is there an NVIDIA driver?
 *
 * Asked of its library, not of CUDA's runtime, which might start the driver: that reads its
 * environment when it starts, and a rank's GPU (train/join.c) is put there after this question; nor
 * may a process be forked into ranks after it. */
#include "cuda/cuda.h"

#include <dlfcn.h>
#include <string.h>

bool cuda_driver_here(void)
{
    int version = 0, (*get_version)(int *) = NULL;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!driver) return false;
    void *symbol = dlsym(driver, "cuDriverGetVersion");
    memcpy(&get_version, &symbol, sizeof symbol);
    if (get_version && get_version(&version)) version = 0;
    dlclose(driver);
    return version > 0;
}

/* driver.c - is there an NVIDIA driver?
 *
 * It asks the driver's library, not CUDA's runtime, which might initialize the driver: that reads
 * its environment then, and a rank's GPU (train/join.c) is set there after this question; nor may a
 * process fork into ranks after that. */
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

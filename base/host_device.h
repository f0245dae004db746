/* host_device.h - functions shared by the host and CUDA kernels. */
#ifndef REGRAD_HOST_DEVICE_H
#define REGRAD_HOST_DEVICE_H

/* Before a small function in a header: compiled for the host and, by nvcc, for the GPU. */
#ifdef __CUDACC__
#define HOST_DEVICE static __host__ __device__ __forceinline__
#else
#define HOST_DEVICE static inline __attribute__((always_inline))
#endif

#endif

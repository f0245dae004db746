/* choose_device.h - where a program runs: the device behind --device. */
#ifndef REGRAD_TRAIN_DEVICE_H
#define REGRAD_TRAIN_DEVICE_H

#include "core/ops.h"

typedef enum { PLACE_AUTO, PLACE_CPU, PLACE_CUDA, PLACE_COUNT } place_choice;
extern const char *const place_names[PLACE_COUNT]; /* "auto", "cpu", "cuda" */

/* auto: CUDA if there is a GPU that can be used, else the CPU; why a GPU that is there cannot be
 * used goes to standard output, in one line.  threads: of the CPU, 0 for one on each core. */
error *device_open(place_choice where, int threads, device *out) NODISCARD;
/* On the CPU: what computes, see cpu/cpu.h; user errors as there. */
error *device_use(device *dev, const char *kernel, const char *products) NODISCARD;
void device_close(device *dev);

/* "cpu, 2 threads, avx512" or "cuda, NVIDIA H100 80GB HBM3, 79.1 GiB"; returns
 * buffer. */
const char *device_describe(const device *dev, char *buffer, size_t size);

/* Bytes of the GPU's memory in all; 0 on the CPU. */
size_t device_memory(const device *dev);
size_t device_free_memory(device *dev); /* likewise, of what nobody has taken */

/* Where auto would go: CUDA if there is a driver.  For plans, which open nothing. */
place_choice device_likely(place_choice where);
place_choice device_place(const device *dev); /* where this one is */

/* Makes ready what a method of attention needs on the GPU.  User error: it is not here. */
error *device_prepare(device *dev, attention_method how) NODISCARD;

/* Bytes that the device there must be lent (op_lend) for its libraries and sums; 0: none. */
size_t device_room(place_choice where);

#endif

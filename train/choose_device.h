/* choose_device.h - where a program runs: the device that --device names.
 *
 * The kinds of devices there are stand in one list, in choose_device.c; what can be asked of each
 * is in core/device_kind.h.
 */
#ifndef REGRAD_TRAIN_CHOOSE_DEVICE_H
#define REGRAD_TRAIN_CHOOSE_DEVICE_H

#include "core/ops.h"

#include <stdio.h>

typedef enum { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA, DEVICE_CHOICES } device_choice;
extern const char *const device_choice_names[DEVICE_CHOICES]; /* "auto", "cpu", "cuda" */

/* Where auto would go: CUDA if there is a driver.  For plans, which open nothing. */
device_choice device_likely(device_choice where);

/* The kind of device there; for DEVICE_AUTO the CPU's, which is always there. */
const device_kind *device_kind_at(device_choice where);
device_choice device_choice_of(const device *dev); /* where this one is */

/* auto: CUDA if there is a GPU that can be used, else the CPU; why a GPU that is there cannot be
 * used goes to `out` (NULL: nowhere), in one line.  threads: of the CPU, 0 for one on each core. */
error *device_open(device_choice where, int threads, FILE *out, device *dev) NODISCARD;
/* On the CPU: what computes, see cpu/cpu.h; user errors as there. */
error *device_use(device *dev, const char *kernel, const char *products) NODISCARD;
void device_close(device *dev);

/* "cpu, 2 threads, avx512" or "cuda, NVIDIA H100 80GB HBM3, 79.1 GiB"; returns
 * buffer. */
const char *device_describe(const device *dev, char *buffer, size_t size);

/* Bytes of the GPU's memory in all; 0 on the CPU. */
size_t device_memory(const device *dev);
size_t device_free_memory(device *dev); /* likewise, of what nobody has taken */

/* A method of attention by its name: its number, and the first kind of device that has it.  User
 * error: none does. */
error *device_attention(const char *name, int *method, const device_kind **whose) NODISCARD;

/* Makes ready what a method of attention needs.  User error: it is not here. */
error *device_prepare(device *dev, int attention) NODISCARD;

#endif

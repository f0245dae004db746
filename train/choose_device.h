/* choose_device.h - chooses the device that --device names.
 *
 * The kinds of devices are listed in choose_device.c; core/device_kind.h describes what they can
 * answer.
 */
#ifndef REGRAD_TRAIN_CHOOSE_DEVICE_H
#define REGRAD_TRAIN_CHOOSE_DEVICE_H

#include "core/far.h"

#include <stdio.h>

typedef enum { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA, DEVICE_CHOICES } device_choice;
extern const char *const device_choice_names[DEVICE_CHOICES]; /* "auto", "cpu", "cuda" */

/* What auto would choose: CUDA if there is a driver.  For plans, which open nothing. */
device_choice device_likely(device_choice where);

/* The kind of that device; for DEVICE_AUTO the CPU's, which always exists. */
const device_kind *device_kind_at(device_choice where);
device_choice device_choice_of(const device *dev); /* which of them it is */

/* For --gpus: are there n devices on this machine, of a kind that machines may have several of?
 * Ranks then take one each (device_kind.choose).  User error: there are fewer. */
error *device_enough(int n) NODISCARD;

/* auto: CUDA if there is a usable GPU, else the CPU; why an existing GPU cannot be used is printed
 * to `out` (NULL: nowhere), in one line.  threads: of the CPU, 0 for one per core. */
error *device_open(device_choice where, int threads, FILE *out, device *dev) NODISCARD;
/* On the CPU: the kernels and the library for products, see cpu/cpu.h; user errors as there. */
error *device_use(device *dev, const char *kernel, const char *products) NODISCARD;
void device_close(device *dev);

/* "cpu, 2 threads, avx512" or "cuda, NVIDIA H100 80GB HBM3, 79.1 GiB"; returns
 * buffer. */
const char *device_describe(const device *dev, char *buffer, size_t size);

/* Total bytes of the GPU's memory; 0 on the CPU. */
size_t device_memory(const device *dev);
size_t device_free_memory(device *dev); /* likewise, those that are free */

/* How it copies from and to its host's memory, for a second place there; NULL: it has no memory of
 * its own. */
const far_host *device_host(const device *dev);

/* Finds a method of attention by name: its number, and the first kind of device that has it.  User
 * error if none does. */
error *device_attention(const char *name, int *method, const device_kind **whose) NODISCARD;

/* Loads what a method of attention needs.  User error if it is not installed. */
error *device_prepare(device *dev, int attention) NODISCARD;

#endif

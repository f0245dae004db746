/* runtime.h - what tests may ask of the emulated runtime beyond CUDA's own calls. */
#ifndef CUDASIM_RUNTIME_TESTS_H
#define CUDASIM_RUNTIME_TESTS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Kernels and copies may not touch these bytes of device memory (seen by AddressSanitizer), until
 * they are allowed again. */
void emu_forbid(const void *memory, size_t bytes);
void emu_allow(const void *memory, size_t bytes);

/* The order of threads and blocks (emu.h) of kernels that run from now on. */
void emu_set_order(int order);

/* Which device there is: how cudaGetDeviceCount answers, and the device's architecture. */
typedef enum { EMU_DEVICE, EMU_NO_DEVICE, EMU_OLD_DRIVER, EMU_OLD_DEVICE, EMU_NO_CODE } emu_machine;
void emu_set_machine(emu_machine);

/* The n-th call from now of a runtime function that can fail returns an error; 0: none does. */
void emu_fail_call(int n);

/* Are these bytes inside one allocation of device memory, and allowed? */
bool emu_may_touch(const void *memory, size_t bytes);

/* Device memory taken and not given back, in bytes. */
size_t emu_device_bytes(void);

#ifdef __cplusplus
}
#endif
#endif

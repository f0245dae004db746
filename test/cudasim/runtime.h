/* runtime.h - what tests may ask of the emulated runtime beyond CUDA's own calls. */
#ifndef CUDASIM_TESTS_RUNTIME_H
#define CUDASIM_TESTS_RUNTIME_H

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

/* Checks that can be switched off, so that tests can show which of them finds a mistake. */
typedef enum {
    EMU_BARRIERS = 1,  /* who waits where for the block */
    EMU_MASKS = 2,     /* who takes part in a warp operation */
    EMU_LIMITS = 4,    /* of a launch */
    EMU_NAN = 8,       /* shared memory begins as NaN */
    EMU_HOST = 16,     /* device memory is closed to the host */
    EMU_LATE = 32,     /* streams run as late as they may */
    EMU_RACES = 64,    /* the race detector */
    EMU_CAPTURE = 128, /* what may be asked for while a stream captures */
    EMU_COPIES = 256   /* cp.async: alignment, and that a copy is waited for */
} emu_check;
void emu_switch_off(emu_check);

/* Were this program's kernels compiled for the race detector? */
bool emu_watches_races(void);

/* Which device there is: how cudaGetDeviceCount answers, and the device's architecture. */
typedef enum {
    EMU_DEVICE,
    EMU_NO_DEVICE,
    EMU_OLD_DRIVER,
    EMU_OLD_DEVICE,
    EMU_AMPERE,
    EMU_NO_CODE
} emu_machine;
void emu_set_machine(emu_machine);

/* The n-th call from now of a runtime function that can fail returns an error; 0: none does. */
void emu_fail_call(int n);
/* The same of launches alone; and how many are left until then. */
void emu_fail_launch(int n);
int emu_launches_left(void);

/* From now on (or no longer) every call that makes the driver take memory fails: cudaMalloc,
 * cudaMallocHost, cudaGraphInstantiate, and making streams and events. */
void emu_refuse_memory(bool);

/* How many blocks of device memory have been taken, ever. */
int emu_allocations(void);

/* How often a copy made the host wait for a stream, ever: from memory that is
 * not pinned, and long. */
int emu_host_waits(void);

/* From now on nothing runs: each kernel, copy and product of a library is told by its name to
 * `note` instead, and device memory, as much as is asked for, holds nothing. */
void emu_record(void (*note)(void *context, const char *what), void *context);

/* How many graphs have been launched, ever. */
int emu_graph_launches(void);

/* How many graphs of cuDNN's have been executed, ever. */
int emu_cudnn_calls(void);

/* What cublasLt was asked for, ever.  Products that are not in it were made by our own kernel. */
typedef struct {
    int made, with_epilogue, of_8_bits; /* products */
    int refused_late;                   /* by an algorithm that the heuristic had named */
    int without_algorithm;              /* questions to which the heuristic had no answer */
} emu_products;
emu_products emu_products_ever(void);

/* Are these bytes inside one allocation of device memory, and allowed? */
bool emu_may_touch(const void *memory, size_t bytes);

/* Device memory taken and not given back, in bytes. */
size_t emu_device_bytes(void);

#ifdef __cplusplus
}
#endif
#endif

/* rig.h - devices under test, each with a block of its memory.
 *
 * The devices are the reference, and three of one kind: rig_cpu.c opens the CPU with 2, 1 and 5
 * threads, rig_cuda.c a GPU - on the emulator with threads in three orders.  A test is linked with
 * one of these files.  A tensor that is put on a rig
 * lies between guards of RIG_GUARD bytes with all bits set, which are checked when it is read back.
 */
#ifndef REGRAD_TEST_RIG_H
#define REGRAD_TEST_RIG_H

#include "core/ops.h"

enum { RIG_GUARD = 256, RIG_ALIGN = 64 };

/* A device with one block of its memory, as the arena has it: tensors are placed one behind the
 * other. */
typedef struct {
    device dev;
    void *memory;
    size_t bytes, used; /* behind them is what the device is lent */
} rig;

/* The devices under test; the state of a test group. */
typedef struct {
    dtype work;              /* working type of the cases: F32, or BF16 */
    rig ref, many, one, odd; /* CPU: 2 threads, 1 and 5; emulator: upwards, downwards, any order */
    int cases;
    double worst; /* largest error / bound so far */
    char worst_case[260];
} bench;

/* bytes up to the next multiple of RIG_ALIGN */
size_t rig_aligned(size_t bytes);

/* For cmocka_run_group_tests: open and close the devices. */
int bench_open(void **state);
int bench_open_bf16(void **state);
int bench_close(void **state);

/* A group of tests in each working type that the devices have; needs cmocka.h. */
#define RUN_IN_ALL_TYPES(tests)                                                                    \
    (cmocka_run_group_tests_name("f32", tests, bench_open, bench_close) +                          \
     (rig_has_bf16() ? cmocka_run_group_tests_name("bf16", tests, bench_open_bf16, bench_close)    \
                     : 0))

/* From rig_cpu.c or rig_cuda.c: */

error *rigs_open_devices(bench *b) NODISCARD; /* many, one, odd */
void rig_close_device(rig *r);
size_t rig_memory(void); /* bytes for each */
size_t rig_room(void);   /* and as many to lend it; 0: none */
bool rig_has_bf16(void);
/* In bf16, values that go from one product to the next, or from a product into an activation, may
 * be rounded on the way, as tensor cores need it. */
bool rig_rounds_between(void);
/* Other threads, or another order of threads, may change the last bits of a result. */
bool rig_bits_vary(void);
/* A product's last bits may depend on where its operands begin: cublasLt chooses by that. */
bool rig_products_vary(void);
/* Each launch takes long, as on the emulator: without LONG, some of the checks are left out in most
 * cases. */
bool rig_slow(void);
/* One run of each case is enough. */
bool rig_once(void);
/* Is there cuDNN, for attention? */
bool rig_has_cudnn(void);
/* The largest head that attention takes. */
int64_t rig_most_head(void);
/* To be called before an operation: sets the rig's order of threads. */
void rig_select(const bench *b, const rig *r);

/* A copy of host's elements in the rig's memory, between guards. */
tensor rig_put(rig *r, dtype type, shape dims, const void *host);
/* Copies the elements back, after checking that the guards are whole. */
void rig_get(rig *r, tensor t, void *host);
/* Forgets all tensors. */
void rig_clear(rig *r);
/* Fails the cmocka test if the device has failed. */
void rig_well(rig *r, const char *what);
/* The device's working type: f32 where it has it. */
dtype rig_type(const rig *r);

#endif

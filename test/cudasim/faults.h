/* faults.h - mistakes put into kernels on purpose: the emulator must notice each (test_cudasim.c).
 *
 * faults.cu is compiled three times: with the sanitizers, as the kernels of the device are,
 * without, and for the race detector. */
#ifndef CUDASIM_FAULTS_H
#define CUDASIM_FAULTS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    FAULT_NONE,        /* a kernel with all that is allowed */
    FAULT_NONE_BLOCKS, /* the same between blocks */
    FAULT_NONE_GRAPH,  /* a graph of two streams */
    FAULT_GLOBAL,
    FAULT_STATIC_SHARED,
    FAULT_DYNAMIC_SHARED,
    FAULT_OWN_ARRAY,
    FAULT_MISALIGNED,
    FAULT_FORBIDDEN,
    FAULT_MISSING_BARRIER,
    FAULT_MISSING_WARP_BARRIER,
    FAULT_LOOP_BARRIER,
    FAULT_NEVER_WRITTEN,
    FAULT_DIVERGENT_BARRIER,
    FAULT_PARTIAL_BARRIER,
    FAULT_EXITED_LANE,
    FAULT_OUTSIDE_MASK,
    FAULT_BLOCK_RACE,
    FAULT_PLAIN_SUM,
    FAULT_MISSING_FENCE,
    FAULT_STRUCT_RACE,
    FAULT_COPY_WAIT,
    FAULT_COPY_COMMIT,
    FAULT_COPY_MISALIGNED,
    FAULT_SHARED_LIMIT,
    FAULT_THREAD_LIMIT,
    FAULT_GRID_LIMIT,
    FAULT_HOST_ACCESS,
    FAULT_MISSING_EVENT,
    FAULT_EARLY_REUSE,
    FAULT_GRAPH_EVENT,
    FAULT_GRAPH_JOIN,
    FAULT_GRAPH_SYNC,
    FAULTS
} fault;

/* Runs it; ends the program, or returns whether the result is what it would
 * be without the fault. */
int faults_checked(fault which);
int faults_unchecked(fault which);
int faults_watched(fault which);

#ifdef __cplusplus
}
#endif
#endif

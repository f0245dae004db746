/* process_memory.h - what this process takes of the machine's memory, and what it may take.
 *
 * Three limits are beside what is free: of the control group (version 1 or 2) that containers and
 * batch systems put it in, where the pages of files do not count, for they can be given back; of
 * its address space (ulimit -v); and the machine's own.
 */
#ifndef REGRAD_PROCESS_MEMORY_H
#define REGRAD_PROCESS_MEMORY_H

#include <stddef.h>

/* Resident memory in bytes, now and at its largest; 0 if unknown. */
size_t resident_bytes(void);
size_t peak_resident_bytes(void);

/* The nearest of these limits. */
typedef struct {
    size_t left; /* bytes that this process may take besides what it has; 0 if nothing says so */
    size_t limit,
        used; /* left = limit - used; used: by this process, its group, or all of the machine's */
    const char *by; /* "the machine", "ulimit -v", "its control group"; "" if nothing says so */
} memory_room;
memory_room memory_room_now(void);
size_t memory_left(void);

/* Bytes that one of the programs takes beside its plan: code, libraries, stacks of threads. */
size_t process_overhead(int threads);

#endif

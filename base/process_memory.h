/* process_memory.h - how much memory this process uses, and how much it may use.
 *
 * Beside the free memory of the machine there are three limits: that of the control group (version
 * 1 or 2) of a container or batch job, where the page cache does not count since it can be
 * reclaimed; that of the address space (ulimit -v); and the machine's size.
 */
#ifndef REGRAD_PROCESS_MEMORY_H
#define REGRAD_PROCESS_MEMORY_H

#include <stddef.h>

/* Resident memory in bytes, current and peak; 0 if unknown. */
size_t resident_bytes(void);
size_t peak_resident_bytes(void);

/* The tightest of these limits. */
typedef struct {
    size_t left; /* bytes that this process may still take; 0 if unknown */
    size_t limit,
        used; /* left = limit - used; used: by the process, its group, or the whole machine */
    const char *by; /* "the machine", "ulimit -v", "its control group"; "" if unknown */
} memory_room;
memory_room memory_room_now(void);
size_t memory_left(void);

/* Bytes that a program uses beside its plan: code, libraries, thread stacks. */
size_t process_overhead(int threads);

#endif

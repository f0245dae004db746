/* process_memory.h - what this process takes of the machine's memory. */
#ifndef REGRAD_PROCESS_MEMORY_H
#define REGRAD_PROCESS_MEMORY_H

#include <stddef.h>

/* Resident memory in bytes, now; 0 if unknown. */
size_t resident_bytes(void);

#endif

/* kept_heap.c - see kept_heap.h */
#include "base/kept_heap.h"

#include <stdlib.h>

#ifdef __GLIBC__

#include <malloc.h>

enum { BLOCK = 4 << 20, KEPT = 16 << 20 };

/* It can only say no to numbers that are too large, and then all is as before. */
void heap_keep(void)
{
    mallopt(M_MMAP_THRESHOLD, BLOCK);
    mallopt(M_TRIM_THRESHOLD, KEPT);
}

#else

void heap_keep(void) {}

#endif

/* kept_heap.h - what free() does with a block that will soon be asked for again.
 *
 * glibc gives a block of more than 128 KiB back to the kernel, and so it does with the heap's end
 * as soon as that is twice as long: whoever decodes pictures one after another pays for every page
 * of each of them again, which docs/bench-cpu.md measures.
 */
#ifndef REGRAD_KEPT_HEAP_H
#define REGRAD_KEPT_HEAP_H

/* Blocks of up to 4 MiB stay in the process when they are freed, and up to 16 MiB of them; for
 * the whole process, so it is for its main to call.  Other libraries than glibc: nothing. */
void heap_keep(void);

#endif

/* inject.h - the n-th call that can fail, fails.
 *
 * The linker sends every call of our own objects to malloc, open, write, rename ... through
 * wrappers (--wrap, see the Makefile); libraries and the C library itself keep the real ones.
 * Streams are made anew on a file descriptor of ours (fopencookie), so that what fails is not
 * fprintf but the write(2) beneath it, with the buffering and the error flags that a real disk
 * would give.
 *
 *     our object --malloc--> wrapper --- n-th? ---no---> malloc (or AddressSanitizer's)
 *                               |
 *                               +--yes--> NULL, errno = ENOMEM
 *
 * What is open and what is allocated is counted on the way, so that a leak shows in either build.
 * Only a child process of the test arms this; a report in shared memory tells the parent.
 */
#ifndef REGRAD_TEST_FAULT_INJECT_H
#define REGRAD_TEST_FAULT_INJECT_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    FAULT_NONE,   /* calls are counted and their stacks noted */
    FAULT_ONCE,   /* call n fails */
    FAULT_ONWARD, /* call n fails and all of its class after it: memory is out, the disk is full */
    FAULT_SHORT,  /* nothing fails, but every read and write does a part only */
} fault_mode;

enum { FAULT_CALLS = 1 << 16, FAULT_FRAMES = 24 };

typedef struct {
    int64_t calls;               /* that could have failed */
    uint64_t stack[FAULT_CALLS]; /* a hash of the callers, for FAULT_NONE */
    int64_t struck;              /* calls that were made to fail */
    char what[64];               /* the first of them */
    long frame[FAULT_FRAMES];    /* its callers, as addr2line -e takes them */
    int n_frames;
    int64_t leaked_blocks, leaked_files; /* at fault_disarm */
    long leaked_by;                      /* who allocated one of them */
} fault_report;

/* From here on, call n (1, 2, ...) is treated as the mode says. */
void fault_arm(fault_report *report, fault_mode mode, int64_t n);
void fault_disarm(void);

/* Makes stdout one of our streams, for good: before arming, in a child. */
void fault_stdout(void);

#endif

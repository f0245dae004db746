/* power.h - what a disk may hold after a power cut, from the calls that went before.
 *
 * Each file and directory exists twice: as the processes saw it, and as it is known to be on the
 * disk.  What is known is little: a file's bytes when it was synced, a directory's names when that
 * was synced.  What was not may be there or not; all of these are tried:
 *
 *   POWER_ALL      nothing is lost: the process was killed
 *   POWER_SYNCED   all is lost that was not synced
 *   POWER_NAMES    names are as they were last, files have the bytes that were synced
 *   POWER_ANY      each name, and each file's bytes, by the throw of a coin
 */
#ifndef REGRAD_TEST_DISK_POWER_H
#define REGRAD_TEST_DISK_POWER_H

#include "test/disk/calls.h"

typedef enum { POWER_ALL, POWER_SYNCED, POWER_NAMES, POWER_ANY } power_loss;

/* Makes `to` (an empty directory) what `from` would be after the first n calls; `from` was empty
 * then.  coin: which throw of POWER_ANY. */
void power_cut(const call_log *log, int64_t n, const char *from, const char *to, power_loss loss,
               uint64_t coin);

#endif

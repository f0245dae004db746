/* fingerprint.h - a hash that identifies files by their contents.
 *
 *     files          |##########|####|     |#######|######|
 *     their blocks    0 1 2 3 4  5 6        7 8 9   10 11      256 KiB each, the last of a file shorter
 *
 *     value          XXH3 of every file's size and name, then of the XXH3 of every block
 *     stamp          XXH3 of each file's metadata: size, inode, times of the last changes
 *
 * Blocks are hashed by several threads, at the speed of the disk.  The cost at startup is bounded
 * in bytes, not in seconds, so that the same blocks are read every time: up to 2.5 GB everything is
 * read, which takes a second if it is in the page cache (measured: 2.9 GB/s on two cores of an AMD
 * EPYC, four fifths of it copying out of that cache).  Of larger sets 2.5 GB are read, in blocks
 * spread evenly; and at most 65,536 blocks (images are small, and each must be opened).  The choice
 * depends on the sizes alone, so the same files have the same value everywhere.  The result says
 * how much was read.
 *
 * While the stamp is unchanged, so are the files (except for a change within one tick of the
 * system's clock), and a value saved with its stamp need not be computed again.  (Programs cannot
 * set a file's change time, so a file overwritten by another with an old modification time is
 * noticed.)
 */
#ifndef REGRAD_FINGERPRINT_H
#define REGRAD_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct {
    const char *path;
    const char *name; /* ? the part of the path that counts; NULL: none */
    int fd; /* -1: to be opened.  Then one that cannot be read has no contents; else that is
                       * a user error */
} fingerprint_file;

typedef struct {
    uint64_t value, stamp;
    int64_t bytes, read; /* bytes of the files; bytes that were read */
} fingerprint;

/* Of n files, in this order; `also` stands for anything else that counts.  known: ? an earlier
 * fingerprint, which is reused if its stamp is still the same. */
error *fingerprint_files(const fingerprint_file *file, int64_t n, uint64_t also,
                         const fingerprint *known, fingerprint *out) NODISCARD;
/* Of one file, by its name; user error if it cannot be read. */
error *fingerprint_path(const char *path, fingerprint *out) NODISCARD;

/* Mixes n more bytes into a value. */
uint64_t fingerprint_add(uint64_t value, const void *bytes, size_t n);

#endif

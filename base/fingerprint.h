/* fingerprint.h - a number that tells files from others, by all that is in them.
 *
 *     files          |##########|####|     |#######|######|
 *     their blocks    0 1 2 3 4  5 6        7 8 9   10 11      256 KiB each, the last of a file shorter
 *
 *     value          XXH3 of every file's size and name, then of the XXH3 of every block
 *     stamp          XXH3 of what the system says of each: size, inode, times of its last changes
 *
 * Blocks are hashed by several threads, as fast as they can be read.  What a start may cost is
 * bounded, by bytes, for a bound in seconds would take other blocks from day to day: all of 2.5 GB
 * is read, which takes a second where memory has it already (measured: 2.9 GB/s, of which a copy
 * out of the system's cache is four fifths, on two cores of an AMD EPYC).  Of more, 2.5 GB are, in
 * blocks spread evenly; of more than 65,536 blocks (pictures are small, and each is opened) so
 * many.  Which ones depends on the sizes alone, so that the same files have the same value
 * everywhere.  Whoever asks can say how much was read.
 *
 * As long as the stamp is the same, so are the files (but for a change within one tick of the
 * system's clock): a value that was saved with its stamp need not be computed again.  (The
 * change time cannot be set by a program, so a file copied over another with an old
 * modification time is seen.)
 */
#ifndef REGRAD_FINGERPRINT_H
#define REGRAD_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct {
    const char *path;
    const char *name; /* ? which part of the path counts; NULL: nothing */
    int fd; /* -1: to be opened.  Then one that cannot be read has no contents; else that is
                       * a user error */
} fingerprint_file;

typedef struct {
    uint64_t value, stamp;
    int64_t bytes, read; /* of the files; of the blocks that the value is of */
} fingerprint;

/* Of n files, in this order; `also` stands for what else counts.  known: ? an earlier one, which is
 * taken if its stamp is what it would be now. */
error *fingerprint_files(const fingerprint_file *file, int64_t n, uint64_t also,
                         const fingerprint *known, fingerprint *out) NODISCARD;
/* Of one, by its name; a user error where it cannot be read. */
error *fingerprint_path(const char *path, fingerprint *out) NODISCARD;

/* A value that depends on n more bytes. */
uint64_t fingerprint_add(uint64_t value, const void *bytes, size_t n);

#endif

/* unpack.h - decompresses files, recognized by their first bytes, not by their names.
 *
 *     1f 8b         gzip (one or more members)
 *     28 b5 2f fd   Zstandard (one or more frames), if the program was built with libzstd
 *     5x 2a 4d 18   a skippable frame of Zstandard, with which pzstd's files start
 *     anything else is not compressed
 */
#ifndef REGRAD_UNPACK_H
#define REGRAD_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Bytes [begin, *n) of an array (base/grow.h) are the contents of a file: if compressed, they are
 * replaced by what they decompress to.  `most`: limit on the result (checked with some slack).
 * User errors name the file. */
error *unpack(const char *name, uint8_t **bytes, size_t *n, size_t *capacity, size_t begin,
              size_t most) NODISCARD;

/* Appends the decompressed contents of a file (or of standard input for "-"), up to the machine's
 * memory. */
error *read_unpacked(const char *name, uint8_t **bytes, size_t *n, size_t *capacity) NODISCARD;

#endif

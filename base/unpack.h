/* unpack.h - what a file holds when it is compressed: recognized by its first bytes, not by its name.
 *
 *     1f 8b         gzip (one member after another, as gzip writes them)
 *     28 b5 2f fd   Zstandard (frames likewise), where the program was built with libzstd
 *     5x 2a 4d 18   a frame of it to be skipped, with which pzstd's files begin
 *     else          as it is
 */
#ifndef REGRAD_UNPACK_H
#define REGRAD_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Bytes [begin, *n) of an array (base/grow.h) are a whole file: if it is compressed, they become what it holds.
 * `most`: bytes that this may be (somewhat more is noticed late).  User errors name the file. */
error *unpack(const char *name, uint8_t **bytes, size_t *n, size_t *capacity, size_t begin,
              size_t most) NODISCARD;

/* Appends what a file (or - for the standard input) holds, up to the machine's memory. */
error *read_unpacked(const char *name, uint8_t **bytes, size_t *n, size_t *capacity) NODISCARD;

#endif

/* tensorboard.h - writes a run's numbers for TensorBoard: --tensorboard DIR
 *
 *     DIR/events.out.tfevents.SECONDS.HOST.PROCESS        a new file for each process
 *
 * A file is a sequence of records, each with checksums (TensorFlow's tfrecord_writer):
 *
 *     u64 length | u32 crc of the length | bytes | u32 crc of the bytes
 *
 * crc: CRC-32C (Castagnoli), rotated right by 15, plus 0xa282ead8.  The bytes are an Event of
 * TensorFlow's event.proto, with these fields (the numbers are protobuf's):
 *
 *     1 wall_time (double)   2 step (int64)   3 file_version "brain.Event:2", in the first
 *     5 summary { 1 value { 1 tag, 2 simple_value (float) } }   7 session_log { 1 status: START }
 *
 * A resumed run starts with a START at its first step, which makes TensorBoard discard what an
 * earlier process wrote for that step and later ones.
 */
#ifndef REGRAD_TENSORBOARD_H
#define REGRAD_TENSORBOARD_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct tensorboard tensorboard;

typedef struct {
    const char *tag;
    double value; /* NAN: omitted */
} tensorboard_scalar;

/* DIR is created if necessary.  User error if the file cannot be written. */
error *tensorboard_open(const char *directory, int64_t first_step, tensorboard **out) NODISCARD;

/* An event with n scalars; does nothing without a file (NULL). */
error *tensorboard_add(tensorboard *t, int64_t step, const tensorboard_scalar *scalar /* (n) */,
                       int n) NODISCARD;

void tensorboard_close(tensorboard *t); /* NULL is ignored */

/* CRC-32C of n bytes. */
uint32_t crc32c(const void *bytes, size_t n);

#endif

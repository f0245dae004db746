/* snapshot.h - tensors of a file, copied, so that they can be written while the training changes
 * them.
 *
 *     training   step 100 | copy | step 101 | step 102 | step 103 ...
 *                            |
 *     a thread               +--> write, sync, hash, rename
 *
 * The copies lie one after the other in memory that the plan has for them, as they are on the
 * device; layout and order of the file are for whoever writes it (io/safetensors.h), so that what
 * costs time is in the thread.
 */
#ifndef REGRAD_SNAPSHOT_H
#define REGRAD_SNAPSHOT_H

#include "io/safetensors.h"

/* The room for a copy of n tensors. */
size_t snapshot_bytes(const named_tensor *list, int64_t n);

/* Copies them to the host's memory at `room`, where the list then finds them.  from: ? source of
 * the values, as in safetensors_write. */
error *snapshot_take(named_tensor *list, int64_t n, device *dev, const tensor_source *from,
                     char *room) NODISCARD;

#endif

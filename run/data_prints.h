/* data_prints.h - fingerprints of a run's data, stored in data.json of its directory.
 *
 * Hashing the data takes a second for each few gigabytes.  So what was found stands in the run's
 * directory with the files' metadata (size, times), and is found again while that is unchanged: a
 * resumed run does not read its data twice.
 *
 * { "train": {"files": metadata, "xxh3": contents, "bytes": N, "read": N}, "val": the same }
 */
#ifndef REGRAD_DATA_PRINTS_H
#define REGRAD_DATA_PRINTS_H

#include "base/fingerprint.h"

typedef struct {
    fingerprint train, val; /* val: zeros if there is none */
} data_prints;

/* Of OUT/data.json.  No file, one that cannot be read, or an entry that is missing: zeros, which
 * are no files' metadata, so that the data is read. */
void data_prints_read(const char *out, data_prints *known);
error *data_prints_keep(const char *out, const data_prints *prints) NODISCARD;

#endif

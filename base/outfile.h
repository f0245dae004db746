/* outfile.h - a file that appears complete or not at all.
 *
 *     outfile_create(path)   opens path.tmp.PID            an old file at path is untouched
 *     outfile_write ...
 *     outfile_seal           flushes and fsyncs            a full disk has been reported by now
 *     outfile_commit         renames it to path            replaces the old file in one step
 *
 * To write several files that belong together, seal them all before committing the first.
 */
#ifndef REGRAD_OUTFILE_H
#define REGRAD_OUTFILE_H

#include <stddef.h>

#include "base/error.h"

typedef struct outfile outfile;

/* User errors here name the path and give the system's reason. */
error *outfile_create(const char *path, outfile **out) NODISCARD;
error *outfile_write(outfile *f, const void *data, size_t n_bytes) NODISCARD;
error *outfile_rewind(outfile *f) NODISCARD; /* the next write starts at the beginning */
error *outfile_seal(outfile *f) NODISCARD;   /* no writes after this */

/* Seals if necessary, renames, and frees f; on failure removes the temporary file and frees f. */
error *outfile_commit(outfile *f) NODISCARD;

/* Removes the temporary file and frees f; NULL is ignored. */
void outfile_discard(outfile *f);

#endif

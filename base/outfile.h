/* outfile.h - a file that appears whole or not at all.
 *
 *     outfile_create(path)   path.tmp.PID is opened        old path, if any, is untouched
 *     outfile_write ...
 *     outfile_seal           flushed and fsynced           all errors of a full disk are out now
 *     outfile_commit         renamed to path               the old one is replaced in one step
 *
 * Whoever writes several files that belong together seals them all before committing the first.
 */
#ifndef REGRAD_OUTFILE_H
#define REGRAD_OUTFILE_H

#include <stddef.h>

#include "base/error.h"

typedef struct outfile outfile;

/* User errors here name the path and the system's reason. */
error *outfile_create(const char *path, outfile **out) NODISCARD;
error *outfile_write(outfile *f, const void *data, size_t n_bytes) NODISCARD;
error *outfile_rewind(outfile *f) NODISCARD; /* the next write goes to the beginning */
error *outfile_seal(outfile *f) NODISCARD;   /* no writes after this */

/* Seals if need be, renames, and frees f; on failure too, the temporary file being removed then. */
error *outfile_commit(outfile *f) NODISCARD;

/* Removes the temporary file and frees f; NULL is fine. */
void outfile_discard(outfile *f);

#endif

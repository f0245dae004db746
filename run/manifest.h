/* manifest.h - what a checkpoint consists of, and whether it is complete.
 *
 * manifest.json is the last file that is written into a checkpoint's directory:
 *
 *     {"format":"regrad-checkpoint","version":1,"step":1000,"files":[
 *     {"name":"model.safetensors","bytes":498000000,"xxh64":"ef46db3751d8e999"},
 *     {"name":"state.json","bytes":1234,"xxh64":"0123456789abcdef"}
 *     ]}
 *
 * This text is a function of the step and the files.  To verify a checkpoint, the file names are
 * taken from it, the text is computed again from these files, and the two must be equal: so every
 * byte of every file, including the manifest, is covered by the comparison.
 */
#ifndef REGRAD_MANIFEST_H
#define REGRAD_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/files.h"

enum { MANIFEST_FILES = 1024, MANIFEST_NAME = 128 };

/* A file's size and hash; bytes < 0: not known. */
typedef struct {
    int64_t bytes;
    uint64_t hash;
} file_facts;

error *manifest_facts(const char *directory, const char *name, file_facts *out) NODISCARD;

/* Hashes the n files of a directory and writes its manifest; the files must already be on disk.
 */
error *manifest_write(const char *directory, int64_t step, const char *const *names /* (n) */,
                      int n) NODISCARD;

/* The same, where others know the hashes of what they have written: of those only the sizes are
 * compared. */
error *manifest_write_known(const char *directory, int64_t step, const char *const *names,
                            const file_facts *known /* (n) */, int n) NODISCARD;

/* Verifies a directory against its manifest: format, step, every name, size and hash (XXH64).  User
 * errors name the file that is missing, truncated or changed. */
error *manifest_check(const char *directory, int64_t step) NODISCARD;

/* The same, but what is wrong goes to *damage (owned by the caller; NULL if nothing is), and the
 * returned error means that it could not be determined: out of memory, or the disk cannot be read.
 * That must not count as a broken checkpoint. */
error *manifest_verdict(const char *directory, int64_t step, error **damage) NODISCARD;

#endif

/* fuzz.h - what the targets share: bytes as a file, and what an error must be.
 *
 *     libFuzzer --bytes--> a file in memory (memory_files.h) --> a reader of ours --> value or error
 *
 * Each target is one reader.  It finds bytes by which the reader crashes, reads outside of a block,
 * overflows, leaks, takes seconds, or allocates more than its file deserves (the limits are given
 * by fuzz/run).  An error must be a user error of one line, and a value must be fit for use:
 * targets continue to read all that was promised.
 *
 * A target's seeds are made by itself: LLVMFuzzerInitialize writes the ones of fuzz_seeds[] into
 * the directory of the first argument that is one, so that no binary file is kept beside the text.
 */
#ifndef REGRAD_FUZZ_H
#define REGRAD_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/ops.h"
#include "fuzz/memory_files.h"
#include "model/model.h"

/* Defined by a target. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
void fuzz_seed(void); /* calls fuzz_keep for each seed */

/* A seed of n bytes, for the corpus. */
void fuzz_keep(const void *bytes, size_t n);
void fuzz_keep_texts(const char *const *texts, size_t n); /* each of them */

/* Ends the program if e is an error of ours, or not one line; frees it.  True: there was none. */
int fuzz_fine(error *e);

/* A model whose parameters lie in memory of their own, so that a value too many is seen. */
typedef struct {
    const model_kind *kind;
    model *model;
    params params;
} fuzz_model;
fuzz_model fuzz_model_make(const model_kind *kind, const model_config *c,
                           const training_policy *how);
void fuzz_model_free(fuzz_model *m);

/* A device that can take values, and nothing else. */
device fuzz_device(void);

#endif

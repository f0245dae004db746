/* llmc.h - llm.c's model files (.bin).
 *
 *   256 x int32  [0] 20240326, [1] version, [2] context, [3] V, [4] L, [5] heads, [6] C, [7] Vp
 *   then 16 unnamed tensors, each over all layers:
 *
 *     wte (Vp,C)   wpe (context,C)
 *     ln1w ln1b (L,C)   qkvw (L,3C,C) qkvb (L,3C)   attprojw (L,C,C) attprojb (L,C)
 *     ln2w ln2b (L,C)   fcw (L,4C,C)  fcb (L,4C)    fcprojw (L,C,4C) fcprojb (L,C)
 *     lnfw lnfb (C)
 *
 * Version 3 is f32, version 5 bf16 throughout.  Matrices are (out, in), like ours.  The token
 * embedding has Vp >= V rows, Vp a multiple of 128; rows V..Vp are padding: ignored when read,
 * written as zeros.
 */
#ifndef REGRAD_LLMC_H
#define REGRAD_LLMC_H

#include "params/params.h"

typedef struct llmc llmc;

typedef struct {
    int64_t context, vocab, layers, heads, width, padded_vocab;
    bool bf16;
} llmc_sizes;

/* Does the file start like one?  User error if it cannot be read. */
error *llmc_is(const char *path, bool *yes) NODISCARD;

/* Opens and checks a file: every size against the file's.  User errors name the path. */
error *llmc_open(const char *path, llmc **out) NODISCARD;
void llmc_close(llmc *f); /* NULL is ignored */
const llmc_sizes *llmc_about(const llmc *f);

/* Reads every parameter of the table.  User error: bf16 without `widen`, which converts it to f32,
 * exactly. */
error *llmc_read(const llmc *f, params *p, bool widen, device *dev) NODISCARD;

/* Writes version 3; the file is complete or not there.  padded_vocab and bf16 of the sizes are
 * ignored. */
error *llmc_write(const char *path, const llmc_sizes *sizes, const params *p,
                  device *dev) NODISCARD;

#endif

/* golden.h - values that another program has computed, read from a text file.
 *
 *     # made by scripts/golden-gpt with PyTorch 1.13
 *     loss 1
 *     4.15887928
 *     h0.attn.qkv.weight.grad 6
 *     1e-3 2e-3 -4.5e-4
 *     0 nan 1
 *
 * A name without blanks and a count, then that many numbers separated by blanks or ends of lines;
 * `#` begins a comment.  Tests run from the root of the repository: files are "test/golden/NAME".
 */
#ifndef REGRAD_TEST_GOLDEN_H
#define REGRAD_TEST_GOLDEN_H

#include "base/error.h"

#include <stdint.h>

typedef struct golden golden;

/* Reads all of it.  User errors name the file and the line. */
error *golden_open(const char *path, golden **out) NODISCARD;

/* The values of this name; they live as long as the golden.  Unknown names are user errors. */
error *golden_get(const golden *g, const char *name, const double **values, int64_t *n) NODISCARD;

void golden_free(golden *g);

#endif

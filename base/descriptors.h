/* descriptors.h - the standard descriptors: there, whoever started the program.
 *
 * A program that is started with one of them closed gets the next file that it opens in its place, and
 * what it says then goes into that file.
 */
#ifndef REGRAD_DESCRIPTORS_H
#define REGRAD_DESCRIPTORS_H

#include <stdbool.h>

#include "base/error.h"

/* Opens /dev/null on 0, 1 and 2 where they are closed, before any other file.  Where what is written to
 * the standard output is the program's result, that cannot be lost without a word: writing there will fail, which
 * stdout_check (base/files.h) tells. */
error *descriptors_fill(bool output_is_result) NODISCARD;

#endif

/* descriptors.h - the standard descriptors: there, whoever started the program.
 *
 * A program that is started with one of them closed gets the next file that it opens in its place, and
 * what it says then goes into that file.
 */
#ifndef REGRAD_DESCRIPTORS_H
#define REGRAD_DESCRIPTORS_H

#include "base/error.h"

/* Opens /dev/null on 0, 1 and 2 where they are closed; the first thing in main(). */
error *descriptors_fill(void) NODISCARD;

#endif

/* descriptors.h - makes sure that the three standard descriptors are open, whoever started the
 * program.
 *
 * If one of them is closed, the next file the program opens gets its number, and messages then end
 * up in that file.
 */
#ifndef REGRAD_DESCRIPTORS_H
#define REGRAD_DESCRIPTORS_H

#include <stdbool.h>

#include "base/error.h"

/* Opens /dev/null on 0, 1 and 2 where they are closed; call it before opening any other file. If
 * standard output carries the program's result, it is opened for reading only: the result must not
 * get lost silently, and writing then fails, which stdout_check (base/files.h) reports. */
error *descriptors_fill(bool output_is_result) NODISCARD;

#endif

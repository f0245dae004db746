/* command_line.h - what is wrong with a command line, before argp reads it.
 *
 * argp's own words are for several mistakes at once, and it cannot name an option that has one dash too few.
 * Here each says which it is, and what was probably meant:
 *
 *     --optin adamw      no such option; the nearest is --optim
 *     -steps 3           one dash is missing: --steps
 *     --st 3             could be --state, --steps
 *     --steps            needs a value: --steps N
 *     --steps --seed 1   likewise: the next word is an option
 *     --flip=yes         takes no value
 */
#ifndef REGRAD_COMMAND_LINE_H
#define REGRAD_COMMAND_LINE_H

#include <argp.h>

#include "base/error.h"

/* options ends with an entry of zeros, as argp has it.  User errors as above. */
error *command_line_check(const struct argp_option *options, int argc, char *const *argv) NODISCARD;

#endif

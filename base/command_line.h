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
 *
 * Every program answers -h, --help, -? and --version, and shows its help when it is started without a word.
 */
#ifndef REGRAD_COMMAND_LINE_H
#define REGRAD_COMMAND_LINE_H

#include <argp.h>

#include "base/error.h"

/* The last rows of every program's options: -h, --help, -? and --version. */
#define COMMAND_LINE_ROWS                                                                          \
    {"help", 'h', NULL, 0, "show this help", -1},                                                  \
        {NULL, '?', NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, -1},                                 \
    {                                                                                              \
        "version", COMMAND_LINE_VERSION, NULL, 0, "show the version", -1                           \
    }
enum { COMMAND_LINE_VERSION = 900, COMMAND_LINE_ROW_COUNT = 3 };

/* What a program's own parser returns for a key that it does not know: those rows are answered, and end
 * the program. */
error_t command_line_key(int key, struct argp_state *state);

/* What main() parses: argv, or --help in `room` where a call has no word. */
char **command_line_words(int *argc, char **argv, char *room[3]);

/* argp_parse, after the check above; argp->options ends with an entry of zeros.  What the
 * program's parser left in *failure comes before argp's own word.  User errors as above. */
error *command_line_parse(const struct argp *argp, int argc, char **argv, unsigned flags,
                          void *input, error **failure) NODISCARD;

#endif

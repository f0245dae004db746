/* command_line.h - finds mistakes in a command line before argp parses it.
 *
 * argp reports several mistakes in the same words and cannot name an option that lacks one dash.
 * Here each mistake has a message of its own, which suggests what was meant:
 *
 *     --optin adamw      no such option; the nearest is --optim
 *     -steps 3           one dash is missing: --steps
 *     --st 3             could be --state, --steps
 *     --steps            needs a value: --steps N
 *     --steps --seed 1   likewise: the next word is an option
 *     --flip=yes         takes no value
 *
 * Every program answers -h, --help, -? and --version, and prints its help when called without
 * arguments.
 */
#ifndef REGRAD_COMMAND_LINE_H
#define REGRAD_COMMAND_LINE_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The last rows of every program's option table: -h, --help, -? and --version. */
#define COMMAND_LINE_ROWS                                                                          \
    {"help", 'h', NULL, 0, "show this help", -1},                                                  \
        {NULL, '?', NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, -1},                                 \
    {                                                                                              \
        "version", COMMAND_LINE_VERSION, NULL, 0, "show the version", -1                           \
    }
enum { COMMAND_LINE_VERSION = 900, COMMAND_LINE_ROW_COUNT = 3 };

/* A program's parser returns this for a key it does not know; the standard options are then
 * answered here, and end the program. */
error_t command_line_key(int key, struct argp_state *state);

/* An option that is stored as it is given, in a `const char *` of the program's options; or, if it
 * takes no value, as true in a bool.  The key of one without a letter says where: STORED(member) of
 * the program's type `options`; of one with a letter, a row does. */
#define STORED(member) (COMMAND_LINE_STORED + (int)offsetof(options, member))
enum { COMMAND_LINE_STORED = 1 << 16 }; /* below argp's own keys */
typedef struct {
    int key;
    size_t at; /* in the options */
} stored_option;

/* Stores `arg` if the key is such a one, or of one of the n rows (NULL: none); false if not. */
bool command_line_store(const stored_option *rows, size_t n, int key, const char *arg, void *to);

/* Values: one of n words, by number; a whole number from 1 to `most`.  `option` is its name, for
 * messages, which say what there is. */
error *command_line_word(const char *option, const char *text, const char *const *words, int n,
                         int *out) NODISCARD;
error *command_line_count(const char *option, const char *text, int64_t most,
                          int64_t *out) NODISCARD;

/* What main() should parse: argv, or --help (stored in `room`) if there are no arguments. */
char **command_line_words(int *argc, char **argv, char *room[3]);

/* argp_parse after the check above; argp->options ends with an entry of zeros.  An error that the
 * program's parser left in *failure takes precedence over argp's own.  User errors as above. */
error *command_line_parse(const struct argp *argp, int argc, char **argv, unsigned flags,
                          void *input, error **failure) NODISCARD;

#endif

/* onig.h - translates the regular expressions of tokenizer.json to PCRE2's syntax.
 *
 * Hugging Face's library compiles them with Oniguruma in Ruby's syntax, which looks like PCRE2's
 * but differs in places:
 *
 *     Oniguruma, Ruby     PCRE2                          meaning
 *     a{1,2}+             (?:a{1,2})+                    repeated, not possessive
 *     a{2}?               (?:a{2})?                      optional, not lazy
 *     a{,2}               a{0,2}
 *     ^  $                (?m:^)  (?m:$)                 at lines' ends
 *     (?m:.)              (?s:.)                         a dot that takes line breaks
 *     \h  \H              [0-9A-Fa-f] ...                a hexadecimal digit
 *     \w  \W  \b  \B      by Alphabetic, Mark, Nd, Pc    with combining marks; and, outside of a class, the
 *                                                        superscript digits and fractions of Latin-1
 *     \s  \S              White_Space                    without U+180E
 *     \p{Han}             \p{sc:Han}                     the script, not its extensions
 *     \u3000              \x{3000}
 *     [a[b]] [a&&[^b]]    [ab]  (?:(?=[^b])[a])          classes in classes
 *
 * Everything else (references, conditions, absent groups, \G \K \X, POSIX classes, ...) is refused
 * by name, and so is an expression that can match the empty string: there the library cuts without
 * consuming.
 *
 * Unicode: Oniguruma of tokenizers 0.23.3 and tiktoken 0.14 have version 16, PCRE2 10.42 has 14;
 * characters added in between are letters there and unassigned here.
 */
#ifndef REGRAD_ONIG_H
#define REGRAD_ONIG_H

#include "base/error.h"

/* *out is for pattern_compile; the caller frees it.  User errors name the construct. */
error *onig_translate(const char *expression, char **out) NODISCARD;

/* An expression that matches exactly this text. */
error *onig_literal(const char *text, char **out) NODISCARD;

#endif

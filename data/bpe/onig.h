/* onig.h - the regular expressions of tokenizer.json, said in PCRE2's words.
 *
 * Hugging Face's library compiles them with Oniguruma in Ruby's syntax, which looks like PCRE2's and means
 * other things in places:
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
 * What else there is (references, conditions, absent groups, \G \K \X, POSIX classes, ...) is refused by
 * its name, and so is an expression that can match nothing: there the library cuts without taking.
 *
 * Unicode: Oniguruma of tokenizers 0.23.3 and tiktoken 0.14 have version 16, PCRE2 10.42 has 14; characters
 * that came between are letters there and unassigned here.
 */
#ifndef REGRAD_ONIG_H
#define REGRAD_ONIG_H

#include "base/error.h"

/* *out is for pattern_compile; the caller frees it.  User error naming the construct. */
error *onig_translate(const char *expression, char **out) NODISCARD;

/* An expression that matches the text and nothing else. */
error *onig_literal(const char *text, char **out) NODISCARD;

#endif

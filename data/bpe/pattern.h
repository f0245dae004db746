/* pattern.h - the regular expression for pre-tokenization.
 *
 * GPT-2 and its relatives cut by Unicode's classes, which PCRE2 has.  pattern_pcre2.c is the
 * implementation; a build without PCRE2 has pattern_none.c instead, which refuses every expression
 * and says what to install.  (The Makefile looks for the library, and `make` reports it.)
 *
 * \s means Unicode's White_Space here, as in the programs that these expressions come from; PCRE2
 * on its own would include U+180E.  \p{L} and the like are as recent as PCRE2's tables (10.42:
 * Unicode 14).
 */
#ifndef REGRAD_PATTERN_H
#define REGRAD_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* GPT-2's: contractions; letters, digits, or others after an optional space; white space, the last
 * of which goes to a following word. */
#define PATTERN_GPT2                                                                               \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* A word character, as in Rust's and Oniguruma's \w. */
#define PATTERN_WORD "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]"

typedef struct pattern pattern;             /* compiled; any number of threads may use it */
typedef struct pattern_match pattern_match; /* one thread's scratch */

/* Does this build have an engine? */
bool pattern_available(void);

/* User errors: no engine; an invalid or unsupported expression. */
error *pattern_compile(const char *expression, pattern **out) NODISCARD;
void pattern_free(pattern *p); /* NULL is ignored */
const char *pattern_expression(const pattern *p);
bool pattern_can_be_empty(const pattern *p); /* can it match the empty string? */

error *pattern_match_create(const pattern *p, pattern_match **out) NODISCARD;
void pattern_match_free(pattern_match *m); /* NULL is ignored */

/* The first non-empty match at or after `at`: text[*begin .. *end), at <= *begin < *end; or *begin
 * = *end = n if there is none.  The text is valid UTF-8.  User error if matching exceeds the
 * engine's limits. */
error *pattern_next(const pattern *p, pattern_match *m, const uint8_t *text /* (n) */, size_t n,
                    size_t at, size_t *begin, size_t *end) NODISCARD;

#endif

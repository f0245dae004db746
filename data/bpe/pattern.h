/* pattern.h - the regular expression that cuts a text before byte-pair encoding.
 *
 * GPT-2 and its kin cut by Unicode's classes, which PCRE2 has.  pattern_pcre2.c is the real thing;
 * a build without PCRE2 has pattern_none.c instead, which refuses every expression and says what to
 * install.  (The Makefile looks for the library, and `make` says what it found.)
 *
 * \s means Unicode's White_Space here, as it does to the programs that these expressions come
 * from; PCRE2 by itself would count U+180E too.  \p{L} and the like are as new as PCRE2's tables
 * (10.42: Unicode 14).
 */
#ifndef REGRAD_PATTERN_H
#define REGRAD_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* GPT-2's: contractions; letters, digits, or others after an optional space; white space, of
 * which a following word keeps the last one. */
#define PATTERN_GPT2                                                                               \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* A character of a word, as Rust's and Oniguruma's \w have it. */
#define PATTERN_WORD "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]"

typedef struct pattern pattern;             /* compiled; any number of threads may use it */
typedef struct pattern_match pattern_match; /* one thread's scratch */

/* Has this build an engine? */
bool pattern_available(void);

/* User errors: no engine; an expression that it does not take. */
error *pattern_compile(const char *expression, pattern **out) NODISCARD;
void pattern_free(pattern *p); /* NULL is fine */
const char *pattern_expression(const pattern *p);
bool pattern_can_be_empty(const pattern *p); /* may it match no character? */

error *pattern_match_create(const pattern *p, pattern_match **out) NODISCARD;
void pattern_match_free(pattern_match *m); /* NULL is fine */

/* The first match that is not empty at or after `at`: text[*begin .. *end), at <= *begin < *end;
 * or *begin = *end = n if there is none.  The text is valid UTF-8.  User error when the expression
 * takes the engine too much work. */
error *pattern_next(const pattern *p, pattern_match *m, const uint8_t *text /* (n) */, size_t n,
                    size_t at, size_t *begin, size_t *end) NODISCARD;

#endif

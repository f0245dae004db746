/* added.h - finds added tokens in a text.
 *
 * The leftmost, longest match counts, and the search continues after it, whether it was accepted or
 * not (rejected if it must stand alone, or if it is special in a text without special tokens), as
 * in Hugging Face's library.
 *
 *     "<s>x<sep>"      first['<'] -> lengths 5, 3 -> by hash: is "<s>x<" one? no; "<s>"? yes
 */
#ifndef REGRAD_ADDED_H
#define REGRAD_ADDED_H

#include "data/bpe/bpe_internal.h"

typedef struct added_set added_set;

/* Finds those of v->special that are matched before or after normalization, by the content that
 * `text` gives for special[i] (NULL: its own).  *out is NULL if there are none. */
error *added_make(const bpe *v, bool normalized, added_set **out) NODISCARD;
void added_free(added_set *s); /* NULL is ignored */

/* Can any byte of the text start a match? */
bool added_active(const added_set *s, bpe_special special);

typedef struct {
    const bpe_special_token *token;
    size_t begin, end; /* what it consumes, including white space beside it */
    size_t go_on;      /* where the search continues */
} added_match;

/* The first accepted match at or after `at`; `done`: text before it is already consumed.  False:
 * none. */
bool added_next(const added_set *s, const uint8_t *text, size_t n, size_t at, size_t done,
                bpe_special special, added_match *out);

#endif

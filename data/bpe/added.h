/* added.h - finding added tokens in a text.
 *
 * The leftmost, longest one counts, and the search continues after it, whether it was taken or not (one that
 * must stand alone, or a special one in a text that is only text), as in Hugging Face's library.
 *
 *     "<s>x<sep>"      first['<'] -> lengths 5, 3 -> by hash: is "<s>x<" one? no; "<s>"? yes
 */
#ifndef REGRAD_ADDED_H
#define REGRAD_ADDED_H

#include "data/bpe/bpe_internal.h"

typedef struct added_set added_set;

/* Those of v->special that are normalized or not, by their content as it is then: `text` gives that of
 * special[i], and is NULL for the content as it is.  *out is NULL if there is none. */
error *added_make(const bpe *v, bool normalized, added_set **out) NODISCARD;
void added_free(added_set *s); /* NULL is fine */

/* Does any byte of a text have to be looked at? */
bool added_active(const added_set *s, bpe_special special);

typedef struct {
    const bpe_special_token *token;
    size_t begin, end; /* of what it takes, white space beside it too */
    size_t go_on;      /* where the search continues */
} added_match;

/* The first one at or after `at` that counts; `done`: text before it is taken already.  False: none. */
bool added_next(const added_set *s, const uint8_t *text, size_t n, size_t at, size_t done,
                bpe_special special, added_match *out);

#endif

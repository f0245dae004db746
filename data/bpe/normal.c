/* normal.c - see normal.h */
#include "data/bpe/normal.h"

#include <stdlib.h>
#include <string.h>

static bool is_ascii(const uint8_t *text, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= text[i];
    return any < 0x80;
}

bool normal_changes(const bpe *v, const uint8_t *text, size_t n)
{
    return v->replaces || (v->compose && !is_ascii(text, n));
}

/* *out is the text with U+2581 replaced by spaces, and one added in front. */
static error *plain(const bpe *v, const uint8_t *text, size_t n, bool space, uint8_t **out,
                    size_t *n_out)
{
    space = space && n > 0 && (v->space == SPACE_EACH || v->space == SPACE_ONCE);
    TRY(alloc_array(out, n + 2, 1));
    **out = ' ';
    if (v->replaces) {
        *n_out = space + bpe_metaspace_plain(text, n, *out + space);
        return NULL;
    }
    memcpy(*out, text, n);
    *n_out = n;
    return NULL;
}

error *normal_text(const bpe *v, const uint8_t *text, size_t n, bool space, uint8_t **out,
                   size_t *n_out)
{
    uint8_t *composed = NULL;
    size_t n_composed = n;
    if (v->compose && !is_ascii(text, n)) {
        TRY(nfc_text(text, n, &composed, &n_composed));
        if (!v->replaces) {
            *out = composed;
            *n_out = n_composed;
            return NULL;
        }
    }
    error *e = plain(v, composed ? composed : text, n_composed, space, out, n_out);
    free(composed);
    return e;
}

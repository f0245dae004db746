/* vocabulary.h - what a vocabulary that was opened must be able to do: the same for every format */
#ifndef REGRAD_FUZZ_VOCABULARY_H
#define REGRAD_FUZZ_VOCABULARY_H

#include "data/bpe/bpe_internal.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* Must a text come back from its tokens, but for a space in front?  Not where some characters have
 * no token or white space is taken by added tokens, and not after NFC. */
static inline bool fuzz_keeps_text(const bpe *v)
{
    bool keeps =
        !v->compose && v->unknown < 0 && v->space != SPACE_EACH && v->space != SPACE_ALWAYS;
    for (int32_t i = 0; i < v->n_special; i++)
        keeps = keeps && !v->special[i].left && !v->special[i].right && !v->special[i].normalized;
    return keeps;
}

/* Of a vocabulary that was read: a text to tokens, every one of them there, is that text again, or
 * is refused where the vocabulary lacks a byte. */
static inline void fuzz_encode(const bpe *v)
{
    static const char text[] =
        "the then  it's 12345\xc3\xa9\xff\n<|endoftext|>aaaaaa<s> \xe2\x96\x81t";
    enum { LENGTH = sizeof text - 1 };
    int32_t *ids = malloc(bpe_most_tokens(v, LENGTH) * sizeof *ids);
    uint8_t *again;
    size_t count, length;
    if (!ids) abort();
    for (int32_t id = 0; id < bpe_size(v); id++)
        bpe_token(v, id, &length);
    if (fuzz_fine(bpe_encode(v, (const uint8_t *)text, LENGTH, ids, &count)) &&
        fuzz_fine(bpe_decode(v, ids, count, &again, &length))) {
        uint8_t plain[LENGTH];
        size_t n = LENGTH;
        memcpy(plain, text, LENGTH);
        if (v->metaspace) n = bpe_metaspace_plain((const uint8_t *)text, LENGTH, plain);
        size_t before = length - n;
        if (fuzz_keeps_text(v) &&
            (before > 1 || (before && *again != ' ') || memcmp(again + before, plain, n) != 0))
            abort();
        free(again);
    }
    free(ids);
}

/* Opens the bytes as a vocabulary and uses it. */
static inline int fuzz_vocabulary(const uint8_t *bytes, size_t n)
{
    bpe *v;
    if (!fuzz_fine(bpe_open(memory_file("file", bytes, n), &v))) return 0;
    fuzz_encode(v);
    bpe_close(v);
    return 0;
}

#endif

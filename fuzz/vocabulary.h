/* vocabulary.h - what a vocabulary that was opened must be able to do: the same for every format */
#ifndef REGRAD_FUZZ_VOCABULARY_H
#define REGRAD_FUZZ_VOCABULARY_H

#include "data/bpe/bpe.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* Opens the bytes as a vocabulary.  If it is one: a text to tokens is that text again, or is refused
 * where the vocabulary lacks a byte; one in SentencePiece's manner may put a space in front. */
static inline int fuzz_vocabulary(const uint8_t *bytes, size_t n)
{
    static const char text[] = "the then  it's 12345\xc3\xa9\xff\n<|endoftext|>aaaaaa";
    enum { LENGTH = sizeof text - 1 };
    bpe *v;
    int32_t ids[LENGTH + 1];
    uint8_t *again;
    size_t count, length;
    if (!fuzz_fine(bpe_open(fuzz_file(bytes, n), &v))) return 0;
    for (int32_t id = 0; id < bpe_size(v); id++)
        bpe_token(v, id, &length);
    if (fuzz_fine(bpe_encode(v, (const uint8_t *)text, LENGTH, ids, &count)) &&
        fuzz_fine(bpe_decode(v, ids, count, &again, &length))) {
        size_t before = length - LENGTH;
        if (before > 1 || (before && *again != ' ') || memcmp(again + before, text, LENGTH) != 0)
            abort();
        free(again);
    }
    bpe_close(v);
    return 0;
}

#endif

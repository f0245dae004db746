/* fuzz_tiktoken.c - .tiktoken files: lines of a token in base64 and its rank;
 * data/bpe/ranks.h.  As GPT-2's, and as one whose tokens need not be two earlier ones; what is
 * not known by its content is refused. */
#include "data/bpe/ranks.h"
#include "fuzz/vocabulary.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    ranks_kind irregular = ranks_gpt2;
    irregular.irregular = true;
    for (int i = 0; i < 3; i++) {
        const ranks_kind *kind = i == 0 ? &ranks_gpt2 : i == 1 ? &irregular : NULL;
        uint8_t *copy = malloc(n + 1);
        bpe *v;
        if (!copy) abort();
        memcpy(copy, bytes, n);
        copy[n] = 0;
        if (fuzz_fine(bpe_read_ranks(copy, n, kind, &v))) {
            fuzz_encode(v);
            bpe_close(v);
        }
        free(copy);
    }
    return 0;
}

static size_t base64(char *out, const char *token, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; i++)
        bits = bits << 8 | (i < n ? (uint8_t)token[i] : 0);
    for (size_t i = 0; i < 4; i++)
        out[i] = i <= n ? digits[bits >> (18 - 6 * i) & 63] : '=';
    return 4;
}

void fuzz_seed(void)
{
    static const char *const merged[] = {"th", "the", "aa", " t"};
    char text[8000];
    size_t used = 0;
    for (int rank = 0; rank < 260; rank++) {
        char byte = (char)rank;
        const char *token = rank < 256 ? &byte : merged[rank - 256];
        used += base64(text + used, token, rank < 256 ? 1 : strlen(token));
        used += (size_t)sprintf(text + used, " %d\n", rank);
        if (rank == 255) fuzz_keep(text, used);
    }
    fuzz_keep(text, used);
    fuzz_keep("IQ== 0\nIg== 1\n", 14);
}

/* fuzz_vocab.c - our own .vocab files: data/bpe/bpe.h */
#include "fuzz/vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    return fuzz_vocabulary(bytes, n);
}

void fuzz_seed(void)
{
    static const char *const texts[] = {
        "regrad-vocab 1 256\n",
        "regrad-vocab 1 258\n116 104\n256 101\n",
        "regrad-vocab 1 260\n97 97\n256 256\n257 257\n258 258\n",
        "regrad-vocab 1 1048576\n1 2\n",
    };
    fuzz_keep_texts(texts, sizeof texts / sizeof *texts);
}

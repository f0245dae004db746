/* fuzz_tokens.c - token shards: data/tokens.h, and whether a text is one: data/text_check.h */
#include "data/tokens.h"
#include "data/batches.h"
#include "data/text_check.h"
#include "data/tokens_format.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { VOCAB = 1000, BLOCK = 64, BLOCKS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *path = memory_file("file", bytes, n);
    token_set *set;
    batches *b;
    int32_t ids[BLOCK], next[BLOCK];
    fuzz_fine(text_refuse_other("text", bytes, n));
    if (text_first_bad(bytes, n) > n) abort();
    if (!fuzz_fine(tokens_open(&path, 1, VOCAB, &set))) return 0;
    if (tokens_are_npy(bytes, n)) { /* fuzz_token_files.c */
        tokens_close(set);
        return 0;
    }
    int64_t count = tokens_count(set, 0), data = (int64_t)(n - sizeof(tokens_header));
    int64_t documents = tokens_documents(set, 0);
    if (documents) data -= 4 * documents + (count + 7) / 8;
    if (count < 1 || (data != 2 * count && data != 4 * count)) abort(); /* it was to be checked */
    for (int64_t at = 0; at < count && at < BLOCK * BLOCKS; at += BLOCK)
        if (!fuzz_fine(tokens_read(set, 0, at, count - at < BLOCK ? count - at : BLOCK, ids)))
            break;
    if (fuzz_fine(batches_open(set, 7, 2, BATCHES_SHUFFLED, 1, &b))) {
        int32_t starts[BLOCK];
        bool read =
            fuzz_fine(batches_read_packed(b, (int64_t)(bytes[n - 1]), 3, ids, next, starts));
        for (int i = 0; i < 21 && read; i++)
            if (starts[i] < 0 || starts[i] > i % 7) abort();
        batches_close(b);
    }
    tokens_close(set);
    return 0;
}

/* A marked one of 20 tokens in 4 documents, ids of `width` bytes. */
static void marked(int32_t magic, int width)
{
    static const int32_t starts[] = {0, 5, 6, 13};
    struct {
        tokens_header h;
        uint8_t data[200];
    } file = {
        .h = {.magic = magic, .version = TOKENS_VERSION_MARKED, .n_tokens = 20, .n_documents = 4}};
    size_t n = (size_t)(20 * width);
    for (size_t i = 0; i < n; i += (size_t)width)
        file.data[i] = (uint8_t)i;
    memcpy(file.data + n, starts, sizeof starts);
    memset(file.data + n + sizeof starts, 0x5a, 3);
    fuzz_keep(&file, sizeof file.h + n + sizeof starts + 3);
}

static void shard(int32_t magic, int32_t version, int32_t n_tokens, int width)
{
    struct {
        tokens_header h;
        uint8_t data[160];
    } file = {.h = {.magic = magic, .version = version, .n_tokens = n_tokens}};
    for (size_t i = 0; i < sizeof file.data; i += (size_t)width)
        file.data[i] = (uint8_t)i;
    fuzz_keep(&file, sizeof file.h + (size_t)(n_tokens < 40 ? n_tokens * width : 160));
}

void fuzz_seed(void)
{
    shard(TOKENS_MAGIC_16, TOKENS_VERSION_16, 40, 2);
    shard(TOKENS_MAGIC_16, TOKENS_VERSION_16, 1, 2);
    marked(TOKENS_MAGIC_MARKED_16, 2);
    marked(TOKENS_MAGIC_MARKED_32, 4);
    shard(TOKENS_MAGIC_32, TOKENS_VERSION_32, 40, 4);
    shard(TOKENS_MAGIC_32, TOKENS_VERSION_32, INT32_MAX, 4);
}

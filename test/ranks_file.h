/* ranks_file.h - a .tiktoken of the tests' own making, which is none that is known by its content:
 * read as one of GPT-2's kind. */
#ifndef REGRAD_TEST_RANKS_FILE_H
#define REGRAD_TEST_RANKS_FILE_H

#include "data/bpe/ranks.h"
#include "test/scratch.h"

static inline error *open_ranks(const char *path, bpe **out)
{
    size_t n;
    uint8_t *text = file_read(path, &n);
    error *e = bpe_read_ranks(text, n, &ranks_gpt2, out);
    free(text);
    return error_context(e, "vocabulary '%s'", path);
}

#endif

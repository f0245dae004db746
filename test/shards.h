/* shards.h - token shards for tests. */
#ifndef REGRAD_TEST_SHARDS_H
#define REGRAD_TEST_SHARDS_H

#include "data/tokens.h"
#include "test/scratch.h"

/* Writes ids first, first + 1, ... modulo the vocabulary. */
static inline void make_shard(void **state, const char *name, int64_t vocab, int32_t first,
                              int32_t n)
{
    char *path = scratch_path(state, name);
    token_writer *w;
    ok(tokens_create(path, vocab, &w));
    for (int32_t i = 0; i < n; i++) {
        int32_t id = (int32_t)((first + i) % vocab);
        ok(tokens_append(w, &id, 1));
    }
    assert_int_equal(tokens_written(w), n);
    ok(tokens_finish(w));
    free(path);
}

/* A shard of documents of these lengths, of a vocabulary of 1000: token values by document, learned
 * from the second half on; the last without. */
static inline void make_documents(void **state, const char *name, const int *list, int n)
{
    char *path = scratch_path(state, name);
    token_writer *w;
    ok(tokens_create_marked(path, 1000, &w));
    for (int d = 0; d < n; d++) {
        int32_t ids[40];
        uint8_t learned[40];
        assert_true(list[d] <= 40);
        for (int i = 0; i < list[d]; i++) {
            ids[i] = d * 20 + i;
            learned[i] = d < n - 1 && i >= list[d] / 2;
        }
        ok(tokens_append_document(w, ids, learned, (size_t)list[d]));
    }
    ok(tokens_finish(w));
    free(path);
}

/* Opens one pattern inside the scratch directory. */
static inline error *open_one(void **state, const char *pattern, int64_t vocab, token_set **out)
{
    char *path = scratch_path(state, pattern);
    const char *patterns[] = {path};
    error *e = tokens_open(patterns, 1, vocab, out);
    free(path);
    return e;
}

#endif

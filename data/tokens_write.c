/* tokens_write.c - the writing half of tokens.h */
#include "data/tokens.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/grow.h"
#include "base/outfile.h"
#include "data/tokens_format.h"

enum { BLOCK = 4096 }; /* tokens converted at a time */

struct token_writer {
    outfile *file;
    int64_t vocab_size, n_tokens;
    bool wide, sealed, marked;
    int32_t *starts; /* (n_documents), of a marked shard */
    size_t n_documents, capacity;
    uint8_t *mask; /* a bit for each token, likewise */
    size_t mask_room;
};

error *tokens_create(const char *path, int64_t vocab_size, token_writer **out)
{
    if (vocab_size < 1 || vocab_size > INT32_MAX)
        return internal_error("a vocabulary of %" PRId64 " tokens", vocab_size);
    token_writer *w;
    TRY(alloc_array(&w, 1, sizeof *w));
    w->vocab_size = vocab_size;
    w->wide = vocab_size > TOKENS_LARGEST_16;
    error *e = outfile_create(path, &w->file);
    if (!e) e = outfile_write(w->file, &(tokens_header){0}, sizeof(tokens_header));
    if (e) {
        tokens_discard(w);
        return e;
    }
    *out = w;
    return NULL;
}

error *tokens_create_marked(const char *path, int64_t vocab_size, token_writer **out)
{
    TRY(tokens_create(path, vocab_size, out));
    (*out)->marked = true;
    return NULL;
}

static error *append_block(token_writer *w, const int32_t *ids, size_t n)
{
    uint16_t narrow[BLOCK];
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= w->vocab_size)
            return internal_error("token %" PRId32 " in a vocabulary of %" PRId64, ids[i],
                                  w->vocab_size);
        narrow[i] = (uint16_t)ids[i];
    }
    if (w->wide) return outfile_write(w->file, ids, n * sizeof *ids);
    return outfile_write(w->file, narrow, n * sizeof *narrow);
}

error *tokens_append(token_writer *w, const int32_t *ids, size_t n)
{
    if (n > (size_t)(INT32_MAX - w->n_tokens))
        return user_error("a shard holds at most %d tokens: tokenize the inputs in several runs",
                          INT32_MAX);
    for (size_t done = 0, block; done < n; done += block) {
        block = n - done < BLOCK ? n - done : BLOCK;
        TRY(append_block(w, ids + done, block));
    }
    w->n_tokens += (int64_t)n;
    return NULL;
}

error *tokens_append_document(token_writer *w, const int32_t *ids, const uint8_t *learned, size_t n)
{
    int64_t first = w->n_tokens;
    if (!w->marked || n == 0) return internal_error("a document of %zu tokens", n);
    TRY(tokens_append(w, ids, n));
    TRY(grow_array(&w->starts, &w->capacity, w->n_documents + 1, sizeof *w->starts));
    w->starts[w->n_documents++] = (int32_t)first;
    size_t before = w->mask_room;
    TRY(grow_array(&w->mask, &w->mask_room, (size_t)(w->n_tokens + 7) / 8, 1));
    memset(w->mask + before, 0, w->mask_room - before);
    for (size_t i = 0; i < n; i++)
        if (learned[i]) w->mask[((size_t)first + i) / 8] |= (uint8_t)(1 << ((size_t)first + i) % 8);
    return NULL;
}

int64_t tokens_written(const token_writer *w)
{
    return w->n_tokens;
}

error *tokens_seal(token_writer *w)
{
    if (w->sealed) return NULL;
    tokens_header h = {
        .magic = w->wide ? TOKENS_MAGIC_32 : TOKENS_MAGIC_16,
        .version = w->wide ? TOKENS_VERSION_32 : TOKENS_VERSION_16,
        .n_tokens = (int32_t)w->n_tokens,
    };
    if (w->marked) {
        h.magic = w->wide ? TOKENS_MAGIC_MARKED_32 : TOKENS_MAGIC_MARKED_16;
        h.version = TOKENS_VERSION_MARKED;
        h.n_documents = (int32_t)w->n_documents;
        TRY(outfile_write(w->file, w->starts, w->n_documents * sizeof *w->starts));
        TRY(outfile_write(w->file, w->mask, (size_t)(w->n_tokens + 7) / 8));
    }
    TRY(outfile_rewind(w->file));
    TRY(outfile_write(w->file, &h, sizeof h));
    TRY(outfile_seal(w->file));
    w->sealed = true;
    return NULL;
}

error *tokens_finish(token_writer *w)
{
    error *e = tokens_seal(w);
    if (e) {
        tokens_discard(w);
        return e;
    }
    e = outfile_commit(w->file);
    w->file = NULL;
    tokens_discard(w);
    return e;
}

void tokens_discard(token_writer *w)
{
    if (!w) return;
    outfile_discard(w->file);
    free(w->starts);
    free(w->mask);
    free(w);
}

/* ---- the files of a PREFIX ---- */

static error *name_file(char *out, const char *prefix, const char *end)
{
    if (snprintf(out, PATH_LENGTH, "%s%s", prefix, end) < PATH_LENGTH) return NULL;
    return user_error("-o %s: the name is too long", prefix);
}

error *shard_files_name(shard_files *f, const char *prefix)
{
    TRY(name_file(f->train, prefix, "_train.bin"));
    TRY(name_file(f->val, prefix, "_val.bin"));
    TRY(name_file(f->vocab, prefix, ".vocab"));
    return name_file(f->template_file, prefix, ".jinja");
}

error *shard_files_check(const shard_files *f, bool val, bool template)
{
    const char *left = !val && !access(f->val, F_OK)                  ? f->val
                       : !template && !access(f->template_file, F_OK) ? f->template_file
                                                                      : NULL;
    if (!left) return NULL;
    return user_error(
        "'%s' is left from an earlier run and does not belong to the new shards: remove "
        "it, or choose another --output",
        left);
}

void shard_files_discard(shard_files *f)
{
    for (int i = 0; i < 2; i++)
        tokens_discard(f->writer[i]);
}

error *shard_files_finish(shard_files *f)
{
    for (int i = 0; i < 2; i++) {
        token_writer *w = f->writer[i];
        f->writer[i] = NULL; /* finishing frees it */
        if (w) TRY(tokens_finish(w));
    }
    return NULL;
}

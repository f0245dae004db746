/* tokens.c - the reading half of tokens.h */
#include "data/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/grow.h"
#include "data/tokens_format.h"

enum { BLOCK = 4096 }; /* tokens converted at a time */

typedef struct {
    char *path;
    int fd, width;                 /* bytes of a token: 2 or 4 */
    int64_t n_tokens, n_documents; /* n_documents: 0 of a plain one */
    bool marked;
} shard;

struct token_set {
    shard *shards; /* (n) */
    size_t n, capacity;
    int64_t vocab_size;
};

/* What is wrong with a file whose header does not say that it is a shard. */
static error *check_kind(shard *s, const tokens_header *h)
{
    const tokens_kind *kind = tokens_kind_of(h->magic);
    if (!kind)
        return user_error("wrong magic number %" PRId32
                          " (a token shard has %d, %d, %d or %d): make shards from text with "
                          "./tokenize",
                          h->magic, TOKENS_MAGIC_16, TOKENS_MAGIC_32, TOKENS_MAGIC_MARKED_16,
                          TOKENS_MAGIC_MARKED_32);
    s->width = kind->width;
    s->marked = kind->marked;
    if (h->version == kind->version) return NULL;
    return user_error("format version %" PRId32 ", where %" PRId32 " is known: make the shard "
                      "again with ./tokenize",
                      h->version, kind->version);
}

static error *check_size(const shard *s, int64_t size)
{
    int64_t wanted = (int64_t)sizeof(tokens_header) + s->n_tokens * s->width;
    if (s->marked) wanted += s->n_documents * 4 + (s->n_tokens + 7) / 8;
    if (s->n_tokens < 0)
        return user_error("wrong size: the header claims %" PRId64 " tokens: make the shard again "
                          "with ./tokenize",
                          s->n_tokens);
    if (s->n_tokens == 0)
        return user_error("the shard is empty (0 tokens): leave it out, or make it from a text");
    if (s->marked && (s->n_documents < 1 || s->n_documents > s->n_tokens))
        return user_error("the header claims %" PRId64 " documents of %" PRId64
                          " tokens: make the shard again with ./tokenize",
                          s->n_documents, s->n_tokens);
    if (size != wanted)
        return user_error("wrong size: %" PRId64 " bytes, but the %" PRId64 " tokens of its header "
                          "make %" PRId64 ": it was cut or overwritten, make it again with "
                          "./tokenize",
                          size, s->n_tokens, wanted);
    return NULL;
}

static error *check_shard(shard *s)
{
    struct stat status;
    tokens_header h;
    if (fstat(s->fd, &status) != 0) return user_error("%s: check the disk", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return user_error("not a regular file: name a token shard made by ./tokenize");
    if (status.st_size < (off_t)sizeof h)
        return user_error("wrong size: %" PRId64 " bytes are too few for the header of a token "
                          "shard: make shards from text with ./tokenize",
                          (int64_t)status.st_size);
    TRY(file_pread(s->fd, s->path, &h, sizeof h, 0));
    TRY(check_kind(s, &h));
    s->n_tokens = h.n_tokens;
    s->n_documents = s->marked ? h.n_documents : 0;
    return check_size(s, status.st_size);
}

static error *open_failed(const char *path)
{
    int number = errno;
    const char *mend = "check the name and its permissions";
    if (number == EMFILE || number == ENFILE)
        mend = "too many shards for one process, raise `ulimit -n` or make fewer, larger shards";
    return user_error("cannot open the token shard '%s': %s: %s", path, strerror(number), mend);
}

static error *add_shard(token_set *t, const char *path)
{
    TRY(grow_array(&t->shards, &t->capacity, t->n + 1, sizeof *t->shards));
    shard *s = &t->shards[t->n];
    *s = (shard){.path = strdup(path)};
    if (!s->path) return user_error("out of memory: no room for the name '%s'", path);
    error *e = file_check_regular(path);
    s->fd = e ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would make us wait */
    if (!e && s->fd < 0) e = open_failed(path);
    if (e) {
        free(s->path);
        return error_context(e, "token shard '%s'", path);
    }
    t->n++;
    return error_context(check_shard(s), "token shard '%s'", path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static error *add_matches(token_set *t, const char *pattern)
{
    if (access(pattern, F_OK) == 0 || !strpbrk(pattern, "*?[")) return add_shard(t, pattern);
    glob_t found;
    int status = glob(pattern, GLOB_NOSORT, NULL, &found); /* its own order depends on the locale */
    if (status == GLOB_NOMATCH)
        return user_error("no file matches '%s': check the path, or make shards from text with "
                          "./tokenize -o PREFIX",
                          pattern);
    if (status != 0)
        return user_error("cannot look for '%s': %s: check the path", pattern,
                          status == GLOB_NOSPACE ? "out of memory" : "a directory cannot be read");
    qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_name);
    error *e = NULL;
    for (size_t i = 0; i < found.gl_pathc && !e; i++)
        e = add_shard(t, found.gl_pathv[i]);
    globfree(&found);
    return e;
}

static error *add_all(token_set *t, const char *const *patterns, int n)
{
    if (t->vocab_size < 1 || t->vocab_size > INT32_MAX)
        return internal_error("a vocabulary of %" PRId64 " tokens", t->vocab_size);
    if (n < 1) return user_error("no token shards are named: make some with ./tokenize -o PREFIX");
    for (int i = 0; i < n; i++)
        TRY(add_matches(t, patterns[i]));
    if (t->n > INT32_MAX) return user_error("%zu shards are too many: make larger ones", t->n);
    return NULL;
}

error *tokens_open(const char *const *patterns, int n, int64_t vocab_size, token_set **out)
{
    token_set *t;
    TRY(alloc_array(&t, 1, sizeof *t));
    t->vocab_size = vocab_size;
    error *e = add_all(t, patterns, n);
    if (e) {
        tokens_close(t);
        return e;
    }
    *out = t;
    return NULL;
}

void tokens_close(token_set *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) {
        close(s->shards[i].fd);
        free(s->shards[i].path);
    }
    free(s->shards);
    free(s);
}

int tokens_shards(const token_set *s)
{
    return (int)s->n;
}

const char *tokens_path(const token_set *s, int shard_index)
{
    return s->shards[shard_index].path;
}

int64_t tokens_count(const token_set *s, int shard_index)
{
    return s->shards[shard_index].n_tokens;
}

static error *read_block(const token_set *t, const shard *s, int64_t first, size_t n, int32_t *ids)
{
    uint32_t wide[BLOCK];
    uint16_t narrow[BLOCK];
    int64_t offset = (int64_t)sizeof(tokens_header) + first * s->width;
    void *to = s->width == 2 ? (void *)narrow : (void *)wide;
    TRY(error_context(file_pread(s->fd, s->path, to, n * (size_t)s->width, offset),
                      "token %" PRId64, first));
    for (size_t i = 0; i < n; i++) {
        uint32_t id = s->width == 2 ? narrow[i] : wide[i];
        if (id >= t->vocab_size)
            return user_error("token shard '%s': token %" PRId64 " is %" PRIu32
                              ", but the vocabulary "
                              "has %" PRId64 " tokens: use the vocabulary that the shard was made "
                              "with",
                              s->path, first + (int64_t)i, id, t->vocab_size);
        ids[i] = (int32_t)id;
    }
    return NULL;
}

error *tokens_read(const token_set *t, int shard_index, int64_t first, int64_t count, int32_t *ids)
{
    if (shard_index < 0 || shard_index >= tokens_shards(t))
        return internal_error("shard %d of %d", shard_index, tokens_shards(t));
    const shard *s = &t->shards[shard_index];
    if (first < 0 || count < 0 || first > s->n_tokens || count > s->n_tokens - first)
        return internal_error("tokens %" PRId64 " + %" PRId64 " of %" PRId64 " in '%s'", first,
                              count, s->n_tokens, s->path);
    for (int64_t done = 0, n; done < count; done += n) {
        n = count - done < BLOCK ? count - done : BLOCK;
        TRY(read_block(t, s, first + done, (size_t)n, ids + done));
    }
    return NULL;
}

error *tokens_fingerprint(const token_set *t, const fingerprint *known, fingerprint *out)
{
    fingerprint_file *files;
    TRY(alloc_array(&files, t->n, sizeof *files));
    for (size_t i = 0; i < t->n; i++)
        files[i] = (fingerprint_file){.path = t->shards[i].path, .fd = t->shards[i].fd};
    error *e = fingerprint_files(files, (int64_t)t->n, 0, known, out);
    free(files);
    return e;
}

/* ---- marks ---- */

int64_t tokens_documents(const token_set *s, int shard_index)
{
    return s->shards[shard_index].n_documents;
}

static int64_t end_of_ids(const shard *s)
{
    return (int64_t)sizeof(tokens_header) + s->n_tokens * s->width;
}

error *tokens_document_starts(const token_set *t, int shard_index, int32_t *starts)
{
    const shard *s = &t->shards[shard_index];
    size_t n = (size_t)s->n_documents;
    TRY(file_pread(s->fd, s->path, starts, n * sizeof *starts, end_of_ids(s)));
    starts[n] = (int32_t)s->n_tokens;
    for (size_t i = 0; i < n; i++)
        if (starts[i] >= starts[i + 1] || (i == 0 && starts[0] != 0))
            return user_error("token shard '%s': document %zu begins at token %" PRId32
                              ", which is no place for it: make the shard again with ./tokenize",
                              s->path, i, starts[i]);
    return NULL;
}

error *tokens_learned(const token_set *t, int shard_index, int64_t first, int64_t count,
                      uint8_t *learned)
{
    const shard *s = &t->shards[shard_index];
    uint8_t bits[BLOCK / 8 + 1];
    if (!s->marked || first < 0 || count < 0 || count > s->n_tokens - first)
        return internal_error("the mask of tokens %" PRId64 " + %" PRId64, first, count);
    int64_t masks = end_of_ids(s) + s->n_documents * 4;
    for (int64_t done = 0, n; done < count; done += n) {
        int64_t at = first + done, byte = at / 8;
        n = count - done < BLOCK ? count - done : BLOCK;
        TRY(file_pread(s->fd, s->path, bits, (size_t)((at + n - 1) / 8 - byte + 1), masks + byte));
        for (int64_t i = 0; i < n; i++)
            learned[done + i] = bits[(at + i) / 8 - byte] >> (at + i) % 8 & 1;
    }
    return NULL;
}

bool tokens_look_marked(const char *const *patterns, int n)
{
    bool marked = false;
    for (int p = 0; p < n && !marked; p++) {
        token_set *t = NULL;
        error *e = alloc_array(&t, 1, sizeof *t);
        if (!e) e = add_matches(t, patterns[p]);
        for (size_t i = 0; t && i < t->n; i++)
            marked = marked || t->shards[i].marked;
        error_free(e);
        tokens_close(t);
    }
    return marked;
}

bool tokens_is_shard(const char *path)
{
    tokens_header h;
    shard s = {0};
    int64_t bytes;
    int fd;
    error *e = file_open(path, &fd, &bytes);
    if (!e) {
        e = bytes < (int64_t)sizeof h ? user_error("too short")
                                      : file_pread(fd, path, &h, sizeof h, 0);
        close(fd);
    }
    if (!e) e = check_kind(&s, &h);
    bool is = !e;
    error_free(e);
    return is;
}

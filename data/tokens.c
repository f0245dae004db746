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
#include "base/text_ends.h"
#include "data/token_pattern.h"
#include "data/tokens_format.h"

enum { BLOCK = 4096 }; /* tokens converted at a time */

struct token_set {
    token_shard *shards; /* (n) */
    size_t n, capacity;
    int64_t vocab_size;
};

/* Diagnoses a file whose header is not a shard's. */
static error *check_kind(token_shard *s, const tokens_header *h)
{
    const tokens_kind *kind = tokens_kind_of(h->magic);
    if (!kind)
        return user_error("wrong magic number %" PRId32
                          " (a token shard has %d, %d, %d or %d): make shards from text with "
                          "./tokenize; if it is nothing but ids, give raw16:FILE or raw32:FILE",
                          h->magic, TOKENS_MAGIC_16, TOKENS_MAGIC_32, TOKENS_MAGIC_MARKED_16,
                          TOKENS_MAGIC_MARKED_32);
    s->type = kind->width == 2 ? ID_U16 : ID_U32;
    s->first = sizeof *h;
    s->marked = kind->marked;
    if (h->version == kind->version) return NULL;
    return user_error("format version %" PRId32 ", where %" PRId32 " is known: make the shard "
                      "again with ./tokenize",
                      h->version, kind->version);
}

static error *check_size(const token_shard *s, int64_t size)
{
    int64_t wanted = (int64_t)sizeof(tokens_header) + s->n_tokens * id_bytes(s->type);
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

static error *check_header(token_shard *s, int64_t size)
{
    tokens_header h;
    if (size < (int64_t)sizeof h)
        return user_error("wrong size: %" PRId64 " bytes are too few for the header of a token "
                          "shard: make shards from text with ./tokenize",
                          size);
    TRY(file_pread(s->fd, s->path, &h, sizeof h, 0));
    TRY(check_kind(s, &h));
    s->n_tokens = h.n_tokens;
    s->n_documents = s->marked ? h.n_documents : 0;
    return check_size(s, size);
}

static error *check_shard(token_shard *s, token_form form)
{
    struct stat status;
    uint8_t head[8] = {0};
    if (fstat(s->fd, &status) != 0) return user_error("%s: check the disk", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return user_error("not a regular file: name a token shard made by ./tokenize");
    s->foreign = true;
    if (form) return tokens_check_raw(s, form, status.st_size);
    if (tokens_are_megatron(s->path)) return tokens_check_megatron(s, status.st_size);
    size_t n = status.st_size < 8 ? (size_t)status.st_size : 8;
    TRY(file_pread(s->fd, s->path, head, n, 0));
    if (tokens_are_npy(head, n)) return tokens_check_npy(s, status.st_size);
    s->foreign = false;
    return check_header(s, status.st_size);
}

static error *open_failed(void)
{
    int number = errno;
    const char *mend = "check the name and its permissions";
    if (number == EMFILE || number == ENFILE)
        mend = "too many shards for one process, raise `ulimit -n` or make fewer, larger shards";
    return user_error("%s: %s", strerror(number), mend);
}

static error *add_shard(token_set *t, const char *path, token_form form)
{
    TRY(grow_array(&t->shards, &t->capacity, t->n + 1, sizeof *t->shards));
    token_shard *s = &t->shards[t->n];
    *s = (token_shard){.path = strdup(path)};
    if (!s->path) return user_error("out of memory: no room for the name '%s'", path);
    error *e = file_check_regular(path);
    s->fd = e ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would block */
    if (!e && s->fd < 0) e = open_failed();
    if (e) {
        free(s->path);
        return error_context(e, "token shard '%s'", path);
    }
    t->n++;
    return error_context(check_shard(s, form), "token shard '%s'", path);
}

static error *add_files(token_set *t, const char *pattern, token_form form)
{
    if (access(pattern, F_OK) == 0 || !strpbrk(pattern, "*?[")) return add_shard(t, pattern, form);
    glob_t found;
    int status = glob(pattern, GLOB_NOSORT, NULL, &found); /* glob's own order depends on the
                                                            * locale */
    if (status == GLOB_NOMATCH)
        return user_error("no file matches '%s': check the path, or make shards from text with "
                          "./tokenize -o PREFIX",
                          pattern);
    if (status != 0)
        return user_error("cannot look for '%s': %s: check the path", pattern,
                          status == GLOB_NOSPACE ? "out of memory" : "a directory cannot be read");
    qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, text_order);
    error *e = NULL;
    for (size_t i = 0; i < found.gl_pathc && !e; i++)
        e = add_shard(t, found.gl_pathv[i], form);
    globfree(&found);
    return e;
}

static error *add_matches(token_set *t, const char *word)
{
    token_pattern *p;
    TRY(alloc_array(&p, 1, sizeof *p));
    error *e = token_pattern_parse(word, p);
    size_t n = e ? 0 : strlen(p->path);
    /* of a pair the index may be named instead */
    if (!e && !p->form && text_ends(p->path, ".idx")) {
        memcpy(p->path + n - 4, ".bin", 4);
        if (!strpbrk(p->path, "*?[") && !tokens_are_megatron(p->path))
            memcpy(p->path + n - 4, ".idx", 4);
    }
    if (!e) e = add_files(t, p->path, p->form);
    free(p);
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

static error *no_such_token(const token_set *t, const token_shard *s, int64_t at, int64_t id)
{
    return user_error("token shard '%s': token %" PRId64 " is %" PRId64
                      ", but the vocabulary has %" PRId64
                      " tokens: use the vocabulary that the shard was made with",
                      s->path, at, id, t->vocab_size);
}

/* n ids of a type to int64, from bytes of any alignment */
#define WIDEN(TYPE)                                                                                \
    for (size_t i = 0; i < n; i++) {                                                               \
        TYPE id;                                                                                   \
        memcpy(&id, from + i * sizeof id, sizeof id);                                              \
        to[i] = (int64_t)id;                                                                       \
    }

static void widen_ids(id_type type, const uint8_t *from, size_t n, int64_t *to)
{
    switch (type) {
    case ID_U8:
        WIDEN(uint8_t)
        break;
    case ID_U16:
        WIDEN(uint16_t)
        break;
    case ID_U32:
        WIDEN(uint32_t)
        break;
    case ID_I16:
        WIDEN(int16_t)
        break;
    case ID_I32:
        WIDEN(int32_t)
        break;
    case ID_I64:
    case ID_TYPES:
        WIDEN(int64_t)
        break;
    }
}

static error *read_block(const token_set *t, const token_shard *s, int64_t first, size_t n,
                         int32_t *ids)
{
    uint8_t bytes[BLOCK * ID_MOST_BYTES];
    int64_t wide[BLOCK];
    size_t each = (size_t)id_bytes(s->type);
    TRY(error_context(file_pread(s->fd, s->path, bytes, n * each, s->first + first * (int64_t)each),
                      "token %" PRId64, first));
    widen_ids(s->type, bytes, n, wide);
    for (size_t i = 0; i < n; i++) {
        if (wide[i] < 0 || wide[i] >= t->vocab_size)
            return no_such_token(t, s, first + (int64_t)i, wide[i]);
        ids[i] = (int32_t)wide[i];
    }
    return NULL;
}

error *tokens_read(const token_set *t, int shard_index, int64_t first, int64_t count, int32_t *ids)
{
    if (shard_index < 0 || shard_index >= tokens_shards(t))
        return internal_error("shard %d of %d", shard_index, tokens_shards(t));
    const token_shard *s = &t->shards[shard_index];
    if (first < 0 || count < 0 || first > s->n_tokens || count > s->n_tokens - first)
        return internal_error("tokens %" PRId64 " + %" PRId64 " of %" PRId64 " in '%s'", first,
                              count, s->n_tokens, s->path);
    for (int64_t done = 0, n; done < count; done += n) {
        n = count - done < BLOCK ? count - done : BLOCK;
        TRY(read_block(t, s, first + done, (size_t)n, ids + done));
    }
    return NULL;
}

/* The interpretation of foreign files counts, too. */
static uint64_t add_types(uint64_t also, const token_set *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const uint32_t how[] = {(uint32_t)i, t->shards[i].type};
        if (t->shards[i].foreign) also = fingerprint_add(also, how, sizeof how);
    }
    return also;
}

error *tokens_fingerprint(const token_set *const *sets, int n, uint64_t also,
                          const fingerprint *known, fingerprint *out)
{
    fingerprint_file *files;
    int64_t all = 0, k = 0;
    for (int i = 0; i < n; i++)
        all += (int64_t)sets[i]->n;
    TRY(alloc_array(&files, (size_t)all, sizeof *files));
    for (int i = 0; i < n; i++) {
        for (size_t j = 0; j < sets[i]->n; j++)
            files[k++] =
                (fingerprint_file){.path = sets[i]->shards[j].path, .fd = sets[i]->shards[j].fd};
        also = add_types(also, sets[i]);
    }
    error *e = fingerprint_files(files, all, also, known, out);
    free(files);
    return e;
}

/* ---- marks ---- */

int64_t tokens_documents(const token_set *s, int shard_index)
{
    return s->shards[shard_index].n_documents;
}

static int64_t end_of_ids(const token_shard *s)
{
    return s->first + s->n_tokens * id_bytes(s->type);
}

error *tokens_document_starts(const token_set *t, int shard_index, int32_t *starts)
{
    const token_shard *s = &t->shards[shard_index];
    size_t n = (size_t)s->n_documents;
    TRY(file_pread(s->fd, s->path, starts, n * sizeof *starts, end_of_ids(s)));
    starts[n] = (int32_t)s->n_tokens;
    for (size_t i = 0; i < n; i++)
        if (starts[i] >= starts[i + 1] || (i == 0 && starts[0] != 0))
            return user_error("token shard '%s': document %zu begins at token %" PRId32
                              "; no document begins there: make the shard again with ./tokenize",
                              s->path, i, starts[i]);
    return NULL;
}

error *tokens_learned(const token_set *t, int shard_index, int64_t first, int64_t count,
                      uint8_t *learned)
{
    const token_shard *s = &t->shards[shard_index];
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
    tokens_header h = {0};
    token_shard s = {0};
    int64_t bytes;
    int fd;
    if (tokens_are_megatron(path)) return true;
    error *e = file_open(path, &fd, &bytes);
    if (!e) {
        size_t n = bytes < (int64_t)sizeof h ? (size_t)bytes : sizeof h;
        e = file_pread(fd, path, &h, n, 0);
        close(fd);
        if (!e && tokens_are_npy((const uint8_t *)&h, n)) return true;
        if (!e && n < sizeof h) e = user_error("too short");
    }
    if (!e) e = check_kind(&s, &h);
    bool is = !e;
    error_free(e);
    return is;
}

/* tokens_foreign.c - other programs' files of token ids: data/token_shard.h
 *
 * Sources: numpy/lib/format.py (versions 1 to 3); megatron/core/datasets/indexed_dataset.py:
 *
 *     FILE.idx   "MMIDIDX\0\0" | u64 version 1 | u8 type | u64 sequences S | u64 documents D
 *                | i32 length [S] | i64 byte of the first id [S] | i64 first sequence [D] | (modes)
 *
 * Megatron's documents are concatenated as its own loader does, ignoring where they end.
 */
#include "data/token_shard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/text_ends.h"
#include "data/tokens_format.h"

#define NPY_MAGIC      "\x93NUMPY"
#define MEGATRON_MAGIC "MMIDIDX\0\0"

enum { NPY_HEADER = 1 << 16, MEGATRON_HEAD = 34, LENGTHS = 4096 };

/* ---- ids only ---- */

error *tokens_check_raw(token_shard *s, token_form form, int64_t size)
{
    const char *name = form == TOKENS_RAW_16 ? "raw16" : "raw32";
    int32_t head = 0;
    s->type = form == TOKENS_RAW_16 ? ID_U16 : ID_U32;
    s->first = 0;
    s->n_tokens = size / id_bytes(s->type);
    if (size < 1 || size % id_bytes(s->type))
        return user_error("%s: of %" PRId64 " bytes: it must be whole ids of %d bytes", name, size,
                          id_bytes(s->type));
    if (size >= (int64_t)sizeof(tokens_header)) TRY(file_pread(s->fd, s->path, &head, 4, 0));
    if (tokens_kind_of(head))
        return user_error("%s: it begins as a token shard with a header does: leave %s: out", name,
                          name);
    return NULL;
}

/* ---- NumPy ---- */

bool tokens_are_npy(const uint8_t *head, size_t n)
{
    return n >= 6 && !memcmp(head, NPY_MAGIC, 6);
}

/* A value in NumPy's header, a dictionary in Python's syntax. */
typedef struct {
    const char *at;
} cursor;

static bool skip(cursor *c, const char *text)
{
    c->at += strspn(c->at, " \n");
    size_t n = strlen(text);
    if (strncmp(c->at, text, n) != 0) return false;
    c->at += n;
    return true;
}

/* 'text' into out; false: it is not a string, or too long. */
static bool take_quoted(cursor *c, char *out, size_t room)
{
    if (!skip(c, "'")) return false;
    size_t n = strcspn(c->at, "'");
    if (n >= room || c->at[n] != '\'') return false;
    memcpy(out, c->at, n);
    out[n] = 0;
    c->at += n + 1;
    return true;
}

typedef struct {
    char type[16];
    bool fortran;
    int64_t count;
    int rank;
} array_header;

/* (3, 4) or (5,): only the rank and the first dimension matter. */
static bool take_shape(cursor *c, array_header *h)
{
    if (!skip(c, "(")) return false;
    while (!skip(c, ")")) {
        char *end;
        long long n = strtoll(c->at, &end, 10);
        if (end == c->at || n < 0 || ++h->rank > 64) return false;
        h->count = n;
        c->at = end;
        if (!skip(c, ",") && *c->at != ')') return false;
    }
    return true;
}

static bool take_dictionary(cursor *c, array_header *h)
{
    char key[16];
    int seen = 0;
    if (!skip(c, "{")) return false;
    while (!skip(c, "}")) {
        if (!take_quoted(c, key, sizeof key) || !skip(c, ":")) return false;
        bool ok = !strcmp(key, "descr") ? take_quoted(c, h->type, sizeof h->type)
                  : !strcmp(key, "fortran_order")
                      ? skip(c, "False") || (h->fortran = skip(c, "True"))
                  : !strcmp(key, "shape") ? take_shape(c, h)
                                          : false;
        if (!ok || ++seen > 3) return false;
        skip(c, ",");
    }
    return seen == 3;
}

static bool type_of_npy(const char *text, id_type *out)
{
    static const struct {
        const char *name;
        id_type is;
    } all[] = {{"|u1", ID_U8},  {"<u2", ID_U16}, {"<u4", ID_U32}, {"<i2", ID_I16},
               {"<i4", ID_I32}, {"<i8", ID_I64}, {"<u8", ID_I64}};
    /* an id above 2^63 is negative in i8, and refused */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(text, all[i].name)) {
            *out = all[i].is;
            return true;
        }
    return false;
}

/* The dictionary's text, *first bytes from the beginning of the file to the numbers. */
static error *read_npy_header(const token_shard *s, int64_t size, char **text, int64_t *first)
{
    uint8_t head[12] = {0};
    if (size < 12) return user_error("NumPy's header is cut: write the array again");
    TRY(file_pread(s->fd, s->path, head, sizeof head, 0));
    bool wide = head[6] > 1;
    int64_t n = head[8] | head[9] << 8, from = wide ? 12 : 10;
    if (wide) n |= (int64_t)head[10] << 16 | (int64_t)head[11] << 24;
    if (head[6] < 1 || head[6] > 3)
        return user_error("version %d of NumPy's format, where 1 to 3 are known: save it with "
                          "numpy.save",
                          head[6]);
    if (n > NPY_HEADER || from + n > size)
        return user_error("NumPy's header is cut: write the array again");
    TRY(alloc_array(text, (size_t)n + 1, 1));
    *first = from + n;
    error *e = file_pread(s->fd, s->path, *text, (size_t)n, from);
    if (e) free(*text);
    return e;
}

error *tokens_check_npy(token_shard *s, int64_t size)
{
    char *text;
    array_header h = {.count = -1};
    TRY(read_npy_header(s, size, &text, &s->first));
    cursor c = {text};
    bool read = take_dictionary(&c, &h);
    free(text);
    if (!read) return user_error("NumPy's header cannot be read: save the array with numpy.save");
    if (!type_of_npy(h.type, &s->type))
        return user_error("an array of type '%s': ids are integers, little endian: "
                          "array.astype('<u2') or '<u4' makes them so",
                          h.type);
    if (h.rank != 1 || h.fortran)
        return user_error("an array of %d dimensions%s: ids have one: array.ravel() makes it so",
                          h.rank, h.fortran ? ", in Fortran's order" : "");
    int64_t room = (size - s->first) / id_bytes(s->type);
    s->n_tokens = h.count;
    if (h.count < 1) return user_error("the array is empty: leave it out");
    if (h.count != room || size != s->first + h.count * id_bytes(s->type))
        return user_error("wrong size: %" PRId64 " bytes, where NumPy's header says %" PRId64
                          " ids: it was cut or overwritten, write it again",
                          size, h.count);
    return NULL;
}

/* ---- Megatron ---- */

/* FILE.idx for FILE.bin; false: the name has another form. */
static bool index_path(const char *path, char *out)
{
    size_t n = strlen(path);
    if (!text_ends(path, ".bin") || n >= PATH_LENGTH) return false;
    sprintf(out, "%.*s.idx", (int)(n - 4), path);
    return true;
}

bool tokens_are_megatron(const char *path)
{
    char index[PATH_LENGTH], head[9];
    int fd;
    int64_t size;
    if (!index_path(path, index) || access(index, R_OK)) return false;
    error *e = file_open(index, &fd, &size);
    bool is = !e && size >= MEGATRON_HEAD;
    if (is) {
        e = file_pread(fd, index, head, sizeof head, 0);
        is = !e && !memcmp(head, MEGATRON_MAGIC, sizeof head);
    }
    if (fd >= 0) close(fd);
    error_free(e);
    return is;
}

typedef struct {
    int fd;
    const char *path;
    int64_t size, sequences;
    id_type type;
} index_file;

static error *read_index_head(index_file *x)
{
    static const int types[] = {-1, ID_U8, -1, ID_I16, ID_I32, ID_I64, -1, -1, ID_U16};
    uint8_t head[MEGATRON_HEAD];
    uint64_t version, sequences, documents;
    TRY(file_pread(x->fd, x->path, head, sizeof head, 0));
    memcpy(&version, head + 9, 8);
    memcpy(&sequences, head + 18, 8);
    memcpy(&documents, head + 26, 8);
    if (version != 1)
        return user_error("'%s': version %" PRIu64 " of Megatron's index, where 1 is known",
                          x->path, version);
    if (head[17] >= sizeof types / sizeof *types || types[head[17]] < 0)
        return user_error(
            "'%s': ids of Megatron's type %d, where 1, 3, 4, 5 and 8 are known (uint8, "
            "int16, int32, int64, uint16)",
            x->path, head[17]);
    uint64_t room = (uint64_t)(x->size - MEGATRON_HEAD);
    if (sequences > room / 12 || documents > (room - 12 * sequences) / 8)
        return user_error("'%s': it is cut: %" PRIu64 " sequences and %" PRIu64
                          " documents do not fit into %" PRId64 " bytes",
                          x->path, sequences, documents, x->size);
    x->type = (id_type)types[head[17]];
    x->sequences = (int64_t)sequences;
    return NULL;
}

/* Sequence i begins where the previous one ends: then there is nothing but ids. */
static error *check_sequences(const index_file *x, int64_t *total)
{
    int32_t length[LENGTHS];
    int64_t first[LENGTHS];
    *total = 0;
    for (int64_t done = 0, n; done < x->sequences; done += n) {
        n = x->sequences - done < LENGTHS ? x->sequences - done : LENGTHS;
        TRY(file_pread(x->fd, x->path, length, (size_t)n * 4, MEGATRON_HEAD + 4 * done));
        TRY(file_pread(x->fd, x->path, first, (size_t)n * 8,
                       MEGATRON_HEAD + 4 * x->sequences + 8 * done));
        for (int64_t i = 0; i < n; i++) {
            if (length[i] < 0 || *total > INT64_MAX / 16 || first[i] != *total * id_bytes(x->type))
                return user_error("'%s': sequence %" PRId64 " does not begin where the one before "
                                  "ends: write the data set in one piece",
                                  x->path, done + i);
            *total += length[i];
        }
    }
    return NULL;
}

error *tokens_check_megatron(token_shard *s, int64_t size)
{
    char path[PATH_LENGTH];
    index_file x = {.path = path};
    if (!index_path(s->path, path)) return internal_error("no index of '%s'", s->path);
    TRY(file_open(path, &x.fd, &x.size));
    error *e = x.size < MEGATRON_HEAD ? user_error("'%s' is cut", path) : read_index_head(&x);
    if (!e) e = check_sequences(&x, &s->n_tokens);
    close(x.fd);
    TRY(e);
    s->type = x.type;
    s->first = 0;
    if (s->n_tokens < 1) return user_error("'%s': no tokens: leave it out", path);
    if (size != s->n_tokens * id_bytes(s->type))
        return user_error("wrong size: %" PRId64 " bytes, where '%s' says %" PRId64
                          " ids of %d bytes: both files must be of one data set",
                          size, path, s->n_tokens, id_bytes(s->type));
    return NULL;
}

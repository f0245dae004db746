/* bpe_file.c - the .vocab file, and which format a file has; the layout is in bpe.h
 *
 * A file is believed only as far as it goes: the number of tokens in the head line must fit the
 * file's size before anything is allocated for it, lines are read into a small fixed buffer, and
 * what the merges mean is checked by bpe_from_merges.
 */
#include "data/bpe/bpe_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/outfile.h"

#define MAGIC "regrad-vocab "
enum {
    VERSION = 1,
    VERSION_END_OF_TEXT = 2,
    SHORTEST_MERGE = 4 /* "0 0\n" */,
    LINE_MAX_BYTES = 64
};

static const char mend[] = "make it again with ./tokenize --vocab bpe:N";

/* Reads digits up to the byte `end`, and moves *text behind it. */
static bool number(const char **text, char end, uint32_t *out)
{
    const char *p = *text;
    uint32_t value = 0;
    for (; *p >= '0' && *p <= '9' && p - *text < 8; p++)
        value = value * 10 + (uint32_t)(*p - '0');
    if (p == *text || *p != end) return false;
    *text = p + 1;
    *out = value;
    return true;
}

static error *read_head(FILE *f, uint32_t *n_tokens, uint32_t *version)
{
    char line[LINE_MAX_BYTES];
    const char *p = line + strlen(MAGIC);
    if (!fgets(line, sizeof line, f) || strncmp(line, MAGIC, strlen(MAGIC)) != 0)
        return user_error("the first line is damaged: %s", mend);
    if (!number(&p, ' ', version) || !number(&p, '\n', n_tokens) || *p)
        return user_error("the first line is damaged: %s", mend);
    if (*version != VERSION && *version != VERSION_END_OF_TEXT)
        return user_error("format version %" PRIu32 ", and only %d and %d are known: %s", *version,
                          VERSION, VERSION_END_OF_TEXT, mend);
    if (*n_tokens < BPE_BYTES + (*version == VERSION_END_OF_TEXT) || *n_tokens > BPE_MAX_SIZE)
        return user_error("claims %" PRIu32 " tokens, but a vocabulary has %d to %d: %s", *n_tokens,
                          BPE_BYTES, BPE_MAX_SIZE, mend);
    return NULL;
}

static error *read_merges(FILE *f, bpe_merge *merges, uint32_t n)
{
    char line[LINE_MAX_BYTES];
    for (uint32_t i = 0; i < n; i++) {
        const char *p = line;
        if (!fgets(line, sizeof line, f))
            return user_error("ends after %" PRIu32 " of %" PRIu32 " merges: %s", i, n, mend);
        if (!number(&p, ' ', &merges[i].left) || !number(&p, '\n', &merges[i].right) || *p)
            return user_error("line %" PRIu32 " is not two token ids: %s", i + 2, mend);
    }
    if (fgetc(f) != EOF) return user_error("goes on after its last merge: %s", mend);
    return NULL;
}

static error *read_counted(FILE *f, int64_t n_bytes, bpe_merge **merges, uint32_t *n_merges,
                           bool *end_of_text)
{
    uint32_t n_tokens = 0, version = 0;
    TRY(read_head(f, &n_tokens, &version));
    *end_of_text = version == VERSION_END_OF_TEXT;
    uint32_t n = n_tokens - BPE_BYTES - *end_of_text;
    if ((int64_t)n * SHORTEST_MERGE > n_bytes)
        return user_error("claims %" PRIu32 " merges, too many for its %" PRId64 " bytes: %s", n,
                          n_bytes, mend);
    TRY(alloc_array(merges, n, sizeof **merges));
    TRY(read_merges(f, *merges, n));
    *n_merges = n;
    return NULL;
}

static error *read_vocab(FILE *f, int64_t n_bytes, bpe **out)
{
    bpe_merge *merges = NULL;
    uint32_t n = 0;
    bool end_of_text = false;
    bpe *v = NULL;
    error *e = read_counted(f, n_bytes, &merges, &n, &end_of_text);
    if (!e) e = bpe_from_merges(merges, (int32_t)n, &v);
    if (!e && end_of_text) e = bpe_add_end_of_text(v);
    free(merges);
    if (e) {
        bpe_close(v);
        return e;
    }
    *out = v;
    return NULL;
}

/* ---- which format ---- */

/* BASE64 ID, as far as the beginning of the file shows it. */
static bool looks_like_tiktoken(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
    return n > 0 && text[n] == ' ' && text[n + 1] >= '0' && text[n + 1] <= '9' &&
           strchr("\r\n", text[n + 1 + strspn(text + n + 1, "0123456789")]);
}

static error *read_whole(FILE *f, int64_t n_bytes, bpe_format format, bpe **out)
{
    if (n_bytes > BPE_FILE_MAX)
        return user_error("has %" PRId64 " bytes, more than a vocabulary can have (%d MiB): name "
                          "another file",
                          n_bytes, BPE_FILE_MAX >> 20);
    uint8_t *text;
    size_t n = (size_t)n_bytes;
    TRY(alloc_array(&text, n + 1, 1));
    error *e = NULL;
    if (fread(text, 1, n, f) != n)
        e = user_error("cannot be read: %s", ferror(f) ? strerror(errno) : "it became shorter");
    else
        e = (format == BPE_JSON ? bpe_read_json : bpe_read_tiktoken)(text, n, out);
    free(text);
    return e;
}

static error *read_any(FILE *f, bpe **out)
{
    struct stat status;
    char begin[LINE_MAX_BYTES] = "";
    if (fstat(fileno(f), &status) != 0 || !S_ISREG(status.st_mode))
        return user_error("not a regular file: name a .vocab file made by ./tokenize");
    size_t n = fread(begin, 1, sizeof begin - 1, f);
    if (ferror(f) || fseeko(f, 0, SEEK_SET) != 0)
        return user_error("cannot be read: %s", strerror(errno));
    begin[n] = 0;
    if (strncmp(begin, MAGIC, strlen(MAGIC)) == 0) return read_vocab(f, status.st_size, out);
    if (begin[strspn(begin, " \t\r\n")] == '{') return read_whole(f, status.st_size, BPE_JSON, out);
    if (looks_like_tiktoken(begin)) return read_whole(f, status.st_size, BPE_TIKTOKEN, out);
    return user_error("not a vocabulary: name a .vocab made by ./tokenize, a .tiktoken, or a "
                      "tokenizer.json");
}

error *bpe_open(const char *path, bpe **out)
{
    FILE *f = fopen(path, "rbe");
    if (!f)
        return user_error("cannot open the vocabulary '%s': %s: check the name, or make it with "
                          "./tokenize --vocab bpe:N",
                          path, strerror(errno));
    error *e = read_any(f, out);
    fclose(f);
    return error_context(e, "vocabulary '%s'", path);
}

/* ---- writing ---- */

static void write_vocab(const bpe *v, FILE *to)
{
    fprintf(to, MAGIC "%d %" PRId32 "\n", v->end_of_text < 0 ? VERSION : VERSION_END_OF_TEXT,
            v->size);
    for (int32_t i = 0; i < v->n_merges; i++)
        fprintf(to, "%" PRIu32 " %" PRIu32 "\n", v->merges[i].left, v->merges[i].right);
}

static void write_source(const bpe *v, FILE *to)
{
    fwrite(v->source, 1, v->n_source, to);
}

error *bpe_save(const bpe *v, const char *path)
{
    if (v->source) return bpe_write_file(v, path, write_source);
    void (*const writers[])(const bpe *, FILE *) = {[BPE_VOCAB] = write_vocab,
                                                    [BPE_TIKTOKEN] = bpe_write_tiktoken,
                                                    [BPE_JSON] = bpe_write_json};
    return bpe_write_file(v, path, writers[v->format]);
}

error *bpe_write_file(const bpe *v, const char *path, void (*write)(const bpe *, FILE *))
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    if (!to) return user_error("out of memory for '%s'", path);
    write(v, to);
    bool bad = ferror(to) != 0;
    if (fclose(to) != 0 || bad) {
        free(text);
        return user_error("out of memory for '%s'", path);
    }
    outfile *f = NULL;
    error *e = outfile_create(path, &f);
    if (!e) e = outfile_write(f, text, n);
    free(text);
    if (!e) return outfile_commit(f);
    outfile_discard(f);
    return e;
}

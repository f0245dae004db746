/* bpe_file.c - the .vocab file; its layout is in bpe.h
 *
 * A file is believed only as far as it goes: the number of tokens in the head line must fit the
 * file's size before anything is allocated for it, lines are read into a small fixed buffer, and
 * what the merges mean is checked by bpe_from_merges.
 */
#include "data/bpe_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/outfile.h"

#define MAGIC "regrad-vocab "
enum { VERSION = 1, SHORTEST_MERGE = 4 /* "0 0\n" */, LINE_MAX_BYTES = 64 };

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

static error *read_head(FILE *f, uint32_t *n_tokens)
{
    char line[LINE_MAX_BYTES];
    const char *p = line + strlen(MAGIC);
    uint32_t version;
    if (!fgets(line, sizeof line, f) || strncmp(line, MAGIC, strlen(MAGIC)) != 0)
        return user_error("not a vocabulary (it does not begin with '%s'): name a .vocab file "
                          "made by ./tokenize",
                          MAGIC);
    if (!number(&p, ' ', &version) || !number(&p, '\n', n_tokens) || *p)
        return user_error("the first line is damaged: %s", mend);
    if (version != VERSION)
        return user_error("format version %" PRIu32 ", and only %d is known: %s", version, VERSION,
                          mend);
    if (*n_tokens < BPE_BYTES || *n_tokens > BPE_MAX_SIZE)
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

static error *read_checked(FILE *f, bpe_merge **merges, uint32_t *n_merges)
{
    struct stat status;
    uint32_t n_tokens = 0;
    if (fstat(fileno(f), &status) != 0 || !S_ISREG(status.st_mode))
        return user_error("not a regular file: name a .vocab file made by ./tokenize");
    TRY(read_head(f, &n_tokens));
    uint32_t n = n_tokens - BPE_BYTES;
    if ((int64_t)n * SHORTEST_MERGE > status.st_size)
        return user_error("claims %" PRIu32 " merges, too many for its %" PRId64 " bytes: %s", n,
                          (int64_t)status.st_size, mend);
    TRY(alloc_array(merges, n, sizeof **merges));
    TRY(read_merges(f, *merges, n));
    *n_merges = n;
    return NULL;
}

error *bpe_open(const char *path, bpe **out)
{
    FILE *f = fopen(path, "rbe");
    if (!f)
        return user_error("cannot open the vocabulary '%s': %s: check the name, or make it with "
                          "./tokenize --vocab bpe:N",
                          path, strerror(errno));
    bpe_merge *merges = NULL;
    uint32_t n = 0;
    error *e = read_checked(f, &merges, &n);
    fclose(f);
    if (!e) e = bpe_from_merges(merges, (int32_t)n, out);
    free(merges);
    return error_context(e, "vocabulary '%s'", path);
}

static error *write_lines(const bpe *v, outfile *f)
{
    char line[LINE_MAX_BYTES];
    int n = snprintf(line, sizeof line, MAGIC "%d %" PRId32 "\n", VERSION, v->size);
    TRY(outfile_write(f, line, (size_t)n));
    for (int32_t i = 0; i < v->size - BPE_BYTES; i++) {
        n = snprintf(line, sizeof line, "%" PRIu32 " %" PRIu32 "\n", v->merges[i].left,
                     v->merges[i].right);
        TRY(outfile_write(f, line, (size_t)n));
    }
    return NULL;
}

error *bpe_save(const bpe *v, const char *path)
{
    outfile *f;
    TRY(outfile_create(path, &f));
    error *e = write_lines(v, f);
    if (e) {
        outfile_discard(f);
        return e;
    }
    return outfile_commit(f);
}

/* bpe_file.c - the .vocab file, and recognizing formats; the layout is in bpe.h
 *
 * Files are not trusted: the number of tokens in the head line must fit the file's size before
 * anything is allocated for it, and bpe_from_merges checks what the merges mean.
 */
#include "data/bpe/bpe_internal.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/json.h"

#define MAGIC "regrad-vocab "
enum {
    VERSION = 1,
    VERSION_END_OF_TEXT = 2,
    SHORTEST_MERGE = 4,     /* "0 0\n" */
    MOST_CONFIG = 16 << 20, /* bytes of a tokenizer_config.json: chat templates are long */
};

static const char mend[] = "make it again with ./tokenize --vocab bpe:N";

/* Reads digits up to the byte `end`, and moves *text past it. */
static bool decimal(const char **text, char end, uint32_t *out)
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

/* The first line; *text then points after it. */
static error *read_head(const char **text, uint32_t *n_tokens, uint32_t *version)
{
    *text += strlen(MAGIC);
    if (!decimal(text, ' ', version) || !decimal(text, '\n', n_tokens))
        return user_error("the first line is damaged: %s", mend);
    if (*version != VERSION && *version != VERSION_END_OF_TEXT)
        return user_error("format version %" PRIu32 ", and only %d and %d are known: %s", *version,
                          VERSION, VERSION_END_OF_TEXT, mend);
    if (*n_tokens < BPE_BYTES + (*version == VERSION_END_OF_TEXT) || *n_tokens > BPE_MAX_SIZE)
        return user_error("claims %" PRIu32 " tokens, but a vocabulary has %d to %d: %s", *n_tokens,
                          BPE_BYTES, BPE_MAX_SIZE, mend);
    return NULL;
}

static error *read_merges(const char *text, const char *end, bpe_merge *merges, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (text == end)
            return user_error("ends after %" PRIu32 " of %" PRIu32 " merges: %s", i, n, mend);
        if (!decimal(&text, ' ', &merges[i].left) || !decimal(&text, '\n', &merges[i].right))
            return user_error("line %" PRIu32 " is not two token ids: %s", i + 2, mend);
    }
    return text == end ? NULL : user_error("continues after its last merge: %s", mend);
}

static error *read_counted(const char *text, size_t n_bytes, bpe_merge **merges, uint32_t *n_merges,
                           bool *end_of_text)
{
    uint32_t n_tokens = 0, version = 0;
    const char *end = text + n_bytes;
    TRY(read_head(&text, &n_tokens, &version));
    *end_of_text = version == VERSION_END_OF_TEXT;
    uint32_t n = n_tokens - BPE_BYTES - *end_of_text;
    if ((size_t)n * SHORTEST_MERGE > n_bytes)
        return user_error("claims %" PRIu32 " merges, too many for its %zu bytes: %s", n, n_bytes,
                          mend);
    TRY(alloc_array(merges, n, sizeof **merges));
    TRY(read_merges(text, end, *merges, n));
    *n_merges = n;
    return NULL;
}

static error *read_vocab(const char *text, size_t n_bytes, bpe **out)
{
    bpe_merge *merges = NULL;
    uint32_t n = 0;
    bool end_of_text = false;
    bpe *v = NULL;
    error *e = read_counted(text, n_bytes, &merges, &n, &end_of_text);
    if (!e) e = bpe_from_merges(merges, (int32_t)n, &v);
    if (!e && end_of_text) e = bpe_add_end_of_text(v);
    free(merges);
    return bpe_opened(e, v, out);
}

/* ---- recognizing the format ---- */

/* BASE64 ID, as far as the beginning of the file shows. */
static bool looks_like_tiktoken(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
    return n > 0 && text[n] == ' ' && text[n + 1] >= '0' && text[n + 1] <= '9' &&
           strchr("\r\n", text[n + 1 + strspn(text + n + 1, "0123456789")]);
}

static error *read_any(uint8_t *bytes, size_t n, bpe **out)
{
    const char *text = (const char *)bytes;
    if (strncmp(text, MAGIC, strlen(MAGIC)) == 0) return read_vocab(text, n, out);
    if (text[strspn(text, " \t\r\n")] == '{') return bpe_read_json(bytes, n, out);
    if (n > 2 && text[0] == '\n' && text[1]) return bpe_read_sentencepiece(bytes, n, out);
    if (looks_like_tiktoken(text)) return bpe_read_tiktoken(bytes, n, out);
    return user_error("not a vocabulary: name a .vocab made by ./tokenize, a tokenizer.json, a "
                      "SentencePiece .model, a tekken.json or a .tiktoken");
}

/* A tokenizer.json does not say which of its tokens ends a text; tokenizer_config.json beside it
 * does. */
static error *read_end_of_text(const char *path, bpe *v)
{
    char directory[PATH_LENGTH], beside[PATH_LENGTH];
    cJSON *json;
    TRY(path_parent(directory, path));
    TRY(path_join(beside, directory, "tokenizer_config.json"));
    if (access(beside, F_OK)) return NULL;
    TRY(json_read(beside, MOST_CONFIG, &json));
    const cJSON *end = json_get(json, "eos_token");
    if (cJSON_IsObject(end)) end = json_get(end, "content");
    if (cJSON_IsString(end)) (void)bpe_choose_end_of_text(v, end->valuestring);
    cJSON_Delete(json);
    return NULL;
}

error *bpe_open(const char *path, bpe **out)
{
    uint8_t *bytes;
    size_t n;
    error *e = file_read_all(path, BPE_FILE_MAX, &bytes, &n);
    if (e)
        return error_context(e,
                             "cannot open the vocabulary '%s' (./tokenize --vocab bpe:N makes "
                             "one)",
                             path);
    e = read_any(bytes, n, out);
    free(bytes);
    if (!e && (*out)->format == BPE_JSON) {
        e = read_end_of_text(path, *out);
        if (e) bpe_close(*out);
    }
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
    memory_stream m;
    TRY(memory_stream_open(&m, path));
    write(v, m.to);
    return memory_stream_save(&m, path);
}

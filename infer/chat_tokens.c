/* chat_tokens.c - see chat_tokens.h */
#include "infer/chat_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/grow.h"

static error *take_ids(void *to, const int32_t *ids, size_t n)
{
    chat_tokens *t = to;
    TRY(grow_array(&t->ids, &t->capacity, t->n + n, sizeof *t->ids));
    TRY(grow_array(&t->learned, &t->learned_capacity, t->n + n, 1));
    memcpy(t->ids + t->n, ids, n * sizeof *ids);
    memset(t->learned + t->n, 0, n);
    t->n += n;
    return NULL;
}

static error *encode_part_of(const bpe *v, const char *text, size_t n, bpe_special special,
                             chat_tokens *out)
{
    return n ? bpe_encode_to(v, (const uint8_t *)text, n, special, take_ids, out) : NULL;
}

/* From the bytes that tokens stand for, if together they are the text; false: they are not. */
static bool mark_by_bytes(const bpe *v, const jinja_text *text, chat_tokens *t, size_t first)
{
    size_t total = 0, n, at = 0, span = 0;
    const uint8_t *bytes = NULL;
    for (size_t i = first; i < t->n; i++) {
        const uint8_t *b = bpe_token(v, t->ids[i], &n);
        if (i == first && n) bytes = b;
        total += n;
    }
    bool space = total == text->n + 1 && bytes && *bytes == ' '; /* the tokenizer adds one in
                                                                  * front */
    if (total != text->n && !space) return false;
    for (size_t i = first; i < t->n; i++) {
        bpe_token(v, t->ids[i], &n);
        size_t begin = at, end = at + n - (i == first && space);
        at = end;
        while (span < text->n_spans && text->spans[span].end <= begin)
            span++;
        t->learned[i] = span < text->n_spans && text->spans[span].begin < end && end > begin;
    }
    return true;
}

/* Encodes the parts separately; false: they give other tokens than the whole text. */
static error *mark_by_parts(const bpe *v, const jinja_text *text, bpe_special special,
                            chat_tokens *t, size_t first, bool *same)
{
    chat_tokens parts = {0};
    error *e = NULL;
    size_t at = 0;
    for (size_t i = 0; i <= text->n_spans && !e; i++) {
        jinja_span s = i < text->n_spans ? text->spans[i] : (jinja_span){text->n, text->n};
        e = encode_part_of(v, text->text + at, s.begin - at, special, &parts);
        size_t before = parts.n;
        if (!e) e = encode_part_of(v, text->text + s.begin, s.end - s.begin, special, &parts);
        if (parts.n > before) memset(parts.learned + before, 1, parts.n - before);
        at = s.end;
    }
    *same = !e && parts.n == t->n - first &&
            (!parts.n || !memcmp(parts.ids, t->ids + first, parts.n * sizeof *parts.ids));
    if (*same && parts.n) memcpy(t->learned + first, parts.learned, parts.n);
    chat_tokens_free(&parts);
    return e;
}

static error *mark(const bpe *v, const jinja_text *text, bpe_special special, chat_tokens *t,
                   size_t first)
{
    bool whole = text->n_spans == 1 && text->spans[0].begin == 0 && text->spans[0].end == text->n,
         same;
    if (whole && t->n > first) memset(t->learned + first, 1, t->n - first);
    if (whole || !text->n_spans || mark_by_bytes(v, text, t, first)) return NULL;
    TRY(mark_by_parts(v, text, special, t, first, &same));
    return same ? NULL
                : user_error("the vocabulary changes the text as it encodes it (composed "
                             "characters, spaces), so which tokens are the answers' is not known: "
                             "--learn all learns everything");
}

error *chat_encode(const bpe *v, const chat_example *e, bpe_special special, chat_tokens *out)
{
    int32_t begin = bpe_begin_of_text(v), end = bpe_end_of_text(v);
    *out = (chat_tokens){0};
    if (!e->plain) special = BPE_SPECIAL_ALLOW;
    if (e->plain && begin >= 0) TRY(take_ids(out, &begin, 1));
    size_t first = out->n;
    TRY(encode_part_of(v, e->text.text, e->text.n, special, out));
    TRY(mark(v, &e->text, special, out, first));
    if (!e->plain || end < 0) return NULL;
    TRY(take_ids(out, &end, 1));
    out->learned[out->n - 1] = 1;
    return NULL;
}

void chat_tokens_free(chat_tokens *t)
{
    free(t->ids);
    free(t->learned);
    *t = (chat_tokens){0};
}

/* PREFIX.jinja beside PREFIX.vocab, as tokenize leaves it; "" if there is none. */
static void find_own(const char *vocab_path, char *out)
{
    size_t n = strlen(vocab_path);
    const char *end = n > 6 && !strcmp(vocab_path + n - 6, ".vocab") ? vocab_path + n - 6 : NULL;
    *out = 0;
    if (!end) return;
    int used = snprintf(out, PATH_LENGTH, "%.*s.jinja", (int)(end - vocab_path), vocab_path);
    if (used >= PATH_LENGTH || access(out, F_OK)) *out = 0;
}

/* A token as text; false: there is none. */
static bool spell(const bpe *v, int32_t id, char *out)
{
    size_t n = 0;
    const uint8_t *bytes = id < 0 ? NULL : bpe_token(v, id, &n);
    if (!bytes || n > BPE_MAX_TOKEN || memchr(bytes, 0, n)) return false;
    memcpy(out, bytes, n);
    out[n] = 0;
    return true;
}

error *chat_beside(const char *template_file, const char *vocab_path, const bpe *v, chat **out)
{
    char directory[PATH_LENGTH], own[PATH_LENGTH], begin[BPE_MAX_TOKEN + 1], end[BPE_MAX_TOKEN + 1];
    bool begins = spell(v, bpe_begin_of_text(v), begin), ends = spell(v, bpe_end_of_text(v), end);
    TRY(path_parent(directory, vocab_path));
    find_own(vocab_path, own);
    if (!template_file && *own) template_file = own;
    return chat_open(template_file, directory, begins ? begin : NULL, ends ? end : NULL, out);
}

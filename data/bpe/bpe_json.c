/* bpe_json.c - reads Hugging Face's tokenizer.json
 *
 *     { "added_tokens":  [{"id": 50256, "content": "<|endoftext|>", "special": true, ...}],
 *       "normalizer":    null,
 *       "pre_tokenizer": {"type": "ByteLevel", "use_regex": true, ...},     <- or Split, then ByteLevel
 *       "post_processor": ...,
 *       "decoder":       {"type": "ByteLevel", ...},
 *       "model":         {"type": "BPE", "vocab": {"!": 0, ...}, "merges": ["h e", ["t", "he"], ...]} }
 *
 * Spellings are in GPT-2's characters for bytes (byte_chars.h), except for added tokens, which are
 * plain.  This reader gives the ids that the file's own program gives, or refuses: every part of
 * the file that can change ids is either supported (bpe_json_rules.c) or refused by name.
 * `truncation` and `padding` apply to a program's batches and change no id of a whole text.
 *
 * A file in SentencePiece's scheme has other spellings: bpe_metaspace.c.
 *
 * The whole file is parsed to a tree, of bounded size: a file has at most BPE_FILE_MAX bytes and
 * MAX_NODES commas and brackets, and cJSON limits nesting to 1000.
 */
#include "data/bpe/bpe_internal.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe/bpe_json_internal.h"
#include "data/bpe/byte_chars.h"
#include "data/bpe/unigram.h"

enum {
    MAX_ADDED = 1 << 16,
    MAX_NODES = 1 << 22, /* of the tree: 64 bytes each */
};

static const char not_known[] =
    "is not supported: use a byte-level BPE tokenizer such as GPT-2's, or "
    "generate --prompt-ids";

bool json_is_null(const cJSON *item)
{
    return !item || cJSON_IsNull(item);
}

bool json_is(const cJSON *item, const char *text)
{
    return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

/* An item in an error message: its type's name, its text, or its kind. */
static const char *named(const cJSON *item)
{
    const cJSON *type = cJSON_IsObject(item) ? json_get(item, "type") : NULL;
    if (cJSON_IsString(type)) return type->valuestring;
    if (cJSON_IsString(item)) return item->valuestring;
    if (cJSON_IsTrue(item)) return "true";
    if (cJSON_IsFalse(item)) return "false";
    return json_is_null(item) ? "null" : cJSON_IsNumber(item) ? "a number" : "something else";
}

error *json_refused(const char *what, const cJSON *item)
{
    return user_error("%s: '%.100s' %s", what, named(item), not_known);
}

error *json_must_be_off(const cJSON *object, const char *name, const char *where)
{
    const cJSON *item = json_get(object, name);
    bool off = json_is_null(item) || cJSON_IsFalse(item) || json_is(item, "") ||
               (cJSON_IsNumber(item) && item->valuedouble == 0.0);
    if (off) return NULL;
    return user_error("%s.%s: '%.100s' %s", where, name, named(item), not_known);
}

static bool token_id(const cJSON *item, int32_t *out)
{
    if (!cJSON_IsNumber(item)) return false;
    double id = item->valuedouble;
    if (!(id >= 0 && id < BPE_MAX_SIZE) || id != (double)(int32_t)id) return false;
    *out = (int32_t)id;
    return true;
}

/* ---- tokens ---- */

typedef struct {
    bpe_spelling *list; /* (size); .bytes is NULL for tokens not seen yet */
    bool *ordinary;     /* (size): in model.vocab */
    double *score;      /* ? (size): of unigram */
    int32_t size;
    bpe_special_token *added; /* (n_added) */
    int32_t n_added;
    uint8_t *bytes, *to; /* buffer for spellings in characters, and its end */
    bool metaspace, unigram;
    int32_t byte_token[256]; /* with metaspace; -1: none */
} token_list;

/* The spelling in bytes of a token or one half of a merge; `to` has room for as many as `from`. */
static bool spelling_of(bool metaspace, const char *from, uint8_t *to, size_t *n)
{
    if (!metaspace) return bytes_of_chars(from, to, n);
    *n = bpe_metaspace_plain((const uint8_t *)from, strlen(from), to);
    return true;
}

static error *check_added(const cJSON *item)
{
    const cJSON *content = json_get(item, "content");
    int32_t id;
    if (!cJSON_IsString(content) || !*content->valuestring || !token_id(json_get(item, "id"), &id))
        return user_error("added_tokens: an entry has no content, or no id from 0 to %d: get the "
                          "file again",
                          BPE_MAX_SIZE - 1);
    return NULL;
}

static error *put(token_list *t, int32_t id, const uint8_t *bytes, size_t n)
{
    if (t->list[id].bytes)
        return user_error("id %" PRId32 " is given to two tokens: get the file again", id);
    t->list[id] = (bpe_spelling){bytes, n};
    return NULL;
}

static void note_added(token_list *t, const cJSON *item)
{
    int32_t id = 0;
    const char *content = json_get(item, "content")->valuestring;
    (void)token_id(json_get(item, "id"), &id); /* checked by check_added */
    t->added[t->n_added++] =
        (bpe_special_token){.id = id,
                            .always = !cJSON_IsTrue(json_get(item, "special")),
                            .normalized = cJSON_IsTrue(json_get(item, "normalized")),
                            .left = cJSON_IsTrue(json_get(item, "lstrip")),
                            .right = cJSON_IsTrue(json_get(item, "rstrip")),
                            .word = cJSON_IsTrue(json_get(item, "single_word")),
                            .content = (const uint8_t *)content,
                            .n = (uint32_t)strlen(content)};
}

/* Does model.vocab have an ordinary token with this spelling? */
static bool is_spelled(const token_list *t, int32_t id, const char *text)
{
    uint8_t bytes[4 * BPE_MAX_TOKEN];
    size_t n = strlen(text);
    return n <= sizeof bytes && spelling_of(t->metaspace, text, bytes, &n) && n == t->list[id].n &&
           !memcmp(bytes, t->list[id].bytes, n);
}

/* Added tokens are separate tokens, unless model.vocab has them, too: with the same id. */
static error *read_added(token_list *t)
{
    for (int32_t i = 0; i < t->n_added; i++) {
        const bpe_special_token *a = &t->added[i];
        if (t->ordinary[a->id] && is_spelled(t, a->id, (const char *)a->content)) continue;
        TRY(put(t, a->id, a->content, a->n));
    }
    return NULL;
}

static bool is_added(const token_list *t, int32_t id, const char *content)
{
    for (int32_t i = 0; i < t->n_added; i++)
        if (t->added[i].id == id)
            return t->added[i].n == strlen(content) &&
                   !memcmp(t->added[i].content, content, t->added[i].n);
    return false;
}

/* An entry of model.vocab. */
static error *read_token(token_list *t, int32_t id, const char *text)
{
    size_t n;
    int byte = t->metaspace ? bpe_metaspace_byte(text) : -1;
    if (byte >= 0) {
        t->byte_token[byte] = id;
        *t->to = (uint8_t)byte;
        return put(t, id, t->to++, 1);
    }
    if (spelling_of(t->metaspace, text, t->to, &n) && n > 0) {
        t->ordinary[id] = true;
        t->to += n;
        return put(t, id, t->to - n, n);
    }
    if (is_added(t, id, text)) return NULL; /* plain */
    return user_error(
        "model.vocab: '%.100s' is not spelled in the characters for bytes that GPT-2 has: "
        "it %s",
        text, not_known);
}

/* {"a": 0, ...}, or [["a", -1.5], ...] for unigram. */
static error *read_vocab(const cJSON *vocab, token_list *t)
{
    const cJSON *item;
    int32_t id = 0;
    cJSON_ArrayForEach(item, vocab)
    {
        const char *text = item->string;
        if (t->score) {
            const cJSON *name = item->child, *score = name ? name->next : NULL;
            if (!cJSON_IsArray(item) || !cJSON_IsString(name) || !cJSON_IsNumber(score))
                return user_error("model.vocab: entry %" PRId32 " is not a token and its score",
                                  id);
            text = name->valuestring;
            t->score[id] = score->valuedouble;
            TRY(read_token(t, id++, text));
            continue;
        }
        if (!token_id(item, &id) || id >= t->size)
            return user_error("model.vocab: '%.100s' has no id from 0 to %d, as there are %d "
                              "tokens: ids must have no gaps",
                              text, t->size - 1, t->size);
        TRY(read_token(t, id, text));
    }
    return NULL;
}

/* The tokens of both places, and the number of ids: vocab's, and added ones beyond it.
 */
static error *count_tokens(const cJSON *added, const cJSON *vocab, token_list *t)
{
    const cJSON *item;
    int64_t largest = -1, n_vocab = 0, n_bytes = 0;
    int32_t id, n_added = 0;
    cJSON_ArrayForEach(item, added)
    {
        TRY(check_added(item));
        if (token_id(json_get(item, "id"), &id) && id > largest) largest = id;
        if (++n_added > MAX_ADDED)
            return user_error("has more than %d added_tokens: get the file again", MAX_ADDED);
    }
    cJSON_ArrayForEach(item, vocab)
    {
        const char *text = cJSON_IsArray(item) ? cJSON_GetStringValue(item->child) : item->string;
        n_vocab++;
        n_bytes += text ? (int64_t)strlen(text) + 1 : 1;
    }
    if (largest + 1 > n_vocab + n_added)
        return user_error("added_tokens: id %" PRId64 " is too large for %" PRId64
                          " tokens: ids must have no gaps",
                          largest, n_vocab + n_added);
    if (n_vocab > BPE_MAX_SIZE - MAX_ADDED)
        return user_error("model.vocab has %" PRId64 " tokens, more than %d", n_vocab,
                          BPE_MAX_SIZE - MAX_ADDED);
    t->size = (int32_t)(largest + 1 > n_vocab ? largest + 1 : n_vocab);
    TRY(alloc_array(&t->list, (size_t)t->size, sizeof *t->list));
    TRY(alloc_array(&t->ordinary, (size_t)t->size, sizeof *t->ordinary));
    TRY(alloc_array(&t->added, (size_t)n_added, sizeof *t->added));
    TRY(alloc_array(&t->bytes, (size_t)n_bytes, 1));
    t->to = t->bytes;
    cJSON_ArrayForEach(item, added) note_added(t, item);
    return NULL;
}

static error *read_tokens(bpe *v, const cJSON *added, const cJSON *vocab, bool unigram,
                          token_list *t)
{
    TRY(count_tokens(added, vocab, t));
    if (unigram) TRY(alloc_array(&t->score, (size_t)t->size, sizeof *t->score));
    TRY(read_vocab(vocab, t));
    TRY(read_added(t));
    for (int32_t id = 0; id < t->size; id++)
        if (!t->list[id].bytes)
            return user_error("no token has id %" PRId32 ", though %" PRId32
                              " has one: ids must have no gaps",
                              id, t->size - 1);
    TRY(bpe_spell(v, t->list, t->size));
    TRY(alloc_array(&v->is_special, (size_t)v->size, sizeof *v->is_special));
    for (int32_t id = 0; id < v->size; id++)
        v->is_special[id] = !t->ordinary[id];
    v->score = t->score;
    t->score = NULL;
    return t->n_added > 0 ? bpe_set_special(v, t->added, t->n_added) : NULL;
}

/* ---- merges ---- */

/* One half of a merge, in characters for bytes. */
static error *find_token(const spellings *s, const char *text, size_t n, uint32_t *id, int64_t i)
{
    char copy[4 * BPE_MAX_TOKEN];
    uint8_t bytes[4 * BPE_MAX_TOKEN];
    int32_t found = -1;
    if (n > 0 && n < sizeof copy) {
        memcpy(copy, text, n);
        copy[n] = 0;
        if (spelling_of(s->v->metaspace, copy, bytes, &n)) found = spellings_find(s, bytes, n);
    }
    if (found < 0)
        return user_error("model.merges: merge %" PRId64
                          " joins '%.100s', which is not in model.vocab: get the file again",
                          i, text);
    *id = (uint32_t)found;
    return NULL;
}

/* "left right", or ["left", "right"]. */
static error *read_merge(const spellings *s, const cJSON *item, int64_t i, bpe_merge *m)
{
    const char *left = NULL, *right = NULL;
    size_t n_left = 0;
    if (cJSON_IsString(item)) {
        left = item->valuestring;
        n_left = strcspn(left, " ");
        right = left[n_left] && !strchr(left + n_left + 1, ' ') ? left + n_left + 1 : NULL;
    } else if (cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2) {
        left = cJSON_GetStringValue(item->child);
        right = cJSON_GetStringValue(item->child->next);
        n_left = left ? strlen(left) : 0;
    }
    if (!left || !right)
        return user_error("model.merges: merge %" PRId64 " is not two tokens, as \"a b\" or "
                          "[\"a\", \"b\"]: get the file again",
                          i);
    TRY(find_token(s, left, n_left, &m->left, i));
    return find_token(s, right, strlen(right), &m->right, i);
}

static error *add_merge(bpe *v, const spellings *s, const cJSON *item, int64_t i)
{
    bpe_merge m = {0, 0};
    uint8_t joined[2 * BPE_MAX_TOKEN];
    size_t n_left, n_right;
    TRY(read_merge(s, item, i, &m));
    const uint8_t *left = bpe_token(v, (int32_t)m.left, &n_left);
    const uint8_t *right = bpe_token(v, (int32_t)m.right, &n_right);
    memcpy(joined, left, n_left);
    memcpy(joined + n_left, right, n_right);
    int32_t made = spellings_find(s, joined, n_left + n_right);
    if (made < 0)
        return user_error("model.merges: merge %" PRId64
                          " makes a token that is not in model.vocab: get the file again",
                          i);
    return bpe_add_merge(v, m, made);
}

static error *read_merges(bpe *v, const cJSON *merges)
{
    spellings s;
    const cJSON *item;
    int64_t i = 0;
    error *e = spellings_make(&s, v);
    if (!e) e = bpe_reserve_merges(v, cJSON_GetArraySize(merges));
    cJSON_ArrayForEach(item, merges)
    {
        if (e) break;
        e = add_merge(v, &s, item, i++);
    }
    spellings_free(&s);
    return e;
}

/* The unknown token: a name, or unigram's number. */
static error *read_unknown(bpe *v, const cJSON *model, const cJSON *vocab, bool unigram)
{
    const cJSON *number = json_get(model, "unk_id"), *name = json_get(model, "unk_token");
    int32_t id;
    if (unigram && token_id(number, &id)) v->unknown = id;
    if (!unigram && cJSON_IsString(name) && token_id(json_get(vocab, name->valuestring), &id))
        v->unknown = id;
    v->fuse_unknown = unigram || cJSON_IsTrue(json_get(model, "fuse_unk"));
    if (v->unknown < v->size) return NULL;
    return user_error("model.unk_id: there is no token %" PRId32, v->unknown);
}

/* With metaspace: which bytes can be encoded, and by which tokens. */
static error *read_bytes(bpe *v, const cJSON *model, const cJSON *vocab, const token_list *t)
{
    bool fallback = cJSON_IsTrue(json_get(model, "byte_fallback")), all = true;
    TRY(read_unknown(v, model, vocab, t->unigram));
    for (int byte = 0; byte < 256; byte++) {
        int32_t id = fallback ? t->byte_token[byte] : -1;
        v->byte_token[byte] = id;
        uint8_t text = (uint8_t)byte;
        bool character = byte < 0x80 && spellings_find(v->words, &text, 1) >= 0;
        all = all && (id >= 0 || character);
        if (id < 0 && !character && v->unknown < 0)
            return user_error(
                "model.vocab has no <0x%02X>, and no unk_token in its place: some texts "
                "could not be written",
                (unsigned)byte);
    }
    if (all && !t->unigram) v->unknown = -1; /* every byte has a token */
    return NULL;
}

static error *check_ids(const bpe *v)
{
    if (v->begin_of_text < v->size) return NULL;
    return user_error("post_processor: token %" PRId32 " of %" PRId32, v->begin_of_text, v->size);
}

static error *read_model(bpe *v, const cJSON *root, token_list *t)
{
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"};
    const cJSON *model = json_get(root, "model"), *type = json_get(model, "type");
    const cJSON *vocab = json_get(model, "vocab"), *merges = json_get(model, "merges");
    t->unigram = json_is(type, "Unigram");
    if (type && !t->unigram && !json_is(type, "BPE")) return json_refused("model.type", type);
    if (t->unigram ? !cJSON_IsArray(vocab) : !cJSON_IsObject(vocab) || !cJSON_IsArray(merges))
        return user_error("model.vocab or model.merges is missing: name the tokenizer.json of a "
                          "BPE tokenizer");
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        TRY(json_must_be_off(model, off[i], "model"));
    t->metaspace = v->metaspace;
    v->ignore_merges = cJSON_IsTrue(json_get(model, "ignore_merges"));
    v->bytes_by_name = t->unigram && cJSON_IsTrue(json_get(model, "byte_fallback"));
    memset(t->byte_token, 0xff, sizeof t->byte_token); /* all -1 */
    TRY(read_tokens(v, json_get(root, "added_tokens"), vocab, t->unigram, t));
    TRY(check_ids(v));
    if (!v->metaspace) TRY(bpe_find_bytes(v));
    if (!v->metaspace) TRY(bpe_check_keys(v));
    TRY(bpe_index(v));
    if (v->metaspace) TRY(read_bytes(v, model, vocab, t));
    if (t->unigram) unigram_prepare(v);
    return t->unigram ? NULL : read_merges(v, merges);
}

static error *read_root(const cJSON *root, bpe **out)
{
    bpe *v;
    token_list t = {0};
    TRY(bpe_new(BPE_JSON, &v));
    error *e = bpe_json_rules(v, root);
    if (!e) e = read_model(v, root, &t);
    free(t.list);
    free(t.ordinary);
    free(t.score);
    free(t.added);
    free(t.bytes);
    return bpe_opened(e, v, out);
}

error *bpe_keep_source(bpe *v, const uint8_t *text, size_t n)
{
    TRY(alloc_array(&v->source, n + 1, 1));
    memcpy(v->source, text, n);
    v->n_source = n;
    return NULL;
}

error *bpe_read_json(uint8_t *text, size_t n, bpe **out)
{
    /* cJSON ends strings at NUL, and no token contains one */
    bool zero = memmem(text, n, "\\u0000", 6);
    if (memchr(text, 0, n)) return user_error("has a zero byte in it: get the file again");
    size_t n_nodes = 0;
    for (size_t i = 0; i < n; i++)
        n_nodes += text[i] == ',' || text[i] == '{' || text[i] == '[';
    if (n_nodes > MAX_NODES)
        return user_error("has more parts than a vocabulary can have: name another file");
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithOpts((const char *)text, &end, true);
    if (!root) {
        size_t at = end ? (size_t)(end - (const char *)text) : 0;
        return user_error("is not JSON at byte %zu, or nested too deeply, or larger than memory: "
                          "get the file again",
                          at);
    }
    error *e = bpe_is_tekken(root) ? bpe_read_tekken(root, out)
               : zero              ? user_error("has a zero byte in it: get the file again")
                                   : read_root(root, out);
    cJSON_Delete(root);
    if (e) return e;
    e = bpe_keep_source(*out, text, n);
    if (e) bpe_close(*out);
    return e;
}

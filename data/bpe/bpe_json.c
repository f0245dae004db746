/* bpe_json.c - reading Hugging Face's tokenizer.json
 *
 *     { "added_tokens": [{"id": 50256, "content": "<|endoftext|>", "special": true, ...}],
 *       "normalizer": null,
 *       "pre_tokenizer": {"type": "ByteLevel", "use_regex": true, ...},   <- or Split, then
 * ByteLevel "post_processor": ..., "decoder": {"type": "ByteLevel", ...}, "model": {"type": "BPE",
 * "vocab": {"!": 0, ...}, "merges": ["h e", ["t", "he"], ...]} }
 *
 * Spellings are in GPT-2's characters for bytes (byte_chars.h), but for added tokens, which are
 * spelled as they are.  This reader gives the ids that the file's own program gives, or refuses:
 * every part of the file that can change ids is either known here, or named in the refusal.
 *
 * A file with byte_fallback is of another manner: bpe_metaspace.c.
 *
 * The whole file is parsed to a tree.  What that may take is known before: a file has at most
 * BPE_FILE_MAX bytes and MAX_NODES commas and brackets, and cJSON follows nesting 1000 deep only.
 */
#include "data/bpe/bpe_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe/bpe_json_internal.h"
#include "data/bpe/byte_chars.h"

enum {
    MAX_ADDED = 1 << 16,
    MAX_NODES = 1 << 22, /* of the tree: 64 bytes each */
};

static const char not_known[] =
    "is not known here: use a byte-level BPE tokenizer such as GPT-2's, or "
    "generate --prompt-ids";

const cJSON *json_get(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static bool is_null(const cJSON *item)
{
    return !item || cJSON_IsNull(item);
}

bool json_is(const cJSON *item, const char *text)
{
    return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

/* How an item reads in an error message: its type's name, its text, or what it is. */
static const char *named(const cJSON *item)
{
    const cJSON *type = cJSON_IsObject(item) ? json_get(item, "type") : NULL;
    if (cJSON_IsString(type)) return type->valuestring;
    if (cJSON_IsString(item)) return item->valuestring;
    if (cJSON_IsTrue(item)) return "true";
    if (cJSON_IsFalse(item)) return "false";
    return is_null(item) ? "null" : cJSON_IsNumber(item) ? "a number" : "something else";
}

error *json_refused(const char *what, const cJSON *item)
{
    return user_error("%s: '%.100s' %s", what, named(item), not_known);
}

/* An option that must be absent, null, or have the value that changes nothing. */
static error *must_be_off(const cJSON *object, const char *name, const char *where)
{
    const cJSON *item = json_get(object, name);
    bool off = is_null(item) || cJSON_IsFalse(item) || json_is(item, "") ||
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
    bpe_spelling *list; /* (size); .bytes is NULL where no token was seen yet */
    int32_t size;
    bpe_special_token *added; /* (n_added) */
    int32_t n_added;
    uint8_t *bytes; /* what the characters of the ordinary tokens stand for, end to end */
    bool metaspace;
    int32_t byte_token[256]; /* with metaspace; -1: none */
} token_list;

/* What a token or an end of a merge is spelled as in bytes; `to` has room for as many as `from`. */
static bool spelling_of(bool metaspace, const char *from, uint8_t *to, size_t *n)
{
    if (!metaspace) return bytes_of_chars(from, to, n);
    *n = bpe_metaspace_plain((const uint8_t *)from, strlen(from), to);
    return true;
}

/* Added tokens have special rules for what is around them, and none of these is known here. */
static error *check_added(const cJSON *item)
{
    static const char *const rules[] = {"single_word", "lstrip", "rstrip"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        TRY(must_be_off(item, rules[i], "added_tokens"));
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

static error *read_added(const cJSON *added, token_list *t)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, added)
    {
        int32_t id = 0;
        const char *content = json_get(item, "content")->valuestring;
        (void)token_id(json_get(item, "id"), &id); /* checked by check_added */
        TRY(put(t, id, (const uint8_t *)content, strlen(content)));
        t->added[t->n_added++] = (bpe_special_token){id, !cJSON_IsTrue(json_get(item, "special"))};
    }
    return NULL;
}

/* Is the entry of model.vocab one of the added tokens, which are in both places? */
static bool is_added(const token_list *t, int32_t id, const char *content)
{
    const bpe_spelling *s = &t->list[id];
    return s->bytes && s->n == strlen(content) && memcmp(s->bytes, content, s->n) == 0;
}

static error *read_vocab(const cJSON *vocab, token_list *t)
{
    uint8_t *to = t->bytes;
    const cJSON *item;
    cJSON_ArrayForEach(item, vocab)
    {
        int32_t id;
        size_t n;
        if (!token_id(item, &id) || id >= t->size)
            return user_error("model.vocab: '%.100s' has no id from 0 to %d, as there are %d "
                              "tokens: ids must have no gaps",
                              item->string, t->size - 1, t->size);
        if (is_added(t, id, item->string)) continue;
        int byte = t->metaspace ? bpe_metaspace_byte(item->string) : -1;
        if (byte >= 0) {
            t->byte_token[byte] = id;
            *to = (uint8_t)byte;
            TRY(put(t, id, to++, 1));
            continue;
        }
        if (!spelling_of(t->metaspace, item->string, to, &n) || n == 0)
            return user_error("model.vocab: '%.100s' is not spelled in the characters for bytes "
                              "that GPT-2 has: it %s",
                              item->string, not_known);
        TRY(put(t, id, to, n));
        to += n;
    }
    return NULL;
}

/* The tokens of both places, and how many ids there are: vocab's, and added ones that it has not.
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
        n_vocab++;
        n_bytes += (int64_t)strlen(item->string);
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
    TRY(alloc_array(&t->added, (size_t)n_added, sizeof *t->added));
    return alloc_array(&t->bytes, (size_t)n_bytes, 1);
}

static error *read_tokens(bpe *v, const cJSON *added, const cJSON *vocab, token_list *t)
{
    TRY(count_tokens(added, vocab, t));
    TRY(read_added(added, t));
    TRY(read_vocab(vocab, t));
    for (int32_t id = 0; id < t->size; id++)
        if (!t->list[id].bytes)
            return user_error("no token has id %" PRId32 ", though %" PRId32
                              " has one: ids must have no gaps",
                              id, t->size - 1);
    TRY(bpe_spell(v, t->list, t->size));
    return t->n_added > 0 ? bpe_set_special(v, t->added, t->n_added) : NULL;
}

/* ---- merges ---- */

/* One end of a merge, in characters for bytes. */
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
        return user_error("model.merges: merge %" PRId64 " joins '%.100s', which model.vocab has "
                          "not: get the file again",
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
        return user_error("model.merges: merge %" PRId64 " makes a token that model.vocab has "
                          "not: get the file again",
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

static error *read_model(bpe *v, const cJSON *root, token_list *t)
{
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix",
                                      "ignore_merges"};
    const cJSON *model = json_get(root, "model"), *type = json_get(model, "type");
    const cJSON *vocab = json_get(model, "vocab"), *merges = json_get(model, "merges");
    if (type && !json_is(type, "BPE")) return json_refused("model.type", type);
    if (!cJSON_IsObject(vocab) || !cJSON_IsArray(merges))
        return user_error("model.vocab or model.merges is missing: name the tokenizer.json of a "
                          "BPE tokenizer");
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        TRY(must_be_off(model, off[i], "model"));
    t->metaspace = v->metaspace;
    memset(t->byte_token, 0xff, sizeof t->byte_token); /* all -1 */
    TRY(read_tokens(v, json_get(root, "added_tokens"), vocab, t));
    if (v->metaspace) {
        if (!t->n_added) return user_error("added_tokens: there is none, but <s> and <unk>");
        TRY(bpe_metaspace_finish(v, t->byte_token));
    } else {
        TRY(bpe_find_bytes(v));
        TRY(bpe_check_keys(v));
    }
    return read_merges(v, merges);
}

/* ---- how text is cut ---- */

/* Split by a regular expression, or ByteLevel, which has GPT-2's in it unless use_regex is false.
 * The expression is *out, NULL if there is none. */
static error *read_step(const cJSON *step, const char **out, bool *byte_level)
{
    const cJSON *type = json_get(step, "type"),
                *regex = json_get(json_get(step, "pattern"), "Regex");
    *out = NULL;
    *byte_level = json_is(type, "ByteLevel");
    if (*byte_level) {
        TRY(must_be_off(step, "add_prefix_space", "pre_tokenizer"));
        if (!cJSON_IsFalse(json_get(step, "use_regex"))) *out = PATTERN_GPT2;
        return NULL;
    }
    if (!json_is(type, "Split")) return json_refused("pre_tokenizer", step);
    if (!cJSON_IsString(regex))
        return user_error("pre_tokenizer: Split by something else than a Regex %s", not_known);
    if (!json_is(json_get(step, "behavior"), "Isolated"))
        return json_refused("pre_tokenizer.behavior", json_get(step, "behavior"));
    TRY(must_be_off(step, "invert", "pre_tokenizer"));
    *out = regex->valuestring;
    return NULL;
}

/* Steps, each of which cuts what the one before has left: one that cuts, and ByteLevel at the end.
 */
static error *read_steps(const cJSON *steps, const char **expression, bool *byte_level)
{
    const cJSON *step;
    cJSON_ArrayForEach(step, steps)
    {
        const char *one;
        if (*byte_level) return json_refused("pre_tokenizer behind ByteLevel", step);
        TRY(read_step(step, &one, byte_level));
        if (one && *expression)
            return user_error("pre_tokenizer: more than one expression that cuts %s", not_known);
        if (one) *expression = one;
    }
    return NULL;
}

/* Hugging Face's engine takes "[^(\\s|[.,])]" for a class in a class, which is the same as one class
 * of all; ours ends it at the first bracket.  So inner brackets are left out.  `out` has room. */
static error *flatten_classes(const char *from, char *out)
{
    int depth = 0;
    for (const char *p = from; *p; p++) {
        bool and = depth && p[0] == '&' && p[1] == '&';
        if (and || (depth && p[0] == '[' && p[1] == '^'))
            return user_error("pre_tokenizer: '%.100s': such a class in a class %s", from,
                              not_known);
        if (*p == '\\' && p[1]) {
            *out++ = *p++;
            *out++ = *p;
            continue;
        }
        bool posix = depth && p[0] == '[' && p[1] == ':';
        bool inner = (*p == '[' && depth && !posix) || (*p == ']' && depth > 1);
        depth += *p == '[' && !posix;
        depth -= *p == ']' && depth > 0 && !(p > from && p[-1] == ':');
        if (!inner) *out++ = *p;
    }
    *out = 0;
    return depth ? user_error("pre_tokenizer: '%.100s' has a class without an end", from) : NULL;
}

static error *compile_cutting(const char *expression, pattern **out)
{
    char *flat;
    TRY(alloc_array(&flat, strlen(expression) + 1, 1));
    error *e = flatten_classes(expression, flat);
    if (!e) e = pattern_compile(flat, out);
    free(flat);
    return e;
}

static error *read_cutting(bpe *v, const cJSON *root)
{
    const cJSON *pre = json_get(root, "pre_tokenizer"), *type = json_get(pre, "type");
    const char *expression = NULL;
    bool byte_level = false;
    if (json_is(type, "Sequence")) {
        TRY(read_steps(json_get(pre, "pretokenizers"), &expression, &byte_level));
    } else {
        TRY(read_step(pre, &expression, &byte_level));
    }
    if (!byte_level) return user_error("pre_tokenizer: one without ByteLevel %s", not_known);
    if (!expression)
        return user_error("pre_tokenizer: one that cuts nothing (no expression) %s", not_known);
    if (strcmp(expression, bpe_chunk_expression) == 0)
        return NULL; /* our own rule, needs no engine */
    return compile_cutting(expression, &v->cut);
}

/* What comes before and behind, and must not change any id. */
static error *check_surroundings(const cJSON *root)
{
    const cJSON *normalizer = json_get(root, "normalizer"), *decoder = json_get(root, "decoder");
    const cJSON *post = json_get(root, "post_processor");
    if (!is_null(normalizer)) return json_refused("normalizer", normalizer);
    if (!is_null(post) && !json_is(json_get(post, "type"), "ByteLevel"))
        return json_refused("post_processor", post);
    if (!json_is(json_get(decoder, "type"), "ByteLevel")) return json_refused("decoder", decoder);
    TRY(must_be_off(root, "truncation", "tokenizer"));
    return must_be_off(root, "padding", "tokenizer");
}

static error *read_root(const cJSON *root, bpe **out)
{
    bpe *v;
    token_list t = {0};
    bool metaspace = cJSON_IsTrue(json_get(json_get(root, "model"), "byte_fallback"));
    if (!metaspace) TRY(check_surroundings(root));
    TRY(bpe_new(BPE_JSON, &v));
    error *e = metaspace ? bpe_metaspace_rules(v, root) : read_cutting(v, root);
    if (!e) e = read_model(v, root, &t);
    free(t.list);
    free(t.added);
    free(t.bytes);
    if (e) {
        bpe_close(v);
        return e;
    }
    *out = v;
    return NULL;
}

/* The file itself, which is what is written again: nothing here could make it. */
static error *keep_source(bpe *v, const uint8_t *text, size_t n)
{
    TRY(alloc_array(&v->source, n + 1, 1));
    memcpy(v->source, text, n);
    v->n_source = n;
    return NULL;
}

error *bpe_read_json(uint8_t *text, size_t n, bpe **out)
{
    /* cJSON ends texts at a zero byte, and no token is spelled with one */
    if (memchr(text, 0, n) || memmem(text, n, "\\u0000", 6))
        return user_error("has a zero byte in it: get the file again");
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
    error *e = read_root(root, out);
    cJSON_Delete(root);
    if (e || !(*out)->metaspace) return e;
    e = keep_source(*out, text, n);
    if (e) bpe_close(*out);
    return e;
}

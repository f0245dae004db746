/* bpe_metaspace.c - tokenizer.json in the manner of SentencePiece: LLaMA's and Gemma's.
 *
 * Tokens are spelled in characters, with U+2581 for a space, and the text is one piece that begins as
 * its characters, not as its bytes.  A character that is no token is written as its bytes, <0x00> to
 * <0xFF> (byte_fallback).  LLaMA puts a space before every text.
 *
 *     "no €"  ->  " no €"  ->  ' '  n  o  ' '  €                        if € is a token
 *                              ' '  n  o  ' '  <0xE2> <0x82> <0xAC>     if not; then merges
 *
 * Here tokens have a plain space in their spelling, so that their bytes are what they say.  The
 * tokens for bytes are kept from being found by spelling (<0x41> is spelled as A is) as special ones
 * are.  The ids are those that the file's own program gives without special tokens; the one that it
 * puts in front, <s>, is bpe_begin_of_text.
 */
#include "data/bpe/bpe_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe/bpe_json_internal.h"

static const char meta[] = "\xe2\x96\x81"; /* U+2581 */

enum { META = sizeof meta - 1 };

size_t bpe_metaspace_plain(const uint8_t *from, size_t n, uint8_t *to)
{
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        bool is_meta = n - i >= META && memcmp(from + i, meta, META) == 0;
        to[used++] = is_meta ? ' ' : from[i];
        i += is_meta ? META : 1;
    }
    return used;
}

int bpe_metaspace_byte(const char *name)
{
    static const char digits[] = "0123456789ABCDEF";
    if (strlen(name) != 6 || memcmp(name, "<0x", 3) || name[5] != '>') return -1;
    const char *high = strchr(digits, name[3]), *low = strchr(digits, name[4]);
    return high && low ? (int)(16 * (high - digits) + (low - digits)) : -1;
}

/* ---- the rules around the model ---- */

/* {"type":"Replace", "pattern":{"String":FROM}, "content":TO} */
static bool replaces(const cJSON *item, const char *from, const char *to)
{
    return json_is(json_get(item, "type"), "Replace") &&
           json_is(json_get(json_get(item, "pattern"), "String"), from) &&
           json_is(json_get(item, "content"), to);
}

static error *read_normalizer(bpe *v, const cJSON *normalizer)
{
    const cJSON *list = json_get(normalizer, "normalizers"), *item;
    bool replaced = replaces(normalizer, " ", meta);
    if (!list && !replaced) return json_refused("normalizer", normalizer);
    cJSON_ArrayForEach(item, list)
    {
        bool prepend =
            json_is(json_get(item, "type"), "Prepend") && json_is(json_get(item, "prepend"), meta);
        if (!prepend && !replaces(item, " ", meta)) return json_refused("normalizer", item);
        if (prepend && (v->space_before || replaced)) return json_refused("normalizer", item);
        v->space_before |= prepend;
        replaced |= !prepend;
    }
    return replaced ? NULL : json_refused("normalizer", normalizer);
}

/* Cutting at spaces, of which the normalizer has left none. */
static bool cuts_nothing(const cJSON *pre)
{
    return !pre || cJSON_IsNull(pre) ||
           (json_is(json_get(pre, "type"), "Split") &&
            json_is(json_get(json_get(pre, "pattern"), "String"), " "));
}

/* [<s>,] text */
static error *read_template(bpe *v, const cJSON *post)
{
    const cJSON *first = json_get(post, "single"), *special = NULL, *ids;
    if (!post || cJSON_IsNull(post)) return NULL;
    if (!json_is(json_get(post, "type"), "TemplateProcessing") || !first || !first->child)
        return json_refused("post_processor", post);
    first = first->child;
    if ((special = json_get(first, "SpecialToken"))) first = first->next;
    if (!json_get(first, "Sequence") || first->next) return json_refused("post_processor", post);
    if (!special) return NULL;
    const char *name = cJSON_GetStringValue(json_get(special, "id"));
    ids = name ? json_get(json_get(json_get(post, "special_tokens"), name), "ids") : NULL;
    int32_t id = ids && ids->child && cJSON_IsNumber(ids->child) ? ids->child->valueint : -1;
    if (id < 0 || id >= BPE_MAX_SIZE || ids->child->next)
        return json_refused("post_processor", post);
    v->begin_of_text = id;
    return NULL;
}

error *bpe_metaspace_rules(bpe *v, const cJSON *root)
{
    v->metaspace = true;
    TRY(read_normalizer(v, json_get(root, "normalizer")));
    if (!cuts_nothing(json_get(root, "pre_tokenizer")))
        return json_refused("pre_tokenizer", json_get(root, "pre_tokenizer"));
    return read_template(v, json_get(root, "post_processor"));
}

error *bpe_metaspace_finish(bpe *v, const int32_t *byte_token)
{
    for (int byte = 0; byte < 256; byte++) {
        if (byte_token[byte] < 0)
            return user_error("model.vocab has no <0x%02X>: with byte_fallback every byte needs "
                              "its token",
                              (unsigned)byte);
        v->byte_token[byte] = byte_token[byte];
        v->is_special[byte_token[byte]] = true;
    }
    if (v->begin_of_text >= v->size)
        return user_error("post_processor: token %" PRId32 " of %" PRId32, v->begin_of_text,
                          v->size);
    TRY(alloc_array(&v->words, 1, sizeof *v->words));
    return spellings_make(v->words, v);
}

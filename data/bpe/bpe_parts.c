/* bpe_parts.c - see bpe_parts.h */
#include "data/bpe/bpe_parts.h"

#include <string.h>

#include "data/bpe/bpe_internal.h"
#include "data/bpe/byte_chars.h"

static size_t put_chars(const uint8_t *bytes, size_t n, char *to)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = byte_to_char(bytes[i]);
        if (c >= 0x80) to[at++] = (char)(0xC0 | c >> 6);
        to[at++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3F) : c);
    }
    to[at] = 0;
    return at;
}

bool bpe_key_special(const bpe *v, int32_t id)
{
    return bpe_is_special(v, id);
}

size_t bpe_key(const bpe *v, int32_t id, char to[BPE_KEY_BYTES])
{
    size_t n;
    const uint8_t *bytes = bpe_token(v, id, &n);
    if (!bpe_is_special(v, id)) return put_chars(bytes, n, to);
    memcpy(to, bytes, n);
    to[n] = 0;
    return n;
}

int32_t bpe_n_merges(const bpe *v)
{
    return v->n_merges;
}

size_t bpe_merge_key(const bpe *v, int32_t i, char to[2 * BPE_KEY_BYTES])
{
    size_t n, at;
    const uint8_t *left = bpe_token(v, (int32_t)v->merges[i].left, &n);
    at = put_chars(left, n, to);
    to[at++] = ' ';
    const uint8_t *right = bpe_token(v, (int32_t)v->merges[i].right, &n);
    return at + put_chars(right, n, to + at);
}

const char *bpe_llama_pre(const bpe *v, bool *exact)
{
    static const struct {
        const char *expression, *name;
    } known[] = {
        {PATTERN_GPT2, "gpt-2"},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
         "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         "llama-bpe"},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
         "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         "qwen2"},
    };
    *exact = v->n_steps > 0;
    if (v->metaspace || v->joins_all || v->n_steps > 1) return NULL;
    if (!v->n_steps) return "gpt-2";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(pattern_expression(v->step[0].cut), known[i].expression)) return known[i].name;
    return NULL;
}

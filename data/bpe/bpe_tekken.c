/* bpe_tekken.c - Mistral's tekken.json: ranks, expression and special tokens in one file.
 *
 *     {"config": {"pattern": ..., "default_vocab_size": 131072, "default_num_special_tokens": 1000, ...},
 *      "vocab": [{"rank": 0, "token_bytes": "AA==", ...}, ...],
 *      "special_tokens": [{"rank": 0, "token_str": "<unk>", ...}, ...]}
 *
 * Special tokens have the first ids, then come the ranks; only as many ranks count as fit the
 * vocabulary's size.  A file without special_tokens has those of the first versions.  Merging is
 * tiktoken's (facts: mistral_common 1.13.1, tokens/tokenizers/tekken.py).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe/bpe_json_internal.h"
#include "data/bpe/ranks.h"

enum { NAME_ROOM = 32 };

static const char *const first_names[] = {"<unk>",
                                          "<s>",
                                          "</s>",
                                          "[INST]",
                                          "[/INST]",
                                          "[AVAILABLE_TOOLS]",
                                          "[/AVAILABLE_TOOLS]",
                                          "[TOOL_RESULTS]",
                                          "[/TOOL_RESULTS]",
                                          "[TOOL_CALLS]",
                                          "[IMG]",
                                          "<pad>",
                                          "[IMG_BREAK]",
                                          "[IMG_END]",
                                          "[PREFIX]",
                                          "[MIDDLE]",
                                          "[SUFFIX]",
                                          "[SYSTEM_PROMPT]",
                                          "[/SYSTEM_PROMPT]",
                                          "[TOOL_CONTENT]"};

typedef struct {
    const cJSON *config, *vocab, *special;
    rank_tokens t;
    uint8_t *bytes;           /* of all ranks */
    char (*names)[NAME_ROOM]; /* (n_special) those that the file does not name */
} tekken;

static error *bad(const char *what)
{
    return user_error(
        "%s: this version of tekken.json is not supported (v3 and later): get the file again",
        what);
}

static bool get_integer(const cJSON *item, int64_t most, int32_t *out)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= (double)most))
        return false;
    *out = (int32_t)item->valuedouble;
    return (double)*out == item->valuedouble;
}

static error *read_sizes(tekken *k)
{
    int32_t size = 0, special = 0;
    if (!get_integer(json_get(k->config, "default_vocab_size"), BPE_MAX_SIZE, &size) ||
        !get_integer(json_get(k->config, "default_num_special_tokens"), size, &special) ||
        size - special < BPE_BYTES)
        return bad("config.default_vocab_size and default_num_special_tokens");
    k->t.first = k->t.n_special = special;
    k->t.n_ranks = size - special;
    TRY(alloc_array(&k->t.list, (size_t)size, sizeof *k->t.list));
    TRY(alloc_array(&k->t.special, (size_t)special, sizeof *k->t.special));
    return alloc_array(&k->names, (size_t)special, sizeof *k->names);
}

static error *read_ranks(tekken *k)
{
    const cJSON *item;
    size_t total = 0;
    cJSON_ArrayForEach(item, k->vocab)
    {
        const char *text = json_string(item, "token_bytes");
        if (!text) return bad("vocab.token_bytes");
        total += strlen(text);
    }
    TRY(alloc_array(&k->bytes, total + 1, 1));
    uint8_t *to = k->bytes;
    cJSON_ArrayForEach(item, k->vocab)
    {
        const char *text = json_get(item, "token_bytes")->valuestring;
        int32_t rank;
        if (!get_integer(json_get(item, "rank"), BPE_MAX_SIZE, &rank)) return bad("vocab.rank");
        if (rank >= k->t.n_ranks) continue;
        bpe_spelling *s = &k->t.list[k->t.first + rank];
        size_t n = strlen(text);
        memcpy(to, text, n);
        size_t length = base64_decode(to, n);
        if (!length || s->bytes) return bad("vocab: a token twice, or not in base64");
        *s = (bpe_spelling){to, length};
        to += length;
    }
    return NULL;
}

static error *name_special(tekken *k)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, k->special)
    {
        const char *text = json_string(item, "token_str");
        int32_t rank;
        if (!text || !*text || !get_integer(json_get(item, "rank"), k->t.n_special - 1, &rank))
            return bad("special_tokens");
        k->t.list[rank] = (bpe_spelling){(const uint8_t *)text, strlen(text)};
    }
    for (size_t i = 0; i < sizeof first_names / sizeof *first_names && !k->special; i++)
        if ((int32_t)i < k->t.n_special)
            k->t.list[i] = (bpe_spelling){(const uint8_t *)first_names[i], strlen(first_names[i])};
    for (int32_t id = 0; id < k->t.n_special; id++) {
        bpe_spelling *s = &k->t.list[id];
        if (!s->bytes) {
            int n = snprintf(k->names[id], NAME_ROOM, "<SPECIAL_%" PRId32 ">", id);
            *s = (bpe_spelling){(const uint8_t *)k->names[id], (size_t)n};
        }
        k->t.special[k->t.n_named++] =
            (bpe_special_token){.id = id, .content = s->bytes, .n = (uint32_t)s->n};
    }
    return NULL;
}

static error *read_tekken(tekken *k, bpe *v)
{
    const char *expression = json_string(k->config, "pattern");
    if (!expression || !cJSON_IsArray(k->vocab)) return bad("config.pattern and vocab");
    TRY(read_sizes(k));
    TRY(read_ranks(k));
    TRY(name_special(k));
    for (int32_t rank = 0; rank < k->t.n_ranks; rank++)
        if (!k->t.list[k->t.first + rank].bytes) return bad("vocab: a rank is missing");
    TRY(bpe_from_ranks(v, &k->t, expression, true));
    if (k->t.n_special > 1) v->begin_of_text = 1; /* <s> */
    return NULL;
}

bool bpe_is_tekken(const cJSON *root)
{
    return cJSON_IsObject(json_get(root, "config")) && cJSON_IsArray(json_get(root, "vocab"));
}

error *bpe_read_tekken(const cJSON *root, bpe **out)
{
    tekken k = {.config = json_get(root, "config"),
                .vocab = json_get(root, "vocab"),
                .special = json_get(root, "special_tokens")};
    TRY(bpe_new(BPE_TEKKEN, out));
    error *e = read_tekken(&k, *out);
    free(k.t.list);
    free(k.t.special);
    free(k.bytes);
    free(k.names);
    if (e) bpe_close(*out);
    return e;
}

/* hf_tokens.c - the special tokens that a config.json names: kept, as what generation and batches
 * need.
 *
 * A file that says nothing means the defaults of its family in transformers, null means that there
 * is none: both are written as they were read.  -1, which some files have, is kept, too.
 */
#include "base/json.h"
#include "model/hf/hf_internal.h"

#include <math.h>

static const char *const names[TOKEN_ROLES] = {
    [TOKEN_BEGIN] = "bos_token_id", [TOKEN_END] = "eos_token_id", [TOKEN_PAD] = "pad_token_id"};

static error *read_id(const hf_source *s, const char *name, const cJSON *item, token_ids *out)
{
    double x = cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
    if (!(x >= -1 && x <= INT32_MAX && x == floor(x)))
        return hf_refuse(s, name, "but must be a token's number, some in an array, or null");
    if (out->n == MOST_TOKEN_IDS) return hf_refuse(s, name, "which are too many");
    out->id[out->n++] = (int32_t)x;
    return NULL;
}

error *hf_read_tokens(const hf_source *s, model_config *c)
{
    for (int i = 0; i < TOKEN_ROLES; i++) {
        const cJSON *item = json_get(s->json, names[i]), *one;
        token_ids *out = &c->tokens[i];
        *out = (token_ids){.said = item != NULL, .list = cJSON_IsArray(item)};
        if (!item || cJSON_IsNull(item)) continue;
        if (!out->list) TRY(read_id(s, names[i], item, out));
        for (one = out->list ? item->child : NULL; one; one = one->next)
            TRY(read_id(s, names[i], one, out));
    }
    return NULL;
}

bool hf_write_tokens(cJSON *json, const model_config *c)
{
    for (int i = 0; i < TOKEN_ROLES; i++) {
        const token_ids *t = &c->tokens[i];
        if (!t->said) continue;
        cJSON *item = t->list ? cJSON_CreateIntArray(t->id, t->n)
                      : t->n  ? cJSON_CreateNumber(t->id[0])
                              : cJSON_CreateNull();
        bool there =
            cJSON_HasObjectItem(json, names[i]); /* of a family that has it among its fields */
        if (!item) return false;
        if (there) cJSON_ReplaceItemInObjectCaseSensitive(json, names[i], item);
        if (!there && !json_add(json, names[i], item)) return false;
    }
    return true;
}

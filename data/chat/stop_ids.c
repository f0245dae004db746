/* stop_ids.c - see stop_ids.h */
#include "data/chat/stop_ids.h"

#include <math.h>
#include <unistd.h>

#include "base/json.h"

static error *add_id(const char *path, const cJSON *item, stop_ids *out)
{
    double x = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(x >= 0 && x <= INT32_MAX && x == floor(x)))
        return user_error("%s: eos_token_id is neither a token id nor a list of them", path);
    if (out->n == MOST_STOP_IDS)
        return user_error("%s: eos_token_id has more than %d numbers", path, MOST_STOP_IDS);
    out->id[out->n++] = (int32_t)x;
    return NULL;
}

error *stop_ids_read(const char *path, stop_ids *out)
{
    enum { MOST_BYTES = 1 << 20 };
    cJSON *config;
    error *e = NULL;
    *out = (stop_ids){0};
    if (access(path, F_OK)) return NULL;
    TRY(json_read(path, MOST_BYTES, &config));
    const cJSON *eos = json_get(config, "eos_token_id");
    for (const cJSON *i = cJSON_IsArray(eos) ? eos->child : NULL; i && !e; i = i->next)
        e = add_id(path, i, out);
    if (eos && !cJSON_IsArray(eos) && !cJSON_IsNull(eos)) e = add_id(path, eos, out);
    cJSON_Delete(config);
    return e;
}

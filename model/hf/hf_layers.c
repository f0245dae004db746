/* hf_layers.c - see hf_layers.h */
#include "model/hf/hf_layers.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- rotations ---- */

/* The number in `rope`; an `older` field must agree with it. */
static error *rope_number(const hf_source *s, const char *name, const cJSON *item, double least,
                          double most, const char *older, double *out)
{
    char why[160];
    double number = cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
    const cJSON *other = hf_get(s, older);
    snprintf(why, sizeof why, "whose %s must be a number from %g to %g", item->string, least, most);
    if (!(number >= least && number <= most)) return hf_refuse(s, name, why);
    snprintf(why, sizeof why, "but %s is another number", older ? older : "");
    if (other && number != other->valuedouble) return hf_refuse(s, name, why);
    *out = number;
    return NULL;
}

typedef struct {
    const char *type;
    rope_scaling scaling;
    double base, part;
} rope_table;

/* One field of rope_scaling or rope_parameters. */
static error *read_rope_field(const hf_source *s, const char *name, const cJSON *item,
                              rope_table *t)
{
    const struct {
        const char *field;
        double least, most;
        double *at;
        const char *older[2];
    } numbers[] = {
        {"rope_theta", 1, 1e30, &t->base, {"rope_theta", "rotary_emb_base"}},
        {"partial_rotary_factor", 1e-6, 1, &t->part, {"partial_rotary_factor", "rotary_pct"}},
        {"factor", 1, 1e6, &t->scaling.factor, {NULL, NULL}},
        {"low_freq_factor", 1e-6, 1e6, &t->scaling.low, {NULL, NULL}},
        {"high_freq_factor", 1e-6, 1e6, &t->scaling.high, {NULL, NULL}},
        {"original_max_position_embeddings",
         1,
         1e9,
         &t->scaling.context,
         {"original_max_position_embeddings", NULL}},
    };
    const char *word = cJSON_GetStringValue(item);
    if (!strcmp(item->string, "type") || !strcmp(item->string, "rope_type")) {
        bool known = word && (!strcmp(word, "default") || !strcmp(word, "linear") ||
                              !strcmp(word, "llama3"));
        if (!known) return hf_refuse(s, name, "of a type that is not default, linear or llama3");
        if (t->type && strcmp(t->type, word)) return hf_refuse(s, name, "with two types");
        t->type = word;
        return NULL;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(item->string, numbers[i].field))
            for (int k = 0; k < 2; k++)
                TRY(rope_number(s, name, item, numbers[i].least, numbers[i].most,
                                numbers[i].older[k], numbers[i].at));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(item->string, numbers[i].field)) return NULL;
    return cJSON_IsNull(item) ? NULL : hf_refuse(s, name, "with a field that is not supported");
}

/* Requires the fields of this type, and no others. */
static error *check_scaling(const hf_source *s, const char *name, rope_table *t)
{
    bool linear = t->type && !strcmp(t->type, "linear"),
         waves = t->type && !strcmp(t->type, "llama3");
    rope_scaling *x = &t->scaling;
    if ((linear || waves) != (x->factor > 0))
        return hf_refuse(s, name,
                         linear || waves ? "without a factor" : "with a factor but no type");
    if (waves && !(x->low > 0 && x->high > x->low && x->context > 0))
        return hf_refuse(s, name,
                         "which needs low_freq_factor, a larger high_freq_factor, and "
                         "original_max_position_embeddings");
    if (!waves && (x->low > 0 || x->high > 0))
        return hf_refuse(s, name, "with a field of llama3 but another type");
    if (!waves) x->context = 0;
    if (x->factor == 1 || !(linear || waves)) *x = (rope_scaling){0};
    return NULL;
}

/* A rope_scaling or rope_parameters object.  partial: the family can rotate a part of each head. */
static error *read_rope(const hf_source *s, const char *name, bool partial, hf_model *m)
{
    const cJSON *rope = hf_get(s, name), *item = rope ? rope->child : NULL;
    rope_table t = {.base = m->c.rotary.base, .part = m->rotary_part};
    if (!rope) return NULL;
    if (!cJSON_IsObject(rope)) return hf_refuse(s, name, "but must be an object");
    for (; item; item = item->next)
        TRY(read_rope_field(s, name, item, &t));
    if (!partial && t.part != 1)
        return hf_refuse(s, name,
                         "whose partial_rotary_factor must be 1: in this family whole heads turn");
    TRY(check_scaling(s, name, &t));
    m->c.rotary.base = t.base;
    m->c.rotary.scaling = t.scaling;
    m->rotary_part = t.part;
    return NULL;
}

/* Both objects may be present, if they agree. */
static error *read_ropes(const hf_source *s, bool partial, hf_model *m)
{
    TRY(read_rope(s, "rope_scaling", partial, m));
    rotary_form first = m->c.rotary;
    bool both = hf_get(s, "rope_scaling") && hf_get(s, "rope_parameters");
    TRY(read_rope(s, "rope_parameters", partial, m));
    if (both && memcmp(&first.scaling, &m->c.rotary.scaling, sizeof first.scaling))
        return hf_refuse(s, "rope_parameters", "but rope_scaling says something else");
    return NULL;
}

error *hf_decode_rotary(const hf_source *s, hf_model *m)
{
    bool partial = m->rotary_part > 0;
    if (!partial) m->rotary_part = 1;
    TRY(read_ropes(s, partial, m));
    m->c.rotary.size = (int64_t)((double)m->c.head_size * m->rotary_part);
    if (m->c.rotary.size >= 2 && m->c.rotary.size % 2 == 0) return NULL;
    return user_error("%s: %lld numbers of a head would be turned, but they are turned in pairs",
                      s->path, (long long)m->c.rotary.size);
}

void hf_encode_rotary(hf_model *m)
{
    double size = (double)m->c.rotary.size, head = (double)m->c.head_size;
    m->rotary_part = size / head;
    if ((int64_t)(head * m->rotary_part) < m->c.rotary.size)
        m->rotary_part = nextafter(m->rotary_part, 2);
}

error *hf_read_two_ropes(const hf_source *s, hf_model *m)
{
    const cJSON *both = hf_get(s, "rope_parameters");
    const cJSON *local = json_get(both, "sliding_attention"),
                *full = json_get(both, "full_attention"), *item;
    rope_table t = {.base = m->c.rotary.local_base, .part = 1};
    m->rotary_part = 1;
    TRY(read_rope(s, "rope_scaling", false, m));
    cJSON_ArrayForEach(item, both)
    {
        if (item != local && item != full)
            return hf_refuse(s, "rope_parameters",
                             "but must have sliding_attention and full_attention alone");
    }
    if (full) {
        hf_source of_full = {s->path, both, NULL};
        TRY(read_rope(&of_full, "full_attention", false, m));
    }
    cJSON_ArrayForEach(item, local)
    {
        if (!strcmp(item->string, "rope_theta"))
            TRY(rope_number(s, "rope_parameters", item, 1, 1e30, "rope_local_base_freq", &t.base));
        else
            TRY(read_rope_field(s, "rope_parameters", item, &t));
    }
    if (t.scaling.factor > 0 || t.scaling.high > 0 || t.part != 1 ||
        (t.type && strcmp(t.type, "default")))
        return hf_refuse(s, "rope_parameters", "but sliding_attention's type must be default");
    m->c.rotary.local_base = t.base;
    return NULL;
}

error *hf_read_rotary_skip(const hf_source *s, hf_model *m)
{
    const cJSON *list = hf_get(s, "no_rope_layers"), *item;
    int64_t *skip = &m->c.rotary.skip, layer = 0;
    if (list && (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != m->c.layers))
        return hf_refuse(s, "no_rope_layers", "but must be an array with a number for each layer");
    if (list) *skip = 0;
    cJSON_ArrayForEach(item, list)
    {
        layer++;
        bool without = cJSON_IsNumber(item) && item->valuedouble == 0;
        if (without && !*skip) *skip = layer;
        if (without != (*skip && layer % *skip == 0))
            return hf_refuse(s, "no_rope_layers", "but the layers without must be every n-th");
    }
    return NULL;
}

/* ---- kinds of layers ---- */

/* Requires layer_types, if present, to contain only `want`; NULL: windowed or full layers in any
 * order. */
static error *check_layer_types(const hf_source *s, const char *want, const char *why)
{
    const cJSON *list = hf_get(s, "layer_types"), *item;
    if (list && !cJSON_IsArray(list)) return hf_refuse(s, "layer_types", "but must be an array");
    cJSON_ArrayForEach(item, list)
    {
        const char *word = cJSON_GetStringValue(item);
        bool known =
            word && (!strcmp(word, "full_attention") || !strcmp(word, "sliding_attention"));
        if (!known || (want && strcmp(word, want))) return hf_refuse(s, "layer_types", why);
    }
    return NULL;
}

error *hf_check_no_windows(const hf_source *s)
{
    return check_layer_types(s, "full_attention", "but only full_attention is known here");
}

error *hf_read_windows(const hf_source *s, hf_model *m)
{
    static const char *const words[] = {"full_attention", "sliding_attention"};
    bool wide = m->c.window >= m->c.context; /* either word says the same then */
    const char *want = wide ? NULL : words[m->c.window > 0];
    return check_layer_types(s, want, "but sliding_window says something else");
}

error *hf_read_window_skip(const hf_source *s, hf_model *m, int64_t unset)
{
    const cJSON *list = hf_get(s, "layer_types"), *item;
    int64_t layer = 0, *skip = &m->c.window_skip;
    if (list && (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != m->c.layers))
        return hf_refuse(s, "layer_types", "but must be an array with a word for each layer");
    if (s->json) *skip = list ? 0 : unset;
    cJSON_ArrayForEach(item, list)
    {
        const char *word = cJSON_GetStringValue(item);
        bool full = word && !strcmp(word, "full_attention");
        layer++;
        if (!full && (!word || strcmp(word, "sliding_attention")))
            return hf_refuse(s, "layer_types",
                             "but only full_attention and sliding_attention are known here");
        if (full && !*skip) *skip = layer;
        if (full != (*skip && layer % *skip == 0))
            return hf_refuse(s, "layer_types", "but the full_attention layers must be every n-th");
    }
    if (list && !*skip && m->c.layers < unset) *skip = unset; /* no layer has reached it */
    return m->c.window ? NULL : hf_refuse(s, "sliding_window", "but some layers have a window");
}

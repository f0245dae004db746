/* params_file.c - see params_file.h */
#include "io/params_file.h"
#include "base/text_ends.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = 160, CHUNK = 1 << 18, PARTS = 3 };

/* ---- the list ---- */

/* n rows of t from `first`.  (A sharded tensor is not complete here: .at gives the place of its
 * part.) */
static tensor row_range(tensor t, int64_t first, int64_t n)
{
    shape s = {.rank = t.rank};
    memcpy(s.dim, t.dim, sizeof s.dim);
    s.dim[0] = n;
    int64_t before = first ? first * (tensor_count(t) / t.dim[0]) : 0;
    return tensor_of((char *)t.data + (size_t)before * dtype_size(t.type), t.type, s);
}

typedef struct {
    char text[NAME_ROOM];
} name_text;

/* Appends the tensors of a parameter to the list. */
static void list_row(const params *p, int id, const char *front, named_tensor *list,
                     name_text *names, int *n)
{
    const param *row = &p->row[id];
    const param_spec *spec = &row->spec;
    char name[NAME_ROOM];
    size_t before = strlen(front);
    bool several = strchr(spec->name, '{');
    tensor value =
        present(row->value) ? row->value : tensor_of(row->stored.data, p->type, spec->shape);
    int64_t first = 0;
    snprintf(name, sizeof name, "%s", front);
    param_text(row, name + before, sizeof name - before);
    for (int k = 0; k < PARTS && param_name_part(name, k, names[*n].text, NAME_ROOM); k++, ++*n) {
        named_tensor *t = &list[*n];
        *t = (named_tensor){.name = names[*n].text, .value = value};
        t->at = first * (row->count / spec->shape.dim[0]);
        t->sharded = !present(row->value);
        t->first = row->own_first;
        t->held = row->own;
        t->transposed = spec->file_transposed && spec->shape.rank == 2;
        t->groups = spec->file_groups;
        memcpy(t->part_rows, spec->part_rows, sizeof t->part_rows);
        if (several) t->value = row_range(value, t->sharded ? 0 : first, spec->part_rows[k]);
        first += spec->part_rows[k];
    }
}

/* The rows of the model, or those of its adapters, under names with the prefix `front`. */
typedef struct {
    const char *front;
    bool adapters;
} row_kind;

static const row_kind model_rows = {"", false};

static error *list_rows(const params *p, const row_kind *kind, named_tensor **out, int *n)
{
    named_tensor *list;
    size_t most = (size_t)p->n * PARTS + 1; /* a name is written before the loop knows that it is
                                             * one too many */
    TRY(alloc_array(&list, most, sizeof *list + sizeof(name_text)));
    name_text *names = (name_text *)(void *)(list + most);
    *n = 0;
    int first = 0, of = 0;
    for (int i = 0; i < p->n; i++) {
        if (param_is_pool(p, i) || (p->row[i].spec.adapter_scale != 0) != kind->adapters) continue;
        list_row(p, i, kind->front, list, names, n);
        for (; first < *n; first++)
            list[first].of = kind->adapters ? of : i;
        of++;
    }
    *out = list;
    return NULL;
}

error *params_list(const params *p, named_tensor **out, int *n)
{
    return list_rows(p, &model_rows, out, n);
}

error *adapters_list(const params *p, const char *front, named_tensor **out, int *n)
{
    const row_kind kind = {front, true};
    return list_rows(p, &kind, out, n);
}

static error *write_rows(const char *path, const row_kind *kind, const params *p,
                         file_floats floats, device *dev, const tensor_source *from)
{
    named_tensor *list;
    int n;
    TRY(list_rows(p, kind, &list, &n));
    error *e = safetensors_write_as(path, list, n, floats, dev, from);
    free(list);
    return e;
}

error *params_write(const char *path, const params *p, device *dev, const tensor_source *from)
{
    return write_rows(path, &model_rows, p, FILE_AS_IS, dev, from);
}

error *params_write_as(const char *path, const params *p, file_floats floats, device *dev)
{
    return write_rows(path, &model_rows, p, floats, dev, NULL);
}

error *adapters_write(const char *path, const char *front, const params *p, device *dev,
                      const tensor_source *from)
{
    const row_kind kind = {front, true};
    return write_rows(path, &kind, p, FILE_AS_IS, dev, from);
}

/* ---- reading ---- */

/* A prefix that some writers put before names, and others leave out. */
static const char *const prefixes[] = {"transformer.", "model."};

enum { PREFIXES = sizeof prefixes / sizeof *prefixes };

const char *params_plain_name(const char *name)
{
    for (int i = 0; i < PREFIXES; i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) return name + strlen(prefixes[i]);
    return name;
}

/* Not parameters: the causal mask, "h.7.attn.bias" or "h.7.attn.masked_bias"; frequencies. */
static bool is_constant(const char *name)
{
    static const char *const masks[] = {"h.%d.attn.%n", "gpt_neox.layers.%d.attention.%n"};
    if (text_ends(name, ".inv_freq")) return true;
    for (int i = 0; i < 2; i++) {
        int layer, end = 0;
        if (sscanf(name, i ? masks[1] : masks[0], &layer, &end) == 1 && end)
            return !strcmp(name + end, "bias") || !strcmp(name + end, "masked_bias");
    }
    return false;
}

/* The entry front + name, with or without one of the prefixes in between; -1: there is none. */
static error *look_up(const safetensors *s, const char *front, const char *name, int64_t *i)
{
    const char *bare = params_plain_name(name);
    char whole[2 * NAME_ROOM];
    *i = -1;
    for (int k = -1; k < PREFIXES; k++) {
        snprintf(whole, sizeof whole, "%s%s%s", front, k < 0 ? "" : prefixes[k], bare);
        int64_t also = safetensors_find(s, whole);
        if (*i >= 0 && also >= 0)
            return user_error("%s has both '%s' and '%s': only one can be meant",
                              safetensors_path(s), safetensors_entry_at(s, *i)->name, whole);
        if (also >= 0) *i = also;
    }
    return NULL;
}

static error *find(const safetensors *s, const char *name, int64_t *i)
{
    TRY(look_up(s, "", name, i));
    if (*i >= 0) return NULL;
    bool head = !strcmp(params_plain_name(name), "lm_head.weight");
    return user_error("%s has no tensor '%s': the file is of another kind of model, or not whole%s",
                      safetensors_path(s), name,
                      head ? ", or the head is tied: then tie_word_embeddings is true" : "");
}

/* A tied head may be in the file a second time, if it is identical to the embedding. */
static error *check_tied(const safetensors *s, int64_t head, const char *embedding)
{
    int64_t wte;
    TRY(find(s, embedding, &wte));
    const safetensors_entry *a = safetensors_entry_at(s, head), *b = safetensors_entry_at(s, wte);
    bool same = a->bytes == b->bytes && !strcmp(a->dtype, b->dtype);
    char *buffer;
    TRY(alloc_array(&buffer, CHUNK, 2));
    error *e = NULL;
    for (int64_t at = 0; !e && same && at < a->bytes; at += CHUNK) {
        int64_t n = a->bytes - at < CHUNK ? a->bytes - at : CHUNK;
        e = safetensors_read(s, head, at, n, buffer);
        if (!e) e = safetensors_read(s, wte, at, n, buffer + CHUNK);
        if (!e) same = !memcmp(buffer, buffer + CHUNK, (size_t)n);
    }
    free(buffer);
    if (e || same) return e;
    return user_error("%s: '%s' differs from '%s', but the model's head is tied: set "
                      "tie_word_embeddings to false in config.json",
                      safetensors_path(s), a->name, b->name);
}

/* Nothing may be left over in the file except known non-parameters. */
static error *check_rest(const safetensors *s, const bool *used, const char *embedding)
{
    for (int64_t i = 0; i < safetensors_count(s); i++) {
        const char *name = safetensors_entry_at(s, i)->name, *bare = params_plain_name(name);
        if (used[i] || is_constant(bare)) continue;
        if (strcmp(bare, "lm_head.weight"))
            return user_error("%s: tensor '%.100s' has no place in the model: the file is of "
                              "another kind or size",
                              safetensors_path(s), name);
        TRY(check_tied(s, i, embedding));
    }
    return NULL;
}

static error *read_all(const safetensors *s, const named_tensor *list, int n, bool *used,
                       float_cast cast, const tensor_source *into, device *dev)
{
    int64_t open = -1;
    tensor whole = {0};
    for (int k = 0; k < n; k++) {
        int64_t i;
        named_tensor t = list[k];
        TRY(find(s, t.name, &i));
        used[i] = true;
        if (into && t.of != open) {
            if (open >= 0) into->close(into->context);
            whole = into->open(into->context, t.of);
            open = t.of;
        }
        if (present(whole)) { /* otherwise it is sharded, and located by the list */
            t.value.data = (char *)whole.data + (size_t)t.at * dtype_size(t.value.type);
            t.sharded = false;
        }
        TRY(device_status(dev));
        TRY(safetensors_fetch_cast(s, i, &t, cast, dev));
    }
    if (open >= 0) into->close(into->context);
    return check_rest(s, used, list[0].name); /* models list it first */
}

error *params_read_into(const safetensors *s, params *p, float_cast cast, const tensor_source *into,
                        device *dev)
{
    named_tensor *list;
    bool *used = NULL;
    int n;
    TRY(params_list(p, &list, &n));
    error *e = alloc_array(&used, (size_t)safetensors_count(s), sizeof *used);
    if (!e) e = read_all(s, list, n, used, cast, into, dev);
    free(used);
    free(list);
    return e;
}

error *params_read(const safetensors *s, params *p, device *dev)
{
    return params_read_into(s, p, CAST_NONE, NULL, dev);
}

error *params_read_cast(const safetensors *s, params *p, float_cast cast, device *dev)
{
    return params_read_into(s, p, cast, NULL, dev);
}

/* ---- adapters ---- */

static error *read_adapters(const safetensors *s, const named_tensor *list, int n,
                            const char *front, bool *used, float_cast cast, device *dev)
{
    for (int k = 0; k < n; k++) {
        int64_t i;
        TRY(look_up(s, front, list[k].name, &i));
        if (i < 0)
            return user_error("%s has no tensor '%s%s': it is not whole, or of another model",
                              safetensors_path(s), front, list[k].name);
        used[i] = true;
        TRY(safetensors_fetch_cast(s, i, &list[k], cast, dev));
    }
    for (int64_t i = 0; i < safetensors_count(s); i++)
        if (!used[i])
            return user_error(
                "%s: tensor '%.100s' has no place: what is known of adapters is A and "
                "B beside matrices of the model's blocks",
                safetensors_path(s), safetensors_entry_at(s, i)->name);
    return NULL;
}

error *adapters_read(const safetensors *s, const char *front, params *p, float_cast cast,
                     device *dev)
{
    const row_kind kind = {"", true};
    named_tensor *list;
    bool *used = NULL;
    int n;
    TRY(list_rows(p, &kind, &list, &n));
    error *e = alloc_array(&used, (size_t)safetensors_count(s) + 1, sizeof *used);
    if (!e) e = read_adapters(s, list, n, front, used, cast, dev);
    free(used);
    free(list);
    return e;
}

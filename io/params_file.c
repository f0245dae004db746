/* params_file.c - see params_file.h */
#include "io/params_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = 160, CHUNK = 1 << 18, PARTS = 3 };

/* ---- the list ---- */

/* Part k of a name in braces, "a.{q,k,v}_proj" -> "a.k_proj"; a name without them is its only part.
 * False if there is no part k. */
static bool part_name(const char *name, int k, char out[NAME_ROOM])
{
    const char *open = strchr(name, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!close) {
        snprintf(out, NAME_ROOM, "%s", name);
        return k == 0;
    }
    const char *from = open + 1, *to = from;
    for (int i = 0; to < close; from = to + 1, i++) {
        to = from + strcspn(from, ",}");
        if (i < k) continue;
        snprintf(out, NAME_ROOM, "%.*s%.*s%s", (int)(open - name), name, (int)(to - from), from,
                 close + 1);
        return true;
    }
    return false;
}

/* n rows of t from `first`.  (A sharded tensor is not here whole: .at says where its parts lie.) */
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
static void list_row(const params *p, int id, named_tensor *list, name_text *names, int *n)
{
    const param *row = &p->row[id];
    const param_spec *spec = &row->spec;
    char name[NAME_ROOM];
    bool several = strchr(spec->name, '{');
    tensor value =
        present(row->value) ? row->value : tensor_of(row->stored.data, p->type, spec->shape);
    int64_t first = 0;
    param_text(row, name, sizeof name);
    for (int k = 0; k < PARTS && part_name(name, k, names[*n].text); k++, ++*n) {
        named_tensor *t = &list[*n];
        *t = (named_tensor){.name = names[*n].text, .value = value, .of = id};
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

error *params_list(const params *p, named_tensor **out, int *n)
{
    named_tensor *list;
    size_t most = (size_t)p->n * PARTS + 1; /* a name is written before it is known to be none */
    TRY(alloc_array(&list, most, sizeof *list + sizeof(name_text)));
    name_text *names = (name_text *)(void *)(list + most);
    *n = 0;
    for (int i = 0; i < p->n; i++)
        if (!param_is_pool(p, i)) list_row(p, i, list, names, n);
    *out = list;
    return NULL;
}

error *params_write(const char *path, const params *p, device *dev)
{
    return params_write_from(path, p, dev, NULL);
}

error *params_write_from(const char *path, const params *p, device *dev, const tensor_source *from)
{
    named_tensor *list;
    int n;
    TRY(params_list(p, &list, &n));
    error *e = safetensors_write_from(path, list, n, dev, from);
    free(list);
    return e;
}

/* ---- reading ---- */

/* What some writers put before a name, and others leave out. */
static const char *const prefixes[] = {"transformer.", "model."};

enum { PREFIXES = sizeof prefixes / sizeof *prefixes };

/* A name without its prefix. */
static const char *plain(const char *name)
{
    for (int i = 0; i < PREFIXES; i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) return name + strlen(prefixes[i]);
    return name;
}

static bool ends_in(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n >= m && !strcmp(name + n - m, ending);
}

/* No parameter: the causal mask, "h.7.attn.bias" or "h.7.attn.masked_bias"; frequencies. */
static bool is_constant(const char *name)
{
    static const char *const masks[] = {"h.%d.attn.%n", "gpt_neox.layers.%d.attention.%n"};
    if (ends_in(name, ".inv_freq")) return true;
    for (int i = 0; i < 2; i++) {
        int layer, end = 0;
        if (sscanf(name, i ? masks[1] : masks[0], &layer, &end) == 1 && end)
            return !strcmp(name + end, "bias") || !strcmp(name + end, "masked_bias");
    }
    return false;
}

static error *find(const safetensors *s, const char *name, int64_t *i)
{
    const char *bare = plain(name);
    *i = safetensors_find(s, bare);
    for (int k = 0; k < PREFIXES; k++) {
        char prefixed[NAME_ROOM + 20];
        snprintf(prefixed, sizeof prefixed, "%s%s", prefixes[k], bare);
        int64_t also = safetensors_find(s, prefixed);
        if (*i >= 0 && also >= 0)
            return user_error("%s has both '%s' and '%s': only one can be meant",
                              safetensors_path(s), safetensors_entry_at(s, *i)->name, prefixed);
        if (also >= 0) *i = also;
    }
    if (*i >= 0) return NULL;
    bool head = !strcmp(bare, "lm_head.weight");
    return user_error("%s has no tensor '%s': the file is of another kind of model, or not whole%s",
                      safetensors_path(s), name,
                      head ? ", or the head is tied: then tie_word_embeddings is true" : "");
}

/* A head that is tied may be in the file a second time, if it is the same as the embedding. */
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

/* Nothing in the file may be left over but what is known to be no parameter. */
static error *check_rest(const safetensors *s, const bool *used, const char *embedding)
{
    for (int64_t i = 0; i < safetensors_count(s); i++) {
        const char *name = safetensors_entry_at(s, i)->name, *bare = plain(name);
        if (used[i] || is_constant(bare)) continue;
        if (strcmp(bare, "lm_head.weight"))
            return user_error("%s: tensor '%.100s' has no place in the model: the file is of "
                              "another kind or size",
                              safetensors_path(s), name);
        TRY(check_tied(s, i, embedding));
    }
    return NULL;
}

typedef error *fetch_function(const safetensors *, int64_t, const named_tensor *, device *);

static error *read_all(const safetensors *s, const named_tensor *list, int n, bool *used,
                       fetch_function *fetch, device *dev)
{
    for (int k = 0; k < n; k++) {
        int64_t i;
        TRY(find(s, list[k].name, &i));
        used[i] = true;
        TRY(fetch(s, i, &list[k], dev));
    }
    return check_rest(s, used, list[0].name); /* models list it first */
}

static error *read_params(const safetensors *s, params *p, fetch_function *fetch, device *dev)
{
    named_tensor *list;
    bool *used = NULL;
    int n;
    TRY(params_list(p, &list, &n));
    error *e = alloc_array(&used, (size_t)safetensors_count(s), sizeof *used);
    if (!e) e = read_all(s, list, n, used, fetch, dev);
    free(used);
    free(list);
    return e;
}

error *params_read(const safetensors *s, params *p, device *dev)
{
    return read_params(s, p, safetensors_fetch, dev);
}

error *params_read_widened(const safetensors *s, params *p, device *dev)
{
    return read_params(s, p, safetensors_fetch_widened, dev);
}

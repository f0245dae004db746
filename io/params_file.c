/* params_file.c - see params_file.h */
#include "io/params_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "transformer."

enum { NAME_ROOM = 100, CHUNK = 1 << 18 };

error *params_list(const params *p, named_tensor **out)
{
    typedef struct {
        char text[NAME_ROOM];
    } name;
    named_tensor *list;
    TRY(alloc_array(&list, (size_t)p->n, sizeof *list + sizeof(name)));
    name *names = (name *)(void *)(list + p->n);
    for (int i = 0; i < p->n; i++) {
        const param *row = &p->row[i];
        param_text(row, names[i].text, NAME_ROOM);
        list[i] =
            (named_tensor){.name = names[i].text,
                           .value = row->value,
                           .transposed = row->spec.file_transposed && row->spec.shape.rank == 2};
        if (present(row->value)) continue;
        list[i].value = tensor_of(row->stored.data, p->type, row->spec.shape);
        list[i].dealt = true;
        list[i].first = row->own_first;
        list[i].held = row->own;
    }
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
    TRY(params_list(p, &list));
    error *e = safetensors_write_from(path, list, p->n, dev, from);
    free(list);
    return e;
}

/* ---- reading ---- */

/* A name of the file without the prefix that some writers put. */
static const char *plain(const char *name)
{
    return strncmp(name, PREFIX, sizeof PREFIX - 1) ? name : name + sizeof PREFIX - 1;
}

/* The causal mask, "h.7.attn.bias" or "h.7.attn.masked_bias". */
static bool is_mask(const char *name)
{
    int layer, end = 0;
    if (sscanf(name, "h.%d.attn.%n", &layer, &end) != 1 || !end) return false;
    return !strcmp(name + end, "bias") || !strcmp(name + end, "masked_bias");
}

static error *find(const safetensors *s, const char *name, int64_t *i)
{
    char prefixed[NAME_ROOM + sizeof PREFIX];
    snprintf(prefixed, sizeof prefixed, "%s%s", PREFIX, name);
    *i = safetensors_find(s, name);
    int64_t k = safetensors_find(s, prefixed);
    if (*i >= 0 && k >= 0)
        return user_error("%s has both '%s' and '%s': only one can be meant", safetensors_path(s),
                          name, prefixed);
    if (*i < 0) *i = k;
    if (*i >= 0) return NULL;
    return user_error("%s has no tensor '%s': the file is of another kind of model, or not whole",
                      safetensors_path(s), name);
}

/* A head that is tied may be in the file a second time, if it is the same. */
static error *check_tied(const safetensors *s, int64_t head)
{
    int64_t wte;
    TRY(find(s, "wte.weight", &wte));
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
static error *check_rest(const safetensors *s, const bool *used)
{
    for (int64_t i = 0; i < safetensors_count(s); i++) {
        const char *name = safetensors_entry_at(s, i)->name, *bare = plain(name);
        if (used[i] || is_mask(bare)) continue;
        if (strcmp(bare, "lm_head.weight"))
            return user_error("%s: tensor '%.100s' has no place in the model: the file is of "
                              "another kind or size",
                              safetensors_path(s), name);
        TRY(check_tied(s, i));
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
    return check_rest(s, used);
}

static error *read_params(const safetensors *s, params *p, fetch_function *fetch, device *dev)
{
    named_tensor *list;
    bool *used = NULL;
    TRY(params_list(p, &list));
    error *e = alloc_array(&used, (size_t)safetensors_count(s), sizeof *used);
    if (!e) e = read_all(s, list, p->n, used, fetch, dev);
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

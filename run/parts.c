/* parts.c - see parts.h */
#include "run/parts.h"
#include "base/json.h"
#include "run/gather.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE_NAME = 160 };

void part_name(const char *front, int rank, int ranks, char name[PART_NAME])
{
    snprintf(name, PART_NAME, "%.16s-%05d-of-%05d.safetensors", front, rank + 1, ranks);
}

/* ---- the model's tensors ---- */

error *part_of_model(const tensor_list *all, int rank, int ranks, tensor_list *out)
{
    double bytes = 0, before = 0;
    int64_t of = -1;
    int owner = 0;
    for (int64_t i = 0; i < all->n; i++)
        bytes += (double)tensor_bytes(all->list[i].value);
    TRY(alloc_array(&out->list, (size_t)all->n + 1, sizeof *out->list));
    out->n = 0;
    for (int64_t i = 0; i < all->n; i++) {
        const named_tensor *t = &all->list[i];
        bool begins = !i || t->of != t[-1].of; /* several tensors may be of one parameter */
        of += begins;
        if (begins) owner = (int)(before / bytes * ranks);
        before += (double)tensor_bytes(t->value);
        if (owner != rank) continue;
        out->list[out->n] = *t;
        out->list[out->n++].of = of;
    }
    return NULL;
}

/* ---- states ---- */

typedef struct {
    char text[PIECE_NAME];
} piece_name;

static void name_piece(const char *state, int64_t first, piece_name *name)
{
    snprintf(name->text, sizeof name->text, "%s@%lld", state, (long long)first);
}

error *part_of_states(const run_tensors *t, const tensor_list *all, int rank, tensor_list *out)
{
    gather g = {.of = *t};
    size_t most = (size_t)all->n + 1;
    TRY(alloc_array(&out->list, most, sizeof *out->list + sizeof(piece_name)));
    piece_name *names = (piece_name *)(void *)(out->list + most);
    out->n = 0;
    for (int64_t i = 0; i < all->n; i++) {
        int64_t first;
        tensor piece = gather_piece(&g, i, all->list[i].value, rank, &first);
        if (tensor_count(piece) <= 0) continue;
        name_piece(all->list[i].name, first, &names[out->n]);
        out->list[out->n] = (named_tensor){.name = names[out->n].text, .value = piece, .of = i};
        out->n++;
    }
    return NULL;
}

static error *fetch_piece(const safetensors *file, int64_t at, const named_tensor *into,
                          int64_t *first, device *dev)
{
    const safetensors_entry *e = safetensors_entry_at(file, at);
    int64_t left = tensor_count(into->value) - *first;
    if (e->rank != 1 || e->dim[0] < 1 || e->dim[0] > left)
        return user_error("%s: '%.100s' is not a piece of a state of %lld elements: it is damaged, "
                          "or of another model",
                          safetensors_path(file), e->name, (long long)tensor_count(into->value));
    TRY(safetensors_fetch_piece(file, at, into, *first, dev));
    *first += e->dim[0];
    return NULL;
}

error *pieces_fetch(const safetensors *file, const named_tensor *into, device *dev, int64_t *n)
{
    int64_t count = tensor_count(into->value);
    for (int64_t first = 0; first < count; ++*n) {
        piece_name name;
        name_piece(into->name, first, &name);
        int64_t at = safetensors_find(file, name.text);
        if (at < 0 && !first) return NULL;
        if (at < 0)
            return user_error("%s has no '%s': it is damaged, or of another model",
                              safetensors_path(file), name.text);
        TRY(fetch_piece(file, at, into, &first, dev));
    }
    return NULL;
}

/* ---- the index ---- */

static bool list_names(cJSON *map, const char *front, const tensor_list *part, int ranks,
                       double *bytes)
{
    char file[PART_NAME];
    for (int r = 0; r < ranks; r++) {
        part_name(front, r, ranks, file);
        for (int64_t i = 0; i < part[r].n; i++) {
            if (!cJSON_AddStringToObject(map, part[r].list[i].name, file)) return false;
            *bytes += (double)tensor_bytes(part[r].list[i].value);
        }
    }
    return true;
}

error *parts_index_write(const char *path, const char *front, const tensor_list *part, int ranks)
{
    double bytes = 0;
    cJSON *index = cJSON_CreateObject(), *about = cJSON_AddObjectToObject(index, "metadata"),
          *map = cJSON_AddObjectToObject(index, "weight_map");
    bool ok = about && map && list_names(map, front, part, ranks, &bytes) &&
              cJSON_AddNumberToObject(about, "total_size", bytes);
    return json_save(index, ok, path, path);
}

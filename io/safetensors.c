/* safetensors.c - opening and reading; see safetensors.h */
#include "io/safetensors_internal.h"
#include "base/files.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_HEADER = 100 << 20, MOST_INDEX = 100 << 20, MOST_FILES = 10000 };

typedef struct {
    char *path;
    int fd; /* -1: not open */
} one_file;

struct safetensors {
    char *path;
    one_file *file;
    int n_files;
    entry_list entries;
};

static error *no_memory(const char *path)
{
    return user_error("out of memory for the header of %s", path);
}

/* ---- one file ---- */

error *safetensors_refuse_pickle(const char *path, uint64_t length)
{
    uint64_t first = length & 0xff, second = length >> 8 & 0xff;
    bool zip = (length & 0xffffffff) == 0x04034b50,
         bare = first == 0x80 && second >= 2 && second <= 5;
    if (!zip && !bare) return NULL;
    return user_error(
        "%s is a pickle, as torch.save writes them, and these cannot be read here: load it in the "
        "program that made it and let safetensors.torch.save_file write its tensors, with a "
        "config.json beside them (transformers' save_pretrained() writes both)",
        path);
}

/* Length of the header, which must be inside the file and start like one. */
static error *header_length(const one_file *f, int64_t bytes, int64_t *n)
{
    uint64_t length;
    char first;
    if (bytes < 9) return damaged(f->path, "it has %lld bytes", (long long)bytes);
    TRY(file_pread(f->fd, f->path, &length, sizeof length, 0));
    if (length > (uint64_t)bytes - 8) TRY(safetensors_refuse_pickle(f->path, length));
    if (length > (uint64_t)bytes - 8)
        return damaged(f->path, "a header of %llu bytes in a file of %lld",
                       (unsigned long long)length, (long long)bytes);
    if (length > MOST_HEADER)
        return damaged(f->path, "a header of %llu bytes, most are %d", (unsigned long long)length,
                       MOST_HEADER);
    TRY(file_pread(f->fd, f->path, &first, 1, 8));
    if (length < 2 || first != '{')
        return damaged(f->path, "its header is not the JSON object of a safetensors file");
    *n = (int64_t)length;
    return NULL;
}

/* Opens file k and appends its entries. */
static error *open_file(safetensors *s, int k, entry_list *list)
{
    one_file *f = &s->file[k];
    int64_t bytes = 0, n = 0;
    char *text = NULL;
    TRY(file_open(f->path, &f->fd, &bytes));
    TRY(header_length(f, bytes, &n));
    TRY(alloc_array(&text, (size_t)n + 1, 1));
    error *e = file_pread(f->fd, f->path, text, (size_t)n, 8);
    if (!e) e = header_parse(f->path, text, n, bytes, list);
    free(text);
    for (int64_t i = 0; i < list->n; i++)
        list->row[i].file = k;
    return e;
}

static error *open_single(safetensors *s)
{
    TRY(alloc_array(&s->file, 1, sizeof *s->file));
    s->file[0].fd = -1;
    s->n_files = 1;
    if (!(s->file[0].path = strdup(s->path))) return no_memory(s->path);
    return open_file(s, 0, &s->entries);
}

/* ---- several files ---- */

static error *bad_index(const safetensors *s, const char *why, const char *name)
{
    return user_error("%s: %s '%.200s'; fetch or write it and its files again", s->path, why, name);
}

/* The number of the file with that name beside the index; appended if it is new. */
static error *find_file(safetensors *s, const char *name, int *k)
{
    const char *slash = strrchr(s->path, '/');
    int length = slash ? (int)(slash + 1 - s->path) : 0;
    if (!*name || strchr(name, '/'))
        return bad_index(s, "its files must be beside it, but one is", name);
    for (*k = 0; *k < s->n_files; (*k)++)
        if (!strcmp(s->file[*k].path + length, name)) return NULL;
    if (*k == MOST_FILES) return bad_index(s, "it names far too many files, such as", name);
    one_file *more = realloc(s->file, (size_t)(*k + 1) * sizeof *more);
    if (!more) return no_memory(s->path);
    s->file = more;
    char *path;
    if (asprintf(&path, "%.*s%s", length, s->path, name) < 0) return no_memory(s->path);
    s->file[s->n_files++] = (one_file){path, -1};
    return NULL;
}

/* Moves all entries of `from` after those of `to`. */
static error *move_entries(const safetensors *s, entry_list *to, entry_list *from)
{
    if (!from->n) return NULL;
    size_t n = (size_t)(to->n + from->n);
    safetensors_entry *row = realloc(to->row, n * sizeof *row);
    if (!row) return no_memory(s->path);
    memcpy(row + to->n, from->row, (size_t)from->n * sizeof *row);
    *to = (entry_list){row, (int64_t)n, (int64_t)n};
    from->n = 0;
    return NULL;
}

/* Every name of the index is a tensor, but the counts differ: finds the extra one. */
static error *not_the_same(const safetensors *s, const cJSON *map)
{
    for (int64_t i = 0; i < s->entries.n; i++) {
        const safetensors_entry *e = &s->entries.row[i];
        if (json_get(map, e->name)) continue;
        return user_error(
            "%s: it does not name the tensor '%.200s', which %s has; fetch or write it and its "
            "files again",
            s->path, e->name, s->file[e->file].path);
    }
    for (const cJSON *item = map->child; item; item = item->next)
        if (json_get(map, item->string) != item)
            return bad_index(s, "it names twice", item->string);
    return NULL;
}

/* The index and the files must agree: each name once, in the file that the index names. */
static error *check_map(safetensors *s, const cJSON *map)
{
    int64_t named = 0;
    for (const cJSON *item = map->child; item; item = item->next, named++) {
        int64_t i = safetensors_find(s, item->string);
        int k;
        TRY(find_file(s, item->valuestring, &k));
        if (i < 0 || s->entries.row[i].file != k)
            return bad_index(s, "the file that it names does not have the tensor", item->string);
    }
    return named == s->entries.n ? NULL : not_the_same(s, map);
}

static error *open_shards(safetensors *s, const cJSON *map)
{
    if (!cJSON_IsObject(map) || !map->child)
        return bad_index(s, "an index of safetensors has a list of names,", "weight_map");
    for (const cJSON *item = map->child; item; item = item->next) {
        int k;
        if (!cJSON_IsString(item)) return bad_index(s, "it names no file for", item->string);
        TRY(find_file(s, item->valuestring, &k));
    }
    for (int k = 0; k < s->n_files; k++) {
        entry_list list = {0};
        error *e = open_file(s, k, &list);
        if (!e) e = move_entries(s, &s->entries, &list);
        entries_free(&list);
        TRY(e);
    }
    TRY(entries_by_name(s->path, &s->entries));
    return check_map(s, map);
}

static error *open_index(safetensors *s)
{
    cJSON *json;
    TRY(json_read(s->path, MOST_INDEX, &json));
    error *e = open_shards(s, json_get(json, "weight_map"));
    cJSON_Delete(json);
    return e;
}

/* ---- all together ---- */

static bool is_index(const char *path)
{
    static const char ending[] = ".index.json";
    size_t n = strlen(path), m = sizeof ending - 1;
    return n >= m && !strcmp(path + n - m, ending);
}

error *safetensors_open(const char *path, safetensors **out)
{
    safetensors *s;
    TRY(alloc_array(&s, 1, sizeof *s));
    error *e = NULL;
    if (!(s->path = strdup(path))) e = no_memory(path);
    if (!e) e = is_index(path) ? open_index(s) : open_single(s);
    if (e) {
        safetensors_close(s);
        return e;
    }
    *out = s;
    return NULL;
}

void safetensors_close(safetensors *s)
{
    if (!s) return;
    for (int k = 0; k < s->n_files; k++) {
        if (s->file[k].fd >= 0) close(s->file[k].fd);
        free(s->file[k].path);
    }
    free(s->file);
    entries_free(&s->entries);
    free(s->path);
    free(s);
}

const char *safetensors_path(const safetensors *s)
{
    return s->path;
}

int64_t safetensors_count(const safetensors *s)
{
    return s->entries.n;
}

file_floats safetensors_floats(const safetensors *s)
{
    int64_t n = safetensors_count(s), bf16 = 0, f16 = 0;
    for (int64_t i = 0; i < n; i++) {
        const char *type = safetensors_entry_at(s, i)->dtype;
        bf16 += !strcmp(type, "BF16");
        f16 += !strcmp(type, "F16");
    }
    return n && bf16 == n ? FILE_BF16 : n && f16 == n ? FILE_F16 : FILE_AS_IS;
}

const safetensors_entry *safetensors_entry_at(const safetensors *s, int64_t i)
{
    return &s->entries.row[i];
}

int64_t safetensors_find(const safetensors *s, const char *name)
{
    int64_t low = 0, high = s->entries.n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(name, s->entries.row[middle].name);
        if (!order) return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

error *safetensors_read(const safetensors *s, int64_t i, int64_t first_byte, int64_t n,
                        void *buffer)
{
    const safetensors_entry *e = &s->entries.row[i];
    if (first_byte < 0 || n < 0 || first_byte > e->bytes || n > e->bytes - first_byte)
        return internal_error("bytes %lld + %lld of %s", (long long)first_byte, (long long)n,
                              e->name);
    const one_file *f = &s->file[e->file];
    return file_pread(f->fd, f->path, buffer, (size_t)n, e->offset + first_byte);
}

/* safetensors_header.c - from the header's text to checked entries.
 *
 * The text is split into its top-level pairs here, and cJSON parses one pair at a time:
 *
 *     { "a" : {"dtype":...} , "b" : {"dtype":...} , ... }
 *       ---   -------------    ---  --------------            each piece is given to cJSON alone
 *
 * So a header of 100 MB never becomes a tree in memory, nesting is limited before cJSON sees it,
 * and what remains is one fixed-size row per tensor.
 */
#include "io/safetensors_internal.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 3, MOST_PIECE = 4096, MOST_METADATA = 64 << 20 };

static const struct {
    const char *name;
    int64_t size;
    dtype type;
} dtypes[] = {
    {"F32", 4, F32},
    {"F64", 8, F64},
    {"I32", 4, I32},
    {"U8", 1, U8},
    {"BF16", 2, BF16},
    {"F16", 2, DT_NONE},
    {"I64", 8, DT_NONE},
    {"BOOL", 1, DT_NONE},
    {"I8", 1, I8},
    {"I16", 2, I16},
    {"U16", 2, DT_NONE},
    {"U32", 4, DT_NONE},
    {"U64", 8, DT_NONE},
    {"C64", 8, DT_NONE},
    {"F8_E4M3", 1, DT_NONE},
    {"F8_E5M2", 1, DT_NONE},
    {"F8_E8M0", 1, DT_NONE},
    {"F8_E4M3FNUZ", 1, DT_NONE},
    {"F8_E5M2FNUZ", 1, DT_NONE},
};

enum { DTYPES = sizeof dtypes / sizeof *dtypes };

const char *file_dtype(dtype type)
{
    for (int i = 0; i < DTYPES; i++)
        if (dtypes[i].type == type && type != DT_NONE) return dtypes[i].name;
    return "none";
}

error *damaged(const char *path, const char *fmt, ...)
{
    char why[500];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    return user_error("%s is not a whole safetensors file: %s; fetch or write it again", path, why);
}

/* ---- pieces of the text ---- */

static char *skip_space(char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* The position after the string that begins at p; NULL if it does not end. */
static char *string_end(char *p)
{
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && !*++p) return NULL;
    return *p ? p + 1 : NULL;
}

/* The position after the object that begins at p; NULL if it does not end or nests too deeply. */
static char *object_end(char *p)
{
    for (int depth = 1; *p;) {
        if (*p == '"') {
            if (!(p = string_end(p))) return NULL;
            continue;
        }
        if (*p == '{' || *p == '[')
            if (++depth > MOST_DEPTH) return NULL;
        if (*p == '}' || *p == ']')
            if (--depth == 1) return p + 1;
        p++;
    }
    return NULL;
}

/* cJSON's tree of text[from, to), NULL if that is not exactly one value. */
static cJSON *parse_piece(char *from, char *to)
{
    char saved = *to;
    *to = 0;
    cJSON *json = cJSON_ParseWithOpts(from, NULL, true);
    *to = saved;
    return json;
}

/* ---- one entry ---- */

static bool get_integer(const cJSON *json, int64_t *out)
{
    const double most = 9007199254740992.0; /* 2^53: from there doubles skip numbers */
    if (!cJSON_IsNumber(json)) return false;
    double value = json->valuedouble;
    if (!(value >= 0 && value < most) || value != floor(value)) return false;
    *out = (int64_t)value;
    return true;
}

static error *read_dtype(const char *path, const cJSON *json, safetensors_entry *e, int64_t *size)
{
    if (!cJSON_IsString(json)) return damaged(path, "tensor '%.100s' has no dtype", e->name);
    for (int i = 0; i < DTYPES; i++) {
        if (strcmp(json->valuestring, dtypes[i].name)) continue;
        e->dtype = dtypes[i].name;
        e->type = dtypes[i].type;
        *size = dtypes[i].size;
        return NULL;
    }
    if (!strcmp(json->valuestring, "F4") || !strncmp(json->valuestring, "F6_", 3))
        return user_error(
            "%s: tensor '%.100s' is %.20s, of less than a byte each, which is not taken: "
            "convert the file first",
            path, e->name, json->valuestring);
    return damaged(path, "tensor '%.100s' has the unknown dtype '%.20s'", e->name,
                   json->valuestring);
}

/* The shape; *bytes becomes the size of all elements. */
static error *read_shape(const char *path, const cJSON *json, safetensors_entry *e, int64_t *bytes)
{
    if (!cJSON_IsArray(json)) return damaged(path, "tensor '%.100s' has no shape", e->name);
    for (const cJSON *d = json->child; d; d = d->next) {
        if (e->rank == SAFETENSORS_RANK)
            return damaged(path, "tensor '%.100s' has more than %d dimensions", e->name,
                           SAFETENSORS_RANK);
        int64_t *dim = &e->dim[e->rank++];
        if (!get_integer(d, dim) || __builtin_mul_overflow(*bytes, *dim, bytes))
            return damaged(path, "tensor '%.100s' has a dimension that cannot be", e->name);
    }
    return NULL;
}

static error *read_range(const char *path, const cJSON *json, int64_t data_bytes,
                         safetensors_entry *e, int64_t *end)
{
    const cJSON *first = cJSON_IsArray(json) ? json->child : NULL;
    if (!first || !first->next || first->next->next || !get_integer(first, &e->offset) ||
        !get_integer(first->next, end) || *end < e->offset)
        return damaged(path, "tensor '%.100s' has data_offsets that are not a range", e->name);
    if (*end > data_bytes)
        return damaged(path, "the data of tensor '%.100s' end at byte %lld of %lld", e->name,
                       (long long)*end, (long long)data_bytes);
    return NULL;
}

static error *read_entry(const char *path, const cJSON *json, int64_t data_bytes,
                         safetensors_entry *e)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    const cJSON *part[3] = {0};
    for (const cJSON *item = json->child; item; item = item->next) {
        int k = 0;
        while (k < 3 && strcmp(item->string, keys[k]))
            k++;
        if (k == 3 || part[k])
            return damaged(path, "tensor '%.100s' has '%.50s' %s", e->name, item->string,
                           k == 3 ? "besides dtype, shape, data_offsets" : "twice");
        part[k] = item;
    }
    int64_t bytes = 0, end = 0;
    TRY(read_dtype(path, part[0], e, &bytes));
    TRY(read_shape(path, part[1], e, &bytes));
    TRY(read_range(path, part[2], data_bytes, e, &end));
    e->bytes = end - e->offset;
    if (bytes == e->bytes) return NULL;
    return damaged(path, "tensor '%.100s' has %lld bytes, but %s of its shape take %lld", e->name,
                   (long long)e->bytes, e->dtype, (long long)bytes);
}

/* ---- all of them ---- */

void entries_free(entry_list *list)
{
    for (int64_t i = 0; i < list->n; i++)
        free((char *)(size_t)list->row[i].name);
    free(list->row);
    *list = (entry_list){0};
}

static error *append(entry_list *list, char *name, safetensors_entry **out)
{
    if (list->n == list->room) {
        int64_t more = list->room ? 2 * list->room : 64;
        safetensors_entry *row = realloc(list->row, (size_t)more * sizeof *row);
        if (!row) return user_error("out of memory for the names of %lld tensors", (long long)more);
        list->row = row;
        list->room = more;
    }
    char *copy = strdup(name);
    if (!copy) return user_error("out of memory for the name of a tensor");
    *out = &list->row[list->n++];
    **out = (safetensors_entry){.name = copy};
    return NULL;
}

/* Nothing in it is needed; it must be an object of strings. */
static error *check_metadata(const char *path, char *value, char *value_end)
{
    if (value_end - value > MOST_METADATA) return damaged(path, "its __metadata__ is far too long");
    cJSON *json = parse_piece(value, value_end);
    bool fine = json != NULL;
    for (const cJSON *item = fine ? json->child : NULL; item; item = item->next)
        fine &= cJSON_IsString(item);
    cJSON_Delete(json);
    return fine ? NULL
                : damaged(path, "its __metadata__ is not an object of texts (or memory is out)");
}

/* The pair "key": {...}, both as ranges of the text. */
static error *take_pair(const char *path, char *key, char *key_end, char *value, char *value_end,
                        int64_t data_bytes, entry_list *list)
{
    static const char metadata[] = "\"__metadata__\"";
    size_t length = (size_t)(key_end - key);
    if (length == sizeof metadata - 1 && !memcmp(key, metadata, length))
        return check_metadata(path, value, value_end);
    if (memmem(key, length, "\\u0000", 6)) return damaged(path, "a name has a character of zero");
    if (value_end - value > MOST_PIECE || length > MOST_PIECE)
        return damaged(path, "the entry of %.40s... is far too long", key);
    cJSON *name = parse_piece(key, key_end), *json = parse_piece(value, value_end);
    safetensors_entry *entry = NULL;
    error *e = NULL;
    if (!name || !json)
        e = damaged(path, "the entry of %.*s is not JSON (or memory is out)",
                    (int)(length < 100 ? length : 100), key);
    if (!e) e = append(list, name->valuestring, &entry);
    if (!e) e = read_entry(path, json, data_bytes, entry);
    cJSON_Delete(name);
    cJSON_Delete(json);
    return e;
}

static error *take_pairs(const char *path, char *text, int64_t data_bytes, entry_list *list)
{
    static const char no_json[] = "its header is not the JSON object of a safetensors file";
    char *p = text;
    if (*p != '{') return damaged(path, "%s", no_json);
    p = skip_space(p + 1);
    while (*p != '}') {
        char *key = p, *key_end = *p == '"' ? string_end(p) : NULL;
        char *value = key_end ? skip_space(key_end) : NULL;
        if (!value || *value != ':') return damaged(path, "%s", no_json);
        value = skip_space(value + 1);
        char *value_end = *value == '{' ? object_end(value) : NULL;
        if (!value_end) return damaged(path, "%s", no_json);
        TRY(take_pair(path, key, key_end, value, value_end, data_bytes, list));
        p = skip_space(value_end);
        if (*p == '}') break;
        if (*p != ',' || *(p = skip_space(p + 1)) != '"') return damaged(path, "%s", no_json);
    }
    return *skip_space(p + 1) ? damaged(path, "%s", no_json) : NULL;
}

static int compare_offsets(const void *a, const void *b)
{
    const safetensors_entry *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const safetensors_entry *)a)->name, ((const safetensors_entry *)b)->name);
}

/* The entries must cover everything from 0 to the end, each byte once. */
static error *check_cover(const char *path, entry_list *list, int64_t data_bytes)
{
    int64_t at = 0;
    if (list->n) qsort(list->row, (size_t)list->n, sizeof *list->row, compare_offsets);
    for (int64_t i = 0; i < list->n; i++) {
        const safetensors_entry *e = &list->row[i];
        if (e->offset != at)
            return damaged(path, "the data of tensor '%.100s' begin at byte %lld: %s %lld", e->name,
                           (long long)e->offset,
                           e->offset < at ? "they overlap those that end at"
                                          : "there is a gap after byte",
                           (long long)at);
        at += e->bytes;
    }
    if (at == data_bytes) return NULL;
    return damaged(path, "its tensors end at byte %lld, its data at %lld", (long long)at,
                   (long long)data_bytes);
}

error *entries_by_name(const char *path, entry_list *list)
{
    if (list->n) qsort(list->row, (size_t)list->n, sizeof *list->row, compare_names);
    for (int64_t i = 1; i < list->n; i++)
        if (!compare_names(&list->row[i - 1], &list->row[i]))
            return damaged(path, "it has the tensor '%.100s' twice", list->row[i].name);
    return NULL;
}

error *header_parse(const char *path, char *text, int64_t n, int64_t file_bytes, entry_list *list)
{
    int64_t data_bytes = file_bytes - 8 - n;
    if (memchr(text, 0, (size_t)n)) return damaged(path, "its header has bytes of zero");
    TRY(take_pairs(path, text, data_bytes, list));
    TRY(check_cover(path, list, data_bytes));
    for (int64_t i = 0; i < list->n; i++)
        list->row[i].offset += 8 + n;
    return entries_by_name(path, list);
}

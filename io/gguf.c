/* gguf.c - see gguf.h */
#include "io/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/f16.h"
#include "base/files.h"
#include "base/grow.h"
#include "base/outfile.h"

enum { VERSION = 3, ALIGNMENT = 32, NAME_LENGTH = 64 };
/* Types of values, and of arrays' items. */
enum {
    VALUE_U32 = 4,
    VALUE_I32 = 5,
    VALUE_F32 = 6,
    VALUE_BOOL = 7,
    VALUE_TEXT = 8,
    VALUE_ARRAY = 9
};

typedef struct {
    char name[NAME_LENGTH];
    gguf_type type;
    int64_t rows, cols;
    gguf_rows values;
    size_t bytes; /* bytes per stored row */
} entry;

/* Memory that is freed with the file's description. */
typedef struct room {
    struct room *next;
    float at[];
} room;

struct gguf {
    room *rooms;
    memory_stream values;
    uint64_t n_values;
    entry *tensors;
    size_t n, room;
    error *failure; /* the first */
};

error *gguf_create(gguf **out)
{
    gguf *g;
    *out = NULL;
    TRY(alloc_array(&g, 1, sizeof *g));
    error *e = memory_stream_open(&g->values, "the metadata of a GGUF file");
    if (e)
        free(g);
    else
        *out = g;
    return e;
}

void gguf_discard(gguf *g)
{
    if (!g) return;
    if (g->values.to) error_free(memory_stream_close(&g->values));
    free(g->values.text);
    free(g->tensors);
    for (room *r = g->rooms, *next; r; r = next) {
        next = r->next;
        free(r);
    }
    error_free(g->failure);
    free(g);
}

error *gguf_room(gguf *g, size_t n, float **out)
{
    char *memory;
    TRY(alloc_array(&memory, sizeof(room) + n * sizeof(float), 1));
    room *r = (room *)(void *)memory;
    r->next = g->rooms;
    g->rooms = r;
    *out = r->at;
    return NULL;
}

/* ---- metadata ---- */

static void put(FILE *to, const void *bytes, size_t n)
{
    fwrite(bytes, 1, n, to); /* into memory: closing the stream reports a failure */
}

static void put_u32(FILE *to, uint32_t x)
{
    put(to, &x, sizeof x);
}

static void put_u64(FILE *to, uint64_t x)
{
    put(to, &x, sizeof x);
}

static void put_text(FILE *to, const void *bytes, size_t n)
{
    put_u64(to, n);
    put(to, bytes, n);
}

static void begin_value(gguf *g, const char *key, uint32_t type)
{
    put_text(g->values.to, key, strlen(key));
    put_u32(g->values.to, type);
    g->n_values++;
}

void gguf_u32(gguf *g, const char *key, int64_t value)
{
    if (value < 0 || value > UINT32_MAX)
        g->failure = error_first(
            g->failure, user_error("%s: %lld does not fit the GGUF format", key, (long long)value));
    begin_value(g, key, VALUE_U32);
    put_u32(g->values.to, (uint32_t)value);
}

void gguf_f32(gguf *g, const char *key, double value)
{
    float x = (float)value;
    begin_value(g, key, VALUE_F32);
    put(g->values.to, &x, sizeof x);
}

void gguf_bool(gguf *g, const char *key, bool value)
{
    uint8_t x = value;
    begin_value(g, key, VALUE_BOOL);
    put(g->values.to, &x, sizeof x);
}

void gguf_text(gguf *g, const char *key, const char *value)
{
    begin_value(g, key, VALUE_TEXT);
    put_text(g->values.to, value, strlen(value));
}

static void begin_array(gguf *g, const char *key, uint32_t items, size_t n)
{
    begin_value(g, key, VALUE_ARRAY);
    put_u32(g->values.to, items);
    put_u64(g->values.to, n);
}

void gguf_texts(gguf *g, const char *key, size_t n)
{
    begin_array(g, key, VALUE_TEXT, n);
}

void gguf_numbers(gguf *g, const char *key, size_t n)
{
    begin_array(g, key, VALUE_I32, n);
}

void gguf_item_text(gguf *g, const void *bytes, size_t n)
{
    put_text(g->values.to, bytes, n);
}

void gguf_item_number(gguf *g, int32_t value)
{
    put(g->values.to, &value, sizeof value);
}

/* ---- tensors ---- */

static size_t stored_bytes(gguf_type type, int64_t n)
{
    switch (type) {
    case GGUF_F32:
        return (size_t)n * 4;
    case GGUF_Q8_0:
        return (size_t)(n / GGUF_BLOCK) * (2 + GGUF_BLOCK);
    default:
        return (size_t)n * 2;
    }
}

/* The format's number for a type. */
static uint32_t type_number(gguf_type type)
{
    static const uint32_t numbers[] = {
        [GGUF_F32] = 0, [GGUF_F16] = 1, [GGUF_BF16] = 30, [GGUF_Q8_0] = 8};
    return numbers[type];
}

void gguf_tensor(gguf *g, const char *name, gguf_type type, int64_t rows, int64_t cols,
                 gguf_rows values)
{
    error *e = grow_array(&g->tensors, &g->room, g->n + 1, sizeof *g->tensors);
    if (!e && type == GGUF_Q8_0 && cols % GGUF_BLOCK)
        e = internal_error("%s: rows of %lld numbers in blocks of %d", name, (long long)cols,
                           GGUF_BLOCK);
    if (!e && strlen(name) >= NAME_LENGTH)
        e = internal_error("%s: GGUF's names have at most %d bytes", name, NAME_LENGTH - 1);
    if (e) {
        g->failure = error_first(g->failure, e);
        return;
    }
    entry *t = &g->tensors[g->n++];
    *t = (entry){.type = type,
                 .rows = rows,
                 .cols = cols,
                 .values = values,
                 .bytes = stored_bytes(type, cols)};
    snprintf(t->name, sizeof t->name, "%s", name);
}

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t tensor_bytes_of(const entry *t)
{
    return t->bytes * (size_t)(t->rows ? t->rows : 1);
}

/* Everything before the data. */
static error *write_head(gguf *g, outfile *f)
{
    memory_stream head;
    uint64_t offset = 0;
    error *e = memory_stream_close(&g->values);
    g->values.to = NULL;
    if (e) return e;
    TRY(memory_stream_open(&head, "the head of a GGUF file"));
    put(head.to, "GGUF", 4);
    put_u32(head.to, VERSION);
    put_u64(head.to, g->n);
    put_u64(head.to, g->n_values);
    put(head.to, g->values.text, g->values.n);
    for (size_t i = 0; i < g->n; i++) {
        const entry *t = &g->tensors[i];
        put_text(head.to, t->name, strlen(t->name));
        put_u32(head.to, t->rows ? 2 : 1);
        put_u64(head.to, (uint64_t)t->cols);
        if (t->rows) put_u64(head.to, (uint64_t)t->rows);
        put_u32(head.to, type_number(t->type));
        put_u64(head.to, offset);
        offset += padded(tensor_bytes_of(t));
    }
    for (long at = ftell(head.to); at % ALIGNMENT; at++)
        fputc(0, head.to);
    TRY(memory_stream_close(&head));
    e = outfile_write(f, head.text, head.n);
    free(head.text);
    return e;
}

static void store_blocks(const float *x, int64_t n, uint8_t *to)
{
    for (int64_t b = 0; b < n / GGUF_BLOCK; b++, x += GGUF_BLOCK, to += 2 + GGUF_BLOCK) {
        float most = 0;
        for (int i = 0; i < GGUF_BLOCK; i++)
            most = fmaxf(most, fabsf(x[i]));
        float scale = most / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
        uint16_t half = f16_of_float(scale);
        memcpy(to, &half, sizeof half);
        for (int i = 0; i < GGUF_BLOCK; i++)
            to[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
    }
}

static void store_row(gguf_type type, const float *x, int64_t n, void *to)
{
    uint16_t *halves = to;
    switch (type) {
    case GGUF_F32:
        memcpy(to, x, (size_t)n * sizeof *x);
        return;
    case GGUF_Q8_0:
        store_blocks(x, n, to);
        return;
    case GGUF_F16:
        for (int64_t i = 0; i < n; i++)
            halves[i] = f16_of_float(x[i]);
        return;
    case GGUF_BF16:
        for (int64_t i = 0; i < n; i++)
            halves[i] = bf16_of_float(x[i]);
        return;
    }
}

/* See gguf_rows. */
static int64_t order(const gguf_rows *v, int64_t i)
{
    if (!v->pairs) return i;
    int64_t in = i % v->pairs;
    return i - in + in % 2 * (v->pairs / 2) + in / 2;
}

static void fetch_row(const entry *t, int64_t i, float *to)
{
    const gguf_rows *v = &t->values;
    const float *row = v->data + (t->rows ? order(v, i) * v->ld : 0);
    for (int64_t j = 0; j < t->cols; j++)
        to[j] = row[t->rows ? j : order(v, j)] + v->add;
}

static error *write_tensor(const entry *t, outfile *f)
{
    static const char zeros[ALIGNMENT];
    float *row;
    uint8_t *stored;
    TRY(alloc_array(&row, (size_t)t->cols, sizeof *row));
    error *e = alloc_array(&stored, t->bytes, 1);
    if (!e) {
        for (int64_t i = 0; !e && i < (t->rows ? t->rows : 1); i++) {
            fetch_row(t, i, row);
            store_row(t->type, row, t->cols, stored);
            e = outfile_write(f, stored, t->bytes);
        }
        size_t bytes = tensor_bytes_of(t);
        if (!e) e = outfile_write(f, zeros, padded(bytes) - bytes);
        free(stored);
    }
    free(row);
    return e;
}

error *gguf_write(gguf *g, const char *path)
{
    outfile *f;
    error *e = g->failure;
    g->failure = NULL;
    if (e) return e;
    TRY(outfile_create(path, &f));
    e = write_head(g, f);
    for (size_t i = 0; !e && i < g->n; i++)
        e = write_tensor(&g->tensors[i], f);
    if (!e) return outfile_commit(f);
    outfile_discard(f);
    return e;
}

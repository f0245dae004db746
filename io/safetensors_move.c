/* safetensors_move.c - between files and the device: writing, and reading into tensors.
 *
 * There is never a complete host copy of a matrix.  A transposed one is moved in strips of `strip`
 * rows of the file, which are columns of the device's tensor.
 *
 *        device (rows, cols)                 file (cols, rows)
 *      +-----+====+-------+                +-----------------+
 *      |     |    |       |                |                 |
 *      |     |    |       |      <--->     +=================+  strip
 *      +-----+====+-------+                +=================+
 */
#include "base/files.h"
#include "base/outfile.h"
#include "base/f16.h"
#include "io/safetensors_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 19 }; /* bytes moved at a time */

/* Two halves, each of which holds a strip; a chunk uses both. */
typedef struct {
    char *bytes;
    int64_t half;
    file_floats floats; /* of what is written */
} staging;

static bool grouped_rightly(const named_tensor *t)
{
    int64_t rows = 0;
    bool even = t->value.rank >= (t->transposed ? 2 : 1);
    for (int k = 0; k < 3; rows += t->part_rows[k++])
        even = even && t->part_rows[k] % t->groups == 0;
    return even && rows == t->value.dim[t->transposed ? 1 : 0];
}

static error *staging_open(const named_tensor *list, int64_t n, staging *b)
{
    b->half = CHUNK / 2;
    for (int64_t i = 0; i < n; i++) {
        tensor t = list[i].value;
        int64_t column = t.dim[0] * (int64_t)dtype_size(t.type);
        if (!tensor_contiguous(t) || (list[i].transposed && t.rank != 2))
            return internal_error("%s is padded, or transposed without being a matrix",
                                  list[i].name);
        if (list[i].groups && !grouped_rightly(&list[i]))
            return internal_error("%s cannot be grouped as it says", list[i].name);
        if (list[i].transposed && column > b->half) b->half = column;
    }
    return alloc_array(&b->bytes, (size_t)b->half, 2);
}

/* The largest piece of a tensor that is contiguous both in the file and on the device: elements; if
 * transposed, columns on the device, which are rows in the file. */
typedef struct {
    int64_t first, n;
} element_range;

/* Run i in the file's order; false after the last. */
static bool range_at(const named_tensor *t, int64_t i, element_range *range)
{
    int64_t all = t->transposed ? t->value.dim[1] : tensor_count(t->value);
    *range = (element_range){0, all};
    if (!t->groups) return i == 0;
    int64_t group = i / 3, part = i % 3, rows = t->part_rows[part] / t->groups;
    if (group == t->groups) return false;
    int64_t before = group * rows, cols = t->transposed ? 1 : all / t->value.dim[0];
    for (int64_t k = 0; k < part; k++)
        before += t->part_rows[k];
    *range = (element_range){before * cols, rows * cols};
    return true;
}

/* to (cols, rows) = from (rows, cols) transposed, elements of `size` bytes. */
static void transpose(char *to, const char *from, int64_t rows, int64_t cols, size_t size)
{
    for (int64_t c = 0; c < cols; c++)
        for (int64_t r = 0; r < rows; r++)
            memcpy(to + (size_t)(c * rows + r) * size, from + (size_t)(r * cols + c) * size, size);
}

/* ---- writing ---- */

static bool is_narrowed(tensor t, file_floats floats)
{
    return floats != FILE_AS_IS && t.type == F32;
}

static size_t bytes_in_file(tensor t, file_floats floats)
{
    return is_narrowed(t, floats) ? tensor_bytes(t) / 2 : tensor_bytes(t);
}

/* A tensor's bytes from where it is, and whether that still works; without a device it is the
 * host's memory. */
static void bring(device *dev, char *to, tensor from)
{
    if (dev)
        op_get(dev, STREAM_COMPUTE, to, from);
    else
        memcpy(to, from.data, tensor_bytes(from));
}

static error *brought(device *dev)
{
    if (!dev) return NULL;
    op_sync(dev, STREAM_COMPUTE);
    return device_status(dev);
}

/* n elements of t's type, to the file. */
static error *write_elements(outfile *f, const named_tensor *t, int64_t n, const staging *b)
{
    size_t bytes = (size_t)n * dtype_size(t->value.type);
    if (!is_narrowed(t->value, b->floats)) return outfile_write(f, b->bytes, bytes);
    for (int64_t i = 0; i < n; i++) {
        float x;
        memcpy(&x, b->bytes + 4 * i, sizeof x);
        uint16_t half = b->floats == FILE_F16 ? f16_of_float(x) : bf16_of_float(x);
        if (b->floats == FILE_F16 && isfinite(x) && !isfinite(float_of_f16(half)))
            return user_error("%s has a %g, which is too large for f16: bf16 has room for it",
                              t->name, (double)x);
        memcpy(b->bytes + 2 * i, &half, sizeof half);
    }
    return outfile_write(f, b->bytes, bytes / 2);
}

/* One entry of the header; its data begins at `at`. */
static void print_entry(FILE *header, const named_tensor *t, file_floats floats, size_t at)
{
    bool narrowed = is_narrowed(t->value, floats);
    const int64_t *d = t->value.dim;
    fprintf(header, ",\"");
    for (const char *c = t->name; *c; c++) {
        if (*c == '"' || *c == '\\') fputc('\\', header);
        fputc(*c, header);
    }
    fprintf(header, "\":{\"dtype\":\"%s\",\"shape\":[",
            narrowed ? (floats == FILE_F16 ? "F16" : "BF16") : file_dtype(t->value.type));
    for (int k = 0; k < t->value.rank; k++)
        fprintf(header, "%s%lld", k ? "," : "", (long long)d[t->transposed ? 1 - k : k]);
    fprintf(header, "],\"data_offsets\":[%zu,%zu]}", at, at + bytes_in_file(t->value, floats));
}

static error *write_header(outfile *f, const named_tensor *list, int64_t n, file_floats floats)
{
    memory_stream m;
    size_t at = 0;
    TRY(memory_stream_open(&m, "the header of a safetensors file"));
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", m.to); /* transformers requires it */
    for (int64_t i = 0; i < n; i++) {
        print_entry(m.to, &list[i], floats, at);
        at += bytes_in_file(list[i].value, floats);
    }
    fputc('}', m.to);
    TRY(memory_stream_close(&m));
    size_t spaces = (8 - m.n % 8) % 8;
    uint64_t length = m.n + spaces;
    error *e = outfile_write(f, &length, sizeof length);
    if (!e) e = outfile_write(f, m.text, m.n);
    if (!e) e = outfile_write(f, "       ", spaces);
    free(m.text);
    return e;
}

static error *write_plain(outfile *f, const named_tensor *of, element_range range, device *dev,
                          const staging *b)
{
    tensor t = tensor_part(of->value, range.first, range.n);
    int64_t size = (int64_t)dtype_size(t.type), most = 2 * b->half / size, count = tensor_count(t);
    for (int64_t first = 0; first < count; first += most) {
        int64_t n = count - first < most ? count - first : most;
        bring(dev, b->bytes, tensor_part(t, first, n));
        TRY(brought(dev));
        TRY(write_elements(f, of, n, b));
    }
    return NULL;
}

static error *write_columns(outfile *f, const named_tensor *of, element_range range, device *dev,
                            const staging *b)
{
    tensor t = of->value;
    int64_t rows = t.dim[0], cols = t.dim[1], size = (int64_t)dtype_size(t.type);
    char *part = b->bytes + b->half;
    if (!rows || !cols) return NULL;
    int64_t strip = b->half / size / rows, end = range.first + range.n;
    for (int64_t first = range.first; first < end; first += strip) {
        int64_t n = end - first < strip ? end - first : strip;
        for (int64_t r = 0; r < rows; r++)
            bring(dev, part + r * n * size, tensor_part(t, r * cols + first, n));
        TRY(brought(dev));
        transpose(b->bytes, part, rows, n, (size_t)size);
        TRY(write_elements(f, of, n * rows, b));
    }
    return NULL;
}

static error *write_runs(outfile *f, const named_tensor *t, device *dev, const staging *b)
{
    element_range range;
    for (int64_t i = 0; range_at(t, i, &range); i++)
        TRY(t->transposed ? write_columns(f, t, range, dev, b) : write_plain(f, t, range, dev, b));
    return NULL;
}

static error *write_all(outfile *f, const named_tensor *list, int64_t n, device *dev,
                        const tensor_source *from, const staging *b)
{
    int64_t open = -1;
    tensor full = {0};
    TRY(write_header(f, list, n, b->floats));
    for (int64_t i = 0; i < n; i++) {
        named_tensor t = list[i];
        if (from) {
            if (t.of != open && open >= 0) from->close(from->context);
            if (t.of != open) full = from->open(from->context, t.of);
            open = t.of;
            t.value.data = (char *)full.data + (size_t)t.at * dtype_size(t.value.type);
        }
        TRY(brought(dev)); /* rather than writing after a gap */
        TRY(write_runs(f, &t, dev, b));
    }
    if (from && open >= 0) from->close(from->context);
    return brought(dev);
}

error *safetensors_write(const char *path, const named_tensor *list, int64_t n, device *dev,
                         const tensor_source *from)
{
    return safetensors_write_as(path, list, n, FILE_AS_IS, dev, from);
}

error *safetensors_write_as(const char *path, const named_tensor *list, int64_t n,
                            file_floats floats, device *dev, const tensor_source *from)
{
    outfile *f;
    staging b = {.floats = floats};
    TRY(staging_open(list, n, &b));
    error *e = outfile_create(path, &f);
    if (e) {
        free(b.bytes);
        return e;
    }
    e = write_all(f, list, n, dev, from, &b);
    free(b.bytes);
    if (!e) return outfile_commit(f);
    outfile_discard(f);
    return e;
}

/* ---- reading ---- */

typedef struct {
    const safetensors *file;
    int64_t entry;
    int64_t size;  /* of an element in the file */
    bool casts;    /* 16-bit floats to f32, or others to bf16 */
    bool rounds;   /* in that case: to bf16 */
    int64_t first; /* the element that is number 0 */
} elements;

static float half_value(const safetensors_entry *e, const char *from)
{
    uint16_t half;
    memcpy(&half, from, sizeof half);
    return strcmp(e->dtype, "BF16") ? float_of_f16(half) : float_of_bf16(half);
}

/* F32 or F16 to bf16, a little at a time: the file's data is larger than its destination. */
static error *read_rounded(const elements *s, int64_t first, int64_t n, char *out)
{
    enum { SOME = 1 << 13 };
    const safetensors_entry *e = safetensors_entry_at(s->file, s->entry);
    char part[4 * SOME];
    for (int64_t at = 0; at < n; at += SOME) {
        int64_t some = n - at < SOME ? n - at : SOME;
        TRY(safetensors_read(s->file, s->entry, (first + at) * s->size, some * s->size, part));
        for (int64_t i = 0; i < some; i++) {
            float x = 0;
            if (s->size == 2)
                x = half_value(e, part + 2 * i);
            else
                memcpy(&x, part + 4 * i, sizeof x);
            uint16_t half = bf16_of_float(x);
            memcpy(out + 2 * (at + i), &half, sizeof half);
        }
    }
    return NULL;
}

/* The entry's elements [first, first + n), as on the device.  16-bit ones are read into the upper
 * half of their place and widened from the front, so that none is overwritten before it is read. */
static error *read_elements(const elements *s, int64_t first, int64_t n, char *out)
{
    const safetensors_entry *e = safetensors_entry_at(s->file, s->entry);
    int64_t bytes = n * s->size;
    first += s->first;
    if (!s->casts) return safetensors_read(s->file, s->entry, first * s->size, bytes, out);
    if (s->rounds) return read_rounded(s, first, n, out);
    TRY(safetensors_read(s->file, s->entry, first * 2, bytes, out + bytes));
    for (int64_t i = 0; i < n; i++) {
        float value = half_value(e, out + bytes + 2 * i);
        memcpy(out + 4 * i, &value, sizeof value);
    }
    return NULL;
}

static const char *shape_text(int rank, const int64_t *dim, bool swapped, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i ? ",%lld" : "%lld",
                                 (long long)dim[swapped ? 1 - i : i]);
    if (used < size) snprintf(text + used, size - used, ")");
    return text;
}

static bool is_half(const safetensors_entry *e)
{
    return !strcmp(e->dtype, "BF16") || !strcmp(e->dtype, "F16");
}

static error *check_same(const safetensors *s, const safetensors_entry *e, const named_tensor *into,
                         float_cast cast)
{
    tensor t = into->value;
    char has[200], wants[200];
    bool can_widen = is_half(e) && t.type == F32;
    bool can_round = (is_half(e) || e->type == F32) && t.type == BF16;
    bool fits = (e->type == t.type && t.type != DT_NONE) || (cast != CAST_NONE && can_widen) ||
                (cast == CAST_ROUND && can_round);
    if (!fits)
        return user_error("%s: tensor '%.100s' is %s, but %s is needed, and no dtype is cast "
                          "silently: %s",
                          safetensors_path(s), e->name, e->dtype, file_dtype(t.type),
                          can_widen ? "--widen takes 16-bit floats as f32, which is exact"
                          : e->type == DT_NONE
                              ? "convert the file first"
                              : "convert the file first, or give the --dtype that it has");
    bool same = e->rank == t.rank;
    for (int k = 0; same && k < t.rank; k++)
        same = e->dim[k] == t.dim[into->transposed ? 1 - k : k];
    if (same) return NULL;
    return user_error("%s: tensor '%.100s' has the shape %s, but %s is needed: the file is of "
                      "another model or run",
                      safetensors_path(s), e->name,
                      shape_text(e->rank, e->dim, false, has, sizeof has),
                      shape_text(t.rank, t.dim, into->transposed, wants, sizeof wants));
}

/* Elements [first, first + n) from the host, or those of them that are stored here. */
static void put_part(const named_tensor *into, int64_t first, int64_t n, const char *host,
                     device *dev)
{
    tensor t = into->value;
    int64_t from = first, to = first + n, begin = 0;
    if (into->sharded) {
        begin = into->first - into->at;
        if (from < begin) from = begin;
        if (to > begin + into->held) to = begin + into->held;
    }
    if (from < to)
        op_put(dev, STREAM_COMPUTE, tensor_part(t, from - begin, to - from),
               host + (size_t)(from - first) * dtype_size(t.type));
}

static error *fetch_plain(const elements *s, const named_tensor *into, element_range range,
                          device *dev, const staging *b)
{
    int64_t most = 2 * b->half / (int64_t)dtype_size(into->value.type);
    for (int64_t first = 0; first < range.n; first += most) {
        int64_t n = range.n - first < most ? range.n - first : most;
        TRY(read_elements(s, first, n, b->bytes));
        put_part(into, range.first + first, n, b->bytes, dev);
        op_sync(dev, STREAM_COMPUTE);
    }
    return NULL;
}

static error *fetch_columns(const elements *s, const named_tensor *into, element_range range,
                            device *dev, const staging *b)
{
    tensor t = into->value;
    int64_t rows = t.dim[0], cols = t.dim[1], size = (int64_t)dtype_size(t.type);
    char *part = b->bytes + b->half;
    if (!rows || !cols) return NULL;
    for (int64_t strip = b->half / size / rows, first = 0; first < range.n; first += strip) {
        int64_t n = range.n - first < strip ? range.n - first : strip;
        TRY(read_elements(s, first * rows, n * rows, b->bytes));
        transpose(part, b->bytes, n, rows, (size_t)size);
        for (int64_t r = 0; r < rows; r++)
            put_part(into, r * cols + range.first + first, n, part + r * n * size, dev);
        op_sync(dev, STREAM_COMPUTE);
    }
    return NULL;
}

static error *fetch_runs(elements s, const named_tensor *t, device *dev, const staging *b)
{
    element_range range;
    int64_t line = t->transposed ? t->value.dim[0] : 1; /* elements in each of range.n */
    for (int64_t i = 0; range_at(t, i, &range); i++, s.first += range.n * line)
        TRY(t->transposed ? fetch_columns(&s, t, range, dev, b)
                          : fetch_plain(&s, t, range, dev, b));
    return NULL;
}

error *safetensors_fetch_cast(const safetensors *s, int64_t i, const named_tensor *into,
                              float_cast cast, device *dev)
{
    const safetensors_entry *entry = safetensors_entry_at(s, i);
    dtype type = into->value.type;
    bool casts = entry->type != type;
    int64_t size = is_half(entry) ? 2 : casts ? 4 : (int64_t)dtype_size(type);
    elements from = {s, i, size, casts, casts && type == BF16, 0};
    staging b = {0};
    TRY(check_same(s, entry, into, cast));
    TRY(staging_open(into, 1, &b));
    error *e = fetch_runs(from, into, dev, &b);
    free(b.bytes);
    return e ? e : device_status(dev);
}

error *safetensors_fetch(const safetensors *s, int64_t i, const named_tensor *into, device *dev)
{
    return safetensors_fetch_cast(s, i, into, CAST_NONE, dev);
}

error *safetensors_fetch_piece(const safetensors *s, int64_t i, const named_tensor *into,
                               int64_t first, device *dev)
{
    const safetensors_entry *entry = safetensors_entry_at(s, i);
    named_tensor plain = *into;
    staging b = {0};
    if (entry->type != into->value.type)
        return user_error("%s: tensor '%.100s' is %s, but %s is needed", safetensors_path(s),
                          entry->name, entry->dtype, file_dtype(into->value.type));
    plain.transposed = false;
    plain.groups = 0;
    TRY(staging_open(&plain, 1, &b));
    const elements from = {.file = s, .entry = i, .size = (int64_t)dtype_size(entry->type)};
    error *e = fetch_plain(&from, &plain, (element_range){first, entry->dim[0]}, dev, &b);
    free(b.bytes);
    return e ? e : device_status(dev);
}

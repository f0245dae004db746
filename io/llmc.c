/* llmc.c - see llmc.h */
#include "io/llmc.h"
#include "base/files.h"
#include "base/outfile.h"
#include "base/bf16.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAGIC = 20240326,
    VERSION_F32 = 3,
    VERSION_BF16 = 5,
    HEADER = 256,
    PADDING = 128,
    CHUNK = 1 << 18 /* elements moved at a time */
};

struct llmc {
    char *path;
    int fd;
    llmc_sizes sizes;
};

/* The tensors in the file's order, with our names, and rows and columns in terms of the sizes. */
typedef struct {
    const char *name;
    bool layered;
    int64_t rows, cols; /* per layer; cols 0: a vector */
} piece;

enum { PIECES = 16 };

static void list_pieces(const llmc_sizes *z, piece out[PIECES])
{
    int64_t c = z->width;
    const piece all[PIECES] = {
        {"wte.weight", false, z->padded_vocab, c},
        {"wpe.weight", false, z->context, c},
        {"h.%d.ln_1.weight", true, c, 0},
        {"h.%d.ln_1.bias", true, c, 0},
        {"h.%d.attn.c_attn.weight", true, 3 * c, c},
        {"h.%d.attn.c_attn.bias", true, 3 * c, 0},
        {"h.%d.attn.c_proj.weight", true, c, c},
        {"h.%d.attn.c_proj.bias", true, c, 0},
        {"h.%d.ln_2.weight", true, c, 0},
        {"h.%d.ln_2.bias", true, c, 0},
        {"h.%d.mlp.c_fc.weight", true, 4 * c, c},
        {"h.%d.mlp.c_fc.bias", true, 4 * c, 0},
        {"h.%d.mlp.c_proj.weight", true, c, 4 * c},
        {"h.%d.mlp.c_proj.bias", true, c, 0},
        {"ln_f.weight", false, c, 0},
        {"ln_f.bias", false, c, 0},
    };
    memcpy(out, all, sizeof all);
}

static int64_t piece_count(const piece *p)
{
    return p->rows * (p->cols ? p->cols : 1);
}

/* Elements of the whole file; sizes are at most 2^31, so only products can be too large. */
static bool count_all(const llmc_sizes *z, int64_t *total)
{
    piece p[PIECES];
    *total = 0;
    list_pieces(z, p);
    for (int k = 0; k < PIECES; k++) {
        int64_t n;
        if (__builtin_mul_overflow(p[k].rows, p[k].cols ? p[k].cols : 1, &n) ||
            __builtin_mul_overflow(n, p[k].layered ? z->layers : 1, &n) ||
            __builtin_add_overflow(*total, n, total))
            return false;
    }
    return *total < INT64_MAX / 8;
}

/* ---- opening ---- */

error *llmc_is(const char *path, bool *yes)
{
    int32_t magic = 0;
    int64_t bytes;
    int fd;
    *yes = false;
    TRY(file_open(path, &fd, &bytes));
    error *e = NULL;
    if (bytes >= (int64_t)sizeof magic) e = file_pread(fd, path, &magic, sizeof magic, 0);
    close(fd);
    *yes = magic == MAGIC;
    return e;
}

static error *check_sizes(const llmc *f, const int32_t h[HEADER], int64_t bytes)
{
    const llmc_sizes *z = &f->sizes;
    for (int k = 2; k <= 7; k++)
        if (h[k] < 1)
            return user_error(
                "%s: word %d of the header is %d, but must be at least 1: it is not a "
                "model of llm.c's, or damaged",
                f->path, k, h[k]);
    if (z->padded_vocab < z->vocab)
        return user_error("%s: %lld tokens padded to %lld, which is less: it is damaged", f->path,
                          (long long)z->vocab, (long long)z->padded_vocab);
    int64_t total;
    int size = z->bf16 ? 2 : 4;
    if (!count_all(z, &total))
        return user_error("%s: its sizes multiply to more than any file can hold: it is damaged",
                          f->path);
    if (HEADER * 4 + total * size == bytes) return NULL;
    return user_error("%s has %lld bytes, but its header asks for %lld: fetch or write it again",
                      f->path, (long long)bytes, (long long)(HEADER * 4 + total * size));
}

static error *open_checked(llmc *f)
{
    int64_t bytes;
    int32_t h[HEADER];
    TRY(file_open(f->path, &f->fd, &bytes));
    TRY(file_pread(f->fd, f->path, h, sizeof h, 0));
    if (h[0] != MAGIC) return user_error("%s is not a model file of llm.c", f->path);
    if (h[1] != VERSION_F32 && h[1] != VERSION_BF16)
        return user_error("%s is of version %d: only %d (f32) and %d (bf16) can be read", f->path,
                          h[1], VERSION_F32, VERSION_BF16);
    f->sizes = (llmc_sizes){h[2], h[3], h[4], h[5], h[6], h[7], h[1] == VERSION_BF16};
    return check_sizes(f, h, bytes);
}

error *llmc_open(const char *path, llmc **out)
{
    llmc *f;
    TRY(alloc_array(&f, 1, sizeof *f));
    f->fd = -1;
    f->path = strdup(path);
    error *e = f->path ? open_checked(f) : user_error("out of memory for the name %s", path);
    if (e) {
        llmc_close(f);
        return e;
    }
    *out = f;
    return NULL;
}

void llmc_close(llmc *f)
{
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    free(f->path);
    free(f);
}

const llmc_sizes *llmc_about(const llmc *f)
{
    return &f->sizes;
}

/* ---- the table's rows in the file's order ---- */

/* Parameter `name` of a layer, with the piece's shape except for padding; internal error if the
 * table is of another model. */
static error *find_row(const params *p, const llmc_sizes *z, const piece *want, int layer,
                       const param **out)
{
    for (int i = 0; i < p->n; i++) {
        const param *row = &p->row[i];
        if (strcmp(row->spec.name, want->name) || (want->layered && row->spec.layer != layer))
            continue;
        int64_t padding = (z->padded_vocab - z->vocab) * z->width;
        bool embedding = !strcmp(want->name, "wte.weight");
        if (row->count != piece_count(want) - (embedding ? padding : 0)) break;
        *out = row;
        return NULL;
    }
    return internal_error("%s of layer %d is not what the llm.c file is for", want->name, layer);
}

typedef error *row_function(void *context, const param *row, int64_t padding);

/* Calls f for every tensor of the file; padding: elements after the parameter's. */
static error *for_each_row(const params *p, const llmc_sizes *z, row_function *f, void *context)
{
    piece pieces[PIECES];
    list_pieces(z, pieces);
    for (int k = 0; k < PIECES; k++)
        for (int layer = 0; layer < (pieces[k].layered ? (int)z->layers : 1); layer++) {
            const param *row = NULL;
            TRY(find_row(p, z, &pieces[k], layer, &row));
            TRY(f(context, row, piece_count(&pieces[k]) - row->count));
        }
    return NULL;
}

/* ---- reading ---- */

typedef struct {
    const llmc *file;
    device *dev;
    float *buffer; /* (CHUNK) */
    int64_t at;    /* byte */
    bool widens;   /* bf16 to f32 */
} reader;

/* Reads n elements at r->at into the buffer, and advances. */
static error *read_some(reader *r, int64_t n)
{
    int64_t size = r->file->sizes.bf16 ? 2 : 4;
    char *upper =
        (char *)r->buffer + (r->widens ? n * 2 : 0); /* so that widening does not overwrite unread
                                                      * elements */
    TRY(file_pread(r->file->fd, r->file->path, upper, (size_t)(n * size), r->at));
    for (int64_t i = 0; i < n && r->widens; i++) {
        uint16_t half;
        memcpy(&half, upper + 2 * i, sizeof half);
        r->buffer[i] = float_of_bf16(half);
    }
    r->at += n * size;
    return NULL;
}

static error *read_row(void *context, const param *row, int64_t padding)
{
    reader *r = context;
    for (int64_t first = 0; first < row->count; first += CHUNK) {
        int64_t n = row->count - first < CHUNK ? row->count - first : CHUNK;
        TRY(read_some(r, n));
        int64_t skipped;
        tensor part = param_part(row, first, n, &skipped);
        if (present(part)) op_put(r->dev, STREAM_COMPUTE, part, r->buffer + skipped);
        op_sync(r->dev, STREAM_COMPUTE);
    }
    r->at += padding * (r->file->sizes.bf16 ? 2 : 4);
    return device_status(r->dev);
}

error *llmc_read(const llmc *f, params *p, bool widen, device *dev)
{
    bool widens = f->sizes.bf16 && p->type == F32;
    reader r = {.file = f, .dev = dev, .at = HEADER * 4, .widens = widens};
    if (widens && !widen)
        return user_error("%s is bf16 (version %d), but f32 is needed, and no dtype is cast "
                          "silently: --widen takes it as f32, which is exact",
                          f->path, VERSION_BF16);
    if (!f->sizes.bf16 && p->type != F32)
        return user_error(
            "%s is f32 (version %d), but %s is needed, and no dtype is cast silently: "
            "give --dtype fp32, or convert the file first",
            f->path, VERSION_F32, dtype_name(p->type));
    TRY(alloc_array(&r.buffer, CHUNK, sizeof *r.buffer));
    error *e = for_each_row(p, &f->sizes, read_row, &r);
    free(r.buffer);
    return e;
}

/* ---- writing ---- */

typedef struct {
    outfile *file;
    device *dev;
    float *buffer; /* (CHUNK) */
} writer;

static error *write_row(void *context, const param *row, int64_t padding)
{
    writer *w = context;
    for (int64_t first = 0; first < row->count; first += CHUNK) {
        int64_t n = row->count - first < CHUNK ? row->count - first : CHUNK;
        op_get(w->dev, STREAM_COMPUTE, w->buffer, tensor_part(row->value, first, n));
        op_sync(w->dev, STREAM_COMPUTE);
        TRY(outfile_write(w->file, w->buffer, (size_t)n * sizeof *w->buffer));
    }
    memset(w->buffer, 0, CHUNK * sizeof *w->buffer);
    for (int64_t first = 0; first < padding; first += CHUNK) {
        int64_t n = padding - first < CHUNK ? padding - first : CHUNK;
        TRY(outfile_write(w->file, w->buffer, (size_t)n * sizeof *w->buffer));
    }
    return device_status(w->dev);
}

static error *write_all(writer *w, const llmc_sizes *z, const params *p)
{
    int32_t h[HEADER] = {MAGIC,
                         VERSION_F32,
                         (int32_t)z->context,
                         (int32_t)z->vocab,
                         (int32_t)z->layers,
                         (int32_t)z->heads,
                         (int32_t)z->width,
                         (int32_t)z->padded_vocab};
    TRY(outfile_write(w->file, h, sizeof h));
    return for_each_row(p, z, write_row, w);
}

error *llmc_write(const char *path, const llmc_sizes *sizes, const params *p, device *dev)
{
    writer w = {.dev = dev};
    llmc_sizes z = *sizes;
    z.padded_vocab = (z.vocab + PADDING - 1) / PADDING * PADDING;
    TRY(outfile_create(path, &w.file));
    error *e = alloc_array(&w.buffer, CHUNK, sizeof *w.buffer);
    if (!e) e = write_all(&w, &z, p);
    free(w.buffer);
    if (!e) return outfile_commit(w.file);
    outfile_discard(w.file);
    return e;
}

/* safetensors.c - see safetensors.h */
#include "io/safetensors.h"
#include "core/outfile.h"

#include <stdlib.h>
#include <stdio.h>

/* Elements moved at a time (1 MB): no host copy of a whole matrix is ever made. */
enum { CHUNK = 1 << 18 };

static bool transposed(const param *row)
{
    return row->spec.file_transposed && row->spec.shape.rank == 2;
}

/* One entry of the header; `at` is where its data begins. */
static void describe(FILE *header, const param *row, size_t at)
{
    char name[100];
    const int64_t *d = row->spec.shape.dim;
    fprintf(header, "\"%s\":{\"dtype\":\"F32\",\"shape\":[", param_text(row, name, sizeof name));
    for (int k = 0; k < row->spec.shape.rank; k++)
        fprintf(header, "%s%lld", k ? "," : "", (long long)d[transposed(row) ? 1 - k : k]);
    fprintf(header, "],\"data_offsets\":[%zu,%zu]}", at, at + (size_t)row->count * sizeof(float));
}

static error *write_header(outfile *f, const params *p)
{
    char *text = NULL;
    size_t size = 0, at = 0;
    FILE *header = open_memstream(&text, &size);
    if (!header) return user_error("out of memory for the header of the parameters' file");
    fputc('{', header);
    for (int i = 0; i < p->n; i++) {
        if (i) fputc(',', header);
        describe(header, &p->row[i], at);
        at += (size_t)p->row[i].count * sizeof(float);
    }
    fputc('}', header);
    while (fflush(header) == 0 && size % 8)
        fputc(' ', header);
    bool bad = fclose(header) != 0;
    uint64_t length = size;
    error *e = bad ? user_error("out of memory for the header of the parameters' file") : NULL;
    if (!e) e = outfile_write(f, &length, sizeof length);
    if (!e) e = outfile_write(f, text, size);
    free(text);
    return e;
}

/* n elements of row's value from `first`, to the host. */
static void fetch(const param *row, device *dev, int64_t first, int64_t n, float *out)
{
    op_get(dev, STREAM_COMPUTE, out, tensor_of((float *)row->value.data + first, F32, SHAPE(n)));
}

static error *write_plain(outfile *f, const param *row, device *dev, float *buffer)
{
    for (int64_t first = 0; first < row->count; first += CHUNK) {
        int64_t n = row->count - first < CHUNK ? row->count - first : CHUNK;
        fetch(row, dev, first, n, buffer);
        op_sync(dev, STREAM_COMPUTE);
        TRY(outfile_write(f, buffer, (size_t)n * sizeof *buffer));
    }
    return NULL;
}

/* (out,in) in memory, (in,out) in the file: as many columns at a time as the buffer holds.  The
 * second half of the buffer takes a strip of rows, the first half its transpose. */
static error *write_transposed(outfile *f, const param *row, device *dev, float *buffer)
{
    int64_t rows = row->spec.shape.dim[0], cols = row->spec.shape.dim[1];
    int64_t strip = CHUNK / 2 / rows;
    if (strip < 1)
        return internal_error("a matrix of %lld rows does not fit the buffer", (long long)rows);
    float *part = buffer + CHUNK / 2;
    for (int64_t first = 0; first < cols; first += strip) {
        int64_t n = cols - first < strip ? cols - first : strip;
        for (int64_t r = 0; r < rows; r++)
            fetch(row, dev, r * cols + first, n, part + r * n);
        op_sync(dev, STREAM_COMPUTE);
        for (int64_t c = 0; c < n; c++)
            for (int64_t r = 0; r < rows; r++)
                buffer[c * rows + r] = part[r * n + c];
        TRY(outfile_write(f, buffer, (size_t)(n * rows) * sizeof *buffer));
    }
    return NULL;
}

static error *write_all(outfile *f, const params *p, device *dev, float *buffer)
{
    TRY(write_header(f, p));
    for (int i = 0; i < p->n; i++)
        TRY((transposed(&p->row[i]) ? write_transposed : write_plain)(f, &p->row[i], dev, buffer));
    return device_status(dev);
}

error *safetensors_write(const char *path, const params *p, device *dev)
{
    outfile *f;
    float *buffer = NULL;
    TRY(outfile_create(path, &f));
    error *e = alloc_array(&buffer, CHUNK, sizeof *buffer);
    if (!e) e = write_all(f, p, dev, buffer);
    free(buffer);
    if (!e) return outfile_commit(f);
    outfile_discard(f);
    return e;
}

/* embedding.c - rows of a table chosen by tokens, and their gradient.
 *
 * Two positions may hold the same token, so the gradient shares out columns, not rows: each thread
 * adds all positions, in order, to its own columns of the table.  No two threads write the same
 * element, and the order of the sum is always the same.
 */
#include "cpu/internal.h"

#include <string.h>

enum { COLUMNS = 64 };

void cpu_embedding(device *dev, int stream, const embedding_op *o)
{
    (void)stream;
    const int32_t *tokens = o->tokens.data;
    int64_t rows = tensor_rows(o->out), n = tensor_cols(o->out), length = o->tokens.dim[1];
    float scale = o->scale == 0 ? 1 : (float)o->scale;
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++) {
        float *out = row(o->out, r);
        const float *token = row(o->wte, tokens[r]);
        if (!present(o->wpe)) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                out[i] = scale * token[i];
            continue;
        }
        const float *position = row(o->wpe, o->first_position + r % length);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = scale * token[i] + position[i];
    }
}

static void add_rows(float *to, float scale, const float *from, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] += scale * from[i];
}

/* Columns [c, c + n) of all rows become 0, if they are not to be added to. */
static void clear_columns(grad g, int64_t c, int64_t n)
{
    int64_t rows = present(g.t) && !g.accumulate ? tensor_rows(g.t) : 0;
    for (int64_t r = 0; r < rows; r++)
        memset(row(g.t, r) + c, 0, (size_t)n * sizeof(float));
}

void cpu_embedding_grad(device *dev, int stream, const embedding_grad_op *o)
{
    const int32_t *tokens = o->tokens.data;
    tensor dwte = o->dwte.t, dwpe = o->dwpe.t;
    int64_t rows = tensor_rows(o->dout), n = tensor_cols(o->dout), length = o->tokens.dim[1];
    float scale = o->scale == 0 ? 1 : (float)o->scale;
    (void)stream;
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t c = 0; c < n; c += COLUMNS) {
        int64_t width = min64(COLUMNS, n - c);
        clear_columns(o->dwte, c, width);
        clear_columns(o->dwpe, c, width);
        for (int64_t r = 0; r < rows; r++) {
            const float *d = row(o->dout, r) + c;
            if (present(dwte)) add_rows(row(dwte, tokens[r]) + c, scale, d, width);
            if (present(dwpe)) add_rows(row(dwpe, o->first_position + r % length) + c, 1, d, width);
        }
    }
}

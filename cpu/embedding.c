/* embedding.c - looks up rows of a table by token; and its gradient.
 *
 * Several positions may hold the same token, so the gradient is parallel over columns, not rows:
 * each thread adds all positions, in order, to its own columns of the table.  No two threads write
 * the same element, and the order of summation is always the same.
 *
 * In bf16 a sum must not go through the table, where each addition would round it.  So positions
 * are sorted by token first, and a thread sums all rows of one token in a buffer.
 */
#include "cpu/cpu_internal.h"

#include <string.h>

enum { COLUMNS = 64 };

ROW_FN void scale_token(void *out, const void *token, float scale, int64_t n, int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, out, i, scale * load(type, token, i));
}

ROW_FN void add_position(void *out, const void *token, float scale, const void *position, int64_t n,
                         int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, out, i, scale * load(type, token, i) + load(type, position, i));
}

/* The position of row r of all B T, counted from the start of its document. */
static inline int64_t position_of(tensor starts, int64_t r, int64_t length)
{
    return r % length - (present(starts) ? ((const int32_t *)starts.data)[r] : 0);
}

static void embedding_range(const void *op, int64_t first, int64_t end)
{
    const embedding_op *o = op;
    const int32_t *tokens = o->tokens.data;
    int64_t n = tensor_cols(o->out), length = o->tokens.dim[1];
    float scale = o->scale == 0 ? 1 : (float)o->scale;
    for (int64_t r = first; r < end; r++) {
        void *out = element_at(o->out, r, 0);
        const void *token = element_at(o->wte, tokens[r], 0);
        if (!present(o->wpe)) {
            FOR_WORKING_TYPE(o->out.type, scale_token(out, token, scale, n, TYPE));
            continue;
        }
        const void *position =
            element_at(o->wpe, o->first_position + position_of(o->starts, r, length), 0);
        FOR_WORKING_TYPE(o->out.type, add_position(out, token, scale, position, n, TYPE));
    }
}

CPU_ROWS(embedding, out)

/* ---- gradient, f32 ---- */

static void add_rows(float *to, float scale, const float *from, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] += scale * from[i];
}

/* Zeroes columns [c, c + n) of all rows, unless they accumulate. */
static void clear_columns(grad g, int64_t c, int64_t n)
{
    int64_t rows = present(g.t) && !g.accumulate ? tensor_rows(g.t) : 0;
    for (int64_t r = 0; r < rows; r++)
        memset(row(g.t, r) + c, 0, (size_t)n * sizeof(float));
}

static void strip_range(const void *op, int64_t first, int64_t end)
{
    const embedding_grad_op *o = op;
    const int32_t *tokens = o->tokens.data;
    tensor dwte = o->dwte.t, dwpe = o->dwpe.t;
    int64_t rows = tensor_rows(o->dout), n = tensor_cols(o->dout), length = o->tokens.dim[1];
    float scale = o->scale == 0 ? 1 : (float)o->scale;
    for (int64_t c = first * COLUMNS; c < min64(end * COLUMNS, n); c += COLUMNS) {
        int64_t width = min64(COLUMNS, n - c);
        clear_columns(o->dwte, c, width);
        clear_columns(o->dwpe, c, width);
        for (int64_t r = 0; r < rows; r++) {
            const float *d = row(o->dout, r) + c;
            if (present(dwte)) add_rows(row(dwte, tokens[r]) + c, scale, d, width);
            int64_t at = o->first_position + position_of(o->starts, r, length);
            if (present(dwpe)) add_rows(row(dwpe, at) + c, 1, d, width);
        }
    }
}

static void embedding_grad_f32(device *dev, const embedding_grad_op *o)
{
    int64_t strips = (tensor_cols(o->dout) + COLUMNS - 1) / COLUMNS;
    pool_for(cpu_threads(dev), strips, 1, strip_range, o);
}

/* ---- gradient, bf16 ---- */

enum { SUMS = 1024 };

/* Two sorted runs, from[0, middle) and from[middle, n), become one; of equal tokens the left
 * first. */
static void merge(const int32_t *tokens, const int32_t *from, int64_t middle, int64_t n,
                  int32_t *to)
{
    for (int64_t i = 0, left = 0, right = middle; i < n; i++) {
        bool at_left = left < middle && (right == n || tokens[from[left]] <= tokens[from[right]]);
        to[i] = from[at_left ? left++ : right++];
    }
}

/* The positions by token, ascending among equals, in one half of scratch (2,R). */
static const int32_t *sorted_positions(const embedding_grad_op *o)
{
    int64_t n = tensor_count(o->tokens);
    int32_t *from = o->scratch.data, *to = from + n;
    for (int64_t r = 0; r < n; r++)
        from[r] = (int32_t)r;
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t low = 0; low < n; low += 2 * width)
            merge(o->tokens.data, from + low, min64(width, n - low), min64(2 * width, n - low),
                  to + low);
        int32_t *merged = to;
        to = from;
        from = merged;
    }
    return from;
}

typedef struct {
    const embedding_grad_op *o;
    const int32_t *order; /* (R); NULL without dwte */
} bf16_sums;

/* Columns [c, c + n) of dwte's row of a token, from its positions: the first n_rows of order. */
static void token_sum(const embedding_grad_op *o, const int32_t *order, int64_t n_rows, int64_t c,
                      int64_t n)
{
    const int32_t *tokens = o->tokens.data;
    float sum[SUMS] = {0}, d[SUMS], scale = o->scale == 0 ? 1 : (float)o->scale;
    void *row = element_at(o->dwte.t, tokens[order[0]], c);
    if (o->dwte.accumulate) load_row(BF16, row, n, sum);
    for (int64_t i = 0; i < n_rows; i++) {
        load_row(BF16, element_at(o->dout, order[i], c), n, d);
        add_rows(sum, scale, d, n);
    }
    store_row(BF16, row, n, sum);
}

/* The same of dwpe's row of position t. */
static void position_sum(const embedding_grad_op *o, int64_t t, int64_t c, int64_t n)
{
    float sum[SUMS] = {0}, d[SUMS];
    int64_t length = o->tokens.dim[1];
    void *row = element_at(o->dwpe.t, o->first_position + t, c);
    if (o->dwpe.accumulate) load_row(BF16, row, n, sum);
    bool documents = present(o->starts); /* then any row may have this position */
    for (int64_t r = t; r < tensor_rows(o->dout); r += documents ? 1 : length) {
        if (position_of(o->starts, r, length) != t) continue;
        load_row(BF16, element_at(o->dout, r, c), n, d);
        add_rows(sum, 1, d, n);
    }
    store_row(BF16, row, n, sum);
}

static void clear_range(const void *gradient, int64_t first, int64_t end)
{
    tensor t = ((const grad *)gradient)->t;
    for (int64_t r = first; r < end; r++)
        memset(element_at(t, r, 0), 0, (size_t)tensor_cols(t) * dtype_size(t.type));
}

static void clear(device *dev, grad g)
{
    if (!present(g.t) || g.accumulate) return;
    pool_for(cpu_threads(dev), tensor_rows(g.t), rows_at_once(tensor_cols(g.t)), clear_range, &g);
}

/* How many positions from number k of the order on have its token; 0 if it is not the first. */
static int64_t rows_of_token(const bf16_sums *s, int64_t k)
{
    const int32_t *tokens = s->o->tokens.data, *order = s->order;
    int64_t n = tensor_count(s->o->tokens), end = k + 1;
    if (!order || (k > 0 && tokens[order[k - 1]] == tokens[order[k]])) return 0;
    while (end < n && tokens[order[end]] == tokens[order[k]])
        end++;
    return end - k;
}

static void sum_range(const void *sums, int64_t from, int64_t end)
{
    const bf16_sums *s = sums;
    const embedding_grad_op *o = s->o;
    int64_t n = tensor_cols(o->dout), length = o->tokens.dim[1];
    for (int64_t r = from; r < end; r++) {
        int64_t n_rows = rows_of_token(s, r);
        for (int64_t c = 0; c < n; c += SUMS) {
            if (n_rows) token_sum(o, s->order + r, n_rows, c, min64(SUMS, n - c));
            if (present(o->dwpe.t) && r < length) position_sum(o, r, c, min64(SUMS, n - c));
        }
    }
}

static void embedding_grad_bf16(device *dev, const embedding_grad_op *o)
{
    bf16_sums s = {o, present(o->dwte.t) ? sorted_positions(o) : NULL};
    clear(dev, o->dwte);
    clear(dev, o->dwpe);
    pool_for(cpu_threads(dev), tensor_rows(o->dout), 1, sum_range, &s);
}

void cpu_embedding_grad(device *dev, int stream, const embedding_grad_op *o)
{
    (void)stream;
    (o->dout.type == BF16 ? embedding_grad_bf16 : embedding_grad_f32)(dev, o);
}

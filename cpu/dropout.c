/* dropout.c - dropout, with random numbers computed where they are needed (core/dropout.h)
 *
 * Numbers come in blocks of 64, which a vectorized loop over 16 groups computes. */
#include "cpu/cpu_internal.h"
#include "core/dropout.h"

enum { BLOCK = 64, GROUPS = BLOCK / 4 };

/* The numbers of positions first .. first + BLOCK; 4 divides first. */
static void block_numbers(const dropout_op *o, uint64_t first, uint32_t out[BLOCK])
{
#pragma omp simd
    for (int j = 0; j < GROUPS; j++) {
        uint32_t four[4];
        dropout_numbers(o->seed, o->site, first / 4 + (uint64_t)j, four);
        for (int k = 0; k < 4; k++)
            out[4 * j + k] = four[k];
    }
}

ROW_FN void dropout_row(const dropout_op *o, int64_t r, uint64_t row_of_run, int type)
{
    int64_t n = tensor_cols(o->x);
    const void *x = element_at(o->x, r, 0);
    const void *residual = present(o->residual) ? element_at(o->residual, r, 0) : NULL;
    void *out = element_at(o->out, r, 0);
    uint64_t place = row_of_run * (uint64_t)n;
    uint32_t numbers[BLOCK], least = dropout_threshold(o->rate);
    float scale = (float)(1 / (1 - o->rate));
    for (int64_t done = 0, m; done < n; done += m) {
        uint64_t at = place + (uint64_t)done, skip = at % 4;
        block_numbers(o, at - skip, numbers);
        m = min64(n - done, BLOCK - (int64_t)skip);
        for (int64_t i = 0; i < m; i++) {
            float kept = numbers[skip + (uint64_t)i] < least ? 0 : scale * load(type, x, done + i);
            store(type, out, done + i, kept + (residual ? load(type, residual, done + i) : 0));
        }
    }
}

static void dropout_range(const void *op, int64_t first, int64_t end)
{
    const dropout_op *o = op;
    const uint32_t *start = o->start.data;
    uint64_t row = (uint64_t)start[1] << 32 | start[0];
    for (int64_t r = first; r < end; r++)
        FOR_WORKING_TYPE(o->x.type, dropout_row(o, r, row + (uint64_t)r, TYPE));
}

CPU_ROWS(dropout, x)

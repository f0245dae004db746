/* micro.c - see micro.h */
#include "cpu/micro.h"

#include "cpu/unit.h"

LANE_FN void multiply(a_layout layout, int rows, const micro_product *p)
{
    const float *a = p->a, *b = p->b;
    int64_t row = layout == A_ROWS ? p->lda : 1, step = layout == A_PACKED ? TILE_ROWS
                                                        : layout == A_ROWS ? 1
                                                                           : p->lda;
    lanes sum[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = lanes_zero();
        __builtin_prefetch(p->out + i * p->ld, 1);
        if (TILE_COLS > 16) __builtin_prefetch(p->out + i * p->ld + 16, 1);
    }
    ahead next = p->next ? *p->next : (ahead){0};
    for (int64_t k = 0; k < p->k;) {
        prefetch_next(&next);
        for (int64_t end = k + PREFETCH_EVERY < p->k ? k + PREFETCH_EVERY : p->k; k < end; k++) {
            lanes b0 = lanes_load(b), b1 = lanes_load(b + LANES);
            __builtin_prefetch(b + 8 * TILE_COLS);
            if (layout == A_PACKED) __builtin_prefetch(a + 16 * TILE_ROWS);
            if (TILE_COLS > 16) __builtin_prefetch(b + 8 * TILE_COLS + 16);
#pragma GCC unroll 14
            for (int i = 0; i < rows; i++) {
                lanes x = lanes_all(a[i * row]);
                sum[i][0] = multiply_add(x, b0, sum[i][0]);
                sum[i][1] = multiply_add(x, b1, sum[i][1]);
            }
            a += step;
            b += p->ldb;
        }
    }
    if (p->next) *p->next = next;
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < TILE_VECTORS; v++) {
            float *to = p->out + i * p->ld + v * LANES;
            lanes_store(to, p->add ? lanes_add(lanes_load(to), sum[i][v]) : sum[i][v]);
        }
}

/* Makes the number of rows a constant: sums stay in registers. */
#define CASE(layout, n)                                                                            \
    case n:                                                                                        \
        if (n <= TILE_ROWS) multiply(layout, n <= TILE_ROWS ? n : 1, p);                           \
        return

#define CASES(layout)                                                                              \
    switch (rows) {                                                                                \
        CASE(layout, 1);                                                                           \
        CASE(layout, 2);                                                                           \
        CASE(layout, 3);                                                                           \
        CASE(layout, 4);                                                                           \
        CASE(layout, 5);                                                                           \
        CASE(layout, 6);                                                                           \
        CASE(layout, 7);                                                                           \
        CASE(layout, 8);                                                                           \
        CASE(layout, 9);                                                                           \
        CASE(layout, 10);                                                                          \
        CASE(layout, 11);                                                                          \
        CASE(layout, 12);                                                                          \
        CASE(layout, 13);                                                                          \
        CASE(layout, 14);                                                                          \
    }

static void packed(int rows, const micro_product *p)
{
    CASES(A_PACKED)
}

static void by_rows(int rows, const micro_product *p)
{
    CASES(A_ROWS)
}

static void by_columns(int rows, const micro_product *p)
{
    CASES(A_COLUMNS)
}

void micro_tile(a_layout layout, int rows, const micro_product *p)
{
    static void (*const of[])(int, const micro_product *) = {packed, by_rows, by_columns};
    of[layout](rows, p);
}

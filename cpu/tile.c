/* tile.c - see tile.h */
#include "cpu/tile.h"

#include "cpu/cpu_internal.h"

#define EACH_ROW  for (int64_t r = 0; r < s->rows; r++)
#define EACH_CELL for (int64_t c = 0; c < cols; c++)

ROW_FN void add_old(const product *p, const spot *s, int64_t cols, float *tile)
{
    if (p->beta == 0) return;
    EACH_ROW
    {
        float *x = tile + r * TILE_COLS, beta = p->beta;
        const void *old = element_at(p->out, s->i + r, s->j);
        FOR_WORKING_TYPE(p->out.type, EACH_CELL x[c] = beta * load(TYPE, old, c) + x[c]);
    }
}

ROW_FN void add_sums(const spot *s, int64_t cols, float *tile)
{
    EACH_ROW
    EACH_CELL tile[r * TILE_COLS + c] = s->sums[r * s->ld + c] + tile[r * TILE_COLS + c];
}

ROW_FN void add_bias(const product *p, const spot *s, int64_t cols, float *tile)
{
    const void *bias = element_at(p->bias, 0, s->j);
    EACH_ROW
    {
        float *x = tile + r * TILE_COLS;
        FOR_WORKING_TYPE(p->bias.type, EACH_CELL x[c] += load(TYPE, bias, c));
    }
}

/* tile = part of x, or the reverse */
ROW_FN void load_tile(tensor x, const spot *s, int64_t cols, float *tile)
{
    EACH_ROW
    {
        const void *from = element_at(x, s->i + r, s->j);
        FOR_WORKING_TYPE(x.type, EACH_CELL tile[r * TILE_COLS + c] = load(TYPE, from, c));
    }
}

ROW_FN void store_tile(tensor x, const spot *s, int64_t cols, const float *tile)
{
    EACH_ROW
    {
        void *to = element_at(x, s->i + r, s->j);
        FOR_WORKING_TYPE(x.type, EACH_CELL store(TYPE, to, c, tile[r * TILE_COLS + c]));
    }
}

/* In bf16 the argument is rounded, whether it is stored or not: so it can be recomputed. */
ROW_FN void activate_tile(const product *p, const spot *s, int64_t cols, float *tile)
{
    if (p->out.type == BF16)
        for (int64_t i = 0; i < s->rows * TILE_COLS; i++)
            tile[i] = float_of_bf16(bf16_of_float(tile[i]));
    if (present(p->pre)) store_tile(p->pre, s, cols, tile);
    activate(p->act, s->rows * TILE_COLS, tile, tile);
}

ROW_FN void slope_tile(const product *p, const spot *s, int64_t cols, float *tile)
{
    float at[TILE] = {0};
    load_tile(p->slope_at, s, cols, at);
    activate_grad(p->act, s->rows * TILE_COLS, at, tile);
}

ROW_FN void add_residual(const product *p, const spot *s, int64_t cols, float *tile)
{
    EACH_ROW
    {
        float *x = tile + r * TILE_COLS;
        const void *from = element_at(p->residual, s->i + r, s->j);
        FOR_WORKING_TYPE(p->residual.type, EACH_CELL x[c] += load(TYPE, from, c));
    }
}

ROW_FN void finish_as(const product *p, const spot *s, int64_t cols, float *tile)
{
    if (p->alpha != 1)
        for (int64_t i = 0; i < s->rows * TILE_COLS; i++)
            tile[i] *= p->alpha;
    if (s->first)
        add_old(p, s, cols, tile);
    else
        add_sums(s, cols, tile);
    if (!s->last) {
        EACH_ROW
        memcpy(s->sums + r * s->ld, tile + r * TILE_COLS, (size_t)cols * sizeof *tile);
        return;
    }
    if (present(p->bias)) add_bias(p, s, cols, tile);
    if (present(p->slope_at))
        slope_tile(p, s, cols, tile);
    else if (p->act != ACT_NONE)
        activate_tile(p, s, cols, tile);
    if (present(p->residual)) add_residual(p, s, cols, tile);
    store_tile(p->out, s, cols, tile);
}

void tile_finish(const product *p, const spot *s, float *tile)
{
    if (s->cols == TILE_COLS)
        finish_as(p, s, TILE_COLS, tile);
    else
        finish_as(p, s, s->cols, tile);
}

bool tile_is_plain(const product *p, const spot *s)
{
    if (s->cols < TILE_COLS || p->alpha != 1) return false;
    if (s->first && p->beta != 0 && (p->beta != 1 || p->out.type != F32)) return false;
    return !s->last || (p->out.type == F32 && ends_with_sum(p));
}

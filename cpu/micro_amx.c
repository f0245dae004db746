/* micro_amx.c - see micro.h: a tile of 32 x 32 in the tile registers of AMX-BF16.
 *
 *                                  b: columns, 16    16        registers 0 to 7: up to 16 rows of
 *                            16 pairs +-- 6 --+-- 7 --+        64 bytes: f32, or pairs of bf16
 *                            of k     +-------+-------+
 *      a: rows, 16  +-- 4 --+         |   0   |   1   |        TDPBF16PS adds the product of two to
 *               16  +-- 5 --+         |   2   |   3   |        a third
 *                   +-------+         +-------+-------+
 *
 * The instruction adds to a sum, for its 16 pairs, and with a0 b0 + a1 b1 being the first of them:
 *
 *      (0 + a0 b0 + a2 b2 + ... + a30 b30) + (0 + a1 b1 + a3 b3 + ... + a31 b31)
 *
 * both in fused multiply-adds, rounded to nearest, denormals being 0 (Intel SDM, volume 2,
 * TDPBF16PS; the Intrinsics Guide has one chain instead, which was the first version of it).  Pairs
 * of zeros at the end of the depth change nothing.
 *
 * No processor has run this.  The tests have a model of the instructions (test/amx/amx_model.h),
 * which is included before this file and called in place of the intrinsics.  A run has this kernel
 * only if it asks for it (cpu_device.c).
 */
#include "cpu/micro.h"
#include "cpu/unit.h"

/* What LDTILECFG reads (Intel SDM, volume 2): the registers' shapes, all of them whole. */
static const struct {
    uint8_t palette, start_row, zeros[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} shapes = {.palette = 1,
            .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
            .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
_Static_assert(sizeof shapes == 64 && AMX_SIDE == 16 && K_STEP == 16, "of AMX's first palette");

void micro_begin(void)
{
    _tile_loadconfig(&shapes);
}

/* The registers are as before any use: Linux no longer saves their 8 KB with the thread. */
void micro_end(void)
{
    _tile_release();
}

/* Registers 0 to 3: the sums, from 0; 2 and 3 if there are more than 16 rows. */
LANE_FN void multiply(bool two, const micro_product *p)
{
    enum { A_STEP = AMX_SIDE * sizeof(float), B_STEP = TILE_COLS * sizeof(float) };
    const float *a = p->a, *b = p->b;
    ahead next = p->next ? *p->next : (ahead){0};
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < p->k; k += K_STEP, a += TILE_ROWS * K_STEP, b += TILE_COLS * K_STEP) {
        _tile_loadd(6, b, B_STEP);
        _tile_loadd(4, a, A_STEP);
        _tile_loadd(7, b + AMX_SIDE, B_STEP);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (two) {
            _tile_loadd(5, a + AMX_SIDE * K_STEP, A_STEP);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        for (int i = 0; i < K_STEP; i += PREFETCH_EVERY)
            prefetch_next(&next);
    }
    if (p->next) *p->next = next;
}

LANE_FN void store_sums(bool two, float *to, int64_t ld)
{
    int64_t step = ld * (int64_t)sizeof *to;
    _tile_stored(0, to, step);
    _tile_stored(1, to + AMX_SIDE, step);
    if (!two) return;
    _tile_stored(2, to + AMX_SIDE * ld, step);
    _tile_stored(3, to + AMX_SIDE * ld + AMX_SIDE, step);
}

void micro_tile(a_layout layout, int rows, const micro_product *p)
{
    (void)layout; /* A_PACKED */
    _Alignas(64) float sums[TILE_ROWS * TILE_COLS];
    bool two = rows > AMX_SIDE;
    multiply(two, p);
    if (rows == TILE_ROWS && !p->add) {
        store_sums(two, p->out, p->ld);
        return;
    }
    store_sums(two, sums, TILE_COLS);
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < TILE_COLS; c += LANES) {
            float *to = p->out + i * p->ld + c;
            lanes sum = lanes_load(sums + i * TILE_COLS + c);
            lanes_store(to, p->add ? lanes_add(lanes_load(to), sum) : sum);
        }
}

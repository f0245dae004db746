/* tensor_core.h - the twins of cuda/mma.h: what mma.sync, ldmatrix and cp.async do, lane by lane.
 *
 * The last lane to arrive does the work of its warp, on the registers and rows of all of them.
 * Each lane touches its own rows first, so that AddressSanitizer names the lane that went astray.
 *
 * A copy that was begun arrives when it is waited for, not before (orders with an even number), or
 * at once and only then (odd ones): a tile read too early is still NaN in the one, a tile written
 * too early is already gone in the other.
 */
#ifndef CUDASIM_TENSOR_CORE_H
#define CUDASIM_TENSOR_CORE_H

#include "test/cudasim/emu.h"

#include "base/bf16.h"

/* In copies.cpp. */
void emu_copy_async(void *shared, const void *global, unsigned bytes, bool valid);
void emu_copy_commit(void);
void emu_copy_wait(int groups_left);

static inline float emu_half(unsigned pair, int upper)
{
    return float_of_bf16((uint16_t)(upper ? pair >> 16 : pair & 0xffff));
}

struct emu_mma_lane {
    float *c;
    const unsigned *a, *b;
};

/* c (16,8) += a (16,16) b (16,8); where what lies in a lane: cuda/mma.h */
static inline void emu_mma_warp(void **lane, unsigned)
{
    float a[16][16], b[16][8];
    for (int l = 0; l < 32; l++) {
        const emu_mma_lane *x = (const emu_mma_lane *)lane[l];
        int g = l / 4, t = l % 4;
        for (int i = 0; i < 8; i++)
            a[g + (i >> 1 & 1) * 8][2 * t + (i & 1) + (i >> 2) * 8] = emu_half(x->a[i / 2], i & 1);
        for (int i = 0; i < 4; i++)
            b[2 * t + (i & 1) + (i >> 1) * 8][g] = emu_half(x->b[i / 2], i & 1);
    }
    for (int l = 0; l < 32; l++) {
        emu_mma_lane *x = (emu_mma_lane *)lane[l];
        for (int i = 0; i < 4; i++) {
            float sum = 0;
            for (int k = 0; k < 16; k++)
                sum += a[l / 4 + (i >> 1) * 8][k] * b[k][2 * (l % 4) + (i & 1)];
            x->c[i] += sum;
        }
    }
}

static inline void emu_mma(float *c, const unsigned *a, const unsigned *b, const char *site)
{
    emu_mma_lane x = {c, a, b};
    emu_warp(~0u, site, emu_mma_warp, &x);
}

struct emu_ldmatrix_lane {
    unsigned *r;
    const uint16_t *row;
    bool transposed;
};

static inline void emu_ldmatrix_warp(void **lane, unsigned)
{
    for (int l = 0; l < 32; l++) {
        emu_ldmatrix_lane *x = (emu_ldmatrix_lane *)lane[l];
        for (int i = 0; i < 4; i++) {
            unsigned half[2];
            for (int k = 0; k < 2; k++) {
                int across = l % 4 * 2 + k, down = l / 4;
                int row = x->transposed ? across : down, col = x->transposed ? down : across;
                half[k] = ((const emu_ldmatrix_lane *)lane[8 * i + row])->row[col];
            }
            x->r[i] = half[0] | half[1] << 16;
        }
    }
}

/* Reads the first and the last byte, or writes there what was there. */
static inline void emu_touch_ends(const void *p, size_t bytes, bool write)
{
    volatile char *x = (volatile char *)p;
    char first = x[0], last = x[bytes - 1];
    if (!write) return;
    x[0] = first;
    x[bytes - 1] = last;
}

static inline void emu_ldmatrix(unsigned *r, const void *row, bool transposed, const char *site)
{
    if ((uintptr_t)row % 16) emu_die("%s: ldmatrix: a row that is not aligned to 16", site);
    emu_touch_ends(row, 16, false);
    emu_touch(row, 16, false);
    emu_ldmatrix_lane x = {r, (const uint16_t *)row, transposed};
    emu_warp(~0u, site, emu_ldmatrix_warp, &x);
}

static inline void emu_copy(void *shared, const void *global, unsigned bytes, bool valid)
{
    emu_touch_ends(shared, bytes, true);
    if (valid) emu_touch_ends(global, bytes, false);
    emu_copy_async(shared, global, bytes, valid);
}

#endif

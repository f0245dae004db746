/* sparse_bits.h - bitmaps of non-zeros in words of 32 bits (core/ops.def), for the host and for
 * CUDA: counting, and the random drawing when elements grow back.
 *
 * n of F free elements must be drawn, all equally likely.  A full permutation would be expensive;
 * so the free elements, in order, are cut into n strata of F/n, and one of each is drawn:
 *
 *     free elements   0 1 2 3 | 4 5 6 7 8 | 9 10 11 12 | ...       stratum j: floor(j F/n) ...
 *     drawn               2     4                 11
 *
 * A group of elements can find out on its own which of its elements are drawn, so the order of
 * threads does not matter, and each drawn element costs one Philox call.
 */
#ifndef REGRAD_SPARSE_BITS_H
#define REGRAD_SPARSE_BITS_H

#include "base/philox.h"
#include "base/rng.h"

/* Population count. */
HOST_DEVICE int32_t ones_of(uint32_t word)
{
    word -= word >> 1 & 0x55555555u;
    word = (word & 0x33333333u) + (word >> 2 & 0x33333333u);
    return (int32_t)(((word + (word >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24);
}

/* Position of the n-th bit of word that is 1, n from 0. */
HOST_DEVICE uint32_t nth_one(uint32_t word, int64_t n)
{
    for (; n > 0; n--)
        word &= word - 1;
    return word & (0u - word);
}

/* Mask of word w's bits for elements before `end`. */
HOST_DEVICE uint32_t elements_of(int64_t w, int64_t end)
{
    int64_t n = end - 32 * w;
    return n >= 32 ? 0xffffffffu : n > 0 ? (1u << n) - 1 : 0;
}

typedef struct {
    uint32_t seed[2], matrix, event;
    int64_t free, n; /* 0 < n <= free < 2^31 */
} drawing;

/* The stratum that contains free element z. */
HOST_DEVICE int64_t stratum_of(const drawing *d, int64_t z)
{
    return ((z + 1) * d->n - 1) / d->free;
}

/* The free element that is drawn from stratum j. */
HOST_DEVICE int64_t drawn_of(const drawing *d, int64_t j)
{
    int64_t begin = j * d->free / d->n, length = (j + 1) * d->free / d->n - begin;
    uint32_t c[4] = {(uint32_t)j, d->matrix, RNG_REGROW, d->event};
    philox4x32(d->seed, c);
    return begin + (int64_t)((uint64_t)c[0] * (uint64_t)length >> 32);
}

/* Fills words [first, first + words) of bits with the drawn elements; z: free elements before them;
 * end: elements of the matrix. */
HOST_DEVICE void draw_words(const drawing *d, uint32_t *bits, const uint32_t *taken, int64_t first,
                            int64_t words, int64_t z, int64_t end)
{
    if (z >= d->free) return;
    int64_t j = stratum_of(d, z), next = drawn_of(d, j);
    if (next < z && ++j < d->n) next = drawn_of(d, j);
    for (int64_t w = first; w < first + words; w++) {
        uint32_t is_free = ~taken[w] & elements_of(w, end);
        int64_t after = z + ones_of(is_free);
        for (; j < d->n && next < after; next = ++j < d->n ? drawn_of(d, j) : next)
            bits[w] |= nth_one(is_free, next - z);
        z = after;
    }
}

#endif

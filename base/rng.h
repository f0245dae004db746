/* rng.h - random numbers as a function, without state.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC
 * 2011) maps (key, counter) to 128 random bits.  A random value is named by a seed, a stream (its
 * purpose) and an index, and is the same in any order, on any thread or rank.  So the state of all
 * randomness in a run is the seed and the step number.
 */
#ifndef REGRAD_RNG_H
#define REGRAD_RNG_H

#include <stdint.h>

/* What the numbers are for; each use has its own stream, so that uses never correlate. */
typedef enum {
    RNG_INIT = 1,
    RNG_ORDER = 2,
    RNG_SAMPLE = 3,
    RNG_TEST = 4,
    RNG_SPLIT = 5,
    RNG_DROP = 6,
    RNG_AUGMENT = 7,
    RNG_MIX = 8,
    RNG_REGROW = 9,
    RNG_SETS = 10,
    RNG_DROPOUT = 11, /* core/dropout.h */
    RNG_CROP = 20,    /* images: see data/images/augment.h */
    RNG_JITTER = 21,
    RNG_ERASE = 22,
    RNG_CUT = 23,
    RNG_RAND = 24
} rng_stream;

/* 128 bits for (seed, stream, index). */
void rng_bits(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);

/* Uniform in [0, 1), 53 bits. */
double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Four standard normals from the 128 bits of the index: two Box-Muller pairs of 32-bit uniforms (up
 * to 6.6 sigma).  For filling large tensors. */
void rng_normal4(uint64_t seed, uint64_t stream, uint64_t index, double out[4]);

/* Element i (0 <= i < n) of a pseudo-random permutation of 0..n-1 chosen by (seed, stream, which).
 * O(1): a Feistel network over the next even power of two, iterated until the result is < n. */
uint64_t rng_permute(uint64_t seed, uint64_t stream, uint64_t which, uint64_t i, uint64_t n);

#endif

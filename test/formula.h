/* formula.h - numbers that the golden scripts and the tests
 * both make: see test/golden/golden.py. */
#ifndef REGRAD_TEST_FORMULA_H
#define REGRAD_TEST_FORMULA_H

#include "base/rng.h"

#include <stdint.h>

static inline uint32_t formula_hash(uint32_t k, uint32_t j)
{
    uint32_t h = k * 7919u + j;
    h ^= h >> 16;
    h *= 0x7feb352du;
    h ^= h >> 15;
    h *= 0x846ca68bu;
    h ^= h >> 16;
    return h;
}

/* In amplitude * [-1/2, 1/2), rounded to float. */
static inline float formula_value(uint32_t k, uint32_t j, double amplitude, double middle)
{
    return (float)(middle + ((double)(formula_hash(k, j) >> 8) * 0x1p-24 - 0.5) * amplitude);
}

/* Number i of a stream of standard normals. */
static inline double normal_at(uint64_t seed, uint64_t stream, uint64_t i)
{
    double four[4];
    rng_normal4(seed, stream, i / 4, four);
    return four[i % 4];
}

#endif

/* rng.c - see rng.h */
#include "base/rng.h"
#include "base/philox.h"

#include <math.h>

void rng_bits(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4])
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    out[0] = (uint32_t)index;
    out[1] = (uint32_t)(index >> 32);
    out[2] = (uint32_t)stream;
    out[3] = (uint32_t)(stream >> 32);
    philox4x32(key, out);
}

static double unit(uint32_t hi, uint32_t lo)
{
    uint64_t bits = ((uint64_t)hi << 32 | lo) >> 11;
    return (double)bits * 0x1p-53;
}

double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t b[4];
    rng_bits(seed, stream, index, b);
    return unit(b[0], b[1]);
}

void rng_normal4(uint64_t seed, uint64_t stream, uint64_t index, double out[4])
{
    uint32_t b[4];
    rng_bits(seed, stream, index, b);
    for (int i = 0; i < 4; i += 2) {
        double radius = sqrt(-2.0 * log(((double)b[i] + 1.0) * 0x1p-32));
        double angle = 2.0 * 3.14159265358979323846 * ((double)b[i + 1] * 0x1p-32);
        out[i] = radius * cos(angle);
        out[i + 1] = radius * sin(angle);
    }
}

uint64_t rng_permute(uint64_t seed, uint64_t stream, uint64_t which, uint64_t i, uint64_t n)
{
    int half = 1; /* bits in each half: 2^(2 half) >= n */
    while (half < 32 && (UINT64_C(1) << (2 * half)) < n)
        half++;
    uint64_t mask = (UINT64_C(1) << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 6; round++) {
            uint32_t b[4];
            rng_bits(seed, stream + (round << 8) + (which << 16), right, b);
            uint64_t next = left ^ ((uint64_t)b[0] & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

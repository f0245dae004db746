/* dropout.h - which elements dropout drops: a function of their position, for the host and for
 * CUDA.
 *
 *     position of an element  (row of the run) * columns + column; rows of the run: samples in order, T rows each
 *     its random number       Philox of (seed, site, position / 4), word position % 4
 *     dropped                 if that is below rate * 2^32
 *
 * So a mask is never stored: backward and recomputation make the same one, for any split into
 * micro-batches and ranks. A site is a place in the model, with random numbers of its own.
 */
#ifndef REGRAD_DROPOUT_H
#define REGRAD_DROPOUT_H

#include "base/philox.h"

/* One of rng.h's streams: the lowest byte distinguishes the sites. */
#define DROPOUT_STREAM 11u

/* The random numbers of positions 4 group ... 4 group + 3. */
HOST_DEVICE void dropout_numbers(uint64_t seed, uint64_t site, uint64_t group, uint32_t out[4])
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    out[0] = (uint32_t)group;
    out[1] = (uint32_t)(group >> 32);
    out[2] = (uint32_t)site << 8 | DROPOUT_STREAM;
    out[3] = (uint32_t)(site >> 24);
    philox4x32(key, out);
}

/* Elements whose random number is below this are dropped. */
static inline uint32_t dropout_threshold(double rate)
{
    return (uint32_t)(rate * 4294967296.0);
}

#endif

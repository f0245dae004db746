/* dropout.h - which elements dropout leaves out: a function of their place, for the host and for CUDA.
 *
 *     place of an element    (row of the run) * columns + column; rows of the run: samples one after the other, T each
 *     its random number      Philox of (seed, site, place / 4), word place % 4
 *     left out               if that is below rate * 2^32
 *
 * So a mask is never stored: backward and recomputation make the same one, whatever the micro-batches and ranks.
 * A site is a place in the model, with numbers of its own.
 */
#ifndef REGRAD_DROPOUT_H
#define REGRAD_DROPOUT_H

#include "base/philox.h"

/* Of rng.h's streams: its lowest byte tells the uses apart. */
#define DROPOUT_STREAM 11u

/* The four numbers of places 4 group, 4 group + 1, ... */
HOST_DEVICE void dropout_numbers(uint64_t seed, uint64_t site, uint64_t group, uint32_t out[4])
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    out[0] = (uint32_t)group;
    out[1] = (uint32_t)(group >> 32);
    out[2] = (uint32_t)site << 8 | DROPOUT_STREAM;
    out[3] = (uint32_t)(site >> 24);
    philox4x32(key, out);
}

/* Below this number an element is left out. */
static inline uint32_t dropout_threshold(double rate)
{
    return (uint32_t)(rate * 4294967296.0);
}

#endif

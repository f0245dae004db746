/* philox.h - Philox4x32-10 (base/rng.h), for the host and for CUDA. */
#ifndef REGRAD_PHILOX_H
#define REGRAD_PHILOX_H

#include <stdint.h>

#include "base/host_device.h"

/* Two 32x32 -> 64 bit products a round, keys advanced by the Weyl constants. */
HOST_DEVICE void philox4x32(const uint32_t key_in[2], uint32_t c[4])
{
    uint32_t key[2] = {key_in[0], key_in[1]};
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ key[0];
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ key[1];
        c[1] = (uint32_t)p1;
        c[3] = (uint32_t)p0;
        c[0] = n0;
        c[2] = n2;
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

#endif

/* hash.h - a number from bytes: FNV-1a, 64 bits (Fowler, Noll, Vo). */
#ifndef REGRAD_HASH_H
#define REGRAD_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline size_t hash_bytes(const uint8_t *p, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

#endif

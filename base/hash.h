/* hash.h - FNV-1a, 64 bits (Fowler, Noll, Vo).  For hash tables; not collision-resistant, so not
 * for identifying contents (base/fingerprint.h does that). */
#ifndef REGRAD_HASH_H
#define REGRAD_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)

/* Continues a hash over n bytes; HASH_BEGIN starts one. */
static inline uint64_t hash_add(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Slot in a table: mixes all bits of the hash into the low ones. */
static inline size_t hash_bytes(const uint8_t *p, size_t n)
{
    uint64_t h = hash_add(HASH_BEGIN, p, n);
    return (size_t)(h ^ h >> 32);
}

#endif

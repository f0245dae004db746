/* grow.h - an array that grows by doubling; failure becomes an error. */
#ifndef REGRAD_GROW_H
#define REGRAD_GROW_H

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Makes room for `need` elements of `size` bytes in the array that *pointer points to. `pointer` is
 * the address of a pointer of any type; NULL with capacity 0 is an empty array. On failure the
 * array is unchanged. */
static inline NODISCARD error *grow_array(void *pointer, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) return NULL;
    size_t wanted = need > *capacity * 2 ? need : *capacity * 2, bytes;
    void *old, *grown = NULL;
    memcpy(&old, pointer, sizeof old);
    if (!__builtin_mul_overflow(wanted, size, &bytes)) grown = realloc(old, bytes);
    if (!grown) return user_error("out of memory allocating %zu x %zu bytes", wanted, size);
    memcpy(pointer, &grown, sizeof grown);
    *capacity = wanted;
    return NULL;
}

#endif

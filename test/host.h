/* host.h - a device for tests of the memory alone: it has memory and copies, and no operations.
 *
 * It counts what is allocated, and can refuse to.  Like any device of one stream it has no sync.
 */
#ifndef REGRAD_TEST_HOST_H
#define REGRAD_TEST_HOST_H

#include "core/ops.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    char *memory; /* the last allocation */
    size_t bytes;
    int allocations, releases;
    bool refuse;
} host_memory;

static inline error *host_alloc(device *dev, size_t bytes, void **out)
{
    host_memory *m = dev->state;
    if (m->refuse) return user_error("no memory for %zu bytes", bytes);
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*out) return user_error("no memory for %zu bytes", bytes);
    m->memory = *out;
    m->bytes = bytes;
    m->allocations++;
    return NULL;
}

static inline void host_release(device *dev, void *memory)
{
    host_memory *m = dev->state;
    m->releases++;
    free(memory);
}

static inline void host_put(device *dev, int stream, void *dst, const void *host, size_t bytes)
{
    (void)dev, (void)stream;
    memcpy(dst, host, bytes);
}

static inline void host_get(device *dev, int stream, void *host, const void *src, size_t bytes)
{
    (void)dev, (void)stream;
    memcpy(host, src, bytes);
}

static inline void host_set(device *dev, int stream, void *dst, int byte, size_t bytes)
{
    (void)dev, (void)stream;
    memset(dst, byte, bytes);
}

static inline device host_device(host_memory *m)
{
    static const device_ops ops = {
        .name = "host",
        .working_types = 1u << F32 | 1u << F64,
        .alloc = host_alloc,
        .release = host_release,
        .put = host_put,
        .get = host_get,
        .set = host_set,
    };
    *m = (host_memory){0};
    return (device){.ops = &ops, .state = m, .threads = 1};
}

#endif

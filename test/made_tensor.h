/* made_tensor.h - tensors that golden scripts and tests both make of their names:
 * golden/made_tensor.py. */
#ifndef REGRAD_TEST_MADE_TENSOR_H
#define REGRAD_TEST_MADE_TENSOR_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/tensor.h"

static inline float number(const char *name, uint32_t i)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    uint32_t x = h + i * 0x9E3779B1u;
    x = (x ^ x >> 16) * 0x85EBCA6Bu;
    x = (x ^ x >> 13) * 0xC2B2AE35u;
    return (float)((double)((x ^ x >> 16) >> 12) / (1 << 21) - 0.25);
}

static inline bool is_norm(const char *name)
{
    size_t n = strlen(name);
    return n > 7 && !strcmp(name + n - 7, ".weight") &&
           (strstr(name, "norm") || strstr(name, ".ln_"));
}

/* Of the shape in a list, named as the item is; free(.data). */
static inline tensor make_tensor(const cJSON *item, bool gemma)
{
    shape s = {0};
    const cJSON *dim;
    cJSON_ArrayForEach(dim, item) s.dim[s.rank++] = dim->valueint;
    tensor t = tensor_of(NULL, F32, s);
    float *data = malloc(tensor_bytes(t));
    for (int64_t i = 0; i < tensor_count(t); i++)
        data[i] = (is_norm(item->string) && !gemma) + number(item->string, (uint32_t)i);
    t.data = data;
    return t;
}

#endif

/* scale_codes.c - scales of coded blocks in a byte each (core/scale_codes.h); threads share the
 * groups. */
#include "core/scale_codes.h"
#include "cpu/cpu_internal.h"

static int64_t scales_of_group(int64_t group, int64_t scales)
{
    return min64(SCALE_GROUP, scales - group * SCALE_GROUP);
}

static void sum_range(const void *op, int64_t first, int64_t end)
{
    const pack_scales_op *o = op;
    const float *scales = o->scales.data;
    for (int64_t g = first; g < end; g++)
        ((float *)o->groups.data)[1 + g] =
            scale_sum(scales + g * SCALE_GROUP, scales_of_group(g, tensor_count(o->scales)));
}

static void pack_range(const void *op, int64_t first, int64_t end)
{
    const pack_scales_op *o = op;
    const float *scales = o->scales.data;
    float *groups = o->groups.data;
    for (int64_t g = first; g < end; g++)
        groups[1 + g] =
            scale_pack(scales + g * SCALE_GROUP, scales_of_group(g, tensor_count(o->scales)),
                       groups[0], (uint8_t *)o->codes.data + g * SCALE_GROUP);
}

void cpu_pack_scales(device *dev, int stream, const pack_scales_op *o)
{
    (void)stream;
    int64_t n = tensor_count(o->scales);
    float *groups = o->groups.data;
    pool_for(cpu_threads(dev), scale_groups(n), 1, sum_range, o);
    groups[0] = scale_mean(groups + 1, scale_groups(n), n);
    pool_for(cpu_threads(dev), scale_groups(n), 1, pack_range, o);
}

static void unpack_scales_range(const void *op, int64_t first, int64_t end)
{
    const unpack_scales_op *o = op;
    const uint8_t *codes = o->codes.data;
    const float *groups = o->groups.data;
    float values[SCALE_ONE + 1];
    for (int i = 0; i <= SCALE_ONE; i++)
        values[i] = scale_code_value(i);
    for (int64_t g = first; g < end; g++) {
        int64_t at = g * SCALE_GROUP, n = scales_of_group(g, tensor_count(o->scales));
        for (int64_t i = at; i < at + n; i++)
            ((float *)o->scales.data)[i] = fmaf(groups[1 + g], values[codes[i]], groups[0]);
    }
}

CPU_ENTRY(unpack_scales, scale_groups(tensor_count(o->scales)), 16)

/* ref_codes.c - the reference's codes of numbers and of scales: the nearest, looked for among
 * all. */
#include "core/block_codes.h"
#include "core/scale_codes.h"
#include "test/ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *number(tensor t, int64_t i)
{
    return (double *)t.data + i;
}

static double value_of(int form, int code)
{
    return form == CODES_INT8 ? (double)(code - 127) / 127 : (double)nf4_value(code);
}

static int nearest(int form, double y)
{
    int n = form == CODES_INT8 ? 255 : 16, best = 0;
    for (int code = 1; code < n; code++)
        if (fabs(value_of(form, code) - y) < fabs(value_of(form, best) - y)) best = code;
    return best;
}

void ref_quantize(device *dev, int stream, const quantize_op *o)
{
    (void)dev, (void)stream;
    uint8_t *codes = o->codes.data;
    for (int64_t b = 0; b < tensor_count(o->scales); b++) {
        int64_t end =
            (b + 1) * CODE_BLOCK < tensor_count(o->x) ? (b + 1) * CODE_BLOCK : tensor_count(o->x);
        float most = 0;
        for (int64_t i = b * CODE_BLOCK; i < end; i++)
            most = code_scale(most, (float)*number(o->x, i));
        if (o->form == CODES_BF16) most = 1;
        ((float *)o->scales.data)[b] = most;
        for (int64_t i = b * CODE_BLOCK; i < end; i++) {
            if (o->form == CODES_BF16) {
                uint16_t bits = bf16_of_float((float)*number(o->x, i));
                memcpy(codes + 2 * i, &bits, 2);
                continue;
            }
            int code = nearest(o->form, (double)code_share((float)*number(o->x, i), most));
            if (o->form == CODES_INT8)
                codes[i] = (uint8_t)(code - 127);
            else
                codes[i / 2] = (uint8_t)(i % 2 ? (codes[i / 2] & 240) | code : code << 4);
        }
    }
}

void ref_dequantize(device *dev, int stream, const dequantize_op *o)
{
    (void)dev, (void)stream;
    const uint8_t *codes = o->codes.data;
    for (int64_t i = 0; i < tensor_count(o->out); i++) {
        if (o->form == CODES_BF16) {
            uint32_t bits = (uint32_t)codes[2 * i] << 16 | (uint32_t)codes[2 * i + 1] << 24;
            *number(o->out, i) = (double)float_of_bits(bits);
            continue;
        }
        int code = o->form == CODES_INT8 ? (int8_t)codes[i] + 127
                   : i % 2               ? codes[i / 2] & 15
                                         : codes[i / 2] >> 4;
        *number(o->out, i) =
            (double)((const float *)o->scales.data)[i / CODE_BLOCK] * value_of(o->form, code);
    }
}

/* The values in their order, by the formula. */
static double scale_value(int code)
{
    int m = abs(code - SCALE_ZERO), e = 0;
    if (code == SCALE_ZERO || code == SCALE_ONE) return code == SCALE_ONE;
    for (e = 6; m < 1 << e; e--) {}
    double size = pow(10, e - 6) * (0.1 + 0.9 * (m - (1 << e) + 0.5) / (1 << e));
    return code < SCALE_ZERO ? -size : size;
}

void ref_pack_scales(device *dev, int stream, const pack_scales_op *o)
{
    (void)dev, (void)stream;
    const float *scales = o->scales.data;
    float *groups = o->groups.data;
    int64_t n = tensor_count(o->scales);
    double mean = 0;
    for (int64_t i = 0; i < n; i++)
        mean += (double)scales[i] / (double)n;
    groups[0] = (float)mean;
    for (int64_t at = 0; at < n; at += SCALE_GROUP) {
        int64_t end = at + SCALE_GROUP < n ? at + SCALE_GROUP : n;
        double size = 0;
        for (int64_t i = at; i < end; i++)
            size = fmax(size, fabs((double)scales[i] - mean));
        groups[1 + at / SCALE_GROUP] = (float)size;
        for (int64_t i = at; i < end; i++) {
            int best = SCALE_ZERO;
            double y = size > 0 ? ((double)scales[i] - mean) / size : 0;
            for (int code = 0; code <= SCALE_ONE; code++)
                if (fabs(scale_value(code) - y) < fabs(scale_value(best) - y)) best = code;
            ((uint8_t *)o->codes.data)[i] = (uint8_t)best;
        }
    }
}

void ref_unpack_scales(device *dev, int stream, const unpack_scales_op *o)
{
    (void)dev, (void)stream;
    const float *groups = o->groups.data;
    const uint8_t *codes = o->codes.data;
    for (int64_t i = 0; i < tensor_count(o->scales); i++)
        ((float *)o->scales.data)[i] =
            (float)((double)groups[0] +
                    (double)groups[1 + i / SCALE_GROUP] * scale_value(codes[i]));
}

/* codes.c - converts numbers to codes of 8 or 4 bits and back (core/block_codes.h); threads share
 * the blocks. */
#include "core/block_codes.h"
#include "cpu/cpu_internal.h"

/* One block of n numbers, starting with number `at`. */
ROW_FN void quantize_block(const quantize_op *o, int64_t at, int64_t n, int type)
{
    float most = 0;
    for (int64_t i = 0; i < n; i++)
        most = code_scale(most, load(type, o->x.data, at + i));
    most = kept_scale((code_form)o->form, most);
    ((float *)o->scales.data)[at / CODE_BLOCK] = most;
    for (int64_t i = 0; i < n; i++)
        put_code(o->form, o->codes.data, at + i, code_share(load(type, o->x.data, at + i), most));
}

static void quantize_range(const void *op, int64_t first, int64_t end)
{
    const quantize_op *o = op;
    int64_t count = tensor_count(o->x);
    for (int64_t b = first; b < end; b++)
        FOR_WORKING_TYPE(
            o->x.type,
            quantize_block(o, b * CODE_BLOCK, min64(CODE_BLOCK, count - b * CODE_BLOCK), TYPE));
}

CPU_ENTRY(quantize, tensor_count(o->scales), 64)

ROW_FN void dequantize_block(const dequantize_op *o, int64_t at, int64_t n, int form, int type)
{
    float scale = ((const float *)o->scales.data)[at / CODE_BLOCK];
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, o->out.data, at + i,
              scale * code_value((code_form)form, o->codes.data, at + i));
}

static void dequantize_range(const void *op, int64_t first, int64_t end)
{
    const dequantize_op *o = op;
    int64_t count = tensor_count(o->out);
    for (int64_t b = first; b < end; b++) {
        int64_t at = b * CODE_BLOCK, n = min64(CODE_BLOCK, count - at);
        if (o->form == CODES_INT8)
            FOR_WORKING_TYPE(o->out.type, dequantize_block(o, at, n, CODES_INT8, TYPE));
        else if (o->form == CODES_BF16)
            FOR_WORKING_TYPE(o->out.type, dequantize_block(o, at, n, CODES_BF16, TYPE));
        else
            FOR_WORKING_TYPE(o->out.type, dequantize_block(o, at, n, CODES_NF4, TYPE));
    }
}

CPU_ENTRY(dequantize, tensor_count(o->scales), 64)

/* tensor.c - see tensor.h */
#include "core/tensor.h"

#include <stdio.h>

static const struct {
    const char *name;
    size_t size;
} types[DTYPE_COUNT] = {
    [DT_NONE] = {"none", 0}, [F32] = {"f32", 4}, [F64] = {"f64", 8},
    [I32] = {"i32", 4},      [U8] = {"u8", 1},   [BF16] = {"bf16", 2},
    [I16] = {"i16", 2},      [I8] = {"i8", 1},   [I64] = {"i64", 8},
};

size_t dtype_size(dtype type)
{
    return types[type].size;
}

const char *dtype_name(dtype type)
{
    return types[type].name;
}

tensor tensor_of(void *data, dtype type, shape s)
{
    tensor t = {.data = data, .type = type, .rank = s.rank};
    for (int i = 0; i < s.rank; i++)
        t.dim[i] = s.dim[i];
    t.ld = tensor_cols(t);
    return t;
}

int64_t tensor_cols(tensor t)
{
    return t.rank ? t.dim[t.rank - 1] : 1;
}

/* Of sizes, which are not negative. */
static int64_t product(int64_t a, int64_t b)
{
    int64_t c;
    return __builtin_mul_overflow(a, b, &c) ? INT64_MAX : c;
}

int64_t tensor_rows(tensor t)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < t.rank; i++)
        rows = product(rows, t.dim[i]);
    return rows;
}

int64_t tensor_count(tensor t)
{
    return product(tensor_rows(t), tensor_cols(t));
}

size_t tensor_bytes(tensor t)
{
    return (size_t)product(product(tensor_rows(t), t.ld), (int64_t)dtype_size(t.type));
}

bool tensor_contiguous(tensor t)
{
    return t.ld == tensor_cols(t);
}

tensor tensor_slice(tensor t, int64_t first, int64_t n)
{
    tensor s = {.type = t.type, .rank = 2, .dim = {n, tensor_cols(t)}, .ld = t.ld};
    s.data = (char *)t.data + (size_t)(first * t.ld) * dtype_size(t.type);
    return s;
}

tensor tensor_part(tensor t, int64_t first, int64_t n)
{
    return tensor_of((char *)t.data + (size_t)first * dtype_size(t.type), t.type, SHAPE(n));
}

const char *tensor_text(tensor t, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "(");
    for (int i = 0; i < t.rank && used < size; i++)
        used +=
            (size_t)snprintf(buffer + used, size - used, i ? ",%lld" : "%lld", (long long)t.dim[i]);
    if (used < size) snprintf(buffer + used, size - used, ") %s", dtype_name(t.type));
    return buffer;
}

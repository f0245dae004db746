/* tensor.h - a view of memory: address, type and shape.
 *
 * A tensor owns nothing and is passed by value.  Elements are stored in row-major order; `ld` is
 * the distance from one row (last dimension) to the next, equal to the last dimension if rows are
 * not padded.
 *
 *     (B,T,C)   rows = B*T,  cols = C           row r, column c  ->  data[r * ld + c]
 *
 * A tensor of type DT_NONE is "absent": that is how optional operands are left out.  While a
 * program is recorded, the arena returns addresses that must not be dereferenced, so presence is a
 * matter of the type, never of the pointer.
 */
#ifndef REGRAD_TENSOR_H
#define REGRAD_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { DT_NONE, F32, F64, I32, U8, BF16, I16, I8, I64, DTYPE_COUNT } dtype;

enum { MAX_RANK = 4 };

typedef struct {
    int rank;
    int64_t dim[MAX_RANK];
} shape;

#define SHAPE(...)                                                                                 \
    ((shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})

typedef struct {
    void *data;
    dtype type;
    int rank;
    int64_t dim[MAX_RANK];
    int64_t ld; /* elements from one row to the next */
} tensor;

/* A gradient to be written: accumulate says whether to add to what is there. */
typedef struct {
    tensor t;
    bool accumulate;
} grad;

static inline bool present(tensor t)
{
    return t.type != DT_NONE;
}

size_t dtype_size(dtype type);
const char *dtype_name(dtype type);

/* A contiguous tensor over data. */
tensor tensor_of(void *data, dtype type, shape s);

/* If a product overflows, these are INT64_MAX: no memory is that large, and the arena refuses
 * it. */
int64_t tensor_count(tensor t);   /* elements */
int64_t tensor_cols(tensor t);    /* last dimension */
int64_t tensor_rows(tensor t);    /* product of all others */
size_t tensor_bytes(tensor t);    /* up to the end of the last row, padding included */
bool tensor_contiguous(tensor t); /* ld == cols */

/* Rows [first, first + n) of t as an (n, cols) tensor. */
tensor tensor_slice(tensor t, int64_t first, int64_t n);
/* Elements [first, first + n) of a contiguous t as an (n) tensor. */
tensor tensor_part(tensor t, int64_t first, int64_t n);

/* "(4,64,768) f32" for messages; returns buffer. */
const char *tensor_text(tensor t, char *buffer, size_t size);

/* The type of statistics (means, log-sum-exp, losses) for a working type: f32 also for bf16. */
static inline dtype stat_type(dtype working)
{
    return working == F64 ? F64 : F32;
}

#endif

/* gguf.h - writes model files for llama.cpp and programs based on it.
 *
 *   "GGUF", version 3, number of tensors, number of entries      all little endian
 *   entries:  key, type, value                                   strings are length and bytes
 *   tensors:  name, number of dimensions, sizes (fastest-varying first), type, offset
 *   padding to 32 bytes; then the tensors' data, each padded to 32
 *
 * (ggml's docs/gguf.md.)  Everything but the tensors' data is assembled in memory; the data is
 * converted from f32 row by row while it is written:
 *
 *     gguf_create(&g);   gguf_text(g, "general.architecture", ...);   gguf_tensor(g, ...) ...
 *     gguf_write(g, path);   gguf_discard(g);
 *
 * The first failure is kept, and gguf_write returns it.
 */
#ifndef REGRAD_GGUF_H
#define REGRAD_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct gguf gguf;

/* How numbers are stored.  Q8_0: blocks of 32 share an f16 scale, max |x| / 127; a row must be a
 * multiple of 32. */
enum { GGUF_BLOCK = 32 };
typedef enum { GGUF_F32, GGUF_F16, GGUF_BF16, GGUF_Q8_0 } gguf_type;

error *gguf_create(gguf **out) NODISCARD;
void gguf_discard(gguf *g); /* NULL is ignored */

/* ---- metadata ---- */

void gguf_u32(gguf *g, const char *key, int64_t value);
void gguf_f32(gguf *g, const char *key, double value);
void gguf_bool(gguf *g, const char *key, bool value);
void gguf_text(gguf *g, const char *key, const char *value);

/* An array of n strings or n i32; followed by its items, one call each. */
void gguf_texts(gguf *g, const char *key, size_t n);
void gguf_numbers(gguf *g, const char *key, size_t n);
void gguf_item_text(gguf *g, const void *bytes, size_t n);
void gguf_item_number(gguf *g, int32_t value);

/* ---- tensors ---- */

/* A tensor's values, in f32 in host memory: its row i is data + order(i) * ld, plus `add`. order(i)
 * is i, or with heads of `pairs` rows alternates between the two halves of each head: 0, D/2, 1,
 * D/2 + 1 ...  The same applies to the elements of a vector. */
typedef struct {
    const float *data;
    int64_t ld;
    int64_t pairs; /* 0, or the rows per head */
    float add;
} gguf_rows;

/* Memory for n numbers of a tensor that exists only in the file; freed with g. */
error *gguf_room(gguf *g, size_t n, float **out) NODISCARD;

/* A matrix (rows, cols), or a vector of cols elements if rows is 0.  The values must outlive
 * gguf_write; the name is copied. */
void gguf_tensor(gguf *g, const char *name, gguf_type type, int64_t rows, int64_t cols,
                 gguf_rows values);

/* Writes the file; it is complete or not there. */
error *gguf_write(gguf *g, const char *path) NODISCARD;

#endif

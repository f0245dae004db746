/* safetensors.h - reads and writes files of named tensors.
 *
 *   8 bytes: length of the header, little endian
 *   header:  {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, ...}, padded with spaces
 *   data:    the tensors back to back, in row-major order; offsets count from here
 *
 * Files may come from anywhere, so the header is checked completely before anything else: its
 * length against the file's, names for uniqueness, entries for completeness, sizes against dtype
 * and shape, and that the tensors cover the data without gaps or overlaps.  No size in it is
 * trusted before it is compared with the file's, so an absurd one allocates nothing.
 *
 * A large model is split over several files with an index, model.safetensors.index.json:
 *
 *   {"metadata": ..., "weight_map": {"name": "model-00001-of-00002.safetensors", ...}}
 *
 * Once opened, both look the same.
 *
 * Values are never converted implicitly: the dtype requested and the file's must match.
 */
#ifndef REGRAD_SAFETENSORS_H
#define REGRAD_SAFETENSORS_H

#include "core/ops.h"

/* ---- writing ---- */

/* The floats of a file: as they are on the device, or those that are f32 there in 16 bits, rounded
 * to the nearest, ties to even. */
typedef enum { FILE_AS_IS, FILE_BF16, FILE_F16 } file_floats;

/* A tensor on the device.  transposed: (out, in) there, (in, out) in the file; matrices only.
 *
 * groups > 0: the device has the rows of up to three parts stacked, the file has them in groups:
 * part_rows[0] / groups rows of the first part, then of the second, the third, then the next group.
 * (queries, keys, values; one group per key head.)  If transposed, these are the device's columns.
 *
 *     device  q0 q1 q2 q3 | k0 k1 | v0 v1          file, 2 groups  q0 q1 k0 v0 | q2 q3 k1 v1
 */
typedef struct {
    const char *name;
    tensor value; /* contiguous */
    bool transposed;
    int64_t groups, part_rows[3];
    int64_t of, at; /* its first element is element `at` of the source's `of`-th tensor */
    /* If a tensor is sharded over several processes, open() provides this process's part: elements
     * [first, first + held) of the source's tensor, starting at value.data. */
    bool sharded;
    int64_t first, held;
} named_tensor;

/* The source of a list's values, if they are not all in memory at once: each tensor in turn is
 * opened, then closed. */
typedef struct {
    tensor (*open)(void *context, int64_t i);
    void (*close)(void *context);
    void *context;
} tensor_source;

/* Writes n tensors, in this order; to a temporary file that is synced, then renamed.  from: ?
 * source of the values.  dev: NULL where they are in the host's memory; then any thread may write
 * them.  User errors: the path cannot be written, the disk is full; then no file of
 * that name is created or changed. */
error *safetensors_write(const char *path, const named_tensor *list, int64_t n, device *dev,
                         const tensor_source *from) NODISCARD;
/* The same in other floats.  User error, too: a number that is finite in f32 and not in f16, by the
 * tensor's name. */
error *safetensors_write_as(const char *path, const named_tensor *list, int64_t n,
                            file_floats floats, device *dev, const tensor_source *from) NODISCARD;

/* ---- reading ---- */

enum { SAFETENSORS_RANK = 8 };

typedef struct {
    const char *name;
    const char *dtype; /* the file's name for it: "F32", "BF16", "I64" ... */
    dtype type;        /* ours, or DT_NONE */
    int rank;
    int64_t dim[SAFETENSORS_RANK];
    int64_t bytes;
    int64_t offset; /* of the first byte, in its file */
    int file;       /* 0 without an index */
} safetensors_entry;

typedef struct safetensors safetensors;

/* Opens a file, or an index (a path that ends in .index.json) with its files beside it. */
error *safetensors_open(const char *path, safetensors **out) NODISCARD;
/* `length` is what a file has where a header's length should be.  User error if it is too short for
 * that and begins like the files of torch.save: a zip archive, or before 1.6 a bare pickle
 * (protocols 2 to 5), which is a program. */
error *safetensors_refuse_pickle(const char *path, uint64_t length) NODISCARD;
void safetensors_close(safetensors *s); /* NULL is ignored */

const char *safetensors_path(const safetensors *s); /* the path it was opened with */
int64_t safetensors_count(const safetensors *s);
/* The type of all tensors if it is the same 16-bit one, else FILE_AS_IS. */
file_floats safetensors_floats(const safetensors *s);
/* Entry i, 0 <= i < count; sorted by name.  Valid as long as s. */
const safetensors_entry *safetensors_entry_at(const safetensors *s, int64_t i);
/* The index of the entry with that name, or -1. */
int64_t safetensors_find(const safetensors *s, const char *name);

/* n bytes of entry i's data from first_byte, 0 <= first_byte, first_byte + n <= bytes. */
error *safetensors_read(const safetensors *s, int64_t i, int64_t first_byte, int64_t n,
                        void *buffer) NODISCARD;

/* Reads entry i into a tensor on the device, 1 MiB at a time.  User errors: another dtype or shape,
 * or a file that has been truncated since it was opened. */
error *safetensors_fetch(const safetensors *s, int64_t i, const named_tensor *into,
                         device *dev) NODISCARD;
/* Reads entry i, of rank 1, as the elements of a tensor from number `first` on, in the device's
 * order; of a sharded one those that are here. */
error *safetensors_fetch_piece(const safetensors *s, int64_t i, const named_tensor *into,
                               int64_t first, device *dev) NODISCARD;

/* How an entry of another floating-point type is converted. */
typedef enum {
    CAST_NONE,  /* it is refused */
    CAST_WIDEN, /* BF16 and F16 to f32: exact */
    CAST_ROUND  /* also F32 and F16 to bf16, rounded to nearest even */
} float_cast;

static inline float_cast cast_widening(bool widen)
{
    return widen ? CAST_WIDEN : CAST_NONE;
}

error *safetensors_fetch_cast(const safetensors *s, int64_t i, const named_tensor *into,
                              float_cast cast, device *dev) NODISCARD;

#endif

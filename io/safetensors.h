/* safetensors.h - the file format of tensors with names.
 *
 *   8 bytes: length of the header, little endian
 *   header:  {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, ...}, padded with spaces
 *   data:    the tensors back to back, row after row; offsets count from here
 *
 * What is opened may come from anywhere, so the header is checked wholly before anything else: its
 * length against the file's, each name once, each entry whole, each size against dtype and shape,
 * and the tensors cover the data without a gap or an overlap.  No size in it is believed before it
 * is compared with the file's, so that an absurd one allocates nothing.
 *
 * A large model is split over several files with an index, model.safetensors.index.json:
 *
 *   {"metadata": ..., "weight_map": {"name": "model-00001-of-00002.safetensors", ...}}
 *
 * Opened, both look the same.
 *
 * No dtype is ever cast: what is asked for and what the file has must be the same.
 */
#ifndef REGRAD_SAFETENSORS_H
#define REGRAD_SAFETENSORS_H

#include "core/ops.h"

/* ---- writing ---- */

/* The floats of a file: as they are on the device, or those that are f32 there in 16 bits, rounded to the nearest,
 * ties to even. */
typedef enum { FILE_AS_IS, FILE_BF16, FILE_F16 } file_floats;

/* A tensor on the device.  transposed: (out, in) there, (in, out) in the file; matrices only.
 *
 * groups > 0: the device has the rows of up to three parts one part below the other, the file has
 * them group by group: part_rows[0] / groups rows of the first part, that many of the second, the
 * third, then those of the next group.  (queries, keys, values; a group is a key head.)  Of a transposed one
 * these are the device's columns.
 *
 *     device  q0 q1 q2 q3 | k0 k1 | v0 v1          file, 2 groups  q0 q1 k0 v0 | q2 q3 k1 v1
 */
typedef struct {
    const char *name;
    tensor value; /* contiguous */
    bool transposed;
    int64_t groups, part_rows[3];
    int64_t of, at; /* element `at` of the source's `of`-th tensor is its first */
    /* Of a tensor that is sharded over several processes, fetching brings this one's: elements [first,
     * first + held) of the source's tensor, which begin at value.data. */
    bool sharded;
    int64_t first, held;
} named_tensor;

/* Where the values of a list come from, if they are not all there at once: tensor after tensor,
 * each opened, then closed. */
typedef struct {
    tensor (*open)(void *context, int64_t i);
    void (*close)(void *context);
    void *context;
} tensor_source;

/* Writes n tensors, in this order; under a temporary name, synced, then renamed.  from: ? values from
 * there.  User errors: the path cannot be written, the disk is full; then no file of that name is left
 * or changed. */
error *safetensors_write(const char *path, const named_tensor *list, int64_t n, device *dev,
                         const tensor_source *from) NODISCARD;
/* The same in other floats.  User error, too: a number that is finite in f32 and not in f16, by the tensor's
 * name. */
error *safetensors_write_as(const char *path, const named_tensor *list, int64_t n,
                            file_floats floats, device *dev, const tensor_source *from) NODISCARD;

/* ---- reading ---- */

enum { SAFETENSORS_RANK = 8 };

typedef struct {
    const char *name;
    const char *dtype; /* the file's word: "F32", "BF16", "I64" ... */
    dtype type;        /* ours, DT_NONE where there is none */
    int rank;
    int64_t dim[SAFETENSORS_RANK];
    int64_t bytes;
    int64_t offset; /* of the first byte in its file */
    int file;       /* 0 unless there is an index */
} safetensors_entry;

typedef struct safetensors safetensors;

/* A file, or an index (a path that ends in .index.json) with its files beside it. */
error *safetensors_open(const char *path, safetensors **out) NODISCARD;
/* User error if a file that has this where the length of a header should be, and is shorter, begins as what
 * torch.save writes: a zip archive, before 1.6 a bare pickle (protocols 2 to 5), which is a program. */
error *safetensors_refuse_pickle(const char *path, uint64_t length) NODISCARD;
void safetensors_close(safetensors *s); /* NULL is fine */

const char *safetensors_path(const safetensors *s); /* as it was opened */
int64_t safetensors_count(const safetensors *s);
/* Entry i, 0 <= i < count; in the order of their names.  Valid as long as s. */
const safetensors_entry *safetensors_entry_at(const safetensors *s, int64_t i);
/* The index of that name, -1 if there is none. */
int64_t safetensors_find(const safetensors *s, const char *name);

/* n bytes of entry i's data from first_byte, 0 <= first_byte, first_byte + n <= bytes. */
error *safetensors_read(const safetensors *s, int64_t i, int64_t first_byte, int64_t n,
                        void *buffer) NODISCARD;

/* Entry i into a tensor on the device, 1 MiB at a time.  User errors: another dtype or shape, or a
 * file that has been cut since. */
error *safetensors_fetch(const safetensors *s, int64_t i, const named_tensor *into,
                         device *dev) NODISCARD;
/* What becomes of an entry of other floats than the tensor's. */
typedef enum {
    CAST_NONE,  /* it is refused */
    CAST_WIDEN, /* BF16 and F16 go into f32: every value is kept exactly */
    CAST_ROUND  /* that, and F32 and F16 go into bf16, rounded to nearest, ties to even */
} float_cast;

static inline float_cast cast_widening(bool widen)
{
    return widen ? CAST_WIDEN : CAST_NONE;
}

error *safetensors_fetch_cast(const safetensors *s, int64_t i, const named_tensor *into,
                              float_cast cast, device *dev) NODISCARD;

#endif

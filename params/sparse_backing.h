/* sparse_backing.h - matrices with a fixed number of non-zeros whose positions change during
 * training: a backing that the parameter table's hooks call.
 *
 * Dynamic sparse reparameterization (Mostafa, Wang 2019: "Parameter efficient training of deep
 * convolutional neural networks by dynamic sparse reparameterization"): from time to time the
 * smallest weights, of all matrices together, are pruned, and the same number of zeros become
 * trainable, each matrix getting a share in proportion to what it has left.  So weights move to the
 * matrices that need them, and their number is constant.
 *
 * What is stored where, at sparsity S of the matrices' N elements:
 *
 *     the pool, a row of the table: (1-S) N     values, and, as for any row, its gradient, its
 *                                               master, its states: one tensor for the optimizer
 *        [ matrix 0      | matrix 1 | matrix 2            | ... ]
 *     bits: 1 bit per element                   the positions
 *     starts: 1/16 bit per element              where the values of each 1024 elements begin
 *
 * The number of non-zeros of a matrix is data, not shape: it is in `starts`, on the device.  So
 * block sizes never change, the plan holds for the whole run, and so do CUDA graphs.
 *
 *     param_use      expands the matrix into memory taken for it   } one matrix at a time, as for
 *     param_done     frees it                                      } a gather of ZeRO 3
 *     grad_done      its dense gradient is compressed (+=) into the pool's and freed
 *     the last one   the pool's gradient is complete: from here on it is treated like any row's
 *                    (own, overlay, release, fold; clipping; passes)
 *
 * To change the set (sparse_renew) is to expand by the old bits and to compress by the new: pruned
 * elements are dropped, new ones start from the zero that they were, in values, master and states
 * alike.  It is done in place, matrix by matrix: what stays moves to the front, then apart.
 *
 *     pool   aaaaaaa|bbbbb|cccc    stays   aaaa|bbb|cccc...    new   aaaaa|bbbb|ccccccc
 *
 * So it needs one dense matrix and two copies of the bits, in the space of a step's activations.
 *
 * What is pruned: in the paper, weights below a threshold that is doubled or halved after each
 * change so that about the wanted number go.  Here the threshold is found by bisection over its
 * bits: the largest below which there are no more than wanted.  That costs some reads of the pool,
 * and there is no state to keep.  What is pruned does not grow back in the same change.
 *
 * Sparse are the trainable matrices between hidden layers (param_spec.hidden).  Embeddings, heads,
 * norms and biases stay dense.
 *
 * Reproducible: the drawing is a function of seed, matrix and step.
 */
#ifndef REGRAD_SPARSE_BACKING_H
#define REGRAD_SPARSE_BACKING_H

#include "params/params.h"

typedef struct sparse sparse;

/* Puts the table's matrices into a pool, a row at the end of the table; before the optimizer is
 * created and before params_place.  0 < sparsity < 1.  User error if there are none. */
error *sparse_open(runtime *r, double sparsity, uint64_t seed, sparse **out) NODISCARD;
void sparse_close(sparse *s); /* NULL is ignored */

/* The row of the pool, and how many elements its matrices have. */
int sparse_pool(const sparse *s);
int64_t sparse_elements(const sparse *s);
/* (G,32) i32, of all matrices; for checkpoints. */
tensor sparse_bits(const sparse *s);
/* Number of non-zeros of parameter id; read from the device. */
int64_t sparse_count(const sparse *s, runtime *r, int id);

/* Takes bits and starts from the arena; once while recording and once in the run. */
void sparse_place(sparse *s, runtime *r);

/* Random positions; the values are those that the dense matrix would have.  Programs of the arena;
 * over the null device it records. */
error *sparse_initialize(sparse *s, runtime *r) NODISCARD;

/* Moves `fraction` of the non-zeros (or as many as there are zeros) to new positions.  tensors: all
 * that have an element for each of the pool's.  A program of the arena; over the null device it
 * records. */
error *sparse_renew(sparse *s, runtime *r, double fraction, int64_t step, const tensor *tensors,
                    int n) NODISCARD;

/* After the bits were set from elsewhere.  User error if they do not match this pool. */
error *sparse_adopt(sparse *s, runtime *r) NODISCARD;

#endif

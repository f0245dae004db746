/* sparse_backing.h - matrices of which a fixed number of elements are not zero, and which ones changes during
 * the training: a backing that the parameter table's hooks call.
 *
 * Dynamic sparse reparameterisation (Mostafa, Wang 2019: "Parameter efficient training of deep
 * convolutional neural networks by dynamic sparse reparameterization"): now and then the smallest
 * weights, of all matrices together, become zero for good, and as many others that were zero begin
 * to be trained, each matrix getting its part in proportion to what it has left.  So weights move to
 * the matrices that need them, and their number stays.
 *
 * Where is what, at sparsity S of the matrices' N elements:
 *
 *     the pool, a row of the table: (1-S) N     values, and, as of any row, its gradient, its master,
 *                                               its states: to the optimizer it is one tensor
 *        [ matrix 0      | matrix 1 | matrix 2            | ... ]
 *     bits: 1 bit an element                    which elements those are
 *     starts: 1/16 bit an element               where each 1024 elements' values begin in the pool
 *
 * How much each matrix has is data, not shape: it is in `starts`, on the device.  So no block's size
 * ever changes, the plan holds for the whole run, and so do CUDA's graphs.
 *
 *     param_use      the matrix is expanded into memory taken for it  } one matrix at a time, as for
 *     param_done     which is given back                              } a gather of ZeRO 3
 *     grad_done      its gradient, taken dense, is compressed (+=) into the pool's and given back
 *     the last one   the pool's gradient is complete: from here on it is as any row's (own, overlay,
 *                    release, fold; clipping; passes)
 *
 * A change of the set (sparse_renew) is expanding by the old bits and compressing by the new: what has
 * gone is left out, what is new comes as the zero that it was, in values, master and states alike.
 * It is done in place, matrix by matrix: what stays moves to the front, then apart.
 *
 *     pool   aaaaaaa|bbbbb|cccc    stays   aaaa|bbb|cccc...    new   aaaaa|bbbb|ccccccc
 *
 * So it takes one matrix and two copies of the bits, where activations are in a step.
 *
 * Which weights go: in the paper those below a threshold that is doubled or halved after each time so
 * that about as many go as wanted.  Here the threshold is found, by halving the interval of its bits:
 * the largest below which there are no more than wanted.  It costs some reads of the pool, and there
 * is not a state to keep.  What goes does not come back the same time.
 *
 * Sparse are the trainable matrices between hidden layers (param_spec.hidden).  Embeddings, heads,
 * norms and biases stay whole.
 *
 * Reproducible: what is drawn is a function of seed, matrix and step.
 */
#ifndef REGRAD_SPARSE_BACKING_H
#define REGRAD_SPARSE_BACKING_H

#include "params/params.h"

typedef struct sparse sparse;

/* Puts the table's matrices into a pool, a row at the table's end; before the optimizer is made, and
 * before params_place.  0 < sparsity < 1.  User error: there is none to be put there. */
error *sparse_open(run *r, double sparsity, uint64_t seed, sparse **out) NODISCARD;
void sparse_close(sparse *s); /* NULL is fine */

/* The row of the pool, and how many elements its matrices have. */
int sparse_pool(const sparse *s);
int64_t sparse_elements(const sparse *s);
/* (G,32) i32, of all matrices; what a checkpoint has to have. */
tensor sparse_bits(const sparse *s);
/* How many elements of parameter id are there; from the device. */
int64_t sparse_count(const sparse *s, run *r, int id);

/* Asks the arena for bits and starts; once in the record and once in the run. */
void sparse_place(sparse *s, run *r);

/* Elements at random, their values those that the dense matrix would begin with.  Programs of the
 * arena; over the null device it records. */
error *sparse_initialize(sparse *s, run *r) NODISCARD;

/* `fraction` of the non-zeros, or as many as there are zeros, change places.  tensors: all that have
 * an element for each of the pool's.  A program of the arena; over the null device it records. */
error *sparse_renew(sparse *s, run *r, double fraction, int64_t step, const tensor *tensors,
                    int n) NODISCARD;

/* After the bits were given values from elsewhere.  User error: they are not of this pool. */
error *sparse_adopt(sparse *s, run *r) NODISCARD;

#endif

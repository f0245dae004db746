/* sharded_backing.h - data parallelism with states, gradients and parameters sharded over the ranks
 * (Rajbhandari et al.: "ZeRO: memory optimizations toward training trillion parameter models", SC
 * 2020): a backing that the parameter table's hooks call.
 *
 *   --zero   a rank keeps            gradients of K micro-batches        values       traffic, N = 1 copy
 *     0      everything              all-reduced once                    -            2 N
 *     1      own states              scattered once                      gathered     2 N
 *     2      ... and own gradients   scattered in every micro-batch      gathered     (K+1) N
 *     3      ... and own values      scattered in every micro-batch      gathered     3 K N
 *                                                                        at each use
 *
 * Each tensor is sharded on its own: rank r owns its r-th range of elements, so any sizes and any
 * number of ranks work (ranges are as even as their unit of 16 elements allows; the last ones may
 * be empty).  For an optimizer that sees whole matrices a rank owns whole tensors: in order of
 * size, each goes to the rank that has the least.
 *
 * With comm.group (hybrid or hierarchical sharding) the ranks of a group, say of a machine, shard
 * among themselves, and each group has everything: values are gathered within the group, and
 * between groups go the sums of the own ranges' gradients alone.
 *
 * Under release a gradient's space is freed as soon as its own range is updated, so stage 1 has no
 * more gradients than stage 2.  A gather at stage 3 holds one tensor, and only between the hooks:
 * forward and backward are two gathers, the tied embedding's two uses two more.  With params.ahead
 * a value is asked for that many layers before it is used (params/use_order.h), on STREAM_COMM,
 * which gradients leave by, too: as many layers more are here at a time.
 */
#ifndef REGRAD_SHARDED_BACKING_H
#define REGRAD_SHARDED_BACKING_H

#include "params/params.h"

typedef struct zero zero;

/* Shards the table over the ranks of r->comm, or of each of its groups; full: by whole tensors.
 * After the model has declared its parameters, before params_place.  bucket: bytes of gradients
 * that are sent together, overlapping the computation; 0: each one on its own, synchronously. */
error *zero_open(runtime *r, int stage, bool full, int64_t bucket, zero **out) NODISCARD;
void zero_close(zero *z); /* NULL is ignored */

/* Who owns which part of parameter id. */
const share *zero_share(const zero *z, int id);

#endif

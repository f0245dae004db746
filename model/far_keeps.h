/* far_keeps.h - what blocks keep for backward, in the second place of the run's memory: --offload
 * activations.
 *
 *     forward    block 0 | block 1 | block 2 . . .       backward   . . . block 2 | block 1 | block 0
 *     copies             | write 0 | write 1 . . .                  . . . read 1  | read 0  |
 *     here               | 0, 1    | 1, 2    . . .                  . . . 2, 1    | 1, 0    |
 *
 * A block's tensors are written while the next block runs, and their memory is freed when that has
 * run; backward asks for a block's while the one above it runs.  So those of two blocks are here at
 * a time.  The last block's stay: backward begins with them.  Each tensor has one place for the
 * whole run (core/far.h), found when a step is recorded; micro-batches take turns in it.
 *
 * The bytes that come back are those that went, so the bits are those of a run that keeps all.
 */
#ifndef REGRAD_FAR_KEEPS_H
#define REGRAD_FAR_KEEPS_H

#include "model/block.h"

typedef struct far_keeps far_keeps;

error *far_keeps_create(int64_t layers, far_keeps **out) NODISCARD;
void far_keeps_destroy(far_keeps *k); /* NULL is ignored */
void far_keeps_forget(far_keeps *k);  /* the places: another recording begins */

/* s: the states of all blocks.  After the forward pass of block l, in order. */
void far_keeps_write(runtime *r, int l, block_state *s);
/* Before the backward pass of block l, in order: what it kept is here when this returns.  next:
 * block l - 1 will be asked for, too. */
void far_keeps_bring(runtime *r, int l, bool next, block_state *s);

#endif

/* update_window.h - updates whose numbers lie far, piece by piece through two windows.
 *
 * What the optimizer reads and writes of a large matrix beside its gradient may be in the second
 * place of the run's memory (params/offload.h): states, masters, the value.  A rule works element
 * by element, so any piece can be updated by itself, and what is rounded at random knows its place
 * in the tensor; the bits are those of the whole at once.
 *
 *     disk      read 0 | read 1 | . . . | write 0, read 2 | write 1, read 3 | ...
 *     CPU                       | update 0 | update 1     | update 2 ...
 *     window           0        1                  0                1
 *
 * The disk's thread serves requests in order, so a window is read into again only after it has been
 * written from, and nobody waits for writes: they continue beside what follows.
 */
#ifndef REGRAD_UPDATE_WINDOW_H
#define REGRAD_UPDATE_WINDOW_H

#include "params/params.h"

enum { FAR_LANES = 2 + MAX_STATES }; /* value, master, states */

/* What of an item is not here; its tensors are absent then.  The others are whole. */
typedef struct {
    far_block lane[FAR_LANES];
    int64_t count; /* elements */
} far_item;

/* Bytes of all lanes, for each element. */
size_t far_item_width(const far_item *f);

typedef struct {
    int64_t piece;  /* elements; 0: there is nothing to update through windows */
    tensor room[2]; /* u8 */
    int turn;       /* the window that the next piece takes */
} update_window;

/* Two windows in which each of these items' pieces find room; once while recording and once in the
 * run. */
void update_window_place(update_window *w, arena *a, const far_item *items, int64_t n);

/* OP(optim) of the items, in their order. */
void update_window_run(update_window *w, runtime *r, const optim_op *o, const far_item *far);

#endif

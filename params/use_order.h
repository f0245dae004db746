/* use_order.h - the values that a pass uses though they are not here, and what is asked for before
 * it is needed.
 *
 * A pass uses the same values in the same order each time.  So the order is noted once, over the
 * null device, before the plan is recorded; from then on using one value asks for others, in memory
 * taken for them:
 *
 *     --offload params   the next one, from the disk               params/offload.h
 *     --prefetch N       what the next N layers use, from others   params/sharded_backing.h
 *
 *     use     wte wpe       | h.0: qkv proj fc .. | h.1: qkv proj fc .. | h.2: ...
 *     ask     . . . all of h.0 \ all of h.1        \ all of h.2          \             N = 1
 *
 * What is used again among what has been asked for (the last layer's, from forward to backward)
 * stays.
 */
#ifndef REGRAD_USE_ORDER_H
#define REGRAD_USE_ORDER_H

#include "params/params.h"

typedef struct use_order {
    int *id; /* (n) */
    int n, room;
    int at;     /* the next use */
    int asked;  /* [at, asked) are here, or on their way */
    bool noted; /* it is followed; else it is being noted */
} use_order;

void use_order_free(use_order *o);

/* Do values come in the order of a pass? */
bool params_ordered(const params *p);

/* A pass begins (the next micro-batch's, too) and ends; nothing where all values are here. */
void pass_begin(runtime *r, use_order *o);
void pass_end(runtime *r);

/* A value is used; true: what comes next is known. */
bool order_step(runtime *r, int id);
/* Will the pass use it again, within what it has asked for? */
bool order_keeps(const params *p, int id);

/* The end of what the next `layers` layers use: an index of the order.  A layer is a run of uses of
 * one layer's parameters. */
int order_ahead(const params *p, int layers);

#endif

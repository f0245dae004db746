/* offload.h - what of the parameter table lies in the second place (core/far.h).
 *
 *   --offload   near, in the arena                                      far, in the file
 *   states      values, gradients, activations, two windows             states and masters
 *   params      ... values only while they are used, and the next one   ... and values
 *
 * What goes is what is large: matrices (any rank but 1) of FAR_LEAST elements or more.  All else is
 * less than a thousandth of a model, and stays.
 *
 * States and masters are seen by the optimizer alone, which takes them through its windows piece by
 * piece (optim/update_window.h), and there the values are updated, too.  A pass needs a value
 * whole: param_use brings it into memory taken for it, param_done gives that back, as for a gather
 * of ZeRO 3.  Not to wait for the disk, it must be asked for before it is needed
 * (params/use_order.h): bringing one value asks for the next.
 *
 *     use    wte           h.0.qkv       h.0.proj      h.0.fc  ...
 *     disk   wte | h.0.qkv . . | h.0.proj . . | h.0.fc . .             so two values are here at a time:
 *     CPU         embedding    | h.0.qkv      | h.0.proj ...           the one in use and the next one
 *
 * A value that the pass uses next again (the last layer's, from forward to backward) stays.
 */
#ifndef REGRAD_OFFLOAD_H
#define REGRAD_OFFLOAD_H

#include "params/use_order.h"

enum { FAR_LEAST = 4096 }; /* elements */

typedef enum { OFFLOAD_NONE, OFFLOAD_STATES, OFFLOAD_PARAMS } offload_level;

/* What the others ask before they place something of a row: do its states and masters lie far; its
 * value? */
bool offload_takes(const params *p, int id);
bool offload_takes_value(const params *p, int id);

/* Finds the master a place there; false: it has none there.  An adapter's stays: it is small, and
 * no file of a model, with which far masters are filled, has it. */
bool offload_place_master(params *p, int id, dtype type);

/* The hooks' part: the value is here when it returns; what was filled is taken to where it lies. */
void offload_bring(runtime *r, int id);
void offload_filled(runtime *r, int id);

/* Until that request has been served; what went wrong is the device's failure. */
void offload_wait(runtime *r, int64_t request);

#endif

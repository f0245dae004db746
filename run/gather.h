/* gather.h - gathers sharded, sparse or offloaded tensors, one at a time, so that they can be
 * written to a file, or filled from one.
 *
 * A checkpoint is the same whoever wrote it: one process or many, at any ZeRO stage.  So the first
 * rank writes it, and meanwhile all ranks gather one tensor after another, in the order of the
 * file, in memory that the plan provides (a program of its own):
 *
 *     rank 0    open 0 | write | close | open 1 | write | close ...     gather_source
 *     others    open 0         | close | open 1         | close ...     gather_finish alone
 *
 * A rank that fails to write must gather to the end all the same, since the others do:
 * gather_finish.
 */
#ifndef REGRAD_GATHER_H
#define REGRAD_GATHER_H

#include "io/safetensors.h"
#include "run/run_contents.h"

/* Parameters: those that are saved (params/params.h, param_saved).  FILL_STATES is the other way,
 * for what is offloaded: each is room until it is closed, and is then written to where it lies. */
typedef enum { GATHER_PARAMETERS, GATHER_STATES, FILL_STATES } gather_what;

typedef struct {
    run_tensors of;
    gather_what what;
    int64_t next, n; /* tensors done, of how many */
    int64_t first;   /* the first state of parameter `id`, which is the current one */
    int id;
    bool begun, open, taken;
    tensor full;    /* the one that is open; room was taken for it, or it is where it always is */
    far_block away; /* ? where it lies else */
} gather;

/* Does every trained parameter have a master, which is saved with the states? */
bool gather_has_masters(const params *p);

/* Nothing to gather (n is 0) if each rank has everything. */
gather gather_begin(const run_tensors *t, gather_what what);
/* NULL if there is nothing to gather. */
const tensor_source *gather_source(gather *g, tensor_source *room);
/* The same for some of them, in order: tensor i is the i-th that is saved, and those before it are
 * gathered for the others' sake. */
const tensor_source *gather_source_at(gather *g, tensor_source *room);
/* Gathers the remaining tensors. */
void gather_finish(gather *g);

/* Of the i-th state, which is like `whole`, a rank's piece in a checkpoint in parts, from its
 * element *first on; i ascends.  Of this rank's the data, too, unless that is far: GATHER_STATES
 * opens it. */
tensor gather_piece(gather *g, int64_t i, tensor whole, int rank, int64_t *first);

/* Coded or offloaded parameters to be filled with the values of a model, in the order of the table
 * (param_fill_begin): begin, every one opened and closed, end.  Masters then say the same. */
typedef struct {
    runtime *r;
    int id;
} parameter_fill;

tensor_source parameter_fill_begin(parameter_fill *f, runtime *r);
void parameter_fill_end(parameter_fill *f);

#endif

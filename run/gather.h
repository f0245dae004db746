/* gather.h - sharded or sparse tensors in full, one at a time, so that they
 * can be written to a file.
 *
 * A checkpoint is the same whoever wrote it: one process or many, at whatever stage.  So the first
 * rank writes it, and while it does, all ranks gather tensor after tensor, in the order of the
 * file, in memory that the plan has for it (a program of its own):
 *
 *     rank 0    open 0 | write | close | open 1 | write | close ...     gather_source
 *     others    open 0         | close | open 1         | close ...     gather_finish alone
 *
 * A rank that fails to write must walk to the end all the same, for the others do: gather_finish.
 */
#ifndef REGRAD_GATHER_H
#define REGRAD_GATHER_H

#include "io/safetensors.h"
#include "run/run_contents.h"

/* Parameters: those that files have (params/params.h, param_saved). */
typedef enum { GATHER_PARAMETERS, GATHER_STATES } gather_what;

typedef struct {
    run_tensors of;
    gather_what what;
    int64_t next, n; /* tensors done, of all */
    int64_t first;   /* the first state of parameter `id`, at which the walk is */
    int id;
    bool begun, open;
    tensor full;
} gather;

/* Has every parameter that learns a master, which goes with the states? */
bool gather_has_masters(const params *p);

/* Nothing to gather (n is 0) where each rank has all. */
gather gather_begin(const run_tensors *t, gather_what what);
/* NULL where there is nothing to gather. */
const tensor_source *gather_source(gather *g, tensor_source *room);
/* What is left of the walk. */
void gather_finish(gather *g);

#endif

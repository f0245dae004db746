/* gather.h - what is dealt to the ranks, or of which only non-zeros are there, made whole, one tensor
 * at a time: for files.
 *
 * A checkpoint is the same whoever wrote it: one process or many, at whatever stage.  So the first
 * rank writes it, and while it does, all ranks gather tensor after tensor, in the order of the file,
 * in memory that the plan has for it (a program of its own):
 *
 *     rank 0    open 0 | write | close | open 1 | write | close ...     whole_source
 *     others    open 0         | close | open 1         | close ...     whole_finish alone
 *
 * A rank that fails to write must walk to the end all the same, for the others do: whole_finish.
 */
#ifndef REGRAD_WHOLE_H
#define REGRAD_WHOLE_H

#include "io/safetensors.h"
#include "train/trainer.h"

typedef enum { WHOLE_PARAMETERS, WHOLE_STATES } whole_what;

typedef struct {
    trainer *t;
    whole_what what;
    int64_t next, n; /* tensors done, of all */
    bool begun, open;
    tensor whole;
} whole_walk;

/* Has every parameter that learns a master, which goes with the states? */
bool whole_masters(const trainer *t);

/* Nothing to walk (n is 0) where each rank has all. */
whole_walk whole_begin(trainer *t, whole_what what);
/* NULL where there is nothing to walk. */
const tensor_source *whole_source(whole_walk *w, tensor_source *room);
/* What is left of the walk. */
void whole_finish(whole_walk *w);

#endif

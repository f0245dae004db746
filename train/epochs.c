/* epochs.c - see epochs.h */
#include "train/epochs.h"
#include "train/task.h"

#include <math.h>

error *epochs_take(options *o)
{
    source *s = NULL;
    if (!(o->epochs > 0)) return NULL;
    TRY(o->task->open(o, true, &s));
    double samples = o->epochs * (double)s->count,
           each = (double)(o->batch * o->accum * comm_size(o->comm));
    source_close(s);
    double steps = ceil(samples / each);
    if (steps > 1e9) return user_error("--epochs %g: %g steps are more than 1e9", o->epochs, steps);
    options_take_steps(o, (int64_t)steps);
    return NULL;
}

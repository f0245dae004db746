/* parts.h - checkpoints in parts: which rank writes what, and how it is put together again.
 *
 *     whole    model.safetensors                     optimizer.safetensors
 *     parts    model-00001-of-00002.safetensors      optimizer-00001-of-00002.safetensors    rank 0
 *              model-00002-of-00002.safetensors      optimizer-00002-of-00002.safetensors    rank 1
 *              model.safetensors.index.json          optimizer.safetensors.index.json        rank 0
 *
 * The model's tensors stay whole, and are distributed over the ranks in the order of the list, as
 * evenly as that goes: it is the form in which transformers writes large models, and whatever reads
 * those reads it.  States are for Regrad alone, so they are cut where the ranks' shares are, and
 * nobody gathers them: "wte.weight.exp_avg@4096" has the elements of "wte.weight.exp_avg" from
 * number 4096 on, in the order in which they are in memory.  One piece follows another, so whoever
 * reads them need not know how many ranks there were, and takes of each what is its own.
 */
#ifndef REGRAD_PARTS_H
#define REGRAD_PARTS_H

#include "io/safetensors.h"
#include "run/run_contents.h"

typedef struct {
    named_tensor *list; /* (n), to be freed */
    int64_t n;
} tensor_list;

/* "model-00002-of-00003.safetensors" */
enum { PART_NAME = 64 };
void part_name(const char *front, int rank, int ranks, char name[PART_NAME]);

/* What of a model's list is one rank's.  Its `of` counts the list's parameters, as
 * gather_source_at does. */
error *part_of_model(const tensor_list *all, int rank, int ranks, tensor_list *out) NODISCARD;
/* The pieces of a list of states that are one rank's, where this rank has them; `of` counts the
 * list's states, for those that are far. */
error *part_of_states(const run_tensors *t, const tensor_list *all, int rank,
                      tensor_list *out) NODISCARD;

/* Writes an index of files whose names begin with `front`; part[r] is rank r's. */
error *parts_index_write(const char *path, const char *front, const tensor_list *part,
                         int ranks) NODISCARD;

/* Reads a state from its pieces.  *n grows by their number; unchanged: the file has none. */
error *pieces_fetch(const safetensors *file, const named_tensor *into, device *dev,
                    int64_t *n) NODISCARD;

#endif

/* holdings.h - fingerprints of what a run's processes hold, to check that it is the same.
 *
 *                training data   validation data   tokenizer   weights, after loading
 *   over time    a checkpoint's  (a resume is refused)
 *   over ranks   all             all               all         all: a differing rank is named
 *
 * Data is identified by base/fingerprint.h and remembered in run/data_prints.h.
 *
 * Weights are compared as they are stored, value by value or code by code.  If ranks hold shards,
 * no two hold the same: then the files that they were loaded from are compared, including adapters.
 * A checkpoint is compared by its manifest, which has hashes of all of its files; a rank that reads
 * it from another disk than the first rank verifies it there.
 */
#ifndef REGRAD_HOLDINGS_H
#define REGRAD_HOLDINGS_H

#include "run/data_prints.h"
#include "train/trainer.h"

/* Of both, unless known from OUT/data.json; reports it if only a part was read. */
error *data_prints_take(const char *out, const source *train, const source *val /* ? */,
                        data_prints *prints) NODISCARD;

/* Called by all ranks: do they have the same data and tokenizer (? its file)? */
error *holdings_compare_data(comm *c, const data_prints *prints, const char *vocab) NODISCARD;
/* Do they see the same checkpoint, if `from` is not empty? */
error *holdings_compare_checkpoints(comm *c, const char *from) NODISCARD;
/* Do they have the same weights, now that these are loaded? */
error *holdings_compare_weights(trainer *t, bool resumed) NODISCARD;

#endif

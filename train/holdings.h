/* holdings.h - what a run's processes hold, as numbers, so that what should be the same is.
 *
 *                    training data   validation data   tokenizer   weights, after loading
 *     over time      a checkpoint's                                                         refused on resume
 *     over ranks     everybody's     everybody's       every...    everybody's              the one that differs is named
 *
 * Data's numbers are those of base/fingerprint.h.  They are kept in --out, in data.json, with what the
 * system says of the files (size, times), and taken from there as long as that is the same: so a run that is
 * resumed reads its data once.
 *
 * Weights are compared where they are, value by value, or code by code.  Where ranks hold shards of them, no
 * two hold the same: then the files that they were loaded from are compared, adapters' too.  A checkpoint is compared by its manifest,
 * which has hashes of all of its files; a rank that reads it from another disk than the first checks that
 * they hold there.
 */
#ifndef REGRAD_HOLDINGS_H
#define REGRAD_HOLDINGS_H

#include "train/trainer.h"

typedef struct {
    fingerprint train, val; /* val: of nothing where there is none */
} data_prints;

/* Of both, as far as they are not known from OUT/data.json; says so where only a part was read. */
error *data_prints_take(const char *out, const source *train, const source *val /* ? */,
                        data_prints *prints) NODISCARD;
/* Into OUT/data.json. */
error *data_prints_keep(const char *out, const data_prints *prints) NODISCARD;

/* By all ranks: do they hold the same data and tokenizer (? its file)? */
error *holdings_compare_data(comm *c, const data_prints *prints, const char *vocab) NODISCARD;
/* Do they see the same checkpoint, if `from` is not empty? */
error *holdings_compare_checkpoints(comm *c, const char *from) NODISCARD;
/* And the same weights, now that they are loaded, from a checkpoint or else? */
error *holdings_compare_weights(trainer *t, bool resumed) NODISCARD;

#endif

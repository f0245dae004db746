/* choose_token.h - which token comes next, given the logits.
 *
 *     logits / temperature --> the top_k largest --> the fewest of these whose probabilities
 *                                                    sum to top_p --> one of them, at random
 *
 * (Fan, Lewis, Dauphin: "Hierarchical neural story generation", 2018, for top-k; Holtzman et al.:
 * "The curious case of neural text degeneration", 2020, for top-p.)  Randomness is counter-based: a
 * choice depends only on the logits, the seed and its index.
 */
#ifndef REGRAD_CHOOSE_TOKEN_H
#define REGRAD_CHOOSE_TOKEN_H

#include <stdint.h>

#include "base/error.h"

typedef struct {
    double temperature; /* 0: always the most likely token (ties: the lowest id) */
    double top_p;       /* in (0, 1]; 1: no limit */
    int64_t top_k;      /* 0: no limit */
    uint64_t seed;
} choice_rule;

typedef struct {
    double weight; /* exp((logit - largest) / temperature) */
    int32_t id;
} candidate;

typedef struct {
    choice_rule rule;
    candidate *list; /* (n) */
    int32_t n;       /* tokens to choose from: ids 0 .. n - 1 */
} chooser;

error *chooser_open(const choice_rule *rule, int32_t n, chooser *out) NODISCARD;
void chooser_close(chooser *p);

/* logits has at least n numbers.  User error if they are NaN. */
error *choose_token(chooser *p, const float *logits, uint64_t index, int32_t *id) NODISCARD;

#endif

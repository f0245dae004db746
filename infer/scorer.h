/* scorer.h - the loss of a long text, with a sliding window.
 *
 *     text      t0 t1 t2 t3 t4 t5 t6 t7 t8 t9          length 4, stride 2
 *     window 0  [ s  s  s  s ]                          s: the token after it is scored
 *     window 1        [ .  .  s  s ]                    .: seen, scored before
 *     window 2              [ .  .  s  s ]
 *     window 3                    [ .  .  s ]           the last one ends with the text
 *
 * Every token but the first is scored exactly once, and after the first window each sees at least
 * length - stride tokens before it.  A smaller stride means more context, and more windows.
 */
#ifndef REGRAD_SCORER_H
#define REGRAD_SCORER_H

#include "model/model.h"

typedef struct {
    const model_kind *kind;
    runtime *r;
    model *m;
    int64_t length, stride, room;
    tensor tokens, targets; /* (1,room) i32 */
    tensor sum;             /* (1) f64 */
    int steps;
} scorer;

/* 1 <= stride <= length <= the model's context */
scorer scorer_make(const model_kind *kind, runtime *r, model *m, int64_t length, int64_t stride);
/* Takes persistent blocks from the arena; once while recording and once in the run. */
void scorer_place(scorer *s);
void scorer_record(scorer *s);

/* Sum of -ln p over the tokens 1 .. n - 1, n >= 2. */
error *scorer_run(scorer *s, const int32_t *ids /* (n) */, int64_t n, double *nats) NODISCARD;

/* One window's text, 2 <= n <= length + 1: the same for those tokens 1 .. n - 1 that are
 * learned. */
error *scorer_run_learned(scorer *s, const int32_t *ids /* (n) */, const uint8_t *learned /* (n) */,
                          int64_t n, double *nats) NODISCARD;

/* A possible continuation of a text. */
typedef struct {
    const int32_t *ids; /* (n) */
    int64_t n;
} scorer_ending;

/* For each ending of the same text of n >= 1 tokens; at most length + 1 in total.  The text is read
 * once. */
error *scorer_run_endings(scorer *s, const int32_t *ids /* (n) */, int64_t n,
                          const scorer_ending *endings /* (count) */, int count,
                          double *nats /* (count) */) NODISCARD;

#endif

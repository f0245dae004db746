/* packing.h - packs documents into windows of T tokens.
 *
 *     documents    aaaaa  bbb  cccccccc  dd          T = 8
 *     inputs       | a a a a b b d . |   | c c c c c c c . |     each without its last token, which has
 *     targets      | a a a a b b d . |   | c c c c c c c . |     no successor: here, shifted by one
 *     starts       | 0 0 0 0 4 4 6 7 |   | 0 0 0 0 0 0 0 7 |     where the token's document begins
 *
 * A target is -1 where nothing is learned: where the mask excludes it, and in the unused end of a
 * window.  No document is cut: one that does not fit into a window is refused.  One without
 * anything to learn is left out.  The longest are placed first, each into the window with the least
 * sufficient room (best fit decreasing: at most 11/9 of the minimum number of windows, and for
 * documents much shorter than T close to it).  Which documents share a window depends only on them
 * and on T.
 */
#ifndef REGRAD_PACKING_H
#define REGRAD_PACKING_H

#include "data/tokens.h"

typedef struct packing packing;

/* For a set of marked shards, which must outlive it.  User error: a plain shard among them, a
 * document of more than seq + 1 tokens, nothing to learn. */
error *packing_open(const token_set *set, int64_t seq, packing **out) NODISCARD;
void packing_close(packing *p); /* NULL is ignored */

int64_t packing_windows(const packing *p);
int64_t packing_learned(const packing *p,
                        int64_t window); /* targets that are learned, at least 1 */
int64_t packing_documents(const packing *p, int64_t *left_out);
double packing_waste(const packing *p); /* fraction of the windows' places without a document */

error *packing_read(const packing *p, int64_t window, int32_t *inputs /* (T) */,
                    int32_t *targets /* (T) */, int32_t *starts /* (T) */) NODISCARD;

#endif

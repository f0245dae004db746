/* attention_method.c - see attention.h */
#include "core/attention_method.h"

enum { SMALL = 4096, TILE = 128 };

const char *const attention_method_names[ATTENTION_METHODS] = {"flash", "cudnn",
                                                               "cudnn-repeatable"};

/* Engines work on whole tiles of a sequence.  Backward, they have a second sum of dq (f32), or ds
 * (bf16). */
int64_t attention_engine_room(attention_method how, int64_t b, int64_t h, int64_t t, int64_t d,
                              bool backward)
{
    int64_t whole = (t + TILE - 1) / TILE * TILE;
    if (how == ATTENTION_FLASH) return 0;
    if (!backward) return SMALL;
    return b * h * whole * (how == ATTENTION_CUDNN ? 4 * d : 2 * whole) + SMALL;
}

int64_t attention_workspace(attention_method how, int64_t b, int64_t h, int64_t t, int64_t d,
                            bool backward)
{
    int64_t sums = how == ATTENTION_CUDNN && backward ? 4 * b * h * t * d : 0;
    return attention_engine_room(how, b, h, t, d, backward) + sums;
}

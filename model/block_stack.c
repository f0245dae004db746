/* block_stack.c - all blocks of a model, in sequence: see block.h.
 *
 * With recompute.h's sqrt, a block's input may be missing when backward reaches it. Then the blocks
 * below run forward once more, from the nearest input that was kept, and leave the inputs in
 * between:
 *
 *     kept      x0         x3         x6
 *     block     0   1   2   3   4   5   6   7   8      backward reaches 8:  x6 -> x7 -> x8
 */
#include "model/far_keeps.h"

tensor blocks_forward(runtime *r, const model_config *c, const training_policy *how,
                      const block_ids *ids, tensor x, tensor noise, block_purpose why,
                      block_state *s)
{
    for (int l = 0; l < (int)c->layers; l++) {
        s[l].drop = present(noise) ? tensor_slice(noise, 2 * l, 2) : (tensor){0};
        block_forward(r, c, how, l, &ids[l], x, why, &s[l]);
        if (r->keeps && why == BLOCK_TRAIN) far_keeps_write(r, l, s);
        x = s[l].out;
    }
    return x;
}

/* Computes the input of block `at`. */
static void make_input(runtime *r, const model_config *c, const training_policy *how,
                       const block_ids *ids, int at, block_state *s)
{
    int l = at;
    while (l > 0 && !present(s[l].x))
        l--;
    for (; l < at; l++) {
        block_forward(r, c, how, l, &ids[l], s[l].x, BLOCK_AGAIN, &s[l]);
        s[l + 1].x = s[l].out;
    }
}

void blocks_backward(runtime *r, const model_config *c, const training_policy *how,
                     const block_ids *ids, tensor d, block_state *s)
{
    for (int l = (int)c->layers - 1; l >= 0 && block_wanted(r, c, &ids[l]); l--) {
        if (r->keeps) far_keeps_bring(r, l, l > 0 && block_wanted(r, c, &ids[l - 1]), s);
        if (recompute_input(&how->recompute, l) && !present(s[l].x))
            make_input(r, c, how, ids, l, s);
        block_backward(r, c, how, l, &ids[l], d, &s[l]);
    }
}

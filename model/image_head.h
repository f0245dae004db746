/* image_head.h - the end of every image model: pooling, norm, head, softmax.
 *
 * Pooling precedes the norm: with a class token that gives the same numbers as normalizing all
 * positions and then reading one, and the mean is what timm calls fc_norm.
 */
#ifndef REGRAD_IMAGE_HEAD_H
#define REGRAD_IMAGE_HEAD_H

#include "model/block.h"
#include "model/model.h"

typedef struct {
    weight_ids norm; /* weight -1: there is none, as the last block's output is normed */
    weight_ids head;
} image_head;

/* last (B,T,C): the output of the last block, which it takes ownership of.  Adds the loss, and all
 * gradients of the head; returns that of `last`, absent if none below is wanted. */
tensor image_head_train(run *r, const image_head *h, const model_config *c, tensor last,
                        tensor targets, const loss_sink *loss);
/* The loss only. */
void image_head_evaluate(run *r, const image_head *h, const model_config *c, tensor last,
                         tensor targets, const loss_sink *loss);
/* logits (B,classes) */
void image_head_predict(run *r, const image_head *h, const model_config *c, tensor last,
                        tensor logits);

#endif

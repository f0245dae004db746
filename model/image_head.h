/* image_head.h - what every image model has: a batch, and the end: pooling, norm, head, softmax.
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

/* Images (b,Ch,H,W), targets (b,classes), and with drop path (noise > 0) its factors (noise,b). */
batch image_place(const model_config *c, dtype type, arena *a, int64_t b, int64_t noise);
/* Those factors, of `branches` branches a layer: 0 with a probability that grows over the layers
 * from 0 to `rate` (Huang et al. 2016), else 1 / (1 - probability); samples first, first + 1, ...
 * of the run. */
void image_draw_drops(double rate, int64_t layers, int branches, uint64_t seed, int64_t first,
                      int64_t b, float *noise);
/* One, whatever t is. */
int64_t image_targets(const model *m, int64_t t);

/* A map (B,H,W,C) as (B,H W,C), and a weight (N,...) as a matrix of N rows; absent if it is. */
tensor as_positions(tensor map);
tensor as_matrix(tensor w);

/* last (B,T,C): the output of the last block, which it takes ownership of.  Adds the loss, and all
 * gradients of the head; returns that of `last`, absent if none below is wanted. */
tensor image_head_train(runtime *r, const image_head *h, const model_config *c, tensor last,
                        tensor targets, const loss_sink *loss);
/* The loss only. */
void image_head_evaluate(runtime *r, const image_head *h, const model_config *c, tensor last,
                         tensor targets, const loss_sink *loss);
/* logits (B,classes) */
void image_head_predict(runtime *r, const image_head *h, const model_config *c, tensor last,
                        tensor logits);

#endif

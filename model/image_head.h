/* image_head.h - what every image model has: the end, which is pooling, norm, head, softmax; and
 * what each architecture has of its own, of which model/image_kind.c makes a model.
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

/* A map (B,H,W,C) as (B,H W,C); absent if it is. */
tensor as_positions(tensor map);

/* Patches of images as rows: (B,N,Ch p p). */
tensor take_patches(runtime *r, const model_config *c, tensor images);

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

/* An architecture: each has a `model` of its own. */
typedef struct {
    int branches; /* of a layer, that stochastic depth drops */
    /* Declares all parameters, those of the head in *head. */
    error *(*create)(const model_config *, const training_policy *, params *, image_head *head,
                     model **out);
    void (*destroy)(model *);
    /* Images to the last block's output (B,T,C); train: what backward reads is kept. */
    tensor (*forward)(runtime *r, model *, const batch *, bool train);
    /* d, taken: the gradient of that output; absent if none below is wanted. */
    void (*backward)(runtime *r, model *, const batch *, tensor d);
} image_architecture;

extern const image_architecture vit_architecture, convnext_architecture, resnet_architecture;

#endif

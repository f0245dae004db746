/* layer_rates.h - layer-wise decay of the learning rate: fine-tuning changes what is near the input
 * least (Clark et al., "ELECTRA", 2020; Bao et al., "BEiT", 2022).
 *
 *     tensor                                               depth     its learning rate
 *     embeddings, patches, class token, positions, stem    0         lr * decay^(D - 0)
 *     block l, and the convolution that leads into it      l + 1     lr * decay^(D - (l + 1))
 *     the norm after the last block                        that of the last block
 *     head                                                 D         lr
 *
 * These are the depths of timm's param_groups_layer_decay, with the groups that its ViT and
 * ConvNeXt declare.  There a name tells the group: "norm" is grouped with the last block, but
 * "fc_norm" and "head.norm" with the head.  The head of a GPT that shares the embedding's matrix
 * has depth 0, so that there D is the depth of the last block.
 *
 * Weight decay is decoupled and multiplied by the same rate, as in PyTorch's groups.
 */
#ifndef REGRAD_LAYER_RATES_H
#define REGRAD_LAYER_RATES_H

#include "params/params.h"

/* Depths of all rows into depth (p->n); the return value is D, the largest. */
int layer_depths(const params *p, int *depth);

/* decay^(D - depth) of each row into rate (p->n). */
error *layer_rates(const params *p, double decay, float *rate) NODISCARD;

#endif

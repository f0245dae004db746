/* mfu.h - how much of a GPU's arithmetic the training uses: model FLOP/s utilization.
 *
 *     mfu = tokens/s x FLOP/token of the model / FLOP/s that the GPU could do
 *
 * FLOP/token counts what the model's formula needs, forward and backward, not what is done twice.
 * There are two customs, and a figure without its formula says little; N are all parameters, L
 * layers, H heads of Q numbers, T tokens of a sequence:
 *
 *     llmc    6 N + 6 L H Q T     attention counted at half, as causal attention needs (llm.c)
 *     palm    6 N + 12 L H Q T    attention in full (PaLM, arXiv 2204.02311, appendix B)
 *
 * FLOP/s of the GPU: dense, from its data sheet, of the type that the products have; where the
 * table does not have the GPU, what one large product reaches here.
 */
#ifndef REGRAD_MFU_H
#define REGRAD_MFU_H

#include "model/config.h"

double mfu_llmc(const model_config *c, int64_t parameters, int64_t tokens); /* FLOP/token */
double mfu_palm(const model_config *c, int64_t parameters, int64_t tokens); /* FLOP/token */

/* FLOP/s by the data sheet of the GPU whose name is in `about`; NAN if the table does not have it.
 * bytes: of a number in the products, 2 (bf16) or 4 (float without TF32). */
double mfu_listed_peak(const char *about, size_t bytes);

/* FLOP/s of a product of square matrices of the type; takes at most a part of `memory` bytes of the
 * device and gives it back. */
error *mfu_measure_peak(device *dev, dtype type, size_t memory, double *out) NODISCARD;

#endif

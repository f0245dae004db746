/* mfu.h - model FLOP/s utilization: how much of a GPU's arithmetic the training uses.
 *
 *     mfu = tokens/s x FLOP/token of the model / peak FLOP/s of the GPU
 *
 * FLOP/token counts what the model's formula needs, forward and backward, without recomputation.
 * There are two conventions, and a figure without its formula says little; N is the number of
 * parameters, L of layers, H of heads of Q numbers, T the sequence length:
 *
 *     llmc    6 N + 6 L H Q T     attention counted at half, as causal attention needs (llm.c)
 *     palm    6 N + 12 L H Q T    attention in full (PaLM, arXiv 2204.02311, appendix B)
 *
 * Both count each weight once per token, so networks of convolutions have neither: NAN.
 *
 * Peak FLOP/s of the GPU: dense, from its data sheet, for the type of the products; if the table
 * does not have the GPU, what one large product achieves here.
 */
#ifndef REGRAD_MFU_H
#define REGRAD_MFU_H

#include "model/config.h"

double mfu_llmc(const model_config *c, int64_t parameters, int64_t tokens); /* FLOP/token */
double mfu_palm(const model_config *c, int64_t parameters, int64_t tokens); /* FLOP/token */

/* Peak FLOP/s from the data sheet of the GPU whose name is in `about`; NAN if it is not in the
 * table. bytes: of a number in the products, 2 (bf16) or 4 (f32 without TF32). */
double mfu_listed_peak(const char *about, size_t bytes);

/* FLOP/s of a product of square matrices of the type; allocates at most a part of `memory` bytes on
 * the device and frees it. */
error *mfu_measure_peak(device *dev, dtype type, size_t memory, double *out) NODISCARD;

#endif

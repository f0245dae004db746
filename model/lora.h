/* lora.h - low-rank adapters beside frozen matrices (Hu et al. 2021: "LoRA: Low-Rank Adaptation of
 * Large Language Models").
 *
 *     x (R,in) --+---> W (out,in), frozen ----------------------------------> + --> out
 *                |                                                            |
 *                +---> A (r,in) --> h (R,r) --> times alpha / r --> B (out,r) +
 *
 * A is initialized randomly and B with zeros, so that training starts from the model itself. A run
 * trains and saves only A and B.  The table stores B transposed (r,out): then the product of both
 * is added by the operation that accumulates an input's gradient (core/ops.def, linear_dx), which
 * every device has.
 *
 * A layer whose files have several tensors for one matrix of ours ({q,k,v}_proj) has an adapter for
 * each of them, as in peft, which applies to that tensor's columns of the output.
 */
#ifndef REGRAD_LORA_H
#define REGRAD_LORA_H

#include "params/params.h"

typedef struct {
    int64_t rank; /* 0: no adapters */
    double alpha;
    bool rank_stabilized; /* the scale is alpha / sqrt(rank) instead of alpha / rank */
    /* ? Layers that have one, by name or by the end of the name after a dot, with * and ?:
     * "q_proj", "h.3.*".  n_on 0: all matrices of the blocks. */
    const char *const *on;
    int n_on;
} lora_plan;

/* The factor of the product. */
double lora_scale(const lora_plan *plan);

/* Does the pattern match this layer's name? */
bool lora_fits(const char *pattern, const char *layer);

/* The largest number of tensors in files for one matrix of ours. */
enum { LORA_PARTS = 3 };

/* Adds the rows of the adapters of matrix `weight` to the table: A of part k is adapter[k], its B
 * the next row; 0: none. */
error *lora_declare(const lora_plan *plan, params *p, int weight,
                    int adapter[LORA_PARTS]) NODISCARD;

/* "h.%d.attn.c_attn" from "h.%d.attn.c_attn.lora_A.weight" or ...lora_B.weight; false if this is
 * not an adapter's name. */
bool lora_layer(const char *name, char *out, size_t size);

/* W += s B A for every adapter, whose rows then leave the table: no model can use it for computing
 * afterwards.  All values must be complete, on a device that uses host memory. */
error *lora_merge(params *p, device *dev) NODISCARD;

/* Is this row an adapter's A? */
bool lora_is_a(const param *row);

#endif

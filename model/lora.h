/* lora.h - adapters of low rank beside frozen matrices (Hu et al. 2021: "LoRA: Low-Rank Adaptation
 * of Large Language Models").
 *
 *     x (R,in) --+---> W (out,in), frozen ----------------------------------> + --> out
 *                |                                                            |
 *                +---> A (r,in) --> h (R,r) --> times alpha / r --> B (out,r) +
 *
 * A begins with random numbers and B with zeros, so that training begins with the model as it is.
 * What a run trains and its files hold is A and B.  In the table B lies as its transpose (r,out):
 * so the product of both is added by the operation that adds a gradient of an input (core/ops.def,
 * linear_dx), which every device has.
 *
 * A layer whose files have several tensors for one matrix of ours ({q,k,v}_proj) has an adapter for
 * each of them, as peft has, whose product goes to the columns of that one.
 */
#ifndef REGRAD_LORA_H
#define REGRAD_LORA_H

#include "params/params.h"

typedef struct {
    int64_t rank; /* 0: no adapters */
    double alpha;
    bool
        rank_stabilized; /* the product is multiplied by alpha / sqrt(rank), else by alpha / rank */
    /* ? Layers that have one, by their names or the ends of these after a dot, with * and ?:
     * "q_proj", "h.3.*".  n_on 0: all matrices of the blocks. */
    const char *const *on;
    int n_on;
} lora_plan;

/* What the product of both is multiplied by. */
double lora_scale(const lora_plan *plan);

/* Is a layer of that name one that the pattern means? */
bool lora_fits(const char *pattern, const char *layer);

/* The most tensors that files have for one matrix of ours. */
enum { LORA_PARTS = 3 };

/* Adds the rows of the adapters of matrix `weight` to the table: A of part k is adapter[k], its B
 * the next row; 0: none. */
error *lora_declare(const lora_plan *plan, params *p, int weight,
                    int adapter[LORA_PARTS]) NODISCARD;

/* "h.%d.attn.c_attn" of "h.%d.attn.c_attn.lora_A.weight" or ...lora_B.weight; false if the
 * name is of no adapter. */
bool lora_layer(const char *name, char *out, size_t size);

/* W += s B A for every adapter, whose rows leave the table then: no model computes with it any
 * more.  All values are there whole, on a device whose memory is the host's. */
error *lora_merge(params *p, device *dev) NODISCARD;

/* Is it A of an adapter? */
bool lora_is_a(const param *row);

#endif

/* tensor_names.h - a family's names for its parameters, in Hugging Face's files (ViT: timm's); the
 * families are in families.h.
 *
 * The block and the models refer to a place (block.qkv, head); the map gives the name of its
 * tensor.  One %d stands for the layer.  Braces stand for several tensors, whose rows in this order
 * are the rows of ours:
 *
 *     model.layers.%d.self_attn.{q,k,v}_proj.weight     q_proj, k_proj, v_proj: our qkv
 *     model.layers.%d.mlp.{gate,up}_proj.weight         gate_proj, up_proj: our up, when gated
 *
 * The number of rows of each is in the parameter table (param_spec.part_rows).
 */
#ifndef REGRAD_TENSOR_NAMES_H
#define REGRAD_TENSOR_NAMES_H

#include <stdbool.h>

typedef struct {
    const char *weight, *bias; /* NULL: the family has none */
} tensor_names;

typedef struct {
    const char *tokens;    /* (V,C), the embedding */
    const char *positions; /* (P,C), learned ones */
    tensor_names embedding_norm;
    tensor_names final_norm;
    tensor_names head; /* (V,C), if it is not tied */
    struct {
        tensor_names norm1, norm2; /* before attention, before the MLP */
        tensor_names post1, post2; /* after attention, after the MLP */
        tensor_names qkv, project; /* of attention: in and out; qkv has parts of H, KV, KV heads */
        tensor_names up, down;     /* of the MLP; up has two parts, gate and up, when gated */
        const char *q_norm, *k_norm;
    } block;
    bool transposed;   /* files have the block's matrices as (in, out): Conv1D */
    bool qkv_by_group; /* files have the rows of qkv grouped by key head: its queries, its key, its
                        * value */
} model_names;

#endif

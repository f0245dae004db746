/* vit_file.h - trained ViTs: reads timm's and Hugging Face's safetensors into our table, whose
 * names and shapes are timm's (model/vit.c).  timm loads what a run writes as it is; for
 * transformers the same values are written with its names.
 *
 *   timm                           Hugging Face (ViTForImageClassification)
 *   cls_token, pos_embed           vit.embeddings.{cls_token, position_embeddings}
 *   patch_embed.proj               vit.embeddings.patch_embeddings.projection
 *   blocks.N.norm1, norm2          vit.encoder.layer.N.layernorm_before, layernorm_after
 *   blocks.N.attn.qkv              ...attention.attention.{query, key, value}: stacked
 *   blocks.N.attn.proj             ...attention.output.dense
 *   blocks.N.mlp.fc1, fc2          ...intermediate.dense, ...output.dense
 *   norm, head                     vit.layernorm, classifier
 *
 * Hugging Face's ViTModel has the same names without "vit." and no classifier; its pooler is
 * ignored, and so are the mask token and the decoder of ViTForMaskedImageModeling.
 *
 * ConvNeXt: timm's names are ours (model/convnext.c); of Hugging Face's
 * ConvNextForImageClassification
 *
 *   stem.{0, 1}                    convnext.embeddings.{patch_embeddings, layernorm}
 *   stages.S.downsample.{0, 1}     convnext.encoder.stages.S.downsampling_layer.{0, 1}
 *   stages.S.blocks.N.{conv_dw, norm, mlp.fc1, mlp.fc2, gamma}
 *                                  ...stages.S.layers.N.{dwconv, layernorm, pwconv1, pwconv2, layer_scale_parameter}
 *   head.{norm, fc}                convnext.layernorm, classifier
 *
 * Two things may differ from the model, so that one can fine-tune: images of another size, where
 * the positions' square grid is interpolated as timm does it (bicubic, antialias); and other
 * classes, where the head keeps its initial values.
 */
#ifndef REGRAD_VIT_FILE_H
#define REGRAD_VIT_FILE_H

#include "io/safetensors.h"
#include "params/params.h"
#include "model/config.h"

/* path: a file, or a directory with model.safetensors.  The table has its initial values.  *head:
 * were the classes' values read, too?  User errors: as params_read's. */
error *vit_read(const char *path, const model_config *c, params *p, bool widen, device *dev,
                bool *head) NODISCARD;

/* Writes the values of a ViT's or ConvNeXt's table to the file `path`, with Hugging Face's names.
 * User errors: as safetensors_write_as's. */
error *vit_write_hf(const char *path, const model_config *c, const params *p, file_floats floats,
                    device *dev) NODISCARD;

#endif

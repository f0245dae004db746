/* hf_layers.h - what a config.json says of its layers: how they rotate queries and keys, and which of them see
 * all keys, only a window of them, or no positions.
 *
 * Hugging Face's files have come to say this in several ways (rope_scaling, then rope_parameters, then one of these
 * for each kind of layer; sliding_window, then layer_types); all that are there must agree.  Ours are a form of
 * rotations, a window, and every how many layers is without (model/config.h).
 */
#ifndef REGRAD_HF_LAYERS_H
#define REGRAD_HF_LAYERS_H

#include "model/hf/hf_internal.h"

/* rope_scaling and rope_parameters, into c.rotary; rotary_part: of each head, 0 where a family has no such field. */
error *hf_decode_rotary(const hf_source *s, hf_model *m) NODISCARD;
/* rotary_part, of which transformers rounds the product with the head's size down. */
void hf_encode_rotary(hf_model *m);
/* rope_scaling; and rope_parameters, which has two objects in newer files: of layers with a window, and of the
 * others. */
error *hf_read_two_ropes(const hf_source *s, hf_model *m) NODISCARD;
/* no_rope_layers has a 0 for each layer without rotations; the interval then says nothing. */
error *hf_read_rotary_skip(const hf_source *s, hf_model *m) NODISCARD;

/* layer_types, if it is there, has no windows. */
error *hf_check_no_windows(const hf_source *s) NODISCARD;
/* c.window is that of all layers, so that layer_types, if it is there, says nothing else.  One that is as long as the
 * context changes nothing, and goes. */
error *hf_read_windows(const hf_source *s, hf_model *m) NODISCARD;
/* Every n-th layer without a window: by layer_types, else `unset`. */
error *hf_read_window_skip(const hf_source *s, hf_model *m, int64_t unset) NODISCARD;

#endif

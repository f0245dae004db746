/* hf_layers.h - what a config.json says about single layers: how they rotate queries and keys, and
 * which of them see all keys, a window, or no positions.
 *
 * Hugging Face's files express this in several ways that came one after the other (rope_scaling,
 * then rope_parameters, then one of these per kind of layer; sliding_window, then layer_types); all
 * that are present must agree.  Ours are RoPE options, a window, and the interval of layers without
 * them (model/config.h).
 */
#ifndef REGRAD_HF_LAYERS_H
#define REGRAD_HF_LAYERS_H

#include "model/hf/hf_internal.h"

/* rope_scaling and rope_parameters, into c.rotary; rotary_part: fraction of each head, 0 if the
 * family has no such field. */
error *hf_decode_rotary(const hf_source *s, hf_model *m) NODISCARD;
/* rotary_part, whose product with the head size transformers rounds down. */
void hf_encode_rotary(hf_model *m);
/* rope_scaling; and rope_parameters, which in newer files has two objects: for layers with a
 * window, and for the others. */
error *hf_read_two_ropes(const hf_source *s, hf_model *m) NODISCARD;
/* no_rope_layers has a 0 for each layer without rotation; the interval is then ignored. */
error *hf_read_rotary_skip(const hf_source *s, hf_model *m) NODISCARD;

/* Requires that layer_types, if present, has no windows. */
error *hf_check_no_windows(const hf_source *s) NODISCARD;
/* c.window applies to all layers, so layer_types, if present, must agree; with a window as
 * long as the context (has_windows) it may say either. */
error *hf_read_windows(const hf_source *s, hf_model *m) NODISCARD;
/* Every n-th layer without a window: from layer_types, else `unset`. */
error *hf_read_window_skip(const hf_source *s, hf_model *m, int64_t unset) NODISCARD;

#endif

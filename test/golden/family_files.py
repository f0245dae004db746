#!/usr/bin/env python3
"""family_files.py - what transformers computes from small files of each family: family_files.json.

    test/golden/family_files.py [FILE]     needs torch and transformers (4.51 or later, for Qwen 3)

For each family a config.json, the names and shapes of the tensors in its file, and the logits behind
every token of a short text.  The numbers in the tensors are no part of the golden: made_tensor.py
gives them here, test/made_tensor.h in test/test_family_files.c, in the file's layout.  So a test sees names, layout,
options and arithmetic at once.

ChatGLM and the first Qwen are not in transformers: the same function under other names is, in Glm and
Qwen2, and their tensors are made of these here.

transformers computes norms, softmax and rotations in float32 whatever the model's type; here each
request for float32 is answered with float64, so that the digits are the same on every machine.
"""
import json, os, sys

sys.dont_write_bytecode = True
import golden  # noqa: F401 - first: it sets what torch reads

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from made_tensor import tensor

VOCAB, CONTEXT = 37, 16
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 9]


def base(**more):
    return {"vocab_size": VOCAB, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, **more}


LLAMA = dict(intermediate_size=44, max_position_embeddings=CONTEXT)
FALCON = dict(max_position_embeddings=CONTEXT, alibi=False, num_attention_heads=6)
families = {
    "gpt2": dict(model_type="gpt2", n_layer=2, n_head=3, n_embd=24, n_positions=CONTEXT, vocab_size=VOCAB),
    "llama": base(model_type="llama", num_key_value_heads=2, rms_norm_eps=1e-5, **LLAMA),
    "llama-bias": base(model_type="llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                       head_dim=8, rope_theta=5e5, **LLAMA),
    "qwen2": base(model_type="qwen2", num_key_value_heads=2, rope_theta=1e6, tie_word_embeddings=True, **LLAMA),
    "llama3": base(model_type="llama", num_key_value_heads=2, head_dim=10, rope_theta=1e4,
                   rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                     original_max_position_embeddings=64), **LLAMA),
    "mistral": base(model_type="mistral", num_key_value_heads=2, sliding_window=None, rope_theta=1e6, **LLAMA),
    "smollm3": base(model_type="smollm3", num_key_value_heads=2, no_rope_layer_interval=2, pad_token_id=0, **LLAMA),
    "phi3": base(model_type="phi3", num_key_value_heads=2, head_dim=6, pad_token_id=0, rope_theta=2.5e5,
                 sliding_window=None, **LLAMA),
    "olmo2": base(model_type="olmo2", num_key_value_heads=2, rope_theta=5e5, pad_token_id=0, rms_norm_eps=1e-6, **LLAMA),
    "neox": base(model_type="gpt_neox", rotary_pct=0.7, rotary_emb_base=5000, **LLAMA),
    "gemma": base(model_type="gemma", num_key_value_heads=1, head_dim=8, **LLAMA),
    "gemma2": base(model_type="gemma2", num_key_value_heads=2, head_dim=8, sliding_window=5, query_pre_attn_scalar=6,
                   attn_logit_softcapping=1.5, final_logit_softcapping=2.0, **LLAMA),
    "gemma3": base(model_type="gemma3_text", num_key_value_heads=1, head_dim=8, sliding_window=4, query_pre_attn_scalar=8,
                   layer_types=["sliding_attention", "full_attention"], rope_theta=3e5, rope_local_base_freq=5e3,
                   rope_scaling=dict(rope_type="linear", factor=8.0), pad_token_id=0, **LLAMA),
    "mistral-window": base(model_type="mistral", num_key_value_heads=2, sliding_window=5, rope_theta=1e4, **LLAMA),
    "mistral-wide": base(model_type="mistral", num_key_value_heads=2, sliding_window=64, rope_theta=1e4, **LLAMA),
    "bloom": dict(model_type="bloom", vocab_size=VOCAB, hidden_size=24, n_layer=2, n_head=6, seq_length=CONTEXT),
    "phi": base(model_type="phi", partial_rotary_factor=0.4, **{**LLAMA, "intermediate_size": 44}),
    "falcon": base(model_type="falcon", multi_query=True, parallel_attn=True, bias=False, new_decoder_architecture=False,
                   **{**FALCON}),
    "falcon-sequential": base(model_type="falcon", multi_query=False, parallel_attn=False, bias=True,
                              new_decoder_architecture=False, **FALCON),
    "falcon-new": base(model_type="falcon", num_kv_heads=2, bias=False, new_decoder_architecture=True, ffn_hidden_size=40,
                       tie_word_embeddings=False, **FALCON),
    "chatglm": dict(model_type="chatglm", padded_vocab_size=VOCAB, hidden_size=32, ffn_hidden_size=44, num_layers=2,
                    num_attention_heads=4, kv_channels=8, multi_query_attention=True, multi_query_group_num=2,
                    seq_length=CONTEXT, layernorm_epsilon=1e-5, rmsnorm=True, post_layer_norm=True, add_qkv_bias=True,
                    add_bias_linear=False),
    "qwen": dict(model_type="qwen", vocab_size=VOCAB, hidden_size=32, intermediate_size=88, num_hidden_layers=2,
                 num_attention_heads=4, kv_channels=8, seq_length=CONTEXT, layer_norm_epsilon=1e-6, no_bias=True),
}
if "qwen3" in transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES:
    families["qwen3"] = base(model_type="qwen3", num_key_value_heads=2, head_dim=8, rope_theta=1e6, **LLAMA)


def make(config):
    config = dict(config)
    c = AutoConfig.for_model(config.pop("model_type"), **config)
    return AutoModelForCausalLM.from_config(c, attn_implementation="eager").double().eval()


def chatglm(config):
    """Its tensors, and the same model as transformers' Glm."""
    q, kv, c, inner = 32, 16, 32, config["ffn_hidden_size"]
    model = make(dict(model_type="glm", vocab_size=VOCAB, hidden_size=c, intermediate_size=inner, num_hidden_layers=2,
                      num_attention_heads=4, num_key_value_heads=2, head_dim=8, partial_rotary_factor=0.5,
                      attention_bias=True, rms_norm_eps=1e-5, max_position_embeddings=CONTEXT, pad_token_id=0))
    file = {"transformer.embedding.word_embeddings.weight": (VOCAB, c),
            "transformer.encoder.final_layernorm.weight": (c,), "transformer.output_layer.weight": (VOCAB, c)}
    names = {"transformer.embedding.word_embeddings.weight": "model.embed_tokens.weight",
             "transformer.encoder.final_layernorm.weight": "model.norm.weight",
             "transformer.output_layer.weight": "lm_head.weight"}
    for l in range(2):
        a, b = f"transformer.encoder.layers.{l}.", f"model.layers.{l}."
        for n, shape, other in (("input_layernorm.weight", (c,), None), ("post_attention_layernorm.weight", (c,), None),
                                ("self_attention.query_key_value.weight", (q + 2 * kv, c), "qkv.weight"),
                                ("self_attention.query_key_value.bias", (q + 2 * kv,), "qkv.bias"),
                                ("self_attention.dense.weight", (c, q), "self_attn.o_proj.weight"),
                                ("mlp.dense_h_to_4h.weight", (2 * inner, c), "mlp.gate_up_proj.weight"),
                                ("mlp.dense_4h_to_h.weight", (c, inner), "mlp.down_proj.weight")):
            file[a + n], names[a + n] = shape, b + (other or n)
    state = {}
    for n, shape in file.items():
        value = tensor(n, shape)
        if ".qkv." in names[n]:
            for part, piece in zip("qkv", value.split([q, kv, kv])):
                state[names[n].replace("qkv.", f"self_attn.{part}_proj.")] = piece
        else:
            state[names[n]] = value
    model.load_state_dict(state)
    return file, model


def qwen(config):
    """Its tensors, and the same model as transformers' Qwen2."""
    c, inner = 32, config["intermediate_size"] // 2
    model = make(dict(model_type="qwen2", vocab_size=VOCAB, hidden_size=c, intermediate_size=inner, num_hidden_layers=2,
                      num_attention_heads=4, num_key_value_heads=4, rms_norm_eps=1e-6, max_position_embeddings=CONTEXT))
    file = {"transformer.wte.weight": (VOCAB, c), "transformer.ln_f.weight": (c,), "lm_head.weight": (VOCAB, c)}
    names = {"transformer.wte.weight": "model.embed_tokens.weight", "transformer.ln_f.weight": "model.norm.weight",
             "lm_head.weight": "lm_head.weight"}
    for l in range(2):
        a, b = f"transformer.h.{l}.", f"model.layers.{l}."
        for n, shape, other in (("ln_1.weight", (c,), "input_layernorm.weight"),
                                ("ln_2.weight", (c,), "post_attention_layernorm.weight"),
                                ("attn.c_attn.weight", (3 * c, c), "qkv.weight"), ("attn.c_attn.bias", (3 * c,), "qkv.bias"),
                                ("attn.c_proj.weight", (c, c), "self_attn.o_proj.weight"),
                                ("mlp.w1.weight", (inner, c), "mlp.up_proj.weight"),
                                ("mlp.w2.weight", (inner, c), "mlp.gate_proj.weight"),
                                ("mlp.c_proj.weight", (c, inner), "mlp.down_proj.weight")):
            file[a + n], names[a + n] = shape, b + other
    state = {}
    for n, shape in file.items():
        value = tensor(n, shape)
        if ".qkv." in names[n]:
            for part, piece in zip("qkv", value.chunk(3)):
                state[names[n].replace("qkv.", f"self_attn.{part}_proj.")] = piece
        else:
            state[names[n]] = value
    model.load_state_dict(state)
    return file, model


def plain(config):
    model = make(config)
    tied = model.config.tie_word_embeddings
    state = model.state_dict()
    file = {n: tuple(t.shape) for n, t in state.items()
            if not (tied and n == "lm_head.weight") and ".attn.bias" not in n and "masked_bias" not in n}
    mean = 0.0 if config["model_type"].startswith("gemma") else 1.0
    if config["model_type"] == "gpt_neox":  # the module is lm_head since 5.0, the file's name has stayed
        file["embed_out.weight"] = file.pop("lm_head.weight")
        state["embed_out.weight"] = state["lm_head.weight"]
    with torch.no_grad():
        for n in file:
            state[n].copy_(tensor(n, file[n], mean))
    model.tie_weights()
    return file, model


def main():
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    out = {"made by": f"test/golden/family_files.py with torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}",
           "tokens": TOKENS, "families": {}}
    for name, config in families.items():
        make_one = {"chatglm": chatglm, "qwen": qwen}.get(name, plain)
        file, model = make_one(config)
        with torch.no_grad():
            logits = model(torch.tensor([TOKENS])).logits[0]
        out["families"][name] = {"config": config, "tensors": {n: list(s) for n, s in file.items()},
                                 "parameters": sum(torch.Size(s).numel() for s in file.values()),
                                 "logits": [[float(f"{x:.7g}") for x in row] for row in logits[:, ::4].tolist()]}
    text = json.dumps(out, separators=(",", ":")).replace('"families":{', '"families":{\n').replace('}},"logits"', '}},\n"logits"')
    text = text.replace("]]},", "]]},\n").replace('"tensors":', '\n"tensors":').replace('"logits":', '\n"logits":')
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "family_files.json")
    with open(sys.argv[1] if len(sys.argv) > 1 else beside, "w") as f:
        f.write(text + "\n")


main()

#!/usr/bin/env python3
"""counts.py - how many parameters transformers counts of each configuration in configs.json: writes it there.

    test/golden/counts.py        needs torch and transformers (4.51 or later, for Qwen 3)

The models are built without memory (torch's meta device); tied parameters count once.  ChatGLM and the
first Qwen are not in transformers: their tensors have the shapes of Glm's and Qwen2's of these sizes.
"""
import json, os, sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM

PLACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs.json")


def known(c):
    """What transformers has a class for."""
    if c["model_type"] == "chatglm":
        return dict(model_type="glm", vocab_size=c["padded_vocab_size"], hidden_size=c["hidden_size"],
                    intermediate_size=c["ffn_hidden_size"], num_hidden_layers=c["num_layers"], head_dim=c["kv_channels"],
                    num_attention_heads=c["num_attention_heads"], num_key_value_heads=c["multi_query_group_num"],
                    attention_bias=c["add_qkv_bias"], tie_word_embeddings=False, pad_token_id=0)
    if c["model_type"] == "qwen":
        return dict(model_type="qwen2", vocab_size=c["vocab_size"], hidden_size=c["hidden_size"],
                    intermediate_size=c["intermediate_size"] // 2, num_hidden_layers=c["num_hidden_layers"],
                    num_attention_heads=c["num_attention_heads"], num_key_value_heads=c["num_attention_heads"])
    return {k: v for k, v in c.items() if k not in ("auto_map", "torch_dtype", "dtype", "transformers_version", "id2label",
                                                    "label2id", "architectures") and not k.startswith("_")}


def count(config):
    config = dict(known(config))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
    model.tie_weights()
    return sum(p.numel() for p in model.parameters())


def main():
    with open(PLACE) as f:
        file = json.load(f)
    for entry in file["configs"]:
        entry["parameters"] = count(entry["config"])
        print(entry["preset"], entry["parameters"], file=sys.stderr)
    rows = ",\n".join(json.dumps({k: e[k] for k in ("preset", "parameters", "config")}, separators=(",", ":"))
                      for e in file["configs"])
    with open(PLACE, "w") as f:
        f.write('{"about":%s,"configs":[\n%s\n]}\n' % (json.dumps(file["about"]), rows))


main()

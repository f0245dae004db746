#!/usr/bin/python3
"""Golden values for ViTs of Hugging Face's: losses of transformers' own model, by its configuration.

    test/golden/hf_vit.py [FILE]        writes hf_vit.txt

Needs torch, transformers, safetensors and timm.  Tensors, numbered as in names() below, and images are those of hf_loss.py;
norm weights lie about 1.

Records: config (width, layers, heads, inner, image size, patch, channels, classes, images);
  loss.VARIANT    mean cross entropy in float64: plain (gelu, heads as above, 1e-12), gelu_new, silu, heads
                  (twice as many), eps (0.5), no_qkv_bias
  positions       of a grid of 3 x 3, `width` numbers each behind a class token: hash(700, j), amplitude 2
  positions.ROWSxCOLUMNS    timm's resample_abs_pos_embed of them
"""
import sys

sys.dont_write_bytecode = True
import hf_loss  # noqa: E402
from golden import Writer, values  # noqa: E402

import timm  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from timm.layers import resample_abs_pos_embed  # noqa: E402

WIDTH, LAYERS, HEADS, INNER, SIDE, PATCH, CHANNELS, CLASSES, IMAGES = 12, 2, 3, 20, 8, 4, 3, 5, 7


def names():
    e = "vit.embeddings."
    yield from (e + "cls_token", e + "position_embeddings", e + "patch_embeddings.projection.weight",
                e + "patch_embeddings.projection.bias")
    for layer in range(LAYERS):
        for part in ("layernorm_before", "attention.attention.query", "attention.attention.key",
                     "attention.attention.value", "attention.output.dense", "layernorm_after",
                     "intermediate.dense", "output.dense"):
            for kind in "weight", "bias":
                yield f"vit.encoder.layer.{layer}.{part}.{kind}"
    for part in "vit.layernorm", "classifier":
        yield part + ".weight"
        yield part + ".bias"


def shape_of(name):
    part = name.split(".")[-2]
    if "cls_token" in name:
        return (1, 1, WIDTH)
    if "position" in name:
        return (1, 1 + (SIDE // PATCH)**2, WIDTH)
    rows = {"classifier": CLASSES, "dense": INNER if "intermediate" in name else WIDTH}.get(part, WIDTH)
    if name.endswith("bias") or "layernorm" in name:
        return (rows,)
    if part == "projection":
        return (WIDTH, CHANNELS, PATCH, PATCH)
    return (rows, INNER if ".output.dense" in name and "attention" not in name else WIDTH)


def state(qkv_bias):
    tensors = {}
    for k, name in enumerate(names()):
        if not qkv_bias and "attention.attention" in name and name.endswith("bias"):
            continue
        tensors[name] = hf_loss.made(k, shape_of(name), "layernorm" in name and name.endswith("weight"))
    return tensors


def loss(**changed):
    options = dict(hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                   intermediate_size=INNER, image_size=SIDE, patch_size=PATCH, num_channels=CHANNELS,
                   num_labels=CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    config = transformers.ViTConfig(**{**options, **changed})
    return hf_loss.loss(transformers.ViTForImageClassification, config, state(changed.get("qkv_bias", True)), IMAGES)


def main():
    torch.set_num_threads(1)
    out = Writer("hf_vit.txt", f"transformers {transformers.__version__}, timm {timm.__version__}, "
                               f"torch {torch.__version__}")
    out.record("config", [WIDTH, LAYERS, HEADS, INNER, SIDE, PATCH, CHANNELS, CLASSES, IMAGES], "%d")
    for name, changed in (("plain", {}), ("gelu_new", {"hidden_act": "gelu_new"}), ("silu", {"hidden_act": "silu"}),
                          ("heads", {"num_attention_heads": 2 * HEADS}), ("eps", {"layer_norm_eps": 0.5}),
                          ("no_qkv_bias", {"qkv_bias": False})):
        out.record(f"loss.{name}", [loss(**changed)], "%.10g")
    positions = torch.from_numpy(values(700, 10 * WIDTH, 2.0)).reshape(1, 10, WIDTH)
    for size in (3, 6), (2, 2), (7, 5), (1, 4):
        scaled = resample_abs_pos_embed(positions, size, num_prefix_tokens=1)
        out.record("positions.%dx%d" % size, scaled.numpy(), "%.7g")
    out.close()


if __name__ == "__main__":
    main()

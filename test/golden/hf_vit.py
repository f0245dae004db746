#!/usr/bin/python3
"""Golden values for ViTs of Hugging Face's: losses of transformers' own model, by its configuration.

    test/golden/hf_vit.py [FILE]        writes hf_vit.txt

Needs torch, transformers, safetensors and timm.  Tensor k of the list below is a hash (golden.py), amplitude 0.4 if
it has more than one dimension, else 0.2, norm weights about 1.  Image i's byte j is hash(900 + i, j) mod
256, (channels, height, width), seen as byte / 127.5 - 1; its label is hash(899, i) mod classes.

Records: config (width, layers, heads, inner, image size, patch, channels, classes, images);
  loss.VARIANT    mean cross entropy in float64: plain (gelu, heads as above, 1e-12), gelu_new, silu, heads
                  (twice as many), eps (0.5), no_qkv_bias
  positions       of a grid of 3 x 3, `width` numbers each behind a class token: hash(700, j), amplitude 2
  positions.ROWSxCOLUMNS    timm's resample_abs_pos_embed of them
"""
import sys
import tempfile

sys.dont_write_bytecode = True
from golden import Writer, hash32, values  # noqa: E402

import numpy as np  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from timm.layers import resample_abs_pos_embed  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch.nn import functional as F  # noqa: E402

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
    made = {}
    for k, name in enumerate(names()):
        if not qkv_bias and "attention.attention" in name and name.endswith("bias"):
            continue
        shape = torch.Size(shape_of(name))
        about_one = "layernorm" in name and name.endswith("weight")
        flat = values(k, shape.numel(), 0.4 if len(shape) > 1 else 0.2, 1.0 if about_one else 0.0)
        made[name] = torch.from_numpy(flat).reshape(shape)
    return made


def loss(**changed):
    options = dict(hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                   intermediate_size=INNER, image_size=SIDE, patch_size=PATCH, num_channels=CHANNELS,
                   num_labels=CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    with tempfile.TemporaryDirectory() as directory:
        transformers.ViTConfig(**{**options, **changed}).save_pretrained(directory)
        save_file(state(changed.get("qkv_bias", True)), directory + "/model.safetensors", {"format": "pt"})
        model, told = transformers.ViTForImageClassification.from_pretrained(directory, output_loading_info=True)
    assert not any(told.values()), told
    model = model.eval().double()
    pixels = np.stack([hash32(900 + i, np.arange(CHANNELS * SIDE * SIDE)) % 256 for i in range(IMAGES)])
    x = torch.from_numpy(pixels.astype(np.float64) / 127.5 - 1).reshape(IMAGES, CHANNELS, SIDE, SIDE)
    labels = torch.from_numpy((hash32(899, np.arange(IMAGES)) % CLASSES).astype(np.int64))
    with torch.no_grad():
        return F.cross_entropy(model(x).logits, labels).item()


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

#!/usr/bin/python3
"""Golden values for ConvNeXts of Hugging Face's: losses of transformers' own model, by its configuration.

    test/golden/hf_convnext.py [FILE]        writes hf_convnext.txt

Needs torch, transformers and safetensors.  Tensors in the order of names() below, numbered 0, 1, ..., and images are those
of hf_loss.py; norm weights and scales of layers lie about 1.

Records: config (width, patch, channels, classes, images, side, blocks of the four stages);
  loss.VARIANT    mean cross entropy in float64: plain (gelu, 1e-12), silu, gelu_new, eps (0.5)
"""
import sys

sys.dont_write_bytecode = True
import hf_loss  # noqa: E402
from golden import Writer  # noqa: E402

import torch  # noqa: E402
import transformers  # noqa: E402

WIDTH, PATCH, CHANNELS, CLASSES, IMAGES, SIDE = 8, 4, 3, 5, 7, 32
STAGES = 2, 1, 2, 1


def names():
    """Name and shape."""
    def pair(name, *shape):
        yield name + ".weight", shape
        yield name + ".bias", shape[:1]

    yield from pair("convnext.embeddings.patch_embeddings", WIDTH, CHANNELS, PATCH, PATCH)
    yield from pair("convnext.embeddings.layernorm", WIDTH)
    for s, blocks in enumerate(STAGES):
        n, front = WIDTH << s, f"convnext.encoder.stages.{s}."
        if s:
            yield from pair(front + "downsampling_layer.0", n // 2)
            yield from pair(front + "downsampling_layer.1", n, n // 2, 2, 2)
        for b in range(blocks):
            layer = f"{front}layers.{b}."
            yield from pair(layer + "dwconv", n, 1, 7, 7)
            yield from pair(layer + "layernorm", n)
            yield from pair(layer + "pwconv1", 4 * n, n)
            yield from pair(layer + "pwconv2", n, 4 * n)
            yield layer + "layer_scale_parameter", (n,)
    yield from pair("convnext.layernorm", WIDTH << 3)
    yield from pair("classifier", CLASSES, WIDTH << 3)


def state():
    tensors = {}
    for k, (name, shape) in enumerate(names()):
        about_one = "scale" in name or (len(shape) == 1 and name.endswith("weight"))
        tensors[name] = hf_loss.made(k, shape, about_one)
    return tensors


def loss(**changed):
    options = dict(num_channels=CHANNELS, patch_size=PATCH, hidden_sizes=[WIDTH << s for s in range(4)],
                   depths=list(STAGES), image_size=SIDE, num_labels=CLASSES)
    config = transformers.ConvNextConfig(**{**options, **changed})
    return hf_loss.loss(transformers.ConvNextForImageClassification, config, state(), IMAGES)


def main():
    torch.set_num_threads(1)
    out = Writer("hf_convnext.txt", f"transformers {transformers.__version__}, torch {torch.__version__}")
    out.record("config", [WIDTH, PATCH, CHANNELS, CLASSES, IMAGES, SIDE, *STAGES], "%d")
    for name, changed in (("plain", {}), ("silu", {"hidden_act": "silu"}), ("gelu_new", {"hidden_act": "gelu_new"}),
                          ("eps", {"layer_norm_eps": 0.5})):
        out.record(f"loss.{name}", [loss(**changed)], "%.10g")
    out.close()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Golden values for --layer-decay: the learning rates of timm's param_groups_layer_decay.

    test/golden/layer_decay.py [FILE]        writes layer_decay.txt

Needs torch and timm.  A record for each model, and its values in the order of ours (model/vit.c, model/convnext.c):
lr_scale of the group that each parameter is in, for the decay of record "decay".
"""
import sys

sys.dont_write_bytecode = True
import convnext as ours  # noqa: E402
from golden import Writer  # noqa: E402

import timm  # noqa: E402
from timm.models.convnext import ConvNeXt  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402
from timm.optim import param_groups_layer_decay  # noqa: E402

DECAY, BLOCKS = 0.65, 3


def scales(model, order):
    found = {}
    for group in param_groups_layer_decay(model, weight_decay=0.05, layer_decay=DECAY):
        for p in group["params"]:
            found[id(p)] = group["lr_scale"]
    named = dict(model.named_parameters())
    assert sorted(named) == sorted(order), set(named) ^ set(order)
    return [found[id(named[name])] for name in order]


def vit_order(pool):
    yield from ["cls_token"] * (pool == "token") + ["pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"]
    for n in range(BLOCKS):
        for part in "norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2":
            yield from (f"blocks.{n}.{part}.weight", f"blocks.{n}.{part}.bias")
    norm = "norm" if pool == "token" else "fc_norm"
    yield from (norm + ".weight", norm + ".bias", "head.weight", "head.bias")


def vit(pool):
    return VisionTransformer(img_size=8, patch_size=4, in_chans=1, num_classes=5, embed_dim=8, depth=BLOCKS,
                             num_heads=2, global_pool=pool, class_token=pool == "token")


def main():
    out = Writer("layer_decay.txt", f"timm {timm.__version__}")
    out.record("decay", [DECAY], "%.10g")
    for name, pool in ("vit_cls", "token"), ("vit_mean", "avg"):
        out.record(name, scales(vit(pool), list(vit_order(pool))), "%.10g")
    model = ConvNeXt(in_chans=ours.CHANNELS, num_classes=ours.CLASSES, depths=ours.STAGES,
                     dims=[ours.WIDTH << s for s in range(4)], patch_size=ours.PATCH)
    out.record("convnext", scales(model, list(ours.order())), "%.10g")
    out.close()


if __name__ == "__main__":
    main()

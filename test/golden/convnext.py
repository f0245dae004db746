#!/usr/bin/python3
"""Golden values for ConvNeXt: timm's own, in float64.

    test/golden/convnext.py [FILE]        writes convnext.txt

Needs torch and timm.  Parameter k of the order below (ours: model/convnext.c) is a hash (golden.py),
amplitude 0.4 if it has more than one dimension, 0.2 if it is a vector; norm weights and gamma lie about 1.
Images are tensor 999, amplitude 2; the label of image b is hash(998, b) mod classes.

Records: config (width, patch, channels, classes, batch, height, width, blocks of the four stages);
  counts                number of parameters of timm's tiny, small, base, large, xlarge
  VARIANT.tensors, VARIANT.loss, VARIANT.logits
  VARIANT.short.NAME    of each gradient: sum, sum of squares, first 8 elements
Variants: plain; smooth (label smoothing 0.1); drop (block n's branch of image b times hash(997, n * batch + b)
mod 2 * 2: stochastic depth).
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, hash32, values  # noqa: E402

import timm  # noqa: E402
import torch  # noqa: E402
from timm.models.convnext import ConvNeXt  # noqa: E402
from torch.nn import functional as F  # noqa: E402

WIDTH, PATCH, CHANNELS, CLASSES, BATCH, HIGH, WIDE = 8, 4, 3, 5, 3, 44, 32
STAGES = 2, 1, 2, 1


def order():
    pairs = ["stem.0", "stem.1"]
    for s, n in enumerate(STAGES):
        if s:
            pairs += [f"stages.{s}.downsample.0", f"stages.{s}.downsample.1"]
        for b in range(n):
            pairs += [f"stages.{s}.blocks.{b}.{part}" for part in ("conv_dw", "norm", "mlp.fc1", "mlp.fc2")]
            pairs.append(f"stages.{s}.blocks.{b}.gamma")
    for pair in pairs + ["head.norm", "head.fc"]:
        yield from [pair] if pair.endswith("gamma") else [pair + ".weight", pair + ".bias"]


class Scaled(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x * self.scale.reshape(-1, 1, 1, 1)


def number(x):
    return "%.10g" % (round(x, 13) + 0.0)  # + 0.0: no minus zero


def variant(out, name, smoothing=0.0, dropped=False):
    model = ConvNeXt(in_chans=CHANNELS, num_classes=CLASSES, depths=STAGES,
                     dims=[WIDTH << s for s in range(4)], patch_size=PATCH).double().train()
    named = dict(model.named_parameters())
    assert sorted(named) == sorted(order())
    with torch.no_grad():
        for k, key in enumerate(order()):
            p = named[key]
            about_one = "gamma" in key or (p.ndim == 1 and key.endswith("weight"))
            flat = values(k, p.numel(), 0.4 if p.ndim > 1 else 0.2, 1.0 if about_one else 0.0)
            p.copy_(torch.from_numpy(flat).reshape(p.shape))
    if dropped:
        scale = torch.from_numpy((hash32(997, range(sum(STAGES) * BATCH)) % 2 * 2).astype("float64"))
        blocks = [b for stage in model.stages for b in stage.blocks]
        for n, block in enumerate(blocks):
            block.drop_path = Scaled(scale[n * BATCH:(n + 1) * BATCH])
    images = torch.from_numpy(values(999, BATCH * CHANNELS * HIGH * WIDE, 2.0)).double()
    labels = torch.from_numpy((hash32(998, range(BATCH)) % CLASSES).astype("int64"))
    logits = model(images.reshape(BATCH, CHANNELS, HIGH, WIDE))
    loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    loss.backward()
    out.record(f"{name}.tensors", [len(named)], "%d")
    out.record(f"{name}.loss", [loss.item()], number)
    out.record(f"{name}.logits", logits.detach().numpy(), number)
    for key in order():
        g = named[key].grad.reshape(-1)
        out.record(f"{name}.short.{key}", [g.sum().item(), (g * g).sum().item(), *g[:8].tolist()], number)


def main():
    torch.set_num_threads(1)
    out = Writer("convnext.txt", f"timm {timm.__version__}, torch {torch.__version__}, float64")
    out.record("config", [WIDTH, PATCH, CHANNELS, CLASSES, BATCH, HIGH, WIDE, *STAGES], "%d")
    out.record("counts", [sum(p.numel() for p in timm.create_model(f"convnext_{size}").parameters())
                          for size in ("tiny", "small", "base", "large", "xlarge")], "%d")
    variant(out, "plain")
    variant(out, "smooth", smoothing=0.1)
    variant(out, "drop", dropped=True)
    out.close()


if __name__ == "__main__":
    main()

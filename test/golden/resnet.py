#!/usr/bin/python3
"""Golden values for wide residual networks: PyTorch's layers, in float64.

    test/golden/resnet.py [FILE]        writes resnet.txt

Needs torch.  The network is written here after Zagoruyko, Komodakis 2016 ("Wide residual networks", figure 1 and
table 1: basic blocks, norm and ReLU before each convolution, stages of 16 k, 32 k and 64 k channels, mean of all
pixels).  Parameter k, in the order of the forward pass (ours: model/resnet.c; states are not counted), is a hash
(golden.py), amplitude 0.4 if it has more than one dimension, 0.2 if it is a vector; norm weights lie about 1.
Images are tensor 999, amplitude 2; the label of image b is hash(998, b) mod classes.

Records: config (width, channels, classes, batch, height, width, blocks of the three stages, groups);
  counts                   number of parameters of WRN-16-4, 28-2, 28-10 (10 classes, 3 channels)
  VARIANT.tensors, VARIANT.loss, VARIANT.logits (those of a batch in training)
  VARIANT.short.NAME       of each gradient: sum, sum of squares, first 8 elements; of running statistics themselves,
                           after one batch
  VARIANT.eval             logits in evaluation after that batch: by running statistics, where there are
Variants: batch (BatchNorm); group (GroupNorm); smooth (BatchNorm, label smoothing 0.1).
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, hash32, values  # noqa: E402

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

WIDTH, CHANNELS, CLASSES, BATCH, HIGH, WIDE = 24, 3, 5, 3, 9, 7
STAGES = 2, 1, 2
STEM, GROUPS = 16, 8


def norm(kind, n):
    return nn.GroupNorm(GROUPS, n) if kind == "group" else nn.BatchNorm2d(n)


class Block(nn.Module):
    def __init__(self, kind, n_in, n_out, stride):
        super().__init__()
        self.bn1 = norm(kind, n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn2 = norm(kind, n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        if n_in != n_out or stride > 1:
            self.convShortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x):
        n = F.relu(self.bn1(x))
        other = self.convShortcut(n) if hasattr(self, "convShortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(n)))) + other


class Stage(nn.Module):
    def __init__(self, kind, blocks, n_in, n_out, stride):
        super().__init__()
        self.layer = nn.Sequential(*(Block(kind, n_out if i else n_in, n_out, 1 if i else stride)
                                     for i in range(blocks)))

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, kind, stages, width, channels, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, STEM, 3, 1, 1, bias=False)
        self.block1 = Stage(kind, stages[0], STEM, width, 1)
        self.block2 = Stage(kind, stages[1], width, 2 * width, 2)
        self.block3 = Stage(kind, stages[2], 2 * width, 4 * width, 2)
        self.bn1 = norm(kind, 4 * width)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


def number(x):
    return "%.10g" % (round(x, 13) + 0.0)  # + 0.0: no minus zero


def short(out, key, tensor):
    flat = tensor.reshape(-1)
    out.record(key, [flat.sum().item(), (flat * flat).sum().item(), *flat[:8].tolist()], number)


def variant(out, name, kind, smoothing=0.0):
    model = WideResNet(kind, STAGES, WIDTH, CHANNELS, CLASSES).double().train()
    with torch.no_grad():
        for k, (key, p) in enumerate(model.named_parameters()):
            about_one = p.ndim == 1 and key.endswith("weight")
            flat = values(k, p.numel(), 0.4 if p.ndim > 1 else 0.2, 1.0 if about_one else 0.0)
            p.copy_(torch.from_numpy(flat).reshape(p.shape))
    images = torch.from_numpy(values(999, BATCH * CHANNELS * HIGH * WIDE, 2.0)).double()
    images = images.reshape(BATCH, CHANNELS, HIGH, WIDE)
    labels = torch.from_numpy((hash32(998, range(BATCH)) % CLASSES).astype("int64"))
    logits = model(images)
    loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    loss.backward()
    running = {k: b for k, b in model.named_buffers() if "running" in k}
    out.record(f"{name}.tensors", [len(list(model.parameters())) + len(running)], "%d")
    out.record(f"{name}.loss", [loss.item()], number)
    out.record(f"{name}.logits", logits.detach().numpy(), number)
    for key, p in model.named_parameters():
        short(out, f"{name}.short.{key}", p.grad)
    for key, b in running.items():
        short(out, f"{name}.short.{key}", b)
    out.record(f"{name}.eval", model.eval()(images).detach().numpy(), number)


def count(blocks, k):
    return sum(p.numel() for p in WideResNet("batch", [blocks] * 3, 16 * k, 3, 10).parameters())


def main():
    torch.set_num_threads(1)
    out = Writer("resnet.txt", f"torch {torch.__version__}, float64")
    out.record("config", [WIDTH, CHANNELS, CLASSES, BATCH, HIGH, WIDE, *STAGES, GROUPS], "%d")
    out.record("counts", [count(2, 4), count(4, 2), count(4, 10)], "%d")
    variant(out, "batch", "batch")
    variant(out, "group", "group")
    variant(out, "smooth", "batch", smoothing=0.1)
    out.close()


if __name__ == "__main__":
    main()

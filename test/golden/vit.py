#!/usr/bin/python3
"""Golden values for the ViT: a vision transformer written plainly in PyTorch, in float64.

    test/golden/vit.py [FILE]        writes vit.txt

Patches by a convolution whose stride is its kernel; a class token (or none); learned positions;
blocks x + attention(norm1(x)), x + mlp(norm2(x)) with fused qkv, attention in both directions, exact
gelu, LayerNorm with epsilon 1e-6; a norm of all positions, of which the class token is read - or, with
mean pooling, the mean of all positions and then a norm; a head; cross entropy.  Names are timm's.

Weights and images are hashes (see golden.py).  Parameter k of the table has amplitude 0.4 if it has
more than one dimension, 0.2 if it is a vector; norm weights lie about 1.  Images are tensor 999,
amplitude 2.  The label of image b is hash(998, b) mod classes.

Records: config (layers, heads, width, patch, channels, classes, batch), labels; for each variant its
  VARIANT.size         height, width in pixels
  VARIANT.tensors      number of parameters in the table
  VARIANT.first        first element of every parameter in table order (float: checks the hash)
  VARIANT.loss, VARIANT.logits (B,classes)
  VARIANT.grad.NAME    the whole gradient (variant cls only)
  VARIANT.short.NAME   sum, sum of squares, first 8 elements (the others)
Variants: cls (3 x 5 patches: an odd grid, images that are not square), mean (4 x 2 patches), smooth
(cls, label smoothing 0.1), drop (cls, with each branch of each image scaled by hash(997, j) mod 2 * 2
for j = (2 layer + branch) * batch + image: stochastic depth), one (a single patch).

Numbers have ten digits and at most 13 decimals, as in gpt.py.
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, hash32, values  # noqa: E402 - first: it sets what torch reads

import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

L, H, C, P, CH, V, B = 2, 3, 24, 3, 2, 7, 3
D, INNER = C // H, 2 * C


def table(positions, mean):
    """[(name, shape)] in timm's order."""
    rows = [] if mean else [("cls_token", (1, 1, C))]
    rows += [("pos_embed", (1, positions, C)), ("patch_embed.proj.weight", (C, CH, P, P)),
             ("patch_embed.proj.bias", (C,))]

    def norm(name):
        rows.extend([(name + ".weight", (C,)), (name + ".bias", (C,))])

    def linear(name, n_out, n_in):
        rows.extend([(name + ".weight", (n_out, n_in)), (name + ".bias", (n_out,))])

    for layer in range(L):
        b = f"blocks.{layer}."
        norm(b + "norm1")
        linear(b + "attn.qkv", 3 * C, C)
        linear(b + "attn.proj", C, C)
        norm(b + "norm2")
        linear(b + "mlp.fc1", INNER, C)
        linear(b + "mlp.fc2", C, INNER)
    norm("fc_norm" if mean else "norm")
    linear("head", V, C)
    return rows


def parameters(rows):
    made = {}
    for k, (name, shape) in enumerate(rows):
        is_norm_weight = "norm" in name and name.endswith(".weight")
        flat = values(k, int(torch.Size(shape).numel()), amplitude=0.4 if len(shape) > 1 else 0.2,
                      offset=1.0 if is_norm_weight else 0.0)
        made[name] = torch.from_numpy(flat).double().reshape(shape).requires_grad_()
    return made


def linear(x, p, name):
    return F.linear(x, p[name + ".weight"], p[name + ".bias"])


def norm(x, p, name):
    return F.layer_norm(x, (C,), p[name + ".weight"], p[name + ".bias"], 1e-6)


def attention(x, p, b):  # (B,T,C) -> (B,T,C)
    T = x.shape[1]
    q, k, v = (y.reshape(B, T, H, D).transpose(1, 2)
               for y in linear(x, p, b + "attn.qkv").split(C, dim=2))
    y = (q @ k.transpose(2, 3) / D**0.5).softmax(-1) @ v
    return linear(y.transpose(1, 2).reshape(B, T, C), p, b + "attn.proj")


def forward(p, images, mean, drop):  # (B,CH,height,width) -> logits (B,V)
    x = F.conv2d(images, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=P)
    x = x.flatten(2).transpose(1, 2)  # (B,N,C)
    if not mean:
        x = torch.cat([p["cls_token"].expand(B, 1, C), x], 1)
    x = x + p["pos_embed"]
    for layer in range(L):
        b = f"blocks.{layer}."
        x = x + drop[2 * layer].reshape(B, 1, 1) * attention(norm(x, p, b + "norm1"), p, b)
        y = F.gelu(linear(norm(x, p, b + "norm2"), p, b + "mlp.fc1"))
        x = x + drop[2 * layer + 1].reshape(B, 1, 1) * linear(y, p, b + "mlp.fc2")
    x = norm(x.mean(1), p, "fc_norm") if mean else norm(x, p, "norm")[:, 0]
    return linear(x, p, "head")


def number(x):
    return "%.10g" % (round(x, 13) + 0.0)  # + 0.0: no minus zero


def variant(out, name, height, width, mean=False, smoothing=0.0, dropped=False, whole=False):
    rows = table(height // P * (width // P) + (not mean), mean)
    p = parameters(rows)
    images = torch.from_numpy(values(999, B * CH * height * width, 2.0)).double()
    labels = torch.from_numpy((hash32(998, range(B)) % V).astype("int64"))
    drop = torch.ones(2 * L, B).double()
    if dropped:
        drop = torch.from_numpy((hash32(997, range(2 * L * B)) % 2 * 2).astype("float64"))
        drop = drop.reshape(2 * L, B)
    logits = forward(p, images.reshape(B, CH, height, width), mean, drop)
    loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    loss.backward()

    out.record(f"{name}.size", [height, width], "%d")
    out.record(f"{name}.tensors", [len(rows)], "%d")
    out.record(f"{name}.first", [t.reshape(-1)[0].item() for t in p.values()], "%.9g")
    out.record(f"{name}.loss", [loss.item()], number)
    out.record(f"{name}.logits", logits.detach().numpy(), number)
    for key, tensor in p.items():
        g = tensor.grad.reshape(-1)
        if whole:
            out.record(f"{name}.grad.{key}", g.numpy(), number)
        else:
            short = [g.sum().item(), (g * g).sum().item(), *g[:8].tolist()]
            out.record(f"{name}.short.{key}", short, number)


def main():
    torch.set_num_threads(1)
    out = Writer("vit.txt", f"torch {torch.__version__}, float64")
    out.record("config", [L, H, C, P, CH, V, B], "%d")
    out.record("labels", hash32(998, range(B)) % V, "%d")
    variant(out, "cls", 3 * P, 5 * P, whole=True)
    variant(out, "mean", 4 * P, 2 * P, mean=True)
    variant(out, "smooth", 3 * P, 5 * P, smoothing=0.1)
    variant(out, "drop", 3 * P, 5 * P, dropped=True)
    variant(out, "one", P, P)
    out.close()


if __name__ == "__main__":
    main()

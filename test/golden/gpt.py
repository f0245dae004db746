#!/usr/bin/python3
"""Golden values for the GPT: a GPT-2 written plainly in PyTorch, in float64.

    test/golden/gpt.py [FILE]        writes gpt.txt

The model is GPT-2's: learned positions; blocks x + attention(ln_1(x)), x + mlp(ln_2(x)); fused qkv;
causal attention scaled by 1/sqrt(D); tanh gelu; LayerNorm with epsilon 1e-5; a final LayerNorm;
head tied to the token embedding; mean cross entropy of the B*T tokens.  Gradients are autograd's.

Weights and tokens are hashes (see golden.py).  Parameter k of the table (in Hugging Face's order
and names) has amplitude 0.4 if it is a matrix, 0.2 if a vector; norm weights lie about 1.  Matrices
are (out, in), as nn.Linear has them: the transpose of Hugging Face's Conv1D.  Sequence b reads
tokens hash(999, b*(T+1) + t) mod V for t = 0..T; token t+1 is the target of token t.

Records: config (layers, heads, width, T, context, batch, vocabulary), inputs and targets (B,T);
then, for each variant:
  VARIANT.tensors      number of parameters in the table
  VARIANT.first        first element of every parameter in table order (float: checks the hash)
  VARIANT.loss
  VARIANT.logits       of the first sequence, (T,V)           (variant `base` only)
  VARIANT.grad.NAME    the whole gradient                     (variant `base` only)
  VARIANT.short.NAME   sum, sum of squares, first 8 elements  (the other variants)
Variants: base; erf (exact gelu); untied (lm_head.weight (V,C) ends the table); noprojbias (no
biases but those of the norms); nobias (none at all).  A tensor that is absent takes no k.

Numbers have ten digits and at most 13 decimals: far below what any test can ask, and above the
noise of summation order.  (The gradient of the keys' bias is zero in exact arithmetic: softmax does
not see a constant.)
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, hash32, values  # noqa: E402 - first: it sets what torch reads

import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

L, H, C, T, CONTEXT, B, V = 2, 3, 24, 11, 13, 3, 59
D, INNER = C // H, 4 * C


def table(norm_bias=True, proj_bias=True, tied=True):
    """[(name, shape)] in Hugging Face's order."""
    rows = [("wte.weight", (V, C)), ("wpe.weight", (CONTEXT, C))]

    def norm(name):
        rows.append((name + ".weight", (C,)))
        if norm_bias:
            rows.append((name + ".bias", (C,)))

    def linear(name, n_out, n_in):
        rows.append((name + ".weight", (n_out, n_in)))
        if proj_bias:
            rows.append((name + ".bias", (n_out,)))

    for layer in range(L):
        h = f"h.{layer}."
        norm(h + "ln_1")
        linear(h + "attn.c_attn", 3 * C, C)
        linear(h + "attn.c_proj", C, C)
        norm(h + "ln_2")
        linear(h + "mlp.c_fc", INNER, C)
        linear(h + "mlp.c_proj", C, INNER)
    norm("ln_f")
    if not tied:
        rows.append(("lm_head.weight", (V, C)))
    return rows


def parameters(rows):
    """name -> float64 tensor that wants a gradient."""
    made = {}
    for k, (name, shape) in enumerate(rows):
        is_norm_weight = len(shape) == 1 and name.endswith(".weight")
        flat = values(k, int(torch.Size(shape).numel()), amplitude=0.4 if len(shape) == 2 else 0.2,
                      offset=1.0 if is_norm_weight else 0.0)
        made[name] = torch.from_numpy(flat).double().reshape(shape).requires_grad_()
    return made


def tokens():
    """-> inputs (B,T), targets (B,T)"""
    h = hash32(999, range(B * (T + 1))) % V
    rows = torch.from_numpy(h.astype("int64")).reshape(B, T + 1)
    return rows[:, :-1], rows[:, 1:]


def attention(x, p, h):  # (B,T,C) -> (B,T,C)
    qkv = F.linear(x, p[h + "attn.c_attn.weight"], p.get(h + "attn.c_attn.bias"))
    q, k, v = (x.reshape(B, T, H, D).transpose(1, 2) for x in qkv.split(C, dim=2))  # (B,H,T,D)
    scores = q @ k.transpose(2, 3) / D**0.5  # (B,H,T,T)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    y = scores.masked_fill(future, float("-inf")).softmax(-1) @ v
    y = y.transpose(1, 2).reshape(B, T, C)
    return F.linear(y, p[h + "attn.c_proj.weight"], p.get(h + "attn.c_proj.bias"))


def mlp(x, p, h, gelu):  # (B,T,C) -> (B,T,C)
    x = F.linear(x, p[h + "mlp.c_fc.weight"], p.get(h + "mlp.c_fc.bias"))
    x = F.gelu(x, approximate=gelu)
    return F.linear(x, p[h + "mlp.c_proj.weight"], p.get(h + "mlp.c_proj.bias"))


def forward(p, inputs, gelu):  # (B,T) -> logits (B,T,V)
    def norm(x, name):
        return F.layer_norm(x, (C,), p[name + ".weight"], p.get(name + ".bias"), 1e-5)

    x = p["wte.weight"][inputs] + p["wpe.weight"][:T]
    for layer in range(L):
        h = f"h.{layer}."
        x = x + attention(norm(x, h + "ln_1"), p, h)
        x = x + mlp(norm(x, h + "ln_2"), p, h, gelu)
    return F.linear(norm(x, "ln_f"), p.get("lm_head.weight", p["wte.weight"]))


def number(x):
    return "%.10g" % (round(x, 13) + 0.0)  # + 0.0: no minus zero


def variant(out, name, gelu="tanh", whole=False, **options):
    rows = table(**options)
    p = parameters(rows)
    inputs, targets = tokens()
    logits = forward(p, inputs, gelu)
    loss = F.cross_entropy(logits.reshape(B * T, V), targets.reshape(B * T))
    loss.backward()

    out.record(f"{name}.tensors", [len(rows)], "%d")
    out.record(f"{name}.first", [t.reshape(-1)[0].item() for t in p.values()], "%.9g")
    out.record(f"{name}.loss", [loss.item()], number)
    if whole:
        out.record(f"{name}.logits", logits[0].detach().numpy(), number)
    for key, tensor in p.items():
        g = tensor.grad.reshape(-1)
        if whole:
            out.record(f"{name}.grad.{key}", g.numpy(), number)
        else:
            short = [g.sum().item(), (g * g).sum().item(), *g[:8].tolist()]
            out.record(f"{name}.short.{key}", short, number)


def main():
    torch.set_num_threads(1)
    out = Writer("gpt.txt", f"torch {torch.__version__}, float64")
    inputs, targets = tokens()
    out.record("config", [L, H, C, T, CONTEXT, B, V], "%d")
    out.record("inputs", inputs, "%d")
    out.record("targets", targets, "%d")
    variant(out, "base", whole=True)
    variant(out, "erf", gelu="none")
    variant(out, "untied", tied=False)
    variant(out, "noprojbias", proj_bias=False)
    variant(out, "nobias", proj_bias=False, norm_bias=False)
    out.close()


if __name__ == "__main__":
    main()

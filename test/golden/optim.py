#!/usr/bin/python3
"""Golden values for the optimizers: 20 steps on two small tensors.

    test/golden/optim.py [FILE]      writes optim.txt

AdamW and SGD are PyTorch's own, run in float64 and in float32.  Adan and Lion, which PyTorch does
not have, are written out below from their published rules, in float64.

The problem.  Tensors 0 and 1 have 37 and 64 elements.  They start at the hash of tensors 50 and 51
with amplitude 1 (see golden.py).  The gradient of step s = 1..20 is the hash of tensor 100 + s with
amplitude 2, where tensor 0 takes elements 0..36 and tensor 1 takes 37..100; then, in both tensors,
    element 5  is 0 in every step      (no state, no motion but the decay: 0 / (0 + eps) is 0)
    element 7  is 1e-12                (so small that eps decides)
    element 9  is 1000                 (large)
    element 11 is 0 in odd steps.
Learning rate 1e-2 * (1 - s/40), computed in double.  Weight decay in tensor 0 only.

    adamw   beta 0.9, 0.95        eps 1e-8  decay 0.1
    adan    beta 0.98, 0.92, 0.99 eps 1e-8  decay 0.02 (proximal: division by 1 + lr*decay)
    lion    beta 0.9, 0.99                  decay 0.1
    sgd     momentum 0.9, no dampening, no Nesterov, no decay

Records: NAME.f64.T.step1, .step2, .step20: the parameters of tensor T after those steps; and every
state after step 20 by name (m, v; m, d, n, g_prev; m; m).  NAME.f32.T... likewise where it exists.
"""
import math
import sys

sys.dont_write_bytecode = True
from golden import Writer, values  # noqa: E402 - first: it sets what torch reads

import numpy as np  # noqa: E402
import torch  # noqa: E402

SIZES = (37, 64)
STEPS = 20
SHOWN = (1, 2, STEPS)


def starts():
    return [values(50 + i, n, amplitude=1.0) for i, n in enumerate(SIZES)]


def gradients(step):
    made = []
    first = 0
    for n in SIZES:
        g = values(100 + step, n, amplitude=2.0, first=first)
        g[5] = 0.0
        g[7] = 1e-12
        g[9] = 1000.0
        if step % 2 == 1:
            g[11] = 0.0
        made.append(g)
        first += n
    return made


def learning_rate(step):
    return 1e-2 * (1 - step / 40)


def run_torch(make, dtype, state_names):
    """state_names: our name -> torch's  ->  ({step: [parameters]}, [{our name: state}])"""
    p = [torch.from_numpy(x).to(dtype).requires_grad_() for x in starts()]
    optimizer = make(p)
    shown = {}
    for step in range(1, STEPS + 1):
        for x, g in zip(p, gradients(step)):
            x.grad = torch.from_numpy(g).to(dtype)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        if step in SHOWN:
            shown[step] = [x.detach().numpy().copy() for x in p]
    states = [{name: optimizer.state[x][key].numpy() for name, key in state_names.items()}
              for x in p]
    return shown, states


def adamw(p):
    groups = [{"params": p[:1], "weight_decay": 0.1}, {"params": p[1:], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, foreach=False)


def sgd(p):
    return torch.optim.SGD(p, lr=1e-2, momentum=0.9, foreach=False)


def adan(p, g, s, step, lr, decay):
    """Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm", as its authors' code runs it: with
    bias corrections, the proximal decay, and no difference in the first step."""
    b1, b2, b3, eps = 0.98, 0.92, 0.99, 1e-8
    if step == 1:
        s.update(m=np.zeros_like(p), d=np.zeros_like(p), n=np.zeros_like(p), g_prev=g.copy())
    difference = g - s["g_prev"]
    s["m"] = b1 * s["m"] + (1 - b1) * g
    s["d"] = b2 * s["d"] + (1 - b2) * difference
    s["n"] = b3 * s["n"] + (1 - b3) * (g + b2 * difference) ** 2
    s["g_prev"] = g.copy()
    denominator = np.sqrt(s["n"]) / math.sqrt(1 - b3**step) + eps
    moved = p - lr / (1 - b1**step) * s["m"] / denominator
    moved -= lr * b2 / (1 - b2**step) * s["d"] / denominator
    return moved / (1 + lr * decay)


def lion(p, g, s, step, lr, decay):
    """Chen et al., "Symbolic Discovery of Optimization Algorithms"."""
    b1, b2 = 0.9, 0.99
    if step == 1:
        s.update(m=np.zeros_like(p))
    c = b1 * s["m"] + (1 - b1) * g
    # A sign that hangs on rounding would make a golden value that nobody can meet.
    assert np.all((c == 0) | (np.abs(c) > 1e-5 * np.maximum(np.abs(g), np.abs(s["m"]))))
    s["m"] = b2 * s["m"] + (1 - b2) * g
    return p * (1 - lr * decay) - lr * np.sign(c)


def run_rule(rule, decays):
    """-> as run_torch"""
    p = [x.astype(np.float64) for x in starts()]
    states = [{} for _ in p]
    shown = {}
    for step in range(1, STEPS + 1):
        g = [x.astype(np.float64) for x in gradients(step)]
        lr = learning_rate(step)
        p = [rule(p[i], g[i], states[i], step, lr, decays[i]) for i in range(len(p))]
        if step in SHOWN:
            shown[step] = p
    return shown, states


def write(out, name, form, result):
    shown, states = result
    for step, tensors in shown.items():
        for i, x in enumerate(tensors):
            out.record(f"{name}.{i}.step{step}", x, form)
    for i, state in enumerate(states):
        for key, x in state.items():
            out.record(f"{name}.{i}.{key}", x, form)


def main():
    torch.set_num_threads(1)
    out = Writer("optim.txt", f"torch {torch.__version__}")
    for i, x in enumerate(starts()):
        out.record(f"start.{i}", x, "%.9g")
    for i, g in enumerate(gradients(1)):
        out.record(f"gradient.{i}.step1", g, "%.9g")
    for label, dtype, form in (("f64", torch.float64, "%.17g"), ("f32", torch.float32, "%.9g")):
        moments = {"m": "exp_avg", "v": "exp_avg_sq"}
        write(out, f"adamw.{label}", form, run_torch(adamw, dtype, moments))
        write(out, f"sgd.{label}", form, run_torch(sgd, dtype, {"m": "momentum_buffer"}))
    write(out, "adan.f64", "%.17g", run_rule(adan, (0.02, 0.0)))
    write(out, "lion.f64", "%.17g", run_rule(lion, (0.1, 0.0)))
    out.close()


if __name__ == "__main__":
    main()

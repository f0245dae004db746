#!/usr/bin/python3
"""Golden values for Muon: 6 steps on six small tensors, in float64, with torch's products.

    test/golden/muon.py [FILE]      writes muon.txt

Written out from its authors' description (Jordan et al. 2024: momentum, Nesterov, a matrix with more
rows than columns transposed, divided by its norm, five quintic steps, the scale), not from our code.
They round to bfloat16 before the products; this does not.  What is no hidden matrix has torch's own
AdamW.

The problem.  Tensor i starts at the hash of tensor 50 + i with amplitude 1 (see golden.py); its
gradient in step s = 1..6 is the hash of tensor 100 + 10 s + i with amplitude 2.  Learning rate
2e-2 * (1 - s/40) for Muon and 3/200 of that for AdamW; weight decay 0.1, but not in `gain`.

    wte (7,5)  AdamW     qkv (16,6): 6, 5 and 5 rows, three matrices     up (70,6)   down (6,70)
    square (9,9)         gain (6)  AdamW

Records: NAME.step1, NAME.step6: the parameter; NAME.momentum, or NAME.m and NAME.v, after step 6.
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, values  # noqa: E402 - first: it sets what torch reads

import torch  # noqa: E402

STEPS, MU, DECAY = 6, 0.95, 0.1
TENSORS = [
    ("wte", (7, 5), None),
    ("qkv", (16, 6), (6, 5, 5)),
    ("up", (70, 6), (70,)),
    ("down", (6, 70), (6,)),
    ("square", (9, 9), (9,)),
    ("gain", (6,), None),
]


def numbers(k, shape, amplitude):
    count = 1
    for d in shape:
        count *= d
    return torch.from_numpy(values(k, count, amplitude=amplitude)).double().reshape(shape)


def orthogonal(u):
    x = u.T if u.shape[0] > u.shape[1] else u
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if u.shape[0] > u.shape[1] else x


def muon(p, g, m, lr, rows):
    m.mul_(MU).add_(g, alpha=1 - MU)
    u = MU * m + (1 - MU) * g
    update = torch.cat([orthogonal(x) * max(1.0, x.shape[0] / x.shape[1]) ** 0.5
                        for x in u.split(rows)])
    p.mul_(1 - lr * DECAY).sub_(update, alpha=lr)


def main():
    torch.set_num_threads(1)
    out = Writer("muon.txt", f"torch {torch.__version__}")
    p = [numbers(50 + i, shape, 1.0) for i, (_, shape, _) in enumerate(TENSORS)]
    m = [torch.zeros_like(x) for x in p]
    adam = {}
    for i, (name, _, rows) in enumerate(TENSORS):
        if rows is None:
            p[i].requires_grad_()
            adam[i] = torch.optim.AdamW([p[i]], betas=(0.9, 0.95), eps=1e-10, foreach=False,
                                        weight_decay=0.0 if name == "gain" else DECAY)
    for step in range(1, STEPS + 1):
        lr = 2e-2 * (1 - step / 40)
        for i, (name, shape, rows) in enumerate(TENSORS):
            g = numbers(100 + 10 * step + i, shape, 2.0)
            if rows is None:
                p[i].grad = g
                adam[i].param_groups[0]["lr"] = lr * 3 / 200
                adam[i].step()
            else:
                muon(p[i], g, m[i], lr, rows)
            if step in (1, STEPS):
                out.record(f"{name}.step{step}", p[i].detach().numpy(), "%.9g")
    for i, (name, _, rows) in enumerate(TENSORS):
        if rows is None:
            out.record(f"{name}.m", adam[i].state[p[i]]["exp_avg"].numpy(), "%.9g")
            out.record(f"{name}.v", adam[i].state[p[i]]["exp_avg_sq"].numpy(), "%.9g")
        else:
            out.record(f"{name}.momentum", m[i].numpy(), "%.9g")
    out.close()


if __name__ == "__main__":
    main()

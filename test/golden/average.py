#!/usr/bin/python3
"""Golden values for --ema: timm's ModelEmaV3 over weights that are hashes.

    test/golden/average.py [FILE]        writes average.txt

Needs torch and timm.  The model is one parameter of three numbers; after step t = 1, 2, ... it is hash t (golden.py),
amplitude 1, and update() is called with t, as timm's train.py does.

Records: decay; decays, averages (three numbers a step); the same with use_warmup: decays.warmup, averages.warmup
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, values  # noqa: E402

import timm  # noqa: E402
import torch  # noqa: E402
from timm.utils import ModelEmaV3  # noqa: E402

DECAY, STEPS = 0.9, 60


class Three(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.x = torch.nn.Parameter(torch.zeros(3))


def main():
    out = Writer("average.txt", f"timm {timm.__version__}, torch {torch.__version__}")
    out.record("decay", [DECAY], "%.10g")
    for end, warmup in ("", False), (".warmup", True):
        model = Three()
        ema = ModelEmaV3(model, decay=DECAY, use_warmup=warmup)
        decays, averages = [], []
        for step in range(1, STEPS + 1):
            with torch.no_grad():
                model.x.copy_(torch.from_numpy(values(step, 3, 1.0)))
            ema.update(model, step=step)
            decays.append(ema.get_decay(step))
            averages += ema.module.x.tolist()
        out.record("decays" + end, decays, "%.10g")
        out.record("averages" + end, averages, "%.9g")
    out.close()


if __name__ == "__main__":
    main()

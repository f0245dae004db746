#!/usr/bin/python3
"""Golden values for matrices in 4 bits: bitsandbytes' NF4 on the CPU, blocks of 64.

    test/golden/codes.py [FILE]        writes codes.txt; needs bitsandbytes 0.50.2 and torch

Numbers are hashes (see golden.py).  Records:
  nf4.values      the 16 values, in order
  double.scales   of the "nested" blocks: what is read back of their scales, the sum, the first 24, the last 8
  double.values   the sum of what is read back of their numbers, its sum of squares, the first 24 numbers, the last 8
  nf4.VARIANT     the sum of what is read back, its sum of squares, the first 24 numbers, the last 8
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, values  # noqa: E402 - first: it sets what torch reads

import bitsandbytes as bnb  # noqa: E402
import torch  # noqa: E402

VARIANTS = [("even", 7, 64 * 5, 2.0, 0.0), ("far", 8, 64 * 8, 1e-3, 1e-4), ("wide", 9, 4096, 300.0, 0.0)]

NESTED = 300  # blocks: a whole group of their scales, and a part of one


def main():
    out = Writer("codes.txt", f"bitsandbytes {bnb.__version__}, torch {torch.__version__.split('+')[0]}")
    _, state = bnb.functional.quantize_4bit(torch.ones(64), quant_type="nf4", blocksize=64)
    out.record("nf4.values", state.code.tolist(), "%.9g")
    for name, k, n, amplitude, offset in VARIANTS:
        x = torch.from_numpy(values(k, n, amplitude, offset))
        codes, state = bnb.functional.quantize_4bit(x, quant_type="nf4", blocksize=64, compress_statistics=False)
        y = bnb.functional.dequantize_4bit(codes, state).double().reshape(-1)
        out.record(f"nf4.{name}", [v.item() for v in (y.sum(), (y * y).sum(), *y[:24], *y[-8:])], "%.9g")
    n = 64 * NESTED
    x = torch.from_numpy(values(10, n, 2.0, 0.0)) * ((torch.arange(n) // 64 * 7 % 31 + 1).float() / 8)
    codes, state = bnb.functional.quantize_4bit(x, quant_type="nf4", blocksize=64, compress_statistics=True)
    scales = (bnb.functional.dequantize_blockwise(state.absmax, state.state2) + state.offset).double()
    out.record("double.scales", [v.item() for v in (scales.sum(), *scales[:24], *scales[-8:])], "%.9g")
    y = bnb.functional.dequantize_4bit(codes, state).double().reshape(-1)
    out.record("double.values", [v.item() for v in (y.sum(), (y * y).sum(), *y[:24], *y[-8:])], "%.9g")
    out.close()


if __name__ == "__main__":
    main()

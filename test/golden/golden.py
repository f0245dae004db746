"""What the golden scripts share: numbers that C can make again, and the file format.

Numbers.  Element j of tensor k is a hash of (k, j), so no generator has to be copied:

    h = k*7919 + j;  h ^= h>>16;  h *= 0x7feb352d;  h ^= h>>15;  h *= 0x846ca68b;  h ^= h>>16
    value = float(offset + ((h >> 8) / 2^24 - 0.5) * amplitude)

h is 32 bits wide and wraps; the expression is computed in double as written, without fused
multiply-add, and rounded to float once, at the end.  Tokens are h mod the vocabulary.

Files.  Lines that start with # are comments.  Then records: a line `name count`, then `count`
values separated by white space, eight to a line.

The same file must come out on every machine, so torch and OpenBLAS are held to their baseline
kernels, on one thread.
"""
import os
import sys

os.environ["ATEN_CPU_CAPABILITY"] = "default"
os.environ["OPENBLAS_CORETYPE"] = "Nehalem"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402 - reads the environment


def hash32(k, j):
    """k: int; j: int or array of int -> uint32 of j's shape."""
    mask = np.uint64(0xFFFFFFFF)
    h = (np.uint64(k) * np.uint64(7919) + np.asarray(j, dtype=np.uint64)) & mask
    h ^= h >> np.uint64(16)
    h = (h * np.uint64(0x7FEB352D)) & mask
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(0x846CA68B)) & mask
    h ^= h >> np.uint64(16)
    return h.astype(np.uint32)


def values(k, count, amplitude, offset=0.0, first=0):
    """Elements first .. first+count-1 of tensor k, as float32."""
    h = hash32(k, np.arange(first, first + count))
    return (offset + ((h >> np.uint32(8)) / 2.0**24 - 0.5) * amplitude).astype(np.float32)


class Writer:
    """Writes the file (first argument, else beside the script), with a header naming its origin."""

    def __init__(self, name, made_with):
        beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
        self.out = open(sys.argv[1] if len(sys.argv) > 1 else beside, "w")
        script = os.path.basename(sys.argv[0])
        self.out.write(f"# Made by test/golden/{script} with {made_with}; do not edit.\n")

    def record(self, name, data, form):
        """data: anything array-like; form: a % format, or a function from number to text."""
        flat = np.asarray(data).reshape(-1).tolist()
        text = [form(x) if callable(form) else form % x for x in flat]
        self.out.write(f"{name} {len(text)}\n")
        for i in range(0, len(text), 8):
            self.out.write(" ".join(text[i:i + 8]) + "\n")

    def close(self):
        self.out.close()

#!/usr/bin/python3
"""The peer of our benchmark: GPT-2, with --llama LLaMA, with --patch a ViT, as people write them in PyTorch, on the CPU.

One process measures one setting and prints one JSON line.  What it times is what a training
script pays for: forward with loss, backward, AdamW with zero_grad(set_to_none=True), each separately.

    scripts/bench_torch.py --layers 12 --heads 12 --width 768 --batch 4 --seq 64 --threads 2
    scripts/bench_torch.py --layers 12 --heads 12 --width 768 --batch 16 --patch 32 --image-size 224 --classes 1000
    scripts/bench_torch.py --timm convnext_tiny --channels-last --batch 8

The model is idiomatic and written with care: tied head, fused qkv, one causal mask for all layers,
added in place (the fastest of the forms tried), torch's own gelu (tanh), layer norm, cross entropy; where torch
has them (not Debian's 1.13), scaled_dot_product_attention and AdamW(fused=True); --compile: torch.compile.
LLaMA has RMSNorm, RoPE (its table made once), GQA (keys repeated), a silu gate, gate and up in one matrix, no
biases, an untied head.
A model of timm's is that library's, as it comes.
The ViT has the same blocks without a mask and with the exact gelu, a strided convolution in front,
a class token and an untied head.
PyTorch's default is AdamW tensor by tensor; --foreach asks for the multi-tensor form, whose
temporaries are one copy of the parameters.

What can distort a comparison is in the output:
- The BLAS that torch calls and the kernels it chose.  OPENBLAS_CORETYPE overrides its choice; with
  Haswell an AVX-512 machine runs at half its speed.  Give both sides the same.
- The allocator.  Torch allocates in every operation, glibc returns large blocks to the kernel, and
  the kernel clears each page again: up to half of the step.  --malloc thp asks glibc for huge
  pages, --malloc keep never returns a block (more memory, fewest faults); default is the usual run.
"""
import argparse
import json
import os
import re
import resource
import statistics
import sys
import time


# Read by glibc before main, so they take a fresh start of this script.
TUNABLES = {
    "thp": "glibc.malloc.hugetlb=1",
    "keep": "glibc.malloc.mmap_threshold=1099511627776:glibc.malloc.trim_threshold=1099511627776",
}


def options():
    parser = argparse.ArgumentParser(description="time GPT-2 training steps in PyTorch on the CPU")
    sizes = [("layers", 12), ("heads", 12), ("width", 768), ("context", 1024), ("vocab", 50257),
             ("batch", 4), ("seq", 64), ("steps", 4), ("threads", os.cpu_count() or 1),
             ("image-size", 224), ("channels", 3), ("classes", 1000)]
    for name, default in sizes:
        parser.add_argument("--" + name, type=int, default=default, metavar="N",
                            help=f"(default {default})")
    parser.add_argument("--llama", action="store_true", help="LLaMA instead of GPT-2")
    parser.add_argument("--kv-heads", type=int, default=0, metavar="N", help="with --llama: key heads (default: --heads)")
    parser.add_argument("--patch", type=int, default=0, metavar="N", help="pixels of a patch's side: a ViT")
    parser.add_argument("--timm", default="", metavar="NAME", help="a model of timm's, on images")
    parser.add_argument("--channels-last", action="store_true", help="with --timm: images and weights channels last")
    parser.add_argument("--pool", choices=["cls", "mean"], default="cls",
                        help="what the ViT classifies: a class token, or the mean of all positions (default: cls)")
    parser.add_argument("--inner", type=int, default=0, metavar="N", help="width of the MLP (default: 4 widths)")
    parser.add_argument("--warmup", type=int, default=2, metavar="N",
                        help="steps before those that count (default 2)")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--foreach", action="store_true", help="AdamW(foreach=True)")
    parser.add_argument("--malloc", choices=["default", *TUNABLES], default="default",
                        help="how glibc serves large blocks (default: default)")
    opt = parser.parse_args()
    for name, _ in sizes:
        if getattr(opt, name.replace("-", "_")) < 1:
            parser.error(f"--{name} must be at least 1")
    if opt.warmup < 0:
        parser.error("--warmup must not be negative")
    if opt.width % opt.heads:
        parser.error(f"--width {opt.width} is not a multiple of --heads {opt.heads}")
    opt.inner = opt.inner or 4 * opt.width
    opt.kv_heads = opt.kv_heads or opt.heads
    if opt.heads % opt.kv_heads:
        parser.error(f"--kv-heads {opt.kv_heads} does not divide --heads {opt.heads}")
    if opt.patch and opt.image_size % opt.patch:
        parser.error(f"--patch {opt.patch} does not divide --image-size {opt.image_size}")
    if not opt.patch and opt.seq > opt.context:
        parser.error(f"--seq {opt.seq} is longer than --context {opt.context}")
    return opt


opt = options()
tunables = TUNABLES.get(opt.malloc)
if tunables and tunables not in os.environ.get("GLIBC_TUNABLES", ""):
    before = os.environ.get("GLIBC_TUNABLES")
    os.environ["GLIBC_TUNABLES"] = f"{before}:{tunables}" if before else tunables
    os.execv(sys.executable, [sys.executable, *sys.argv])
# OpenMP and OpenBLAS read this when they are loaded, so before torch is.
os.environ["OMP_NUM_THREADS"] = str(opt.threads)

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError as missing:
    sys.exit(f"bench_torch.py: {missing}: install PyTorch (Debian: apt-get install python3-torch)")


def attend(q, k, v, mask):  # (B,H,T,D) thrice
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=mask is not None)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)  # (B,H,T,T)
    if mask is not None:
        scores += mask
    return F.softmax(scores, dim=-1) @ v


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x, mask):  # (B,T,C), (T,T) -> (B,T,C)
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2)  # (B,H,T,D)
                   for part in self.qkv(x).split(C, dim=2))
        y = attend(q, k, v, mask)
        return self.proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, width, inner, gelu):
        super().__init__()
        self.fc = nn.Linear(width, inner)
        self.proj = nn.Linear(inner, width)
        self.gelu = gelu  # "tanh" or "none"

    def forward(self, x):  # (B,T,C) -> (B,T,C)
        return self.proj(F.gelu(self.fc(x), approximate=self.gelu))


class Block(nn.Module):
    def __init__(self, width, heads, inner, gelu):
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = MLP(width, inner, gelu)

    def forward(self, x, mask):  # (B,T,C), (T,T) -> (B,T,C)
        x = x + self.attention(self.ln1(x), mask)
        return x + self.mlp(self.ln2(x))


def initialise(module):
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class GPT(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.token = nn.Embedding(o.vocab, o.width)
        self.position = nn.Embedding(o.context, o.width)
        self.blocks = nn.ModuleList(Block(o.width, o.heads, o.inner, "tanh") for _ in range(o.layers))
        self.ln = nn.LayerNorm(o.width)
        self.head = nn.Linear(o.width, o.vocab, bias=False)
        self.head.weight = self.token.weight  # tied
        mask = torch.full((o.context, o.context), float("-inf")).triu(1)  # 0 where a token may look
        self.register_buffer("mask", mask, persistent=False)
        self.apply(initialise)

    def forward(self, inputs, targets):  # (B,T), (B,T) -> scalar
        T = inputs.shape[1]
        x = self.token(inputs) + self.position(torch.arange(T))
        mask = self.mask[:T, :T]
        for block in self.blocks:
            x = block(x, mask)
        logits = self.head(self.ln(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    @staticmethod
    def batch(o):
        tokens = torch.randint(o.vocab, (o.batch, o.seq + 1))
        return tokens[:, :-1], tokens[:, 1:]


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):  # (B,T,C) -> (B,T,C)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate(x, cos, sin):  # (B,H,T,D), (T,D/2) twice
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class LlamaBlock(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.heads, self.kv_heads, self.size = o.heads, o.kv_heads, o.width // o.heads
        self.norm1, self.norm2 = RMSNorm(o.width), RMSNorm(o.width)
        self.qkv = nn.Linear(o.width, (o.heads + 2 * o.kv_heads) * self.size, bias=False)
        self.proj = nn.Linear(o.width, o.width, bias=False)
        self.gate_up = nn.Linear(o.width, 2 * o.inner, bias=False)
        self.down = nn.Linear(o.inner, o.width, bias=False)

    def attention(self, x, mask, cos, sin):
        B, T, C = x.shape
        heads = [self.heads, self.kv_heads, self.kv_heads]
        q, k, v = (part.transpose(1, 2) for part in self.qkv(x).view(B, T, -1, self.size).split(heads, dim=2))
        k, v = (part.repeat_interleave(self.heads // self.kv_heads, dim=1) for part in (rotate(k, cos, sin), v))
        return self.proj(attend(rotate(q, cos, sin), k, v, mask).transpose(1, 2).reshape(B, T, C))

    def forward(self, x, mask, cos, sin):  # (B,T,C), (T,T), (T,D/2) twice -> (B,T,C)
        x = x + self.attention(self.norm1(x), mask, cos, sin)
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.token = nn.Embedding(o.vocab, o.width)
        self.blocks = nn.ModuleList(LlamaBlock(o) for _ in range(o.layers))
        self.norm = RMSNorm(o.width)
        self.head = nn.Linear(o.width, o.vocab, bias=False)
        size = o.width // o.heads
        angles = torch.outer(torch.arange(o.context), 10000.0 ** (-torch.arange(0, size, 2) / size))
        mask = torch.full((o.context, o.context), float("-inf")).triu(1)
        for name, value in (("cos", angles.cos()), ("sin", angles.sin()), ("mask", mask)):
            self.register_buffer(name, value, persistent=False)
        self.apply(initialise)

    def forward(self, inputs, targets):  # (B,T), (B,T) -> scalar
        T = inputs.shape[1]
        x = self.token(inputs)
        for block in self.blocks:
            x = block(x, self.mask[:T, :T], self.cos[:T], self.sin[:T])
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())

    batch = staticmethod(GPT.batch)


class ViT(nn.Module):
    def __init__(self, o):
        super().__init__()
        patches = (o.image_size // o.patch) ** 2
        self.embedding = nn.Conv2d(o.channels, o.width, o.patch, stride=o.patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, o.width)) if o.pool == "cls" else None
        self.position = nn.Parameter(torch.randn(1, patches + (o.pool == "cls"), o.width) * 0.02)
        self.blocks = nn.ModuleList(Block(o.width, o.heads, o.inner, "none") for _ in range(o.layers))
        self.ln = nn.LayerNorm(o.width)
        self.head = nn.Linear(o.width, o.classes)
        self.apply(initialise)

    def forward(self, images, labels):  # (B,Ch,H,W), (B) -> scalar
        x = self.embedding(images).flatten(2).transpose(1, 2)
        if self.cls is not None:
            x = torch.cat((self.cls.expand(len(x), -1, -1), x), dim=1)
        x = x + self.position
        for block in self.blocks:
            x = block(x, None)
        pooled = x.mean(dim=1) if self.cls is None else x[:, 0]
        return F.cross_entropy(self.head(self.ln(pooled)), labels)

    @staticmethod
    def batch(o):
        return torch.randn(o.batch, o.channels, o.image_size, o.image_size), torch.randint(o.classes, (o.batch,))


class Timm(nn.Module):
    def __init__(self, o):
        super().__init__()
        import timm
        self.model = timm.create_model(o.timm, num_classes=o.classes, in_chans=o.channels)
        if o.channels_last:
            self.to(memory_format=torch.channels_last)

    def forward(self, images, labels):  # (B,Ch,H,W), (B) -> scalar
        return F.cross_entropy(self.model(images), labels)

    @staticmethod
    def batch(o):
        images, labels = ViT.batch(o)
        return images.contiguous(memory_format=torch.channels_last) if o.channels_last else images, labels


def loaded_openblas():
    """The OpenBLAS that answers torch's calls, and the kernels it chose; {} if another BLAS does.

    Debian ships OpenBLAS twice: as libopenblas and, named libblas.so.3, as the system's BLAS.
    Torch loads both there and calls the latter.
    """
    import ctypes
    with open("/proc/self/maps") as maps:
        mapped = {line.split(maxsplit=5)[5].strip() for line in maps if ".so" in line}
    candidates = [path for path in mapped if "blas" in path.rsplit("/", 1)[1]]
    for path in sorted(candidates, key=lambda p: (not p.endswith("libblas.so.3"), p)):
        library = ctypes.CDLL(path)
        try:
            library.openblas_get_corename.restype = ctypes.c_char_p
            library.openblas_get_config.restype = ctypes.c_char_p
            return {
                "library": path,
                "core": library.openblas_get_corename().decode(),
                "config": library.openblas_get_config().decode(),
                "threads": library.openblas_get_num_threads(),
            }
        except AttributeError:
            continue
    return {}


def blas():
    """What torch was built with (from its own description) and what is loaded."""
    shown = torch.__config__.show()

    def found(pattern):
        match = re.search(pattern, shown)
        return match.group(1) if match else None

    return {
        "torch_blas": found(r"BLAS_INFO=(\w+)"),
        "onednn": found(r"MKL-DNN\) v?([\d.]+)") or found(r"MKL-DNN v?([\d.]+)"),
        "cpu_capability": found(r"CPU capability usage: (\w+)"),
        "openblas": loaded_openblas(),
    }


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def main():
    torch.set_num_threads(opt.threads)
    torch.manual_seed(1)
    rss_import = peak_rss()
    model = (Timm if opt.timm else ViT if opt.patch else Llama if opt.llama else GPT)(opt)
    fused = not opt.foreach and not torch.__version__.startswith("1.")
    kind = {"foreach": True} if opt.foreach else {"fused": True} if fused else {}
    optimizer = torch.optim.AdamW(model.parameters(), **kind)
    forward = torch.compile(model) if opt.compile else model

    rows = []  # milliseconds: forward, backward, optimizer
    for _ in range(opt.warmup + opt.steps):
        inputs, targets = model.batch(opt)
        marks = [time.perf_counter()]
        loss = forward(inputs, targets)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        marks.append(time.perf_counter())
        rows.append([1e3 * (b - a) for a, b in zip(marks, marks[1:])])
    rows = rows[opt.warmup:]

    total = [sum(row) for row in rows]
    median = statistics.median(total)
    images = opt.patch or opt.timm
    sizes = (*(("timm", "channels_last") if opt.timm else ("layers", "heads", "width", "inner")), "batch",
             *(("image_size", "channels", "classes") if images else ("context", "vocab", "seq")),
             *(("patch", "pool") if opt.patch else ()))
    unit, units = ("images", 1) if images else ("tokens", opt.seq)
    watched = ("OPENBLAS_", "OMP_", "GOMP_", "MKL_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    print(json.dumps({
        "peer": "torch",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "optimizer": f"AdamW({', '.join(f'{k}={v}' for k, v in kind.items())})",
        "compiled": opt.compile,
        "foreach": opt.foreach,
        "malloc": opt.malloc,
        **{name: getattr(opt, name) for name in sizes},
        "parameters": sum(p.numel() for p in model.parameters()),
        "step_ms": [round(t, 2) for t in total],
        "forward_ms": [round(row[0], 2) for row in rows],
        "backward_ms": [round(row[1], 2) for row in rows],
        "optimizer_ms": [round(row[2], 2) for row in rows],
        "median_ms": round(median, 2),
        f"{unit}_per_s": round(opt.batch * units / median * 1e3, 2),
        "loss": loss.item(),
        "peak_rss_bytes": peak_rss(),
        "import_rss_bytes": rss_import,
        "blas": blas(),
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(watched)},
    }))


if __name__ == "__main__":
    main()

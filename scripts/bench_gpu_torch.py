#!/usr/bin/env python3
"""The peer of make bench-gpu: GPT-2 and ViT as people write them in PyTorch, on the GPU.

One process measures one setting and prints one JSON line: tokens_per_s (ViT: images_per_s), ms (median
of the steps), peak_bytes (what the allocator held at most), torch and device.  bf16 autocast with float
parameters is what most scripts do; --pure keeps parameters in bf16.  --compile is torch.compile in its
default mode.  ViT classifies grayscale images into 10 classes, as on our side.

    scripts/bench_gpu_torch.py --model gpt --layers 12 --heads 12 --width 768 --batch 16 --seq 1024
    scripts/bench_gpu_torch.py --model vit --layers 12 --heads 12 --width 768 --batch 128
    scripts/bench_gpu_torch.py --ceilings          copy GB/s and matmul TFLOP/s of this GPU
"""
import argparse
import json
import statistics
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError as missing:
    sys.exit(f"bench_gpu_torch.py: {missing}: install PyTorch with CUDA")


class Block(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2)
                   for t in self.qkv(self.ln_1(x)).split(C, dim=2))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, C))
        return x + self.out(F.gelu(self.fc(self.ln_2(x)), approximate="tanh" if self.causal else "none"))


class Gpt(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(o.vocab, o.width), nn.Embedding(o.seq, o.width)
        self.blocks = nn.ModuleList(Block(o.width, o.heads, True) for _ in range(o.layers))
        self.ln_f = nn.LayerNorm(o.width)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


class Vit(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.patches = nn.Conv2d(1, o.width, 16, 16)
        self.first = nn.Parameter(torch.zeros(1, 1, o.width))
        self.positions = nn.Parameter(torch.zeros(1, 197, o.width))
        self.blocks = nn.ModuleList(Block(o.width, o.heads, False) for _ in range(o.layers))
        self.norm, self.head = nn.LayerNorm(o.width), nn.Linear(o.width, 10)

    def forward(self, images, targets):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat((self.first.expand(len(x), -1, -1), x), 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x[:, 0])).float(), targets)


def seconds_of(what, times):
    what()
    torch.cuda.synchronize()
    all_times = []
    for _ in range(times):
        begin = time.perf_counter()
        what()
        torch.cuda.synchronize()
        all_times.append(time.perf_counter() - begin)
    return all_times


def ceilings():
    n = 1 << 30
    x, y = torch.empty(n, dtype=torch.uint8, device="cuda"), torch.empty(n, dtype=torch.uint8, device="cuda")
    copy = 2 * n / min(seconds_of(lambda: y.copy_(x), 20))
    del x, y
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    b, c = torch.randn_like(a), torch.empty_like(a)
    product = 2 * 8192 ** 3 / statistics.median(seconds_of(lambda: torch.matmul(a, b, out=c), 30))
    return {"copy_bytes_per_s": copy, "product_flops": product}


def train(o):
    torch.manual_seed(1)
    model = (Gpt(o) if o.model == "gpt" else Vit(o)).cuda()
    if o.pure:
        model = model.bfloat16()
    step_model = torch.compile(model) if o.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    if o.model == "gpt":
        inputs = torch.randint(o.vocab, (o.batch, o.seq), device="cuda")
        targets = torch.randint(o.vocab, (o.batch, o.seq), device="cuda")
    else:
        inputs = torch.randn(o.batch, 1, 224, 224, device="cuda", dtype=torch.bfloat16 if o.pure else torch.float)
        targets = torch.randint(10, (o.batch,), device="cuda")

    def step():
        with torch.autocast("cuda", torch.bfloat16, enabled=not o.pure):
            loss = step_model(inputs, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(o.warmup):
        step()
    seconds = statistics.median(seconds_of(step, o.steps))
    units = o.batch * (o.seq if o.model == "gpt" else 1)
    return {"units_per_s": units / seconds, "ms": 1e3 * seconds, "peak_bytes": torch.cuda.max_memory_allocated(),
            "reserved_bytes": torch.cuda.max_memory_reserved()}


parser = argparse.ArgumentParser(description="time training steps in PyTorch on the GPU")
parser.add_argument("--model", choices=["gpt", "vit"], default="gpt")
for name, default in [("layers", 12), ("heads", 12), ("width", 768), ("vocab", 50304), ("batch", 16),
                      ("seq", 1024), ("steps", 20), ("warmup", 5)]:
    parser.add_argument("--" + name, type=int, default=default)
parser.add_argument("--compile", action="store_true")
parser.add_argument("--pure", action="store_true", help="parameters in bf16, no autocast")
parser.add_argument("--ceilings", action="store_true")
options = parser.parse_args()
if not torch.cuda.is_available():
    sys.exit("bench_gpu_torch.py: this PyTorch sees no GPU")
torch.backends.cuda.matmul.allow_tf32 = True
result = ceilings() if options.ceilings else train(options)
print(json.dumps({**result, "torch": torch.__version__, "device": torch.cuda.get_device_name()}))

#!/usr/bin/env python3
"""perplexity.py - llama.cpp's perplexity of an exported GGUF file beside ours of the model that it was made of.

    test/peers/perplexity.py [TOKENS]          (4096 tokens for each; run by test/peers/run.sh, by a python with xllamacpp)

    docs/*.md but one --train_gpt--> model --export--> f32, f16, bf16, q8_0 --llama.cpp--> log p of each token of the other
                                       '--> log p here (build/.../peer_logits)

Windows of the model's context, each token but a window's first by those before it in the window.  llama.cpp is asked as a
server for the probabilities of all tokens, one position at a time.  Its perplexity must be ours within 0.5 %; in f32 each token's
log p must be near ours, too.
"""
import array
import json
import math
import os
import sys
import tempfile
import urllib.request

import xllamacpp
from ours import run, say

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs")
TOKENS = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
HELD_OUT = "formats.md"
CONTEXT = 64
MODELS = {"gpt-nano": [], "llama-nano": [], "qwen3-nano": []}
TYPES = ["f32", "f16", "bf16", "q8_0"]
MOST = 0.005     # of perplexity
NEAR = 0.02      # nats; the cache of keys and values is in f16 there

def must(program, *words):
    status, error, out = run(program, *words)
    if status:
        say(False, program, error)
        os._exit(1)  # see below
    return out


def log_softmax(row, i):
    most = max(row)
    return row[i] - most - math.log(sum(math.exp(x - most) for x in row))


def ours(model, windows):
    """log p of each token but the first of each window."""
    out = []
    for w in windows:
        logits = array.array("f", must("peer_logits", model, ",".join(map(str, w))))
        v = len(logits) // len(w)
        out += [log_softmax(logits[k * v:(k + 1) * v], w[k + 1]) for k in range(len(w) - 1)]
    return out


def ask(server, what):
    to = urllib.request.Request(server.listening_address + "/completion", json.dumps(what).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(to, timeout=60) as answer:
        return json.load(answer)


def theirs(path, windows, vocab):
    how = xllamacpp.CommonParams()
    how.model.path, how.n_ctx, how.n_parallel, how.cpuparams.n_threads = path, CONTEXT + 8, 1, 1
    server, out = xllamacpp.Server(how), []
    for w in windows:
        for k in range(1, len(w)):
            for seed in range(50):  # where it draws the end of the text it says no probabilities
                got = ask(server, {"prompt": w[:k], "n_predict": 1, "n_probs": vocab, "cache_prompt": True, "samplers": [], "seed": seed})
                if "completion_probabilities" in got:
                    break
            probs = {x["id"]: x["logprob"] for x in got["completion_probabilities"][0]["top_logprobs"]}
            out.append(probs[w[k]])
    return out


def perplexity(logs):
    return math.exp(-sum(logs) / len(logs))


def main():
    with open("learned.md", "w", encoding="utf-8") as f:
        for name in sorted(os.listdir(DOCS)):
            if name.endswith(".md") and name != HELD_OUT:
                f.write(open(os.path.join(DOCS, name), encoding="utf-8").read())
    must("tokenize", "--vocab", "bpe:300", "--val-fraction", "0", "-o", "data", "learned.md")
    must("tokenize", "--vocab", "data.vocab", "--val-fraction", "0", "-o", "held", os.path.join(DOCS, HELD_OUT))
    shard = open("held_train.bin", "rb").read()
    ids = array.array("H", shard[1024:1024 + 2 * TOKENS])
    windows = [list(ids[at:at + CONTEXT]) for at in range(0, len(ids) - CONTEXT + 1, CONTEXT)]
    print(f"xllamacpp {getattr(xllamacpp, '__version__', '?')}; {len(windows)} windows of {CONTEXT} tokens of {HELD_OUT}", flush=True)
    for model, more in MODELS.items():
        must("train_gpt", "--model", model, *more, "--context", str(CONTEXT), "--seq", str(CONTEXT), "--batch", "8", "--steps", "300", "--lr", "3e-3",
            "--train-data", "data_train.bin", "--eval-every", "0", "--sample-every", "0", "--device", "cpu", "--threads", "1", "--out", model)
        vocab = json.load(open(f"{model}/config.json"))["vocab_size"]
        mine = ours(model, windows)
        for kind in TYPES:
            must("export", "--to", "gguf", "--type", kind, "--vocab", "data.vocab", model, f"{model}-{kind}.gguf")
            other = theirs(f"{model}-{kind}.gguf", windows, vocab)
            a, b = perplexity(mine), perplexity(other)
            most = max(abs(x - y) for x, y in zip(mine, other))
            text = f"{model} {kind}: perplexity {b:.4f}, ours {a:.4f} ({(b / a - 1) * 100:+.3f} %), a token's log p to {most:.1e}"
            say(abs(b / a - 1) < MOST and (kind != "f32" or most < NEAR) and a < vocab / 4, text, "too far apart")


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    main()
sys.stdout.flush()
os._exit(say.bad)  # its server's threads do not end by themselves

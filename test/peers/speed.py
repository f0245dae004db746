#!/usr/bin/env python3
"""speed.py - how fast `tokenize` is beside tiktoken and tokenizers, one thread each, and with more threads.

    test/peers/speed.py NAME VOCABULARY EXPRESSION TEXT [ROUNDS]       (after make test-peers has made build/peers)

VOCABULARY is a .tiktoken, EXPRESSION gpt2, llama3 or qwen.  Documents are the parts of TEXT between form feeds.  Loading is
not counted; ours is the time that `tokenize` says, which has the writing of the shard in it.  The programs take
turns; the fastest of ROUNDS (3) counts, as other work on the machine only adds.
"""
import os
import re
import subprocess
import sys
import tempfile
import time

os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")
import tiktoken  # noqa: E402
from tiktoken.load import load_tiktoken_bpe  # noqa: E402
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers  # noqa: E402
from tokenizers.models import BPE  # noqa: E402
from transformers.convert_slow_tokenizer import TikTokenConverter  # noqa: E402

name, vocabulary, kind, source = sys.argv[1:5]
rounds = int(sys.argv[5]) if len(sys.argv) > 5 else 3
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
expression = {"gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
              "llama3": WORDS + r"\p{N}{1,3}" + REST, "qwen": WORDS + r"\p{N}" + REST}[kind]
text = open(source, encoding="utf-8").read()
documents = text.split("\f")
megabytes = len(text.encode()) / 1e6
ranks = load_tiktoken_bpe(vocabulary)
encoding = tiktoken.Encoding(name, pat_str=expression, mergeable_ranks=ranks, special_tokens={})
converter = TikTokenConverter(vocabulary, pattern=expression)
vocab, merges = converter.extract_vocab_merges_from_model(vocabulary)
fast = Tokenizer(BPE(vocab, merges, fuse_unk=False, ignore_merges=True))
fast.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), "isolated"),
                                              pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
if kind == "gpt2":
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
if kind == "qwen":
    fast.normalizer = normalizers.NFC()


def timed(work):
    begun = time.perf_counter()
    n = work()
    return time.perf_counter() - begun, n


def by_tiktoken():
    return timed(lambda: sum(len(encoding.encode_ordinary(d)) for d in documents))


def by_tokenizers():
    return timed(lambda: sum(len(e.ids) for e in fast.encode_batch_fast(documents, add_special_tokens=False)))


def by_us(threads):
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(["build/release/tokenize", "--vocab", vocabulary, "-f", "0", "--threads", str(threads), "--separator", "\f",
                               "-o", out + "/x", source], capture_output=True, text=True, check=True)
    seconds = float(re.search(r"encoded in ([\d.]+) s", done.stdout)[1])
    return seconds, int(re.search(r"(\d+) tokens +[\d.]+ bytes/token", done.stdout)[1]) - len([d for d in documents if d]) + 1


programs = {"tiktoken": by_tiktoken, "tokenizers": by_tokenizers, "tokenize": lambda: by_us(1), "tokenize, 2 threads": lambda: by_us(2)}
seconds, counts = {p: [] for p in programs}, {}
for _ in range(rounds):
    for p, work in programs.items():
        s, counts[p] = work()
        seconds[p].append(s)
fastest = {p: min(s) for p, s in seconds.items()}
best = min(fastest["tiktoken"], fastest["tokenizers"])
print(f"{name}, {megabytes:.1f} MB in {len(documents)} documents; tokens: {counts}")
for p in programs:
    print(f"    {p:20} {megabytes / fastest[p]:8.2f} MB/s   {best / fastest[p]:.2f} x the faster peer   {[round(s, 2) for s in seconds[p]]}")

#!/usr/bin/env python3
"""kinds.py - small tokenizers of every kind that is read, and the ids that PyPI's tokenizers gives.

    test/golden/kinds.py > test/golden/kinds.json       needs tokenizers 0.23.3

Each is made as transformers 5.24 or the families' own files have it, around a vocabulary that is learned
from the texts here.  test/peers/against_tokenizers.py takes the same kinds with more texts.
"""
import json
import os
import sys

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
from texts import texts  # noqa: E402

TEXT = ["In the beginning God created the heaven and the earth. And the earth was without form, and void;",
        "and darkness was upon the face of the deep. naïve café, naïve café - 1234 12 1234", "    if (x) {\n\t\treturn;\n    }\n",
        "And God said, Let there be light: and there was light. Don't, I'LL, we've 3.14 camelCase HTTPServer e\u0301"] * 3
GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<unk>", "<s>", "</s>"]
ADDED = [AddedToken("<repr>", normalized=True), AddedToken("<raw>", normalized=False), AddedToken("<left>", lstrip=True, normalized=False),
         AddedToken("<right>", rstrip=True, normalized=False), AddedToken("word", single_word=True, normalized=False),
         AddedToken("<both>", lstrip=True, rstrip=True, normalized=True), AddedToken("<sp>", special=True),
         AddedToken("the end", normalized=False), AddedToken("<raw><raw>", normalized=False)]
CONTENTS = [a.content for a in ADDED] + SPECIAL + ["words", "wordé", "<|end|>"]


# ---- on bytes ----

def byte_level(cut, size=330, normalizer=None, added=(), ignore_merges=False, post=None):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer, t.decoder = cut, decoders.ByteLevel()
    t.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=["<|end|>"],
                                                    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if normalizer:
        t.normalizer = normalizer
    if post:
        t.post_processor = post
    t.add_tokens(list(added))
    return t


def sequence(*steps, use_regex=False):
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)])


def split(expression):
    return pre_tokenizers.Split(Regex(expression), "isolated")


def falcon():
    return pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
                                    pre_tokenizers.Digits(individual_digits=False), split("[0-9][0-9][0-9]")])


# ---- in SentencePiece's manner ----

def merges_of(size):
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    t.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    model = json.loads(t.to_str())["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    return [w for w, _ in sorted(model["vocab"].items(), key=lambda x: x[1])], merges


def meta(normalizer=None, pre=None, added=(), fallback=True, leave_out=(), more=(), more_merges=(), fuse=True, post=None):
    words, merges = merges_of(130)
    tokens = SPECIAL + [f"<0x{i:02X}>" for i in range(256) if fallback and i not in leave_out] + words + list(more)
    vocab = {w: i for i, w in enumerate(dict.fromkeys(tokens))}
    t = Tokenizer(models.BPE(vocab, merges + list(more_merges), unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback))
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    if post:
        t.post_processor = post
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.add_special_tokens([AddedToken(w, special=True, normalized=False) for w in SPECIAL])
    t.add_tokens(list(added))
    return t


def unigram(fallback):
    words, _ = merges_of(130)
    pieces = [("<unk>", 0.0)] + ([(f"<0x{i:02X}>", 0.0) for i in range(256)] if fallback else [])
    pieces += [(w, -2.0 - 0.37 * i - (0 if len(w) == 1 else -1.3 * len(w))) for i, w in enumerate(words)]
    t = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=fallback))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=not fallback)
    t.decoder = decoders.Metaspace()
    return t


def kinds():
    prepend = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    replace = normalizers.Replace(" ", "▁")
    gap = pre_tokenizers.Split(" ", "merged_with_previous")
    meta_first = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    bos = processors.TemplateProcessing(single="<|end|> $A", pair="<|end|> $A $B", special_tokens=[("<|end|>", 0)])
    out = {
        "gpt2": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "gpt2, a template that adds nothing": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False),
                                                         post=processors.TemplateProcessing(single="$A", pair="$A $B")),
        "gpt2, added tokens": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), added=ADDED),
        "qwen, NFC": byte_level(sequence(split(GPT4 % "")), normalizer=normalizers.NFC(), added=ADDED),
        "llama 3": byte_level(sequence(split(GPT4 % "{1,3}")), ignore_merges=True,
                              post=processors.Sequence([processors.ByteLevel(trim_offsets=False), bos])),
        "falcon": byte_level(falcon()),
        "starcoder, digits one by one": byte_level(sequence(pre_tokenizers.Digits(individual_digits=True), use_regex=True)),
        "punctuation one by one": byte_level(sequence(pre_tokenizers.Punctuation(), pre_tokenizers.Digits())),
        "deepseek, steps": byte_level(sequence(split(r"[\r\n]"), split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ҁ]+"),
                                               split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"), split("[一-龥ࠀ-一가-퟿]+"),
                                               pre_tokenizers.Digits(individual_digits=True))),
        "oniguruma": byte_level(sequence(split(r"^\h+|\w{2,3}+|(?m:x.)|\p{Han}+|[a-z&&[^aeiou]]+$|\bq\B|\u3042{1}?x|[[a-c]x]{,2}y|\H\W\d+"))),
        "a string": byte_level(sequence(pre_tokenizers.Split(".(", "isolated"))),
        "llama, Prepend": meta(prepend, added=ADDED),
        "llama 1, normalized </s>": meta(prepend, added=[AddedToken("<x>", special=True, normalized=True)]),
        "llama, Metaspace first": meta(pre=meta_first, added=ADDED),
        "llama, Metaspace always": meta(pre=pre_tokenizers.Metaspace(prepend_scheme="always", split=False), added=ADDED),
        "metaspace, never, split": meta(pre=pre_tokenizers.Metaspace(prepend_scheme="never", split=True), added=ADDED),
        "metaspace, always, split": meta(pre=pre_tokenizers.Metaspace(prepend_scheme="always", split=True)),
        "gemma": meta(replace, gap, leave_out=[9], more=["\t", "\n", "▁▁", "\n\n", "▁▁▁", "<b>"],
                      more_merges=[("▁", "▁"), ("\n", "\n"), ("▁▁", "▁")],
                      added=[AddedToken(w, normalized=False) for w in ("\n", "\n\n", "▁▁", "▁▁▁", "<b>")]),
        "no byte fallback": meta(pre=meta_first, fallback=False),
        "no byte fallback, unknown ones not fused": meta(pre=meta_first, fallback=False, fuse=False),
        "unigram": unigram(False),
        "unigram, bytes": unigram(True),
    }
    cut = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    cut.enable_padding(pad_id=0, pad_token="<|end|>")
    cut.enable_truncation(10000)
    out["truncation and padding"] = cut
    return out


def without_settings(t):
    t.no_padding()
    t.no_truncation()
    return t


if __name__ == "__main__":
    result = []
    for name, t in kinds().items():
        said = json.loads(t.to_str())
        t = without_settings(t)
        chosen = texts(len(name), 24, CONTENTS)
        result.append({"name": name, "tokenizer": said,
                       "texts": [[x, t.encode(x, add_special_tokens=False).ids] for x in chosen if "\x00" not in x]})
    print("{\"kinds\":[" + ",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in result) + "]}")

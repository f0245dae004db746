#!/usr/bin/env python3
"""bpe.py - token ids of hard texts, by GPT-2's byte-pair encoding in its plainest form.

    test/golden/bpe.py learn > test/golden/bpe.tiktoken
    test/golden/bpe.py golden test/golden/bpe.tiktoken > test/golden/bpe.txt
    test/golden/bpe.py golden r50k_base.tiktoken > test/golden/bpe_r50k.txt
    test/golden/bpe.py json > test/golden/bpe_gpt2.json

Made with Python 3.11 (Unicode 14) and its `regex` module (Debian: python3-regex); shares nothing with
the programs under test.

`learn` makes a small vocabulary from the texts below.  It learns across the borders that GPT-2's
expression makes, so that nearly every wrong cut shows: there is a token that only a wrong cut could use.

`json` says the same vocabulary as a tokenizer.json, with <|endoftext|> after the last token.

`golden` prints
    text HEX ID ID ...           for each text; the empty one is -
    chars FIRST-LAST ...         the characters (hex) that Unicode 14 has, without private ones
    ids COUNT HASH               how many ids char_text of all these has, and their FNV-1a hash

Bytes that are no UTF-8: each run of them is a piece of its own, and the text around is cut as if it
ended and began there.
"""
import base64
import json
import os
import random
import sys
import unicodedata

import regex

PATTERN = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
N_TOKENS = 900


def byte_order():
    """GPT-2's order of the single bytes: those that can be seen in Latin-1 first."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return seen + [b for b in range(256) if b not in seen]


def pieces(text):
    """bytes -> list of bytes"""
    out, invalid, at = [], b"", 0

    def cut(valid):
        string = valid.decode("utf-8")
        found = PATTERN.findall(string)
        assert "".join(found) == string
        out.extend(piece.encode("utf-8") for piece in found)

    while at < len(text):
        try:
            text[at:].decode("utf-8")
            start, end = len(text), len(text)
        except UnicodeDecodeError as e:
            start, end = at + e.start, at + e.end
        if start > at and invalid:
            out.append(invalid)
            invalid = b""
        cut(text[at:start])
        invalid += text[start:end]
        at = end
    return out + [invalid] if invalid else out


def encode_piece(piece, ranks):
    parts = [bytes([b]) for b in piece]
    while len(parts) > 1:
        rank, i = min((ranks.get(parts[k] + parts[k + 1], 1 << 30), k) for k in range(len(parts) - 1))
        if rank == 1 << 30:
            break
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
    return [ranks[p] for p in parts]


def encode(text, ranks, cache):
    ids = []
    for piece in pieces(text):
        if piece not in cache:
            cache[piece] = encode_piece(piece, ranks)
        ids += cache[piece]
    return ids


# ---- the texts ----

WORDS = ["the", "The", "cat", "sat", "on", "mat", "and", "HAT", "naïve", "Straße", "слово", "λόγος", "文字", "かな",
         "한글", "ไทย", "हिन्दी", "שלום", "مرحبا", "🙂", "👩‍👩‍👧", "🇫🇷", "e\u0301", "don't", "I'm", "you're", "we'll", "he's",
         "she'd", "they've", "IT'S", "o'clock", "x", "3.14", "1234", "2024", "٣٤", "½", "²", "Ⅷ", "一二三", "foo(bar)",
         "a_b", "==", "->", "...", "!", "?!", "\u00a0", "\u200b", "<|endoftext|>"]
SPACES = [" ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\u00a0", "\u3000", "\u2003", "\u0085",
          "\u2028", "\v", "\f", "        "]
INVALID = [b"\x80", b"\xff", b"\xc0\xaf", b"\xe2\x82", b"\xf0\x9f\x99", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
           b"\xf8\x88\x80\x80\x80", b"\xfe\xff", b"\xc3", b"\xe0\x80\x80", b"\xbf\xbf\xbf"]


def hard_texts():
    t = ["", " ", "a", "\n", "'", "'s", "Hello, world!", "don't can't I'm we're they've he'll she'd it's",
         "DON'T I'M we'RE 'Sup 'll'll 've's ''s '' 'tis rock'n'roll", "don\u2019t I\u2019m",
         "0 1 22 333 4444 55555 1,234,567.89 1e-9 0x1F 12ab34 a1b2", "٠١٢٣ १२३ 一二三 ⅣⅧ ½¾ ²³ ①② 𝟘𝟙𝟚 ๑๒๓",
         "naïve Straße Ελλάδα Москва ქართული Հայերեն עברית العربية हिन्दी தமிழ் ไทย မြန်မာ ខ្មែរ ትግርኛ ᏣᎳᎩ 中文 日本語 한국어",
         "aбγ字かカ한אبअ1一٣x", "e\u0301a\u0308 \u0301 \u0301x n\u0303o", "Z\u0300\u0301\u0302\u0303algo",
         "🙂🙂 👩‍👩‍👧‍👦 🇫🇷🇩🇪 👍🏽 ❤️ ☃ 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "𐍈 𝒳 𠀀 𪛖 🀄 \U000e0041 \U000f0000 \U0010fffd \ufffd \ue000 \ufffe \U0010ffff",
         "\x00\x01\x02\x7f\x1b[0m\x1c\x1d\x1e\x1f x", "a\u00adb a\u200bb a\u200db a\ufeffb a\u180eb a \u180e b \u180e",
         "x\u0085y \u0085 y\u00a0z \u00a0z \u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000end",
         "one\ntwo\n\nthree\n\n\nfour\r\nfive\r\n\r\nsix\rseven \neight\n nine \n ten\t\televen\n\t\n",
         "def f(x):\n    if x == 1:\n        return {'a': [x, -1]}  # why?\n\treturn x**2\n\n\n",
         "<|endoftext|> <|endoftext|>x<|endoftext|", "https://example.org/a?b=c&d=%20#e", "Mr. O'Neill's 3'6\" $9.99...",
         "trailing ", "trailing  ", "trailing \n", "  leading", "\n\nleading", " \t mixed \t x"]
    t += [f"a{' ' * n}b{' ' * n}" for n in (*range(1, 18), 31, 32, 33, 100)]
    t += [f"a{c * n}b{c} b {c}b" for n in (1, 2, 3, 7) for c in "\n\t\u00a0\u3000\u2028\r"]
    t += ["a" * n for n in (50, 64, 65, 300)] + ["ab" * 100, "the" * 70, "1" * 90, "." * 77, "=" * 300, "é" * 60, "字" * 50]
    t += ["".join(chr(c) for c in range(block, block + 64)) for block in (
        0x20, 0x60, 0xA0, 0x100, 0x2B0, 0x300, 0x370, 0x400, 0x5D0, 0x640, 0x900, 0xE00, 0x1100, 0x1F00, 0x2000, 0x2080,
        0x2150, 0x2460, 0x3040, 0x4E00, 0xAC00, 0xF900, 0xFF00, 0x10380, 0x12000, 0x1D400, 0x1D7C0, 0x1F600, 0x20000, 0x30000,
        0xE0020, 0xF0000, 0x10FF00)]
    out = [s.encode("utf-8") for s in t]
    out += [bytes(range(256)), bytes(reversed(range(256))), b"\xff" * 40]
    for bad in INVALID:
        out += [bad, b"a" + bad + b"b", b"word  " + bad + b"  word", b" " + bad + b" ", "é".encode() + bad + b"'s",
                bad + bad + b"1", b"\n\n" + bad]
    r = random.Random(1)
    for i in range(150):
        parts = []
        for _ in range(r.randrange(1, 25)):
            parts += [r.choice(WORDS).encode(), r.choice(SPACES).encode()]
            if i % 3 == 0 and r.random() < 0.2:
                parts.append(r.choice(INVALID))
        out.append(b"".join(parts))
    for _ in range(60):
        out.append(bytes(r.choice((r.randrange(256), r.randrange(0x20, 0x7F))) for _ in range(r.randrange(1, 60))))
    for _ in range(40):
        out.append("".join(chr(r.choice([c for c in (r.randrange(0x20, 0xD800), r.randrange(0x10000, 0x323B0))
                                         if unicodedata.category(chr(c)) != "Cn"] or [0x20]))
                           for _ in range(r.randrange(1, 30))).encode())
    return out


def char_ranges():
    ranges = []
    for c in range(0x110000):
        if unicodedata.category(chr(c)) in ("Cn", "Cs", "Co"):
            continue
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return ranges


def char_text(c):
    return f" x{chr(c)}1{chr(c)} {chr(c)}\n".encode("utf-8")


# ---- learning ----

def learn():
    tokens = [bytes([b]) for b in byte_order()]
    texts = [[bytes([b]) for b in t] for t in hard_texts()]
    while len(tokens) < N_TOKENS:
        counts = {}
        for t in texts:
            for pair in zip(t, t[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        counts = {pair: n for pair, n in counts.items() if pair[0] + pair[1] != b"<|endoftext|>"}
        best = max(counts, key=lambda p: (counts[p], p))
        tokens.append(best[0] + best[1])
        for t in texts:
            i = 0
            while i + 1 < len(t):
                if (t[i], t[i + 1]) == best:
                    t[i:i + 2] = [best[0] + best[1]]
                i += 1
    for i, token in enumerate(tokens):
        print(base64.b64encode(token).decode(), i)


def fnv(ids):
    h = 0xCBF29CE484222325
    for i in ids:
        for b in i.to_bytes(4, "little"):
            h = (h ^ b) * 0x100000001B3 & (1 << 64) - 1
    return h


def golden(path):
    assert unicodedata.unidata_version == "14.0.0", "the characters must be those of Unicode 14"
    with open(path, encoding="ascii") as f:
        ranks = {base64.b64decode(token): int(i) for token, i in map(str.split, f)}
    cache = {}
    for text in hard_texts():
        print("text", text.hex() or "-", *encode(text, ranks, cache))
    ranges = char_ranges()
    print("chars", *(f"{a:x}-{b:x}" for a, b in ranges))
    ids = [i for a, b in ranges for c in range(a, b + 1) for i in encode(char_text(c), ranks, cache)]
    print("ids", len(ids), f"{fnv(ids):016x}")


def as_json():
    order = byte_order()
    chars = {b: chr(b if b in order[:188] else 256 + order.index(b) - 188) for b in range(256)}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpe.tiktoken")
    with open(path, encoding="ascii") as f:
        ranks = {base64.b64decode(token): int(i) for token, i in map(str.split, f)}
    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:
            parts = [bytes([b]) for b in token]
            while len(parts) > 2:
                best, i = min((ranks.get(parts[k] + parts[k + 1], 1 << 30), k) for k in range(len(parts) - 1))
                assert best < rank
                parts[i:i + 2] = [parts[i] + parts[i + 1]]
            merges.append(["".join(chars[b] for b in p) for p in parts])
    end = {"id": len(ranks), "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    print(json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [end], "normalizer": None,
                      "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
                      "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                                "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                                "vocab": {"".join(chars[b] for b in t): i for t, i in ranks.items()}, "merges": merges}}))


if sys.argv[1:] == ["learn"]:
    learn()
elif sys.argv[1:] == ["json"]:
    as_json()
elif len(sys.argv) == 3 and sys.argv[1] == "golden":
    golden(sys.argv[2])
else:
    sys.exit(__doc__)

#!/usr/bin/env bash
# cl100k_trailing_space.sh - tiktoken's cl100k_base cuts white space at the end of a text otherwise than the expression
# of the same family that Llama 3 and Qwen publish.
#
# tiktoken 0.14.0 writes cl100k_base's rule with `\s++$` in front of `\s*[\r\n]`; Llama 3 and Qwen have the older
# form, `\s*[\r\n]+|\s+(?!\S)`.  Inside of a text both cut alike; at its end "a\n  " is "a", "\n  " with the one and
# "a", "\n", "  " with the other.  A conversion that takes one for the other gives other ids for texts that end so.
# Exits 1 when that changes.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/v" && "$work/v/bin/pip" -q install tiktoken==0.14.0
"$work/v/bin/python" - <<'PY'
import tiktoken
from tiktoken_ext import openai_public

openai_public.load_tiktoken_bpe = lambda *a, **k: {}
new = openai_public.cl100k_base()["pat_str"]
old = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ranks = {bytes([b]): b for b in range(256)}
ranks.update({b"  ": 256, b"\n  ": 257})  # "\n  " is one token where it is one piece
def ids(rule, text):
    return tiktoken.Encoding("x", pat_str=rule, mergeable_ranks=ranks, special_tokens={}).encode(text)
for text in ("a\n  ", "a\n  b"):
    print(repr(text), "tiktoken", ids(new, text), "Llama 3", ids(old, text))
assert ids(new, "a\n  ") == [97, 257] and ids(old, "a\n  ") == [97, 10, 256]
assert ids(new, "a\n  b") == ids(old, "a\n  b")
PY

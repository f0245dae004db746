#!/usr/bin/env bash
# falcon_digits.sh - a pre-tokenizer behind ByteLevel sees bytes as characters: Digits cuts inside of letters.
#
# Falcon's tokenizer.json has Punctuation, ByteLevel, Digits and Split in this order.  ByteLevel writes the bytes of a
# text in GPT-2's characters, and bytes B2, B3, B9, BC, BD, BE are then written as the superscripts and fractions
# of the same number, which Digits takes for numbers: with tokenizers 0.23.3 "ò" (C3 B2) becomes two pieces, "ñ"
# (C3 B1) stays one, and no merge can join the former.
# Exits 1 when that changes.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/v" && "$work/v/bin/pip" -q install tokenizers==0.23.3
"$work/v/bin/python" - <<'PY'
from tokenizers import Regex, pre_tokenizers as p

falcon = p.Sequence([p.Punctuation("contiguous"), p.ByteLevel(add_prefix_space=False), p.Digits(individual_digits=False),
                     p.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
pieces = {c: [x for x, _ in falcon.pre_tokenize_str(c)] for c in "òñ³ó字"}
print(pieces)
assert len(pieces["ò"]) == 2 and len(pieces["ñ"]) == 1 and len(pieces["ó"]) == 2
PY

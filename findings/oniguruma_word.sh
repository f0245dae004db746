#!/usr/bin/env bash
# oniguruma_word.sh - in tokenizers, \w and [\w] are not the same set.
#
# tokenizers 0.23.3 compiles the expressions of a tokenizer.json with Oniguruma.  There \w alone takes the superscript
# digits and fractions of Latin-1 (U+00B2, B3, B9, BC, BD, BE), which Unicode counts as No and UTS 18's \w leaves
# out, and [\w] does not take them: `\w+` and `[\w]+` cut "10 m² or ½" at different places.
# Exits 1 when that changes.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/v" && "$work/v/bin/pip" -q install tokenizers==0.23.3
"$work/v/bin/python" - <<'PY'
from tokenizers import Regex, pre_tokenizers

def taken(expression):
    split = pre_tokenizers.Split(Regex(expression), "removed")
    return {c for c in range(0x3000) if not split.pre_tokenize_str(chr(c))}

alone, inside = taken(r"\w"), taken(r"[\w]")
print("\\w but not [\\w]:", [f"U+{c:04X}" for c in sorted(alone - inside)], "the other way:", sorted(inside - alone))
for e in (r"\w+", r"[\w]+"):
    print(e, [p for p, _ in pre_tokenizers.Split(Regex(e), "isolated").pre_tokenize_str("m²x ½x")])
assert sorted(alone - inside) == [0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE] and not inside - alone
PY

#!/usr/bin/env bash
# qwen2_autotokenizer.sh - AutoTokenizer builds a qwen2's tokenizer anew and drops what its tokenizer.json says.
#
# transformers 5.24.0 lists qwen2 among the types whose tokenizer_class on the hub is wrong, so beside a config.json of
# model_type qwen2 even "tokenizer_class": "PreTrainedTokenizerFast" gives Qwen2Tokenizer, which takes vocabulary and
# merges from tokenizer.json but cuts by Qwen's own expression after NFC: a tokenizer that cuts nothing at
# digits gives other ids through AutoTokenizer than through PreTrainedTokenizerFast.
# Exits 1 when that changes.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/v" && "$work/v/bin/pip" -q install transformers==5.24.0 tokenizers==0.23.3
"$work/v/bin/python" - "$work" <<'PY'
import json, sys
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

chars = pre_tokenizers.ByteLevel.alphabet()
vocab = {c: i for i, c in enumerate(sorted(chars))}
vocab["12"] = len(vocab)
t = Tokenizer(models.BPE(vocab, [("1", "2")]))
t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\S+|\s+"), "isolated"),
                                           pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
t.decoder = decoders.ByteLevel()
d = sys.argv[1]
t.save(d + "/tokenizer.json")
json.dump({"model_type": "qwen2"}, open(d + "/config.json", "w"))
json.dump({"tokenizer_class": "PreTrainedTokenizerFast"}, open(d + "/tokenizer_config.json", "w"))
auto, fast = AutoTokenizer.from_pretrained(d), PreTrainedTokenizerFast.from_pretrained(d)
a, f = auto("12", add_special_tokens=False)["input_ids"], fast("12", add_special_tokens=False)["input_ids"]
print(type(auto).__name__, a, type(fast).__name__, f)
assert type(auto).__name__ == "Qwen2Tokenizer" and len(a) == 2 and f == [vocab["12"]]
PY

#!/usr/bin/env python3
"""patterns.py - the expressions by which published tokenizers cut, against PyPI's tokenizers.

    test/peers/patterns.py [N]     N texts for each (10,000); run by test/peers/run.sh

The vocabulary is learned without cutting, so that a cut in another place gives other ids.  An expression that cannot be
said here must be refused, not taken.
"""
import os
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "golden"), here]
from kinds import GPT4  # noqa: E402
from ours import compare, ids  # noqa: E402
from texts import texts  # noqa: E402
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

N = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
HEAD, TAIL = r"[^\r\n\p{L}\p{N}]?", r"|\s*[\r\n]+|\s+(?!\S)|\s+"
CASES = rf"{HEAD}{UPPER}*{LOWER}+%s|{HEAD}{UPPER}+{LOWER}*%s"
# where each comes from: tiktoken 0.14.0, llama-models, mistral-common, transformers 5.24.0, the models' own tokenizer.json
PATTERNS = {
    "GPT-2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "GPT-2, OLMo, GPT-NeoX, Phi": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "r50k_base, possessive": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++\z|\s*[\r\n]|\s+(?!\S)|\s",
    "Llama 3, GLM 4, Phi 4": GPT4 % "{1,3}",
    "Qwen 2, 3": GPT4 % "",
    "Qwen 3.5": rf"{SHORT}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*{TAIL}",
    "o200k_base, Llama 4, gpt-oss": CASES % (SHORT + "?", SHORT + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + TAIL,
    "Mistral's tekken": CASES % ("", "") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + TAIL,
    "DeepSeek V3": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + TAIL,
    "DeepSeek V3's first": r"\p{N}{1,3}",
    "DeepSeek V3's second": "[一-龥぀-ゟ゠-ヿ]+",
    "BLOOM": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "Falcon's digits": r"[0-9][0-9][0-9]",
    "CLIP": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "Viking, JAIS: digits": r"\p{N}",
    "Grok, Kimi: Han": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
                       + SHORT + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + TAIL,
}


def learned(chosen):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), decoders.ByteLevel()
    t.train_from_iterator(chosen, trainers.BpeTrainer(vocab_size=3000, show_progress=False, max_token_length=24,
                                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


bad = 0
chosen = texts(11, N)
t = learned(texts(12, 3000))
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "tokenizer.json")
    for name, pattern in PATTERNS.items():
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        t.save(path)
        try:
            ids(path, ["a"])
        except ValueError as e:
            print(f"ok {name} is refused: {str(e)[-150:]}")
            continue
        bad += not compare(name, path, chosen, [e.ids for e in t.encode_batch(chosen, add_special_tokens=False)])
sys.exit(bad > 0)

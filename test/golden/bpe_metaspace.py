#!/usr/bin/env python3
"""bpe_metaspace.py - two small tokenizers in SentencePiece's manner, one as BLOOM's, and what they make
of texts.

    test/golden/bpe_metaspace.py        needs the `tokenizers` library; writes beside itself
        bpe_llama.json, bpe_gemma.json    tokenizer.json as LLaMA 2's and Gemma's are made
        bpe_bloom.json                    byte-level, cut by an expression with a class in a class
        bpe_metaspace.json                texts, and the ids that the library gives each

The merges are those that Regrad's own README-like text below gives; the rules around them are those of
the families' files.
"""
import json, os

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = ["In the beginning God created the heaven and the earth. And the earth was without form, and void;",
        "and darkness was upon the face of the deep. naïve café, naïve café — 1234 12 1234", "    if (x) {\n\t\treturn;\n    }\n",
        "And God said, Let there be light: and there was light. And God saw the light, that it was good"] * 3
TEXTS = ["the", " the", "  the  ", "\n", "\x01", "the beginning\n\n  of 1234", "naïve — café", "日本 the €", "a▁b", "▁",
         "x" * 50, "    if (then) {\n", "<0x41> A <s> </s>", "\U0001f642 light\t\tlight", "Ünder dem", " ", "And, (void|void). of,the? a[b]c"]
here = os.path.dirname(os.path.abspath(__file__))
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{i:02X}>" for i in range(256)]


def learn(size):
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    t.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    return json.loads(t.to_str())["model"]


def make(name, prepend):
    model = learn(340)
    words = SPECIAL + BYTES + [w for w, _ in sorted(model["vocab"].items(), key=lambda x: x[1])]
    vocab = {w: i for i, w in enumerate(words)}
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", "▁")
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prepend else replace
    if not prepend:
        t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    t.add_special_tokens([AddedToken(w, special=True, normalized=False) for w in SPECIAL])
    with open(os.path.join(here, name), "w", encoding="utf-8") as f:
        f.write(t.to_str(pretty=False) + "\n")
    return ids_of(t)


def bloom(name):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(" ?[^(\\s|[.,!?…。，、।۔،])]+"), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder, t.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    t.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=330, show_progress=False, special_tokens=["<unk>", "<s>"],
                                                    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    with open(os.path.join(here, name), "w", encoding="utf-8") as f:
        f.write(t.to_str(pretty=False) + "\n")
    return ids_of(t)


def ids_of(t):
    ids = []
    for text in TEXTS:
        plain = text.replace("<s>", "(s)").replace("</s>", "(/s)")  # special tokens are text here
        ids.append({"text": plain, "ids": t.encode(plain, add_special_tokens=False).ids})
    return ids


if __name__ == "__main__":
    out = {name: make(name, prepend) for name, prepend in (("bpe_llama.json", True), ("bpe_gemma.json", False))}
    out["bpe_bloom.json"] = bloom("bpe_bloom.json")
    with open(os.path.join(here, "bpe_metaspace.json"), "w", encoding="utf-8") as f:
        f.write(json.dumps(out, ensure_ascii=False, separators=(",", ":")).replace('{"text"', '\n{"text"') + "\n")

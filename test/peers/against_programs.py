#!/usr/bin/env python3
"""against_programs.py - vocabularies that are published with a program of their own, against that program.

    test/peers/against_programs.py [N]     N texts for each (10,000); run by test/peers/run.sh

    qwen.tiktoken (dashscope), tokenizer.model (llama-models)     tiktoken, with the expression of that package
    tekken.json, tokenizer.model (mistral-common)                 mistral-common, sentencepiece
    .model files that are learned here                            sentencepiece
"""
import importlib.util
import os
import sys
import tempfile
import unicodedata

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "golden"), here]
import sentencepiece  # noqa: E402
import tiktoken  # noqa: E402
from kinds import TEXT  # noqa: E402
from ours import compare  # noqa: E402
from texts import texts  # noqa: E402
from tiktoken.load import load_tiktoken_bpe  # noqa: E402

N = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
bad = 0


def check(name, vocabulary, chosen, theirs, special="text"):
    global bad
    bad += not compare(name, vocabulary, chosen, theirs, special)


def inside(package, *path):
    return os.path.join(os.path.dirname(importlib.util.find_spec(package).origin), *path)


def constants(path, *names):
    """Texts that a file of Python assigns, without running it: the package may want more packages."""
    import ast
    found = {}
    for node in ast.walk(ast.parse(open(path, encoding="utf-8").read())):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Constant):
            found[node.targets[0].id] = node.value.value
    return [found[n] for n in names]


def ranks():
    qwen, llama3, llama4 = inside("dashscope", "resources", "qwen.tiktoken"), inside("llama_models", "llama3"), inside("llama_models", "llama4")
    for name, path, expression, form in (
            ("Qwen", qwen, constants(inside("dashscope", "tokenizers", "qwen_tokenizer.py"), "PAT_STR")[0], "NFC"),
            ("Llama 3", llama3 + "/tokenizer.model", constants(llama3 + "/tokenizer.py", "pat_str")[0], None),
            ("Llama 4", llama4 + "/tokenizer.model", constants(llama4 + "/tokenizer.py", "O200K_PATTERN")[0], None)):
        encoding = tiktoken.Encoding(name, pat_str=expression, mergeable_ranks=load_tiktoken_bpe(path), special_tokens={})
        chosen = texts(7, N, ["<|endoftext|>", "<|begin_of_text|>", "<|im_start|>"])
        theirs = [encoding.encode_ordinary(unicodedata.normalize(form, x) if form else x) for x in chosen]
        check(name, path, chosen, theirs)


def mistral():
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    chosen = texts(8, N, ["<s>", "[INST]"])
    data = inside("mistral_common", "data")
    for file in sorted(os.listdir(data)):
        path = os.path.join(data, file)
        if file.startswith("tekken"):
            model = Tekkenizer.from_file(path)
            check(file, path, chosen, [model.encode(x, bos=False, eos=False) for x in chosen])
        else:
            model = sentencepiece.SentencePieceProcessor(model_file=path)
            check(file, path, chosen, model.encode(chosen))


def learned():
    chosen = texts(9, N)
    with tempfile.TemporaryDirectory() as directory:
        for kind, size in (("bpe", 400), ("unigram", 330)):
            for prefix in (True, False):
                path = os.path.join(directory, f"{kind}{prefix}")
                sentencepiece.SentencePieceTrainer.train(
                    sentence_iterator=iter(x for t in TEXT * 40 for x in t.split("\n")), model_prefix=path, vocab_size=size, model_type=kind,
                    byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=prefix,
                    hard_vocab_limit=False, minloglevel=2)
                model = sentencepiece.SentencePieceProcessor(model_file=path + ".model")
                check(f"sentencepiece, {kind}, {'with' if prefix else 'no'} space in front", path + ".model", chosen, model.encode(chosen))


ranks()
mistral()
learned()
sys.exit(bad > 0)

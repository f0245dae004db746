#!/usr/bin/env python3
"""choices.py - multiple choice as lm-evaluation-harness counts it, by transformers: choices.json.

    test/golden/choices.py [FILE]     needs torch, transformers and tokenizers

Of small models (tensors by made_tensor.py) and this directory's tokenizers: each question's
likelihoods, what is chosen by them (acc) and by them per character (acc_norm).  What belongs to the question and
what to the choice is said by lm-evaluation-harness 0.4.13: api/model.py (_encode_pair, loglikelihood),
models/huggingface.py (what is cut when it is too long), tasks/hellaswag/utils.py (what is cleaned), api/task.py (acc,
acc_norm).  It is written here in our own words.
"""
import json, os, re, sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import golden  # noqa: F401 - first: it sets what torch reads

import numpy as np
import tokenizers
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from made_tensor import tensor

CONTEXT = 48

models = [
    ("bpe_llama.json", dict(model_type="llama", vocab_size=440, hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
                            num_key_value_heads=2, rms_norm_eps=1e-5, intermediate_size=44,
                            max_position_embeddings=CONTEXT)),
    ("bpe_gpt2.json", dict(model_type="gpt2", n_layer=2, n_head=3, n_embd=24, n_positions=CONTEXT, vocab_size=960)),
]
questions = [
    {"query": "The cat sat on the", "choices": ["mat", "rat", "mat and the rat"], "gold": 0},
    {"context": "line 5: the cat ", "choices": ["sat", " sat on it"], "label": "1"},  # a space at the end
    {"question": "Two lines\nand more \n", "choices": ["a", "b", "c", "d"], "answer": 3},
    {"query": "", "choices": ["the", "a cat"], "gold": 1},
    {"query": "Gr\u00fc\u00dfe \u20ac 7", "choices": ["m\u00e4t", "matt", "\u20ac\u20ac\u20ac\u20ac"], "gold": 0},
    {"query": "long " * 30, "choices": ["end", "and then a rather long end of it all"], "gold": 0},  # beyond the context
    {"ind": 24, "activity_label": "Roof shingle removal", "ctx_a": "A man is sitting on a roof.", "ctx_b": "he",
     "ctx": "A man is sitting on a roof. he", "split": "val", "endings": [
         "is using wrap to wrap a pair of skis.", "is ripping level tiles off.", "is holding a cube.",
         "starts pulling up roofing [step] on a roof."], "label": 3},
    {"activity_label": "How to [title] cook", "ctx_a": "[header] Salt  [title] water", "ctx_b": "THEN You",
     "endings": [" boil it [title] well. ", "[substeps] freeze  it", "drop [it\nall] off"], "label": "0"},
]


def clean(text):
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def parts(line):
    """query, choices, gold"""
    gold = int(next(line[k] for k in ("gold", "label", "answer") if k in line))
    if "endings" not in line:
        return next(line[k] for k in ("query", "context", "question") if k in line), line["choices"], gold
    query = line["activity_label"] + ": " + line["ctx_a"] + " " + line["ctx_b"].capitalize()
    return clean(query), [clean(e) for e in line["endings"]], gold


def likelihood(model, tokenizer, prefix, query, choice):
    after = " " + choice
    if query == "":
        before, ids = [prefix], tokenizer.encode(after, add_special_tokens=False).ids
    else:
        kept = query.rstrip()
        after = query[len(kept):] + after
        before = tokenizer.encode(kept).ids
        ids = tokenizer.encode(kept + after).ids[len(before):]
    seen = (before + ids)[-(CONTEXT + 1):]
    with torch.no_grad():
        rows = torch.log_softmax(model(torch.tensor([seen[:-1]])).logits[0], -1)
    return float(sum(rows[len(seen) - 1 - len(ids) + i, t] for i, t in enumerate(ids)))


def make(config):
    config = dict(config)
    c = AutoConfig.for_model(config.pop("model_type"), **config)
    model = AutoModelForCausalLM.from_config(c, attn_implementation="eager").double().eval()
    state = model.state_dict()
    file = {n: tuple(t.shape) for n, t in state.items() if not (c.tie_word_embeddings and n == "lm_head.weight")}
    with torch.no_grad():
        for n, shape in file.items():
            state[n].copy_(tensor(n, shape))
    model.tie_weights()
    return file, model


def main():
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    out = {"made by": f"test/golden/choices.py with torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}",
           "models": []}
    for name, config in models:
        tokenizer = tokenizers.Tokenizer.from_file(os.path.join(HERE, name))
        begins = tokenizer.encode("").ids
        prefix = begins[0] if begins else tokenizer.token_to_id("<|endoftext|>")
        file, model = make(config)
        rows, right, normed = [], 0, 0
        for line in questions:
            query, choices, gold = parts(line)
            values = np.array([likelihood(model, tokenizer, prefix, query, c) for c in choices])
            chosen = int(np.argmax(values)), int(np.argmax(values / np.array([float(len(c)) for c in choices])))
            right += chosen[0] == gold
            normed += chosen[1] == gold
            rows.append({"line": line, "likelihoods": [float(f"{v:.9g}") for v in values], "choice": chosen[0],
                         "choice_norm": chosen[1]})
        out["models"].append({"tokenizer": name, "config": config, "tensors": {n: list(s) for n, s in file.items()},
                              "questions": rows, "acc": right / len(rows), "acc_norm": normed / len(rows)})
    text = json.dumps(out, separators=(",", ":")).replace('{"line"', '\n{"line"').replace('{"tokenizer"', '\n{"tokenizer"')
    with open(sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "choices.json"), "w") as f:
        f.write(text + "\n")


main()

#!/usr/bin/python3
"""Golden values for adapters: peft's LoRA on Hugging Face transformers' models, tiny, in float64.

    test/golden/lora.py [FILE]        writes lora.txt; needs peft 0.21.2, transformers 5.24.0 and torch

Models, their weights and tokens are those of families.py, and GPT-2 besides.  The rows of our table are
numbered with the adapters in it: a layer's weight, its bias, then for each module of theirs A and B; B is
(r, out) with us, the transpose of theirs.  All matrices have amplitude 0.8, vectors 0.4; what begins with zeros
or at random in a training begins by formula here, so that no gradient is zero.

Records: shape (T, batch, vocabulary); then, for each variant:
  VARIANT.tensors      number of parameters in our table
  VARIANT.adapter      rank, alpha, and whether the scale is alpha / sqrt(rank)
  VARIANT.loss
  VARIANT.logits       of the last token of each sequence, (B,V)
  VARIANT.grad.K       of the gradient of adapter row k, as families.py has it
  VARIANT.merged.K     of the merged matrix k (peft's merge_and_unload), the same sums
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, values  # noqa: E402 - first: it sets what torch reads

import families as fam  # noqa: E402
import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from families import B, L, T, V  # noqa: E402

GPT2 = {"root": "transformer.", "layer": "h.%d.", "tokens": "wte", "positions": "wpe", "final": "ln_f",
        "norm1": "ln_1", "norm2": "ln_2", "qkv": ["attn.c_attn"], "project": ["attn.c_proj"],
        "up": ["mlp.c_fc"], "down": ["mlp.c_proj"]}
BY_NAME = {v[0]: v for v in fam.VARIANTS}
BY_NAME["gpt2"] = ("gpt2", "GPT2", GPT2,
                   dict(vocab_size=V, n_positions=16, n_embd=24, n_layer=L, n_head=3, resid_pdrop=0.0,
                        embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False), None)

# variant, model, rank, alpha, rank-stabilized, modules
VARIANTS = [
    ("gpt2", "gpt2", 3, 7, False, ["c_attn", "c_proj", "c_fc"]),
    ("gpt2_some", "gpt2", 2, 2, False, ["h.1.attn.c_proj"]),
    ("llama", "llama", 3, 7, False, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    ("llama_qv", "llama", 4, 6, True, ["q_proj", "v_proj"]),
    ("qwen2", "qwen2", 1, 1, False, ["k_proj", "o_proj", "gate_proj"]),
    ("phi", "phi", 3, 5, False, ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]),
    ("phi3", "phi3", 3, 5, False, ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
    ("falcon_two", "falcon_two", 2, 3, False, ["query_key_value", "dense_4h_to_h"]),
    ("olmo2", "olmo2", 3, 7, False, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    ("gemma2", "gemma2", 2, 5, False, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    ("neox", "neox", 2, 3, False, ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
]


def is_conv(model_name, name):
    return model_name == "gpt2" and ".c_" in name and name.endswith("weight")


def by_parameter(p, ours, groups, conv):
    """Our matrix (rows of ours) as theirs."""
    if groups and p.is_qkv:
        ours = ours[torch.argsort(fam.group_order(groups))]
    return ours.T if conv else ours


def fill_base(model_name, names, rows, numbers, groups, plus_one):
    """The base's rows under their numbers in our table."""
    for k, row in zip(numbers, rows):
        for p in row:
            p.is_qkv = "query_key_value" in names[id(p)]
            p.conv = is_conv(model_name, names[id(p)])
        last = names[id(row[0])]
        is_norm = row[0].dim() == 1 and ("norm" in last or "ln_" in last) and last.endswith("weight")
        shapes = [tuple(p.shape[::-1] if p.conv else p.shape) for p in row]
        shape = (sum(s[0] for s in shapes),) + shapes[0][1:]
        flat = values(k, int(torch.Size(shape).numel()), 0.8 if len(shape) == 2 else 0.4, 1.0 if is_norm and not plus_one else 0.0)
        parts = torch.from_numpy(flat).double().reshape(shape).split([s[0] for s in shapes])
        with torch.no_grad():
            for p, part in zip(row, parts):
                p.copy_(by_parameter(p, part, groups, p.conv))


def plan(rows, names, adapted):
    """Numbers of the base's rows, and [(number of A, module)] in our table's order."""
    numbers, adapters, at = [], [], 0
    for i, row in enumerate(rows):
        numbers.append(at)
        at += 1
        weight = row if names[id(row[0])].endswith("weight") else rows[i - 1]
        stems = [names[id(p)][:-len(".weight")] for p in weight]
        following = names[id(rows[i + 1][0])] if i + 1 < len(rows) else ""
        if following == stems[0] + ".bias":
            continue
        for stem in stems:
            if stem in adapted:
                adapters.append((at, stem))
                at += 2
    return numbers, adapters, at


def as_ours(p, groups, t):
    """Our rows of a parameter of theirs."""
    t = t.T if p.conv else t
    return t[fam.group_order(groups)] if groups and p.is_qkv else t


def variant(out, name, model_name, rank, alpha, stabilized, modules):
    _, kind, places, settings, groups = BY_NAME[model_name]
    config = getattr(transformers, kind + "Config")(**settings)
    config._attn_implementation = "eager"
    base = getattr(transformers, kind + ("LMHeadModel" if kind == "GPT2" else "ForCausalLM"))(config).double().train()
    rows = fam.places(base, places)
    names = {id(p): n for n, p in base.named_parameters()}
    model = peft.get_peft_model(base, peft.LoraConfig(r=rank, lora_alpha=alpha, use_rslora=stabilized, lora_dropout=0.0,
                                                      target_modules=modules, task_type="CAUSAL_LM")).double().train()
    there = dict(model.named_parameters())
    adapted = {n[len("base_model.model."):-len(".lora_A.default.weight")] for n in there if ".lora_A." in n}
    numbers, adapters, total = plan(rows, names, adapted)
    assert len(adapters) == len(adapted)
    fill_base(model_name, names, rows, numbers, groups, kind.startswith("Gemma"))
    by_name = {names[id(p)]: p for row in rows for p in row}
    for k, stem in adapters:
        a, b = (there[f"base_model.model.{stem}.lora_{x}.default.weight"] for x in "AB")
        owner = by_name[stem + ".weight"]
        with torch.no_grad():
            a.copy_(torch.from_numpy(values(k, a.numel(), 0.8)).double().reshape(a.shape))
            bt = torch.from_numpy(values(k + 1, b.numel(), 0.8)).double().reshape(rank, -1)
            b.copy_(bt.T[torch.argsort(fam.group_order(groups))] if groups and owner.is_qkv else bt.T)
    inputs, targets = fam.tokens()
    logits = model(inputs).logits
    assert logits.dtype == torch.float64
    loss = F.cross_entropy(logits.reshape(B * T, V), targets.reshape(B * T))
    loss.backward()
    out.record(f"{name}.tensors", [total], "%d")
    out.record(f"{name}.adapter", [rank, alpha, stabilized], "%d")
    out.record(f"{name}.loss", [loss.item()], fam.number)
    out.record(f"{name}.logits", logits[:, -1].detach().numpy(), fam.number)
    for k, stem in adapters:
        a, b = (there[f"base_model.model.{stem}.lora_{x}.default.weight"] for x in "AB")
        owner = by_name[stem + ".weight"]
        out.record(f"{name}.grad.{k}", fam.sums(k, a.grad.reshape(-1)), fam.number)
        gb = b.grad[fam.group_order(groups)] if groups and owner.is_qkv else b.grad
        out.record(f"{name}.grad.{k + 1}", fam.sums(k + 1, gb.T.reshape(-1)), fam.number)
    merged = dict(model.merge_and_unload().named_parameters())
    for k, row in zip(numbers, rows):
        stems = [names[id(p)] for p in row]
        if any(s[:-len(".weight")] in adapted for s in stems if s.endswith(".weight")):
            whole = torch.cat([as_ours(p, groups, merged[s].detach()) for p, s in zip(row, stems)])
            out.record(f"{name}.merged.{k}", fam.sums(k, whole.reshape(-1)), fam.number)


def main():
    torch.set_num_threads(1)
    versions = (f"peft {peft.__version__}, transformers {transformers.__version__}, "
                f"torch {torch.__version__.split('+')[0]}")
    out = Writer("lora.txt", versions + ", float64")
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    out.record("shape", [T, B, V], "%d")
    for row in VARIANTS:
        variant(out, *row)
    out.close()


if __name__ == "__main__":
    main()

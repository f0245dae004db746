#!/usr/bin/env python3
"""models.py - models and tokenizers of every family in transformers, and what it saves here.

    test/peers/models.py [N]     N texts (10,000); run by test/peers/run.sh

    here --export--> files --AutoTokenizer, AutoModelForCausalLM--> ids, logits
      ^                                    |
      +---- ids, logits <---- files <---- save_pretrained

Each time the ids of N texts and the logits of some tokens must be the same as here, the logits within
rounding, and no key may be missing or left over.
"""
import json
import os
import sys
import tempfile
import warnings

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "golden"), here]
warnings.filterwarnings("ignore")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch  # noqa: E402
from kinds import CONTENTS, TEXT, kinds  # noqa: E402
from ours import compare, run, say  # noqa: E402
from texts import texts  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

NANOS = ["gpt-nano", "llama-nano", "qwen-nano", "qwen2.5-nano", "qwen3-nano", "gemma-nano", "bloom-nano", "phi-nano", "falcon-nano",
         "llama3-nano", "smollm3-nano", "phi3-nano", "neox-nano", "gemma2-nano", "gemma3-nano", "olmo2-nano"]
VOCAB = 1000
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 9, 7, 999, 0, 512]
N = int(sys.argv[1]) if len(sys.argv) > 1 else 10000


# ---- models ----

def compare_logits(name, directory, model):
    status, error, out = run("peer_logits", directory, ",".join(map(str, TOKENS)))
    if status:
        return say(False, name, error)
    ours = torch.frombuffer(bytearray(out), dtype=torch.float32).reshape(len(TOKENS), -1).double()
    with torch.no_grad():
        theirs = model(torch.tensor([TOKENS])).logits[0].double()
    off, most = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    say(off < 2e-5 * max(most, 1), f"{name}: logits to {off:.1e} of {most:.2g}", "too far apart")


def family(nano):
    status, error, _ = run("train_gpt", "--model", nano, "--vocab", str(VOCAB), "--context", "32", "--seq", "16", "--batch", "2", "--steps",
                           "3", "--lr", "0.01", "--warmup", "0", "--eval-every", "0", "--threads", "1", "--train-data", "data_train.bin",
                           "--out", f"run-{nano}", "--device", "cpu")
    if status:
        return say(False, f"{nano} trains", error)
    status, error, _ = run("export", "--fast-tokenizer", f"run-{nano}", f"hf-{nano}")
    if status:
        return say(False, f"{nano} is exported", error)
    for directory in (f"hf-{nano}", f"saved-{nano}"):
        model, about = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
        wrong = {k: v for k, v in about.items() if v}
        say(not wrong, f"{directory} is loaded whole", str(wrong))
        model.eval()
        compare_logits(directory, directory, model)
        if directory.startswith("hf-"):
            model.save_pretrained(f"saved-{nano}", max_shard_size="100KB")


# ---- tokenizers ----

def compare_tokenizer(name, source, vocabulary, chosen, more=()):
    """The ids through AutoTokenizer, and after it has saved its files."""
    out = f"out {name}"
    status, error, _ = run("export", *more, "--vocab", vocabulary, source, out)
    if status:
        return error
    for turn in ("", " saved"):
        auto = AutoTokenizer.from_pretrained(out + turn)
        theirs = auto(chosen, add_special_tokens=False)["input_ids"]
        say(compare(name + turn, vocabulary, chosen, theirs), f"{name}{turn} through {type(auto).__name__}")
        auto.save_pretrained(out + " saved")
        say(compare(name + turn + ", read here", f"{out} saved/tokenizer.json", chosen, theirs), f"{name}{turn}: what is saved")
    return None


def tokenizers():
    files = {"learned": "data.vocab", "bytes": "bytes.vocab"}
    for name, t in kinds().items():
        files[name] = os.path.abspath(f"{name.replace('/', ' ')}.json")
        t.save(files[name])
    many, few = texts(5, N, CONTENTS), texts(6, max(20, N // 50), CONTENTS)
    for name, path in files.items():
        for nano in NANOS:
            chosen = many if (nano == "llama-nano" or name == "learned") else few
            error = compare_tokenizer(f"{nano} {name}", f"run-{nano}", path, chosen)
            if error and "--fast-tokenizer" in error:
                say(nano in ("qwen-nano", "qwen2.5-nano"), f"{nano} {name} is refused, with what to use", error)
            elif error:
                say(False, f"{nano} {name} is exported", error)


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    with open("text", "w") as f:
        f.write("\n;;".join(TEXT * 9))
    for options in (("--vocab", "bpe:370", "--separator", ";;", "-o", "data"), ("-o", "bytes")):
        status, error, _ = run("tokenize", *options, "text")
        if status:
            sys.exit(error)
    for nano in NANOS:
        family(nano)
    tokenizers()
sys.exit(say.bad)

#!/usr/bin/env python3
"""handed_on.py - what goes with an exported model, as transformers and huggingface_hub read it.

    test/peers/handed_on.py          (run by test/peers/run.sh)

    transformers' model, generation config, tokenizer, chat template --train_gpt--> run --export--> OUT, in f32, bf16 and f16

transformers must find in OUT the special tokens, the generation config, the template and the dtype that they
began as, and the Hub's reader the head of the model card.
"""
import os
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")
import torch  # noqa: E402
from huggingface_hub import ModelCard  # noqa: E402
from ours import run, say  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import (AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GPT2Config, LlamaConfig,  # noqa: E402
                          PreTrainedTokenizerFast)

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
TALK = [{"role": "user", "content": "What is 3 + 4?"}]
VOCAB = 300

def tokenizer():
    chars = sorted(pre_tokenizers.ByteLevel.alphabet())
    t = Tokenizer(models.BPE({c: i for i, c in enumerate(chars)}, []))
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.add_special_tokens(["<|end|>", "<|stop|>", "<|pad|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<|end|>", pad_token="<|pad|>")
    fast.chat_template = TEMPLATE
    return fast


def make(name, config, tokens):
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config)
    model.generation_config = GenerationConfig(eos_token_id=[256, 257], pad_token_id=258, top_p=0.75, do_sample=True)
    model.save_pretrained(name)
    tokens.save_pretrained(name)
    with open(f"{name}/README.md", "w") as f:
        f.write("---\nlicense: apache-2.0\n---\n# one\n")


def check(name, out, dtype, tokens):
    config, generation, card = AutoConfig.from_pretrained(out), GenerationConfig.from_pretrained(out), ModelCard.load(f"{out}/README.md")
    say((config.eos_token_id, config.pad_token_id, config.bos_token_id) == (256, 258, None), f"{name}: special tokens in config.json", str(config))
    say((generation.eos_token_id, generation.pad_token_id, generation.top_p) == ([256, 257], 258, 0.75), f"{name}: generation config", str(generation))
    model, about = AutoModelForCausalLM.from_pretrained(out, dtype="auto", output_loading_info=True)
    wrong = {k: v for k, v in about.items() if v}
    say(not wrong and model.dtype == dtype, f"{name}: weights are {dtype}", f"{model.dtype} {wrong}")
    say(model.generation_config.eos_token_id == [256, 257], f"{name}: the model stops where it did")
    auto = AutoTokenizer.from_pretrained(out)
    say(auto("ab 3<|end|>")["input_ids"] == tokens("ab 3<|end|>")["input_ids"], f"{name}: ids", str(auto))
    say((auto.eos_token, auto.chat_template) == ("<|end|>", TEMPLATE), f"{name}: end of text and template", str(auto))
    rendered = auto.apply_chat_template(TALK, tokenize=False, add_generation_prompt=True)
    say(rendered == "<user>What is 3 + 4?<|end|><assistant>", f"{name}: a conversation is rendered", rendered)
    data = card.data
    say((data.license, data.library_name, data.pipeline_tag, data.base_model) == ("apache-2.0", "transformers", "text-generation", "me/one"),
        f"{name}: the card's head", str(data))
    ids = torch.tensor([tokens("ab 3")["input_ids"]])
    with torch.no_grad():
        return model.float()(ids).logits


def family(kind, config, tokens):
    make(kind, config, tokens)
    words = ["--train-data", "sft_train.bin", "--batch", "2", "--seq", "32", "--steps", "2", "--lr", "1e-3", "--eval-every", "0", "--threads", "1",
             "--device", "cpu"]
    status, error, _ = run("tokenize", "--chat", "--vocab", f"{kind}/tokenizer.json", "--val-fraction", "0", "-o", "sft", "talk.jsonl")
    if status:
        return say(False, f"{kind}: tokenize", error)
    status, error, _ = run("train_gpt", "--load", kind, *words, "--out", f"{kind}-run")
    if status:
        return say(False, f"{kind}: train_gpt", error)
    logits = {}
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16), ("f16", torch.float16)):
        status, error, _ = run("export", "--dtype", name, "--base-model", "me/one", f"{kind}-run", f"{kind}-{name}")
        if status:
            return say(False, f"{kind}: export --dtype {name}", error)
        logits[name] = check(f"{kind} {name}", f"{kind}-{name}", dtype, tokens)
    most = logits["f32"].abs().max()
    for name, least in (("bf16", 2 ** -6), ("f16", 2 ** -9)):
        off = ((logits[name] - logits["f32"]).abs().max() / most).item()
        say(0 < off < least, f"{kind} {name}: logits to {off:.1e} of f32's", "too far apart")
    status, error, _ = run("export", "--vocab", f"{kind}/tokenizer.json", "--base-model", "me/one", f"{kind}-run", f"{kind}-again")
    if status:
        return say(False, f"{kind}: export --vocab", error)
    check(f"{kind} --vocab", f"{kind}-again", torch.float32, tokens)


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    with open("talk.jsonl", "w") as f:
        for i in range(40):
            f.write('{"messages":[{"role":"user","content":"say %d"},{"role":"assistant","content":"%d"}]}\n' % (i, i))
    ends = {"vocab_size": VOCAB, "bos_token_id": None, "eos_token_id": 256, "pad_token_id": 258}
    fast = tokenizer()
    family("llama", LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                max_position_embeddings=64, **ends), fast)
    family("gpt2", GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **ends), fast)
sys.exit(say.bad)

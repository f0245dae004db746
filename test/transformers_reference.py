"""transformers_reference.py - our files in transformers, and its files here, for every family it has.

    transformers_reference.py BUILD      prints "ok NAME" or "not ok NAME why"

A model of ours, a few steps trained, is exported and must load there with nothing missing and nothing
left over, and have the same loss.  What transformers saves, in one file or many, in 32 bits or 16,
must have that loss here.  A model of images must give the same probabilities.
"""
import json, os, random, struct, subprocess, sys, tempfile, warnings, zlib

warnings.filterwarnings("ignore")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageClassification, GPT2Config
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 9, 7]
NANOS = ["gpt-nano", "llama-nano", "qwen-nano", "qwen2.5-nano", "qwen3-nano", "gemma-nano", "bloom-nano", "phi-nano",
         "falcon-nano", "llama3-nano", "smollm3-nano", "phi3-nano", "neox-nano", "olmo2-nano",
         "gemma2-nano", "gemma3-nano"]
build = os.path.abspath(sys.argv[1])
bad = 0


def say(fine, name, why=""):
    global bad
    bad |= not fine
    print(f"ok {name}" if fine else f"not ok {name} {why}"[:400])


def run(program, *words):
    done = subprocess.run([f"{build}/{program}", *words], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr.strip()


def losses(out, *words):
    status, error = run("train_gpt", *words, "--train-data", "tokens.bin", "--batch", "1", "--seq",
                        str(len(TOKENS) - 1), "--eval-every", "0", "--threads", "1", "--warmup", "0", "--out", out)
    if status:
        return error
    with open(f"{out}/log.jsonl") as f:
        return [r["loss"] for r in map(json.loads, f) if "loss" in r]


def loss_of(model):
    ids = torch.tensor([TOKENS])
    with torch.no_grad():
        logits = model(ids[:, :-1]).logits[0].double()
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:]).item()


def first_loss(source, out, *more):
    found = losses(out, "--load", source, "--steps", "1", "--lr", "0", "--weight-decay", "0", *more)
    return found if isinstance(found, str) else found[0]


def close(a, b):
    return not isinstance(a, str) and abs(a - b) < 2e-5


def test(nano):
    trained = losses(f"run-{nano}", "--model", nano, "--vocab", "64", "--context", "32", "--steps", "3", "--lr", "0.01")
    if isinstance(trained, str):
        return say(False, f"{nano} trains", trained)
    status, error = run("export", "--to", "hf", f"run-{nano}", f"hf-{nano}")
    if status:
        return say(False, f"{nano} is exported", error)
    model, about = AutoModelForCausalLM.from_pretrained(f"hf-{nano}", output_loading_info=True)
    model.eval()
    wrong = {k: v for k, v in about.items() if v and k != "error_msgs"}
    say(not wrong, f"transformers loads {nano} whole", str(wrong))
    want, got = loss_of(model), first_loss(f"hf-{nano}", f"again-{nano}")
    say(close(got, want), f"{nano} has the same loss there", f"{got}, transformers {want}")
    model.save_pretrained(f"saved-{nano}", max_shard_size="100KB")
    sharded = os.path.exists(f"saved-{nano}/model.safetensors.index.json")
    got = first_loss(f"saved-{nano}", f"loaded-{nano}")
    say(sharded and close(got, want), f"{nano} saved in many files there is loaded", f"{got}, transformers {want}")
    model.config.to_json_file(f"saved-{nano}/config.json", use_diff=False)
    got = first_loss(f"saved-{nano}", f"full-{nano}")
    say(close(got, want), f"{nano} is loaded with all fields of its configuration", f"{got}, transformers {want}")
    half = model.to(torch.bfloat16)
    half.save_pretrained(f"half-{nano}")
    want = loss_of(half.to(torch.float32))
    refused = first_loss(f"half-{nano}", f"no-{nano}")
    say(isinstance(refused, str) and "--widen" in refused, f"{nano} in bfloat16 asks for --widen", str(refused))
    got = first_loss(f"half-{nano}", f"wide-{nano}", "--widen")
    say(close(got, want), f"{nano} in bfloat16 is loaded", f"{got}, transformers {want}")
    got = first_loss(f"half-{nano}", f"narrow-{nano}", "--dtype", "bf16")
    fine = not isinstance(got, str) and abs(got - want) < 0.01 * want  # activations have 8 bits
    say(fine, f"{nano} in bfloat16 runs as it is", f"{got}, transformers {want}")


def test_defaults():
    """Configurations as transformers makes them when only sizes are said: with numbers that we leave out."""
    small = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    keys = dict(num_key_value_heads=4)
    for kind, more in {"llama": {}, "qwen2": keys, "gemma": {**keys, "head_dim": 8}, "bloom": {}, "phi": {}, "falcon": {},
                       "mistral": {**keys, "sliding_window": None}, "phi3": {"pad_token_id": 0}, "gpt_neox": {}}.items():
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **small, **more)).eval()
        model.save_pretrained(f"own-{kind}")
        want, got = loss_of(model), first_loss(f"own-{kind}", f"own-run-{kind}")
        say(close(got, want), f"{kind} of transformers' own is loaded", f"{got}, transformers {want}")


def test_untied():
    """No preset of GPT-2 has a head of its own, but files have."""
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=32, vocab_size=64, tie_word_embeddings=False)
    AutoModelForCausalLM.from_config(config).save_pretrained("untied")
    status, error = run("export", "--to", "hf", "untied", "hf-untied")
    model, about = AutoModelForCausalLM.from_pretrained("hf-untied", output_loading_info=True)
    got, want = first_loss("hf-untied", "again-untied"), loss_of(model.eval())
    fine = not status and not any(v for k, v in about.items() if k != "error_msgs") and close(got, want)
    say(fine, "GPT-2 with a head of its own", f"{error} {about} {got}, transformers {want}")


SIDE, CLASSES, PICTURES = 28, 10, 4


def grey(k):
    return random.Random(k).randbytes(SIDE * SIDE)


def write_pictures():
    """PICTURES grey images, as idx files to train on and as PNGs."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    with open("x-images-idx3-ubyte", "wb") as f:
        f.write(struct.pack(">IIII", 0x803, PICTURES, SIDE, SIDE) + b"".join(map(grey, range(PICTURES))))
    with open("x-labels-idx1-ubyte", "wb") as f:
        f.write(struct.pack(">II", 0x801, PICTURES) + bytes(k % CLASSES for k in range(PICTURES)))
    for k in range(PICTURES):
        rows = b"".join(b"\0" + grey(k)[y * SIDE:][:SIDE] for y in range(SIDE))
        with open(f"{k}.png", "wb") as f:
            f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)) +
                    chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def predicted(source):
    """Probabilities (PICTURES, CLASSES) here."""
    done = subprocess.run([f"{build}/predict", "--load", source, "--json", "--top", str(CLASSES), "--threads", "1",
                           *(f"{k}.png" for k in range(PICTURES))], capture_output=True, text=True, timeout=120)
    rows = [{int(c["class"].split("_")[-1]): c["probability"] for c in json.loads(line)["classes"]}
            for line in done.stdout.splitlines()]
    return torch.tensor([[row[c] for c in range(CLASSES)] for row in rows])


def test_images(name, *words):
    status, error = run("train_vit", "--model", name, *words, "--train-data", "x-images-idx3-ubyte", "--batch", "2", "--steps",
                        "6", "--lr", "0.01", "--warmup", "0", "--eval-every", "0", "--threads", "1", "--out", f"run-{name[:3]}")
    if status:
        return say(False, f"{name} trains", error)
    status, error = run("export", f"run-{name[:3]}", f"hf-{name[:3]}")
    if status:
        return say(False, f"{name} is exported", error)
    model, about = AutoModelForImageClassification.from_pretrained(f"hf-{name[:3]}", output_loading_info=True)
    wrong = {k: v for k, v in about.items() if v}
    say(not wrong, f"transformers loads {name} whole", str(wrong))
    pixels = torch.tensor([list(grey(k)) for k in range(PICTURES)]).view(PICTURES, 1, SIDE, SIDE) / 127.5 - 1
    with torch.no_grad():
        want = model.eval()(pixels).logits.softmax(-1)
    model.save_pretrained(f"saved-{name[:3]}")
    for source in f"run-{name[:3]}", f"hf-{name[:3]}", f"saved-{name[:3]}":
        off = (predicted(source) - want).abs().max().item()
        say(off < 1e-5, f"{name} tells the same there as {source} here", f"{off} apart")


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    with open("tokens.bin", "wb") as f:
        f.write(struct.pack("<256i", 20240520, 1, len(TOKENS), *([0] * 253)) + struct.pack(f"<{len(TOKENS)}H", *TOKENS))
    for name in NANOS:
        if name == "qwen3-nano" and "qwen3" not in CONFIG_MAPPING_NAMES:
            print("skip qwen3-nano this transformers has no Qwen 3: 4.51 has")
        else:
            test(name)
    test_defaults()
    test_untied()
    write_pictures()
    test_images("vit-nano/4")
    test_images("convnext-micro/2", "--width", "16")
sys.exit(bad)

"""hf_reference.py - GPT-2 as Hugging Face's files mean it, by the standard library alone.

    hf_reference.py BUILD      prints "ok NAME" or "not ok NAME why"

It writes models in that form with numbers of its own, reads what our programs write with a parser of
its own, and computes the loss of a few tokens straight from the file (x W + b with W (in, out)), one
number at a time.  So neither our reader, nor our writer, nor our idea of the layout is on both sides.
"""
import json, math, os, random, shutil, struct, subprocess, sys, tempfile

LAYERS, HEADS, WIDTH, CONTEXT, VOCAB = 2, 2, 8, 7, 13
INNER = 4 * WIDTH
build = os.path.abspath(sys.argv[1])
bad = 0


def say(fine, name, why=""):
    global bad
    bad |= not fine
    print(f"ok {name}" if fine else f"not ok {name} {why}"[:400])


def run(program, *words):
    done = subprocess.run([f"{build}/{program}", *words], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


# ---- the file format ----

def write_tensors(path, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def read_tensors(path):
    with open(path, "rb") as f:
        raw = f.read()
    (n,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    return {name: (e["dtype"], e["shape"], raw[8 + n + e["data_offsets"][0]:8 + n + e["data_offsets"][1]])
            for name, e in header.items()}


def floats(tensor):
    return struct.unpack(f"<{len(tensor[2]) // 4}f", tensor[2])


# ---- a model ----

def make(seed, half=False):
    rng = random.Random(seed)

    def tensor(*shape, mean=0.0, std=0.2):
        n = math.prod(shape)
        raw = struct.pack(f"<{n}f", *(rng.gauss(mean, std) for _ in range(n)))
        if half:  # bfloat16: the upper halves
            raw = b"".join(raw[i + 2:i + 4] for i in range(0, len(raw), 4))
        return ("BF16" if half else "F32", list(shape), raw)

    t = {"wte.weight": tensor(VOCAB, WIDTH), "wpe.weight": tensor(CONTEXT, WIDTH)}
    for l in range(LAYERS):
        for name, n_in, n_out in (("attn.c_attn", WIDTH, 3 * WIDTH), ("attn.c_proj", WIDTH, WIDTH),
                                  ("mlp.c_fc", WIDTH, INNER), ("mlp.c_proj", INNER, WIDTH)):
            t[f"h.{l}.{name}.weight"] = tensor(n_in, n_out)
            t[f"h.{l}.{name}.bias"] = tensor(n_out)
        for name in ("ln_1", "ln_2"):
            t[f"h.{l}.{name}.weight"] = tensor(WIDTH, mean=1.0)
            t[f"h.{l}.{name}.bias"] = tensor(WIDTH)
    t["ln_f.weight"], t["ln_f.bias"] = tensor(WIDTH, mean=1.0), tensor(WIDTH)
    return t


def config(**changes):
    return {"model_type": "gpt2", "n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "n_positions": CONTEXT,
            "vocab_size": VOCAB, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, **changes}


def save(directory, tensors, shards=1, prefix="", **changes):
    os.makedirs(directory)
    with open(f"{directory}/config.json", "w") as f:
        json.dump(config(**changes), f)
    tensors = {(name if name == "lm_head.weight" else prefix + name): t for name, t in tensors.items()}
    if shards == 1:
        write_tensors(f"{directory}/model.safetensors", tensors)
        return
    names = [f"model-{k + 1:05}-of-{shards:05}.safetensors" for k in range(shards)]
    where = {name: names[i % shards] for i, name in enumerate(tensors)}
    for file in names:
        write_tensors(f"{directory}/{file}", {n: t for n, t in tensors.items() if where[n] == file})
    with open(f"{directory}/model.safetensors.index.json", "w") as f:
        json.dump({"metadata": {}, "weight_map": where}, f)


# ---- its function ----

def linear(x, w, b, n_in, n_out):
    return [b[o] + sum(x[i] * w[i * n_out + o] for i in range(n_in)) for o in range(n_out)]


def norm(x, w, b):
    mean = sum(x) / len(x)
    scale = 1 / math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    return [(v - mean) * scale * w[i] + b[i] for i, v in enumerate(x)]


def softmax(x):
    e = [math.exp(v - max(x)) for v in x]
    return [v / sum(e) for v in e]


def gelu_new(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def loss(tensors, tokens):
    p = {name: floats(t) for name, t in tensors.items()}
    inputs, targets, size = tokens[:-1], tokens[1:], WIDTH // HEADS
    xs = [[p["wte.weight"][t * WIDTH + c] + p["wpe.weight"][i * WIDTH + c] for c in range(WIDTH)]
          for i, t in enumerate(inputs)]
    for l in range(LAYERS):
        def at(name, x, n_in, n_out):
            return linear(x, p[f"h.{l}.{name}.weight"], p[f"h.{l}.{name}.bias"], n_in, n_out)
        qkv = [at("attn.c_attn", norm(x, p[f"h.{l}.ln_1.weight"], p[f"h.{l}.ln_1.bias"]), WIDTH, 3 * WIDTH) for x in xs]
        for i in range(len(xs)):
            out = []
            for h in range(HEADS):
                q = qkv[i][h * size:(h + 1) * size]
                keys = [qkv[j][WIDTH + h * size:WIDTH + (h + 1) * size] for j in range(i + 1)]
                values = [qkv[j][2 * WIDTH + h * size:2 * WIDTH + (h + 1) * size] for j in range(i + 1)]
                weights = softmax([sum(a * b for a, b in zip(q, k)) / math.sqrt(size) for k in keys])
                out += [sum(w * v[c] for w, v in zip(weights, values)) for c in range(size)]
            xs[i] = [a + b for a, b in zip(xs[i], at("attn.c_proj", out, WIDTH, WIDTH))]
            up = at("mlp.c_fc", norm(xs[i], p[f"h.{l}.ln_2.weight"], p[f"h.{l}.ln_2.bias"]), WIDTH, INNER)
            xs[i] = [a + b for a, b in zip(xs[i], at("mlp.c_proj", [gelu_new(v) for v in up], INNER, WIDTH))]
    head, total = p.get("lm_head.weight", p["wte.weight"]), 0.0
    for x, target in zip(xs, targets):
        y = norm(x, p["ln_f.weight"], p["ln_f.bias"])
        total -= math.log(softmax([sum(y[c] * head[v * WIDTH + c] for c in range(WIDTH)) for v in range(VOCAB)])[target])
    return total / len(targets)


# ---- the tests ----

def first_loss(source, tokens, out, *more):
    """What train_gpt says of its first step, which is taken before any update."""
    with open("tokens.bin", "wb") as f:
        f.write(struct.pack("<256i", 20240520, 1, len(tokens), *([0] * 253)) + struct.pack(f"<{len(tokens)}H", *tokens))
    status, _, error = run("train_gpt", "--load", source, "--train-data", "tokens.bin", "--batch", "1", "--seq",
                           str(CONTEXT), "--steps", "1", "--lr", "0", "--weight-decay", "0", "--eval-every", "0",
                           "--threads", "1", "--out", out, *more)
    if status:
        return error.strip()
    with open(f"{out}/log.jsonl") as f:
        return next(r["loss"] for r in map(json.loads, f) if "loss" in r)


def close(a, b):
    return not isinstance(a, str) and abs(a - b) < 1e-5


def test_sources():
    model, tokens = make(1), [3, 1, 4, 1, 5, 9, 2, 6]
    want = loss(model, tokens)
    head = {**model, "lm_head.weight": model["wte.weight"]}
    mask = {**head, "h.0.attn.bias": ("U8", [1, 1, 2, 2], bytes(4)), "h.1.attn.masked_bias": ("F32", [], bytes(4))}
    other = {**model, "lm_head.weight": make(2)["wte.weight"]}
    for name, tensors, more in (("plain", model, {}), ("prefixed", mask, {"prefix": "transformer."}),
                                ("sharded", model, {"shards": 3}), ("untied", other, {"tie_word_embeddings": False})):
        save(name, tensors, **more)
        expected = loss(tensors, tokens)
        got = first_loss(name, tokens, f"run-{name}")
        say(close(got, expected), f"loss of a {name} model", f"{got}, not {expected}")
        wants = {k: v for k, v in tensors.items() if ".attn.bias" not in k and "masked" not in k}
        if name == "untied":  # transformers asks for the prefix beside a head
            wants = {k if k == "lm_head.weight" else "transformer." + k: v for k, v in wants.items()}
        else:
            wants.pop("lm_head.weight", None)
        status, _, error = run("export", "--to", "hf", name, f"hf-{name}")
        say(not status and read_tensors(f"hf-{name}/model.safetensors") == wants, f"export of a {name} model", error)
        say(read_tensors(f"run-{name}/model.safetensors") == wants, f"a run at rate 0 keeps a {name} model")
        again = first_loss(f"run-{name}", tokens, f"again-{name}")
        say(again == got, f"what a run of a {name} model left is loaded", f"{again}, not {got}")
    say(abs(loss(other, tokens) - want) > 1e-3, "an untied head matters")


def test_checkpoint():
    first_loss("plain", [3, 1, 4, 1, 5, 9, 2, 6], "run-checkpoint", "--checkpoint-every", "1")
    status, _, error = run("export", "run-checkpoint/step_00000001", "hf-checkpoint")
    say(not status and read_tensors("hf-checkpoint/model.safetensors") == make(1), "export of a checkpoint", error)
    run("train_gpt", "--load", "plain", "--train-data", "tokens.bin", "--batch", "1", "--seq", str(CONTEXT), "--steps", "11", "--eval-every", "0",
        "--checkpoint-every", "9", "--threads", "1", "--out", "stopped")
    run("export", "stopped/step_00000009", "hf-ninth")
    last = [line for line in card_of("hf-ninth")[1].splitlines() if line.startswith("| training, last")]
    say(len(last) == 1 and last[0].endswith(" | 9 |"), "a checkpoint's card has no losses after its step", str(last))
    run("train_gpt", "--load", "plain", "--train-data", "tokens.bin", "--val-data", "tokens.bin", "--batch", "1", "--seq", str(CONTEXT), "--steps", "3",
        "--lr", "0.3", "--warmup", "0", "--schedule", "constant", "--eval-every", "1", "--save-best", "--threads", "1", "--out", "worse")
    status, _, error = run("export", "worse/best", "hf-best")
    log = [json.loads(line) for line in open("worse/log.jsonl")]
    val = {r["step"]: r["val_loss"] for r in log if "val_loss" in r}
    step = min(val, key=lambda k: val[k])
    body = "" if status else card_of("hf-best")[1]
    say(step < max(val) and all(what in body for what in ("| steps | 3 |", f"| training, last | {next(r['loss'] for r in log if r['step'] == step):.4f} | {step} |",
                                                          f"| validation, lowest | {val[step]:.4f} | {step} |", f"| validation, last | {val[step]:.4f} |")),
        "the card of a run's best model is of its run, up to its step", f"{error} {val} {body}")
    os.remove("stopped/model.safetensors")
    os.mkdir("stopped/step_00000012.old")
    status, _, error = run("export", "stopped", "x")
    say(status == 1 and "has not ended" in error and error.endswith("stopped/step_00000011\n"), "a run without a model: its newest checkpoint is named", error)


def test_llmc():
    status, _, error = run("export", "--to", "llmc", "plain", "plain.bin")
    status2, _, error2 = run("export", "--to", "hf", "plain.bin", "hf-llmc")
    say(not status and not status2 and read_tensors("hf-llmc/model.safetensors") == make(1), "to llm.c and back",
        error + error2)
    for name, word in (("untied", "tie_word_embeddings"), ("eps", "layer_norm_epsilon")):
        if name == "eps":
            save("eps", make(1), layer_norm_epsilon=1e-6)
        status, _, error = run("export", "--to", "llmc", name, "no.bin")
        say(status == 1 and word in error and not os.path.exists("no.bin"), f"llm.c cannot express: {word}", error)


def test_half():
    model = make(3, half=True)
    save("half", model)
    status, _, error = run("export", "half", "hf-same")
    say(not status and read_tensors("hf-same/model.safetensors") == model, "BF16 stays what it is", error)
    say(json.load(open("hf-same/config.json"))["torch_dtype"] == "bfloat16", "config.json says so")
    status, _, error = run("export", "--to", "llmc", "half", "no.bin")
    say(status == 1 and "BF16" in error and "--widen" in error and not os.path.exists("no.bin"), "BF16 is refused for llm.c", error)
    wide = {n: ("F32", s, b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2)))
            for n, (_, s, raw) in model.items()}
    for out, words in (("hf-half", ("--widen",)), ("hf-f32", ("--dtype", "f32"))):
        status, _, error = run("export", *words, "half", out)
        say(not status and read_tensors(f"{out}/model.safetensors") == wide, f"BF16 is widened exactly by {words[0]}", error)
    plain = read_tensors("hf-plain/model.safetensors")
    for kind, name, letter in (("BF16", "bf16", None), ("F16", "f16", "e")):
        status, _, error = run("export", "--dtype", name, "plain", f"hf-{name}")
        written = {} if status else read_tensors(f"hf-{name}/model.safetensors")
        narrow = {n: (kind, s, b"".join(struct.pack("<e", x) if letter else bfloat(x) for x in floats((0, 0, raw))))
                  for n, (_, s, raw) in plain.items()}
        say(written == narrow, f"--dtype {name} rounds to the nearest", error)
        config = {} if status else json.load(open(f"hf-{name}/config.json"))
        say(config.get("torch_dtype") == {"bf16": "bfloat16", "f16": "float16"}[name], f"and config.json says {name}")
    status, _, error = run("export", "--dtype", "f32", "hf-bf16", "hf-again")
    say(not status and run("export", "--dtype", "bf16", "hf-again", "hf-third")[0] == 0 and
        read_tensors("hf-third/model.safetensors") == read_tensors("hf-bf16/model.safetensors"), "rounding twice is rounding once", error)
    large = make(1)
    large["ln_f.bias"] = ("F32", [WIDTH], struct.pack(f"<{WIDTH}f", *[65520.0] * WIDTH))
    save("large", large)
    status, _, error = run("export", "--dtype", "f16", "large", "hf-large")
    say(status == 1 and "ln_f.bias" in error and "65520" in error and not os.path.exists("hf-large"),
        "a number too large for f16 is refused by its tensor, and nothing is written", error)
    os.mkdir("hf-large")
    write("hf-large/notes", "mine")
    again = run("export", "--dtype", "f16", "large", "hf-large")
    say(again[0] == 1 and os.listdir("hf-large") == ["notes"], "nor into a directory that was there", again[2])
    status, _, error = run("export", "--dtype", "bf16", "large", "hf-large")
    say(not status and os.path.exists("hf-large/model.safetensors"), "another dtype may have the same OUT", error)


def bfloat(x):
    """The bytes of the nearest bfloat16, ties to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", x))
    return struct.pack("<H", (bits + 0x7fff + (bits >> 16 & 1)) >> 16)


# ---- what goes with it ----

def card_of(directory):
    """The head of README.md as a dictionary, and its text."""
    text = open(f"{directory}/README.md").read()
    head, body = text.split("---\n", 2)[1:]
    return dict(line.split(": ", 1) for line in head.splitlines()), body


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def test_about():
    save("base", make(5), eos_token_id=[3, 5], bos_token_id=1, pad_token_id=None, _name_or_path="Some-One/Small_1.5")
    write("base/generation_config.json", '{"eos_token_id": [3, 5], "top_p": 0.9}')
    write("base/chat_template.jinja", "{{ messages }}")
    write("base/README.md", "---\nlanguage: en\nlicense: apache-2.0 \nbase_model: An/Other\n---\n# Small\nlicense: mit\n")
    write("base/tokenizer.json", "{}")
    got = first_loss("base", [3, 1, 4, 1, 5, 9, 2, 6], "tuned")
    config = json.load(open("tuned/config.json"))
    say(isinstance(got, float) and config["eos_token_id"] == [3, 5] and config["bos_token_id"] == 1 and config["pad_token_id"] is None,
        "a run's config.json has the special tokens of its base", str(config))
    for name in ("generation_config.json", "chat_template.jinja"):
        say(os.path.exists(f"tuned/{name}") and open(f"tuned/{name}").read() == open(f"base/{name}").read(), f"a run keeps its base's {name}")
    status, _, error = run("export", "--dtype", "bf16", "tuned", "hf-tuned")
    config = {} if status else json.load(open("hf-tuned/config.json"))
    say(config.get("eos_token_id") == [3, 5] and config["bos_token_id"] == 1, "so has what is exported", error)
    for name in ("generation_config.json", "chat_template.jinja"):
        say(not status and open(f"hf-tuned/{name}").read() == open(f"base/{name}").read(), f"{name} is exported")
    head, body = card_of("hf-tuned")
    say(head == {"library_name": "transformers", "pipeline_tag": "text-generation", "base_model": '"Some-One/Small_1.5"',
                 "license": '"apache-2.0"'}, "the card's head has base and license of the base's files", str(head))
    log = [json.loads(line) for line in open("tuned/log.jsonl")]
    loss = next(r["loss"] for r in log if "loss" in r)
    for what in ("# hf-tuned", "type `gpt2`", "bfloat16", "| seq | 7 |", "| steps | 1 |", "tokens.bin (1040 bytes", f"| {loss:.4f} | 1 |",
                 "Fine-tuned from Some-One/Small_1.5", "apache-2.0, as the card"):
        say(what in body, f"the card says: {what}", body)
    say("top_p" not in body and "adapters" not in body, "and nothing that is not so")
    save("ends", make(5), eos_token_id=[3, 5])
    status, said, error = run("export", "ends", "hf-ends")
    say(not status and json.load(open("hf-ends/generation_config.json")) == {"eos_token_id": [3, 5]} and "0 files of the tokenizer" in said,
        "where texts end is written, and not counted as a tokenizer", said + error)
    status, _, error = run("export", "--license", "mit", "--base-model", "a/b", "plain", "hf-said")
    head, body = card_of("hf-said")
    say(head["license"] == '"mit"' and head["base_model"] == '"a/b"' and "Losses" not in body, "--license and --base-model are taken", body)
    status, _, error = run("export", "plain", "hf-unsaid")
    head, body = card_of("hf-unsaid")
    say("license" not in head and "base_model" not in head and "Not stated" in body, "what is not known is not said", body)
    status, _, error = run("export", "hf-said", "hf-further")
    say(card_of("hf-further")[0] == card_of("hf-said")[0], "a card's head goes further")
    for name, head in (("no end", "---\nlicense: mit"), ("long", "---\nlicense: " + "x" * 5000 + "\n---\n"), ("no head", "license: mit\n"),
                       ("marks", "---\nlicense: [mit]\n---\n"), ("a zero", "---\n\0license: mit\n---\n"), ("nothing", "")):
        save(f"card {name}", make(7))
        write(f"card {name}/README.md", head)
        status, _, error = run("export", f"card {name}", f"hf-card {name}")
        head = {} if status else card_of(f"hf-card {name}")[0]
        say(not status and head.get("license") == ('"mit"' if name == "no end" else None), f"a card with {name}", f"{error} {head}")
    for name, head, wanted in (("an apostrophe", 'license: "other"\nlicense_name: "Ann\'s own"\n', ("other", "Ann's own", None)),
                               ("quotes of its own", "license: other\nlicense_name: 'Ann''s own'\n", ("other", None, None)),
                               ("a quote without its end", 'license: "mit\nlicense_name: x"y\n', (None, None, None)),
                               ("a comment", 'license: "mit" # so far\n', ("mit", None, None))):
        shutil.rmtree("quoted", ignore_errors=True)
        save("quoted", make(7))
        write("quoted/README.md", f"---\n{head}---\n")
        shutil.rmtree("hf-quoted", ignore_errors=True)
        status, _, error = run("export", "quoted", "hf-quoted")
        head = {} if status else card_of("hf-quoted")[0]
        say(not status and all(head.get(n) == (v and f'"{v}"') for n, v in zip(("license", "license_name", "license_link"), wanted)),
            f"a card with {name}", f"{error} {head}")
    first_loss("quoted", [3, 1, 4, 1, 5, 9, 2, 6], "foreign")
    write("quoted/README.md", "---\nlicense: other\nlicense_name: x\n---\n")
    write("foreign/README.md", "---\nlicense: mit\n---\n")
    write("foreign/options.json", json.dumps({"optim": "a|b\n\n---\nlicense: x\n---\n", "freeze": ["h|i", "j\nk"], "load": "quoted"}))
    status, _, error = run("export", "foreign", "hf-foreign")
    head, body = card_of("hf-foreign")
    say(head.get("license") == '"mit"' and "license_name" not in head, "a license comes without the name of its base's", str(head))
    say("| optim | a\\|b\\x0a" in body and "| freeze | `h\\|i` `j\\x0ak` |" in body, "options stay in their cells", body)
    os.remove("foreign/README.md")
    os.mkdir("foreign/README.md")
    status, _, error = run("export", "foreign", "hf-no-card")
    say(not status and "warning: the model card lacks a part" in error and '"other"' in card_of("hf-no-card")[0]["license"],
        "a card that cannot be read is left out", error)
    snapshot = "models--Own-er--Na--me/snapshots/1"
    save(snapshot, make(6))
    first_loss(snapshot, [3, 1, 4, 1, 5, 9, 2, 6], "cached")
    run("export", "cached", "hf-cached")
    say(card_of("hf-cached")[0].get("base_model") == '"Own-er/Na--me"', "a name from the Hub's cache", str(card_of("hf-cached")[0]))
    run("train_gpt", "--load", "base", "--lora", "2", "--train-data", "tokens.bin", "--batch", "1", "--seq", str(CONTEXT), "--steps", "1",
        "--eval-every", "0", "--threads", "1", "--out", "adapters")
    write("adapters/chat_template.jinja", "{{ other }}")
    status, _, error = run("export", "--merge", "adapters", "base", "hf-merged")
    head, body = card_of("hf-merged")
    say(open("hf-merged/chat_template.jinja").read() == "{{ other }}", "the adapters' chat template comes first", error)
    say("| lora | 2 |" in body and "adapters (LoRA) are merged" in body and head["license"] == '"apache-2.0"', "the card of merged adapters", body)
    os.remove("adapters/chat_template.jinja")
    write("adapters/tokenizer_config.json", '{"chat_template": "{{ within }}"}')
    status, _, error = run("export", "--merge", "adapters", "base", "hf-within")
    say(not status and "within" in open("hf-within/tokenizer_config.json").read() and not os.path.exists("hf-within/chat_template.jinja"),
        "the adapters' template in tokenizer_config.json comes before their base's chat_template.jinja, which would be taken in its place", error)
    for name, words, wanted in (("--dtype for GGUF", ("--to", "gguf", "--dtype", "bf16", "plain", "x"), "--type"),
                                ("--license for llm.c", ("--to", "llmc", "--license", "mit", "plain", "x"), "--to hf"),
                                ("a license of several words", ("--license", "do what", "plain", "x"), "identifier"),
                                ("an empty license", ("--license", "", "plain", "x"), "identifier"),
                                ("a base that is no name", ("--base-model", "a b", "plain", "x"), "Hub"),
                                ("a base without a name", ("--base-model", "", "plain", "x"), "Hub"),
                                ("a base that ends too early", ("--base-model", "a/", "plain", "x"), "Hub"),
                                ("a base of three words", ("--base-model", "a/b/c", "plain", "x"), "Hub"),
                                ("an unknown dtype", ("--dtype", "f8", "plain", "x"), "f32, bf16 or f16")):
        status, _, error = run("export", *words)
        say(status == 1 and wanted in error and error.count("\n") == 1, f"refused: {name}", error)


def test_others():
    written = json.load(open("hf-plain/config.json"))
    say(all(written[k] == v for k, v in config().items()), "config.json has what was given", str(written))
    for name in ("tokenizer.json", "merges.txt"):
        with open(f"plain/{name}", "w") as f:
            f.write(name * 1000)
    status, _, error = run("export", "plain", "hf-tokens")
    copied = not status and all(open(f"hf-tokens/{n}").read() == n * 1000 for n in ("tokenizer.json", "merges.txt"))
    say(copied, "the tokenizer's files are copied", error)
    for name, tokens in (("small", 1), ("large", 10)):  # 257 and 266; this model has room for 260
        with open(f"{name}.vocab", "w") as f:
            f.write(f"regrad-vocab 1 {256 + tokens}\n" + "".join(f"{97 + i} 32\n" for i in range(tokens)))
    wide = make(4)
    wide["wte.weight"] = ("F32", [260, WIDTH], bytes(260 * WIDTH * 4))
    save("wide", wide, vocab_size=260)
    status, _, error = run("export", "--vocab", "small.vocab", "wide", "hf-vocab")
    say(not status and len(json.load(open("hf-vocab/vocab.json"))) == 257, "--vocab makes a tokenizer", error)
    os.rename("small.vocab", "wide/tokenizer.vocab")
    status, _, error = run("export", "wide", "hf-beside")
    say(not status and len(json.load(open("hf-beside/vocab.json"))) == 257, "tokenizer.vocab makes one, too", error)
    run("train_gpt", "--load", "wide", "--lora", "2", "--train-data", "tokens.bin", "--batch", "1", "--seq", str(CONTEXT), "--steps", "1",
        "--eval-every", "0", "--threads", "1", "--out", "wide-adapters")
    for place, text in (("wide", "base's"), ("wide-adapters", "adapters'")):
        write(f"{place}/tokenizer_config.json", json.dumps({"chat_template": text}))
    status, _, error = run("export", "--merge", "wide-adapters", "wide", "hf-wide-merged")
    say(not status and open("hf-wide-merged/chat_template.jinja").read() == "adapters'", "a template in the adapters' tokenizer_config.json", error)
    os.remove("wide-adapters/tokenizer_config.json")
    status, _, error = run("export", "--merge", "wide-adapters", "wide", "hf-wide-base")
    say(not status and open("hf-wide-base/chat_template.jinja").read() == "base's", "or else in their base's", error)
    os.remove("wide/tokenizer_config.json")
    status, _, error = run("train_gpt", "--model", "qwen2.5-nano", "--vocab", "300", "--context", "8", "--train-data", "tokens.bin",
                           "--batch", "1", "--seq", str(CONTEXT), "--steps", "1", "--eval-every", "0", "--threads", "1", "--out", "qwen2")
    say(not status, "a qwen2 is trained", error)
    shutil.copy("wide/tokenizer.vocab", "qwen2/tokenizer.vocab")
    status, _, error = run("export", "qwen2", "hf-qwen2")
    say(status == 1 and "AutoTokenizer" in error and "--fast-tokenizer" in error and not os.path.exists("hf-qwen2/model.safetensors"),
        "a tokenizer that AutoTokenizer would make anew is refused", error)
    status, _, error = run("export", "--fast-tokenizer", "qwen2", "hf-qwen2")
    say(not status and os.path.exists("hf-qwen2/tokenizer.json"), "--fast-tokenizer writes it", error)
    for name in ("hf-only-tokens/merges.txt", "hf-only-ends/generation_config.json"):
        os.mkdir(os.path.dirname(name))
        write(name, "{}")
    for name, words, wanted in (("--fast-tokenizer for GGUF", ("--to", "gguf", "--fast-tokenizer", "wide", "x"), "--to hf"),
                                ("a vocabulary too large", ("--vocab", "large.vocab", "wide", "x"), "266 tokens"),
                                ("no vocabulary", ("--vocab", "nosuch", "wide", "x"), "nosuch"),
                                ("--vocab for llm.c", ("--to", "llmc", "--vocab", "large.vocab", "wide", "x"), "--vocab"),
                                ("an OUT with a model", ("plain", "hf-plain"), "already"),
                                ("an OUT with a tokenizer", ("plain", "hf-only-tokens"), "hf-only-tokens/merges.txt already"),
                                ("an OUT with another's generation", ("plain", "hf-only-ends"), "hf-only-ends/generation_config.json already"),
                                ("a missing source", ("nosuch", "x"), "nosuch"),
                                ("no OUT", ("plain",), "--help"), ("a third word", ("plain", "x", "y"), "y:"),
                                ("an unknown form", ("--to", "onnx", "plain", "x"), "onnx"),
                                ("an unknown option", ("--nosuch", "plain", "x"), "--nosuch"),
                                ("an OUT under a file", ("plain", "plain/config.json/x"), "config.json")):
        status, _, error = run("export", *words)
        say(status == 1 and wanted in error and error.count("\n") == 1, f"refused: {name}", error)


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    for test in (test_sources, test_checkpoint, test_llmc, test_half, test_about, test_others):
        test()
sys.exit(bad)

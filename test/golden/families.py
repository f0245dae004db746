#!/usr/bin/python3
"""Golden values for the families of GPTs: Hugging Face transformers' own models, tiny, in float64.

    test/golden/families.py [FILE]        writes families.txt; needs transformers 5 and torch

Every option that one of our rows has is in one of the variants: the table VARIANTS says which, and
test_families.c, which prints option by option, sees that none is missing.
ChatGLM3 has no class there; its successor GLM, which has one, is the same function (half of a head
turned, in neighbouring numbers; grouped keys; biases of q, k, v alone; gate and up in one matrix).

transformers computes norms, softmax and rotations in float32 whatever the model's type; here each
request for float32 is answered with float64, so that ten digits mean something.

Weights and tokens are hashes (see golden.py).  Parameter k of our table (embedding; for each layer
norm1, qkv, q and k norms, project, post1, norm2, up, down, post2; final norm; head; each weight, then
bias) has
amplitude 0.8 if it is a matrix, 0.4 if a vector; weights of norms lie about 1 (Gemma's, to which 1 is
added, about 0).  Ours are made of theirs: q, k, v under one another, gate over up; for BLOOM and the
later Falcon, whose files have the rows of qkv group by group, sorted into that order.  Sequence b
reads tokens hash(999, b*(T+1) + t) mod V for t = 0..T; token t+1 is the target of token t.

Records: shape (T, batch, vocabulary); then, for each variant:
  VARIANT.tensors      number of parameters in our table
  VARIANT.loss
  VARIANT.logits       of the last token of each sequence, (B,V)
  VARIANT.grad.K       of the gradient of parameter k: its sum, its sum of squares, its product with
                       tensors 2000 + k and 3000 + k of amplitude 2, its first 8 elements
"""
import sys

sys.dont_write_bytecode = True
from golden import Writer, hash32, values  # noqa: E402 - first: it sets what torch reads

import torch  # noqa: E402
import transformers  # noqa: E402
from torch.nn import functional as F  # noqa: E402

L, T, B, V, CONTEXT = 2, 11, 3, 59, 16
Q, K, U = "self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj"


def rope(base, part=1.0):
    return {"rope_type": "default", "rope_theta": base, "partial_rotary_factor": part}


def scaled(kind, **more):
    return {"rope_type": kind, "rope_theta": 10000.0, **more}


def llama_names(biases=()):
    """Where our parameters are: (key, theirs or several of theirs), weights and then biases."""
    a, m = "self_attn.", "mlp."
    return {"root": "model.", "layer": "layers.%d.", "tokens": "embed_tokens", "final": "norm",
            "norm1": "input_layernorm", "norm2": "post_attention_layernorm",
            "qkv": [a + "q_proj", a + "k_proj", a + "v_proj"], "project": [a + "o_proj"],
            "up": [m + "gate_proj", m + "up_proj"], "down": [m + "down_proj"]}


def base(**more):
    sizes = dict(vocab_size=V, num_hidden_layers=L, max_position_embeddings=CONTEXT, use_cache=False,
                 pad_token_id=None, bos_token_id=None, eos_token_id=None)
    sizes.update(more)
    return sizes


def llama(**more):
    settings = base(hidden_size=24, intermediate_size=40, num_attention_heads=4,
                    num_key_value_heads=2, rms_norm_eps=1e-5, rope_parameters=rope(10000.0),
                    tie_word_embeddings=False, attention_bias=False)
    settings.update(more)
    return settings


PHI = {**llama_names(), "project": ["self_attn.dense"], "up": ["mlp.fc1"], "down": ["mlp.fc2"],
       "final": "final_layernorm", "norm2": None}
BLOOM = {"root": "transformer.", "layer": "h.%d.", "tokens": "word_embeddings",
         "embedding_norm": "word_embeddings_layernorm", "final": "ln_f", "norm1": "input_layernorm",
         "norm2": "post_attention_layernorm", "qkv": ["self_attention.query_key_value"],
         "project": ["self_attention.dense"], "up": ["mlp.dense_h_to_4h"],
         "down": ["mlp.dense_4h_to_h"]}
FALCON = {**BLOOM, "embedding_norm": None, "norm2": None}
FALCON_OLD = {**FALCON, "norm2": "post_attention_layernorm"}
FALCON_TWO = {**FALCON, "norm1": "ln_attn", "norm2": "ln_mlp"}
GLM = {**llama_names(), "up": ["mlp.gate_up_proj"]}
OLMO2 = {**llama_names(), "norm1": None, "norm2": None, "post1": "post_attention_layernorm",
         "post2": "post_feedforward_layernorm", "heads": ["self_attn.q_norm", "self_attn.k_norm"]}
GEMMA2 = {**OLMO2, "norm1": "input_layernorm", "norm2": "pre_feedforward_layernorm", "heads": []}
GEMMA3 = {**GEMMA2, "heads": OLMO2["heads"]}
PHI3 = {**GLM, "qkv": ["self_attn.qkv_proj"]}
NEOX = {"root": "gpt_neox.", "layer": "layers.%d.", "tokens": "embed_in", "final": "final_layer_norm",
        "norm1": "input_layernorm", "norm2": "post_attention_layernorm", "qkv": ["attention.query_key_value"],
        "project": ["attention.dense"], "up": ["mlp.dense_h_to_4h"], "down": ["mlp.dense_4h_to_h"]}

# name, class, names, settings; groups: (key heads, queries of each, head size) of rows by group
VARIANTS = [
    # RMSNorm, rotations, silu and a gate, grouped heads, nothing with a bias, a head of its own
    ("llama", "Llama", llama_names(), llama(), None),
    # the same with an exact gelu at the gate: GeGLU
    ("geglu", "Llama", llama_names(), llama(hidden_act="gelu"), None),
    # biases of all projections, the gate's too; heads of a size of their own
    ("llama_bias", "Llama", llama_names(), llama(attention_bias=True, mlp_bias=True, head_dim=10), None),
    # biases of q, k, v; every head has its key
    ("qwen", "Qwen2", llama_names(), llama(num_key_value_heads=4), None),
    # another base; tied
    ("qwen2", "Qwen2", llama_names(),
     llama(rope_parameters=rope(1000000.0), tie_word_embeddings=True), None),
    # norms of heads, heads of a size of their own
    ("qwen3", "Qwen3", {**llama_names(), "heads": ["self_attn.q_norm", "self_attn.k_norm"]},
     llama(head_dim=10, tie_word_embeddings=True), None),
    # LayerNorm, ALiBi with six heads (no power of two), a norm of the embedding, all biases
    ("bloom", "Bloom", BLOOM,
     dict(vocab_size=V, n_layer=L, n_head=6, hidden_size=24, layer_norm_epsilon=1e-5,
          use_cache=False, hidden_dropout=0.0, attention_dropout=0.0), (6, 1, 4)),
    # the same with eight heads, a power of two: the slopes' other rule
    ("bloom_even", "Bloom", BLOOM,
     dict(vocab_size=V, n_layer=L, n_head=8, hidden_size=24, layer_norm_epsilon=1e-5,
          use_cache=False, hidden_dropout=0.0, attention_dropout=0.0), (8, 1, 3)),
    # both branches of one norm, half of a head turned, a head with a bias
    ("phi", "Phi", PHI,
     base(hidden_size=24, intermediate_size=48, num_attention_heads=3, layer_norm_eps=1e-5,
          rope_parameters=rope(10000.0, 0.5), hidden_act="gelu_new", resid_pdrop=0.0,
          tie_word_embeddings=False), None),
    # 1 + w, a scaled embedding, a gate with gelu, one key head, large heads
    ("gemma", "Gemma", llama_names(),
     llama(num_attention_heads=3, num_key_value_heads=1, head_dim=10, rms_norm_eps=1e-6,
           hidden_act="gelu_pytorch_tanh", tie_word_embeddings=True), None),
    # both branches of one norm, one key head, biases of norms alone, exact gelu
    ("falcon", "Falcon", FALCON,
     base(hidden_size=24, num_attention_heads=4, multi_query=True, parallel_attn=True, bias=False,
          alibi=False, new_decoder_architecture=False, rope_parameters=rope(10000.0)), (1, 4, 6)),
    # both branches, of a norm each
    ("falcon_two", "Falcon", FALCON_TWO,
     base(hidden_size=24, num_attention_heads=4, num_kv_heads=2, parallel_attn=True, bias=False,
          alibi=False, new_decoder_architecture=True, num_ln_in_parallel_attn=2,
          rope_parameters=rope(10000.0)), (2, 2, 6)),
    # the later Falcon with one norm for both
    ("falcon_one", "Falcon", FALCON,
     base(hidden_size=24, num_attention_heads=4, num_kv_heads=2, parallel_attn=True, bias=False,
          alibi=False, new_decoder_architecture=True, num_ln_in_parallel_attn=1,
          rope_parameters=rope(10000.0)), (2, 2, 6)),
    # the earlier one branch after the other, every head with its key, all biases, a head of its own
    ("falcon_old", "Falcon", FALCON_OLD,
     base(hidden_size=24, num_attention_heads=4, multi_query=False, parallel_attn=False, bias=True,
          alibi=False, new_decoder_architecture=False, tie_word_embeddings=False,
          rope_parameters=rope(10000.0)), (4, 1, 6)),
    # ChatGLM3's function: see above
    ("chatglm", "Glm", GLM,
     llama(attention_bias=True, head_dim=8, rope_parameters=rope(10000.0, 0.5)), None),
    # angles scaled by the wave's length: one pair of five stays, one is between, three are divided
    ("llama3", "Llama", llama_names(),
     llama(head_dim=10, rope_parameters=scaled("llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                               original_max_position_embeddings=64)), None),
    # all angles divided
    ("linear", "Llama", llama_names(), llama(rope_parameters=scaled("linear", factor=2.5)), None),
    # the second layer without rotations
    ("smollm3", "SmolLM3", llama_names(), llama(no_rope_layer_interval=2, tie_word_embeddings=True), None),
    # norms after the branches; of all queries, and all keys, of a token
    ("olmo2", "Olmo2", OLMO2, llama(rms_norm_eps=1e-6), None),
    # norms before and after, of 1 + w; a window in the first layer; caps of scores and of logits; another scale
    ("gemma2", "Gemma2", GEMMA2,
     llama(head_dim=10, rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
           query_pre_attn_scalar=7, sliding_window=4, attn_logit_softcapping=1.5, final_logit_softcapping=2.0), None),
    # norms of heads of 1 + w; two bases, of which the one without a window is scaled
    ("gemma3", "Gemma3Text", GEMMA3,
     llama(head_dim=10, rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
           query_pre_attn_scalar=10, sliding_window=3, layer_types=["sliding_attention", "full_attention"],
           rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                            "full_attention": {"rope_type": "linear", "factor": 2.5, "rope_theta": 50000.0}}), None),
    # a window in all layers
    ("mistral", "Mistral", llama_names(), llama(sliding_window=5), None),
    # q, k, v in one matrix, gate and up in one; half of a head turned
    ("phi3", "Phi3", PHI3,
     llama(head_dim=8, num_attention_heads=3, num_key_value_heads=3, rope_parameters=rope(10000.0, 0.5), resid_pdrop=0.0), None),
    # both branches, of a norm each, all biases, half of a head turned, a head of its own
    ("neox", "GPTNeoX", NEOX,
     base(hidden_size=24, intermediate_size=40, num_attention_heads=3, layer_norm_eps=1e-5, hidden_act="gelu",
          rope_parameters=rope(10000.0, 0.5), hidden_dropout=0.0, attention_dropout=0.0, tie_word_embeddings=False),
     (3, 1, 8)),
]


def places(model, names):
    """[[parameters of theirs]] in our table's order."""
    theirs = dict(model.named_parameters())
    rows = []

    def add(prefix, modules):
        modules = [modules] if isinstance(modules, str) else modules or []
        for kind in (".weight", ".bias"):
            found = [theirs[prefix + m + kind] for m in modules if prefix + m + kind in theirs]
            if found:
                rows.append(found)

    root = names["root"]
    add(root, names["tokens"])
    add(root, names.get("positions"))
    add(root, names.get("embedding_norm"))
    for layer in range(L):
        prefix = root + names["layer"] % layer
        add(prefix, names.get("norm1"))
        add(prefix, names["qkv"])
        for head in names.get("heads", []):
            add(prefix, head)
        for key in ("project", "post1", "norm2", "up", "down", "post2"):
            add(prefix, names.get(key))
    add(root, names["final"])
    if "lm_head.weight" in theirs and theirs["lm_head.weight"] is not rows[0][0]:
        add("", "lm_head")
    assert sum(len(r) for r in rows) == len(theirs), "a parameter has no place"
    return rows


def group_order(groups):
    """Row i of our qkv is row order[i] of a file that has the rows group by group."""
    kv, each, size = groups
    rows = torch.arange(kv * (each + 2) * size).reshape(kv, each + 2, size)
    return torch.cat([rows[:, :each].reshape(-1), rows[:, each].reshape(-1),
                      rows[:, each + 1].reshape(-1)])


def is_grouped(row, groups):
    return groups and len(row) == 1 and row[0].shape[0] == groups[0] * (groups[1] + 2) * groups[2] \
        and getattr(row[0], "is_qkv", False)


def fill(model, names, rows, groups, plus_one):
    for name, p in model.named_parameters():
        p.is_qkv = "query_key_value" in name
        p.is_norm = p.dim() == 1 and ("norm" in name or "ln_" in name) and name.endswith("weight")
    for k, row in enumerate(rows):
        shape = (sum(p.shape[0] for p in row),) + tuple(row[0].shape[1:])
        offset = 1.0 if row[0].is_norm and not plus_one else 0.0
        flat = values(k, int(torch.Size(shape).numel()), 0.8 if len(shape) == 2 else 0.4, offset)
        ours = torch.from_numpy(flat).double().reshape(shape)
        if is_grouped(row, groups):
            ours = ours[torch.argsort(group_order(groups))]
        with torch.no_grad():
            for p, part in zip(row, ours.split([p.shape[0] for p in row])):
                p.copy_(part)


def gradient(row, groups):
    g = torch.cat([p.grad for p in row])
    return (g[group_order(groups)] if is_grouped(row, groups) else g).reshape(-1)


def tokens():
    text = torch.from_numpy((hash32(999, range(B * (T + 1))) % V).astype("int64"))
    text = text.reshape(B, T + 1)
    return text[:, :-1], text[:, 1:]


def number(x):
    return "%.10g" % (round(x, 13) + 0.0)  # + 0.0: no minus zero


def sums(k, g):
    """What is kept of the elements of g (n), which is number k."""
    one, two = (torch.from_numpy(values(at + k, g.numel(), 2.0)).double() for at in (2000, 3000))
    return [x.item() for x in (g.sum(), (g * g).sum(), (g * one).sum(), (g * two).sum(), *g[:8])]


def variant(out, name, kind, names, settings, groups):
    config = getattr(transformers, kind + "Config")(**settings)
    config._attn_implementation = "eager"
    model = getattr(transformers, kind.removesuffix("Text") + "ForCausalLM")(config).double().train()
    rows = places(model, names)
    fill(model, names, rows, groups, kind.startswith("Gemma"))
    inputs, targets = tokens()
    logits = model(inputs).logits
    assert logits.dtype == torch.float64
    loss = F.cross_entropy(logits.reshape(B * T, V), targets.reshape(B * T))
    loss.backward()
    out.record(f"{name}.tensors", [len(rows)], "%d")
    out.record(f"{name}.loss", [loss.item()], number)
    out.record(f"{name}.logits", logits[:, -1].detach().numpy(), number)
    for k, row in enumerate(rows):
        out.record(f"{name}.grad.{k}", sums(k, gradient(row, groups)), number)


def main():
    torch.set_num_threads(1)
    versions = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"
    out = Writer("families.txt", versions + ", float64")
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    out.record("shape", [T, B, V], "%d")
    for row in VARIANTS:
        variant(out, *row)
    out.close()


if __name__ == "__main__":
    main()

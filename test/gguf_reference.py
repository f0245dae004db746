#!/usr/bin/env python3
"""gguf_reference.py BUILD - ./export --to gguf against an independent reading of the file, with no more than
Python's standard library: for a small model of each architecture, every tensor beside model.safetensors
(rearranged here by the format's own words), each way of storing numbers, the vocabulary beside merges.txt.

Prints lines "ok ...", "not ok ...".
"""
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

BUILD = sys.argv[1] if len(sys.argv) > 1 else ''
VOCAB = 304 # more than the tokenizer has: the rest is padding
bad = 0


def report(name, fine, why=''):
    global bad
    bad += not fine
    print(f'ok gguf {name}' if fine else f'not ok gguf {name}: {why}')


# ---- the two formats ----

class Reader:
    """A GGUF file, version 3: .values, .tensors {name: (dimensions, type, offset)}, .data"""
    SCALARS = {0: 'B', 1: 'b', 2: 'H', 3: 'h', 4: 'I', 5: 'i', 6: 'f', 7: '?', 10: 'Q', 11: 'q', 12: 'd'}

    def __init__(self, path):
        with open(path, 'rb') as f:
            self.bytes = f.read()
        self.at = 4
        assert self.bytes[:4] == b'GGUF' and self.take('I') == 3
        n_tensors, n_values = self.take('Q'), self.take('Q')
        self.values, self.tensors = {}, {}
        for _ in range(n_values):
            key = self.text()
            self.values[key] = self.value(self.take('I'))
        for _ in range(n_tensors):
            name = self.text()
            dims = [self.take('Q') for _ in range(self.take('I'))]
            self.tensors[name] = (dims, self.take('I'), self.take('Q'))
        self.data = -(-self.at // 32) * 32

    def take(self, form):
        value, = struct.unpack_from('<' + form, self.bytes, self.at)
        self.at += struct.calcsize('<' + form)
        return value

    def text(self):
        n = self.take('Q')
        self.at += n
        return self.bytes[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, n = self.take('I'), self.take('Q')
            return [self.value(inner) for _ in range(n)]
        return self.take(self.SCALARS[kind])

    def numbers(self, name):
        """A tensor's numbers; q8_0 as (scale, [32 integers]) blocks."""
        dims, kind, offset = self.tensors[name]
        n, at = math.prod(dims), self.data + offset
        assert offset % 32 == 0
        if kind == 8:
            blocks = [struct.unpack_from('<e32b', self.bytes, at + 34 * i) for i in range(n // 32)]
            return [b[0] * q for b in blocks for q in b[1:]]
        if kind == 30:
            halves = struct.unpack_from(f'<{n}H', self.bytes, at)
            return list(struct.unpack(f'<{n}f', struct.pack(f'<{n}I', *[h << 16 for h in halves])))
        return list(struct.unpack_from(f'<{n}{"f" if kind == 0 else "e"}', self.bytes, at))


def safetensors(path):
    """{name: (shape, numbers)} of an F32 file."""
    with open(path, 'rb') as f:
        n, = struct.unpack('<Q', f.read(8))
        head, data = json.loads(f.read(n)), f.read()
    found = {}
    for name, entry in head.items():
        if name != '__metadata__':
            a, b = entry['data_offsets']
            found[name] = (entry['shape'], struct.unpack(f'<{(b - a) // 4}f', data[a:b]))
    return found


# ---- what each architecture's tensors are, by llama.cpp's and Hugging Face's names ----

def transposed(shape, x):
    rows, cols = shape
    return [x[i * cols + j] for j in range(cols) for i in range(rows)]


def in_pairs(x, heads, cols):
    """Rows of each head: halves [0, D/2) and [D/2, D) in turn."""
    rows = [x[i * cols:(i + 1) * cols] for i in range(len(x) // cols)]
    size = len(rows) // heads
    order = [h * size + half * (size // 2) + i for h in range(heads) for i in range(size // 2) for half in (0, 1)]
    return [v for i in order for v in rows[i]]


def by_group(shape, x, heads, kv):
    """Rows group by group (queries of a key head, its key, its value) to all q, all k, all v."""
    cols = math.prod(shape[1:])
    rows = [x[i * cols:(i + 1) * cols] for i in range(shape[0])]
    size, per = len(rows) // (heads + 2 * kv), heads // kv
    q, k, v = [], [], []
    for g in range(kv):
        group = rows[g * (per + 2) * size:(g + 1) * (per + 2) * size]
        q += group[:per * size]
        k += group[per * size:(per + 1) * size]
        v += group[(per + 1) * size:]
    return [value for row in q + k + v for value in row]


LLAMA = {'token_embd': 'model.embed_tokens', 'output_norm': 'model.norm', 'output': 'lm_head',
         'attn_norm': 'model.layers.{}.input_layernorm', 'attn_q': 'model.layers.{}.self_attn.q_proj',
         'attn_k': 'model.layers.{}.self_attn.k_proj', 'attn_v': 'model.layers.{}.self_attn.v_proj',
         'attn_output': 'model.layers.{}.self_attn.o_proj', 'ffn_norm': 'model.layers.{}.post_attention_layernorm',
         'ffn_gate': 'model.layers.{}.mlp.gate_proj', 'ffn_up': 'model.layers.{}.mlp.up_proj',
         'ffn_down': 'model.layers.{}.mlp.down_proj', 'attn_q_norm': 'model.layers.{}.self_attn.q_norm',
         'attn_k_norm': 'model.layers.{}.self_attn.k_norm'}
GPT2 = {'token_embd': 'wte', 'position_embd': 'wpe', 'output_norm': 'ln_f', 'attn_norm': 'h.{}.ln_1',
        'attn_qkv': 'h.{}.attn.c_attn', 'attn_output': 'h.{}.attn.c_proj', 'ffn_norm': 'h.{}.ln_2',
        'ffn_up': 'h.{}.mlp.c_fc', 'ffn_down': 'h.{}.mlp.c_proj'}
POST = {**LLAMA, 'post_attention_norm': 'model.layers.{}.post_attention_layernorm',
        'post_ffw_norm': 'model.layers.{}.post_feedforward_layernorm'}
SANDWICH = {**POST, 'ffn_norm': 'model.layers.{}.pre_feedforward_layernorm'}
PHI = {**LLAMA, 'output_norm': 'model.final_layernorm', 'attn_output': 'model.layers.{}.self_attn.dense',
       'ffn_up': 'model.layers.{}.mlp.fc1', 'ffn_down': 'model.layers.{}.mlp.fc2'}
BLOOM = {'token_embd': 'transformer.word_embeddings', 'token_embd_norm': 'transformer.word_embeddings_layernorm',
         'output_norm': 'transformer.ln_f', 'attn_norm': 'transformer.h.{}.input_layernorm',
         'attn_qkv': 'transformer.h.{}.self_attention.query_key_value',
         'attn_output': 'transformer.h.{}.self_attention.dense', 'ffn_norm': 'transformer.h.{}.post_attention_layernorm',
         'ffn_up': 'transformer.h.{}.mlp.dense_h_to_4h', 'ffn_down': 'transformer.h.{}.mlp.dense_4h_to_h'}
NAMES = {'gpt2': GPT2, 'llama': LLAMA, 'qwen2': LLAMA, 'qwen3': LLAMA, 'gemma': LLAMA, 'phi2': PHI, 'bloom': BLOOM,
         'falcon': BLOOM, 'olmo2': POST,
         'gemma2': SANDWICH, 'gemma3': SANDWICH}
MODELS = {'gpt-nano': 'gpt2', 'llama-nano': 'llama', 'llama3-nano': 'llama', 'qwen2.5-nano': 'qwen2', 'qwen3-nano': 'qwen3', 'gemma-nano': 'gemma',
          'phi-nano': 'phi2', 'bloom-nano': 'bloom', 'falcon-nano': 'falcon', 'olmo2-nano': 'olmo2',
          'gemma2-nano': 'gemma2', 'gemma3-nano': 'gemma3'}


def frequencies(base, size, factor=8, low=1, high=4, context=8192):
    """What llama.cpp divides each frequency by: llama3-nano's scaling, as transformers writes it."""
    found = []
    for i in range(size // 2):
        wave = 2 * math.pi * base ** (2 * i / size)
        smooth = (context / wave - low) / (high - low)
        part = 1 if wave < context / high else factor if wave > context / low else 1 / ((1 - smooth) / factor + smooth)
        found.append(struct.unpack('<f', struct.pack('<f', part))[0])
    return found


def expected(arch, name, source, values):
    """The numbers of one tensor, from the safetensors file."""
    if name == 'rope_freqs.weight':
        return frequencies(values['llama.rope.freq_base'], values['llama.rope.dimension_count'])
    heads, kv = values[f'{arch}.attention.head_count'], values[f'{arch}.attention.head_count_kv']
    parts = name.split('.')
    stem, suffix = parts[-2], parts[-1]
    theirs = NAMES[arch][stem].format(parts[1] if parts[0] == 'blk' else '')
    shape, x = source[f'{theirs}.{suffix}']
    if arch == 'gpt2' and len(shape) == 2 and parts[0] == 'blk':
        return transposed(shape, x)
    if arch in ('bloom', 'falcon') and stem == 'attn_qkv':
        return by_group(shape, x, heads, kv)
    if arch == 'llama' and stem in ('attn_q', 'attn_k'):
        return in_pairs(list(x), heads if stem == 'attn_q' else kv, math.prod(shape[1:]))
    if arch in ('gemma', 'gemma2', 'gemma3') and stem.endswith('norm'):
        return [struct.unpack('<f', struct.pack('<f', v + 1.0))[0] for v in x]
    return list(x)


# ---- the checks ----

def run(*words):
    return subprocess.run(words, capture_output=True, text=True)


def train(work, model):
    out = os.path.join(work, model)
    run(f'{BUILD}/train_gpt', '--model', model, '--vocab', str(VOCAB), '--train-data', f'{work}/t_train.bin', '--steps', '2',
        '--batch', '1', '--seq', '16', '--eval-every', '0', '--threads', '1', '--device', 'cpu', '--lr', '1e-2', '--out', out)
    return out


def export(work, directory, kind, *more):
    path = f'{directory}.{kind}.gguf'
    done = run(f'{BUILD}/export', '--to', 'gguf', '--type', kind, *more, directory, path)
    return path, done


def check_model(work, model, arch):
    directory = train(work, model)
    path, done = export(work, directory, 'f32')
    if done.returncode:
        report(model, False, done.stderr.strip())
        return
    reader, source = Reader(path), safetensors(f'{directory}/model.safetensors')
    wrong = [n for n in reader.tensors if reader.numbers(n) != expected(arch, n, source, reader.values)]
    report(f'{model}: {len(reader.tensors)} tensors', not wrong and reader.values['general.architecture'] == arch, f'{wrong}')
    scaled = 'rope_freqs.weight' in reader.tensors
    report(f'{model}: scaled rotations', scaled == (model == 'llama3-nano'))
    total = sum(math.prod(d) for n, (d, _, _) in reader.tensors.items() if n != 'rope_freqs.weight')
    parts = sum(math.prod(s) for s, _ in source.values())
    report(f'{model}: nothing is missing', total == parts, f'{total} numbers of {parts}')


def check_types(work):
    directory = os.path.join(work, 'llama-nano')
    exact = Reader(f'{directory}.f32.gguf')
    names = [n for n, (dims, _, _) in exact.tensors.items() if len(dims) == 2]
    for kind, number in (('f16', 1), ('bf16', 30), ('q8_0', 8)):
        stored = Reader(export(work, directory, kind)[0])
        wrong = 0
        for name in names:
            x = exact.numbers(name)
            if kind == 'q8_0' and stored.tensors[name][0][0] % 32:
                wrong += stored.tensors[name][1] != 1
            elif stored.tensors[name][1] != number:
                wrong += 1
            elif kind == 'f16':
                wrong += stored.numbers(name) != list(struct.unpack(f'<{len(x)}e', struct.pack(f'<{len(x)}e', *x)))
            elif kind == 'bf16':
                wrong += any(abs(a - b) > abs(a) / 256 for a, b in zip(x, stored.numbers(name)))
            else:
                y = stored.numbers(name)
                for i in range(0, len(x), 32):
                    scale = max(map(abs, x[i:i + 32])) / 127
                    wrong += any(abs(a - b) > 0.51 * scale + 127 * scale / 2048 for a, b in zip(x[i:i + 32], y[i:i + 32]))
        vectors = all(stored.tensors[n][1] == 0 for n in stored.tensors if n not in names)
        report(f'matrices in {kind}, vectors in f32', not wrong and vectors, f'{wrong} tensors')


def check_vocabulary(work):
    directory = os.path.join(work, 'gpt-nano')
    run(f'{BUILD}/export', '--to', 'hf', directory, f'{work}/hf')
    values = Reader(f'{directory}.f32.gguf').values
    with open(f'{work}/hf/vocab.json', encoding='utf-8') as f:
        vocab = json.load(f)
    with open(f'{work}/hf/merges.txt', encoding='utf-8') as f:
        merges = f.read().splitlines()[1:]
    tokens = values['tokenizer.ggml.tokens']
    report('tokens are those of vocab.json', all(tokens[i] == t for t, i in vocab.items()) and len(tokens) == VOCAB)
    report('merges are those of merges.txt', values['tokenizer.ggml.merges'] == merges)
    report('no chat template where there is none', 'tokenizer.chat_template' not in values)
    template = '{% for m in messages %}{{ m.content }}\u00e4{{ eos_token }}{% endfor %}'
    for file, text in (('chat_template.jinja', template), ('tokenizer_config.json', json.dumps({'chat_template': template + '!'}))):
        with open(f'{directory}/{file}', 'w', encoding='utf-8') as f:
            f.write(text)
        path, done = export(work, directory, 'q8_0')
        got = Reader(path).values.get('tokenizer.chat_template')
        report(f'the chat template of {file}', got == template + ('!' if 'json' in file else ''), done.stderr.strip())
        os.remove(f'{directory}/{file}')
        os.remove(path)
    end = vocab['<|endoftext|>']
    report('the end of a text', values['tokenizer.ggml.eos_token_id'] == end and values['tokenizer.ggml.token_type'][end] == 3)


def check_windows(work, refuses):
    """A window shorter than the context is refused; a longer one changes nothing, and stays in config.json."""
    directory = os.path.join(work, 'llama-nano')
    with open(f'{directory}/config.json', encoding='utf-8') as f:
        config = {k: v for k, v in json.load(f).items() if not k.endswith('_bias')}
    context = config['max_position_embeddings']
    for window in (context - 1, context, 4 * context):
        with open(f'{directory}/config.json', 'w', encoding='utf-8') as f:
            json.dump({**config, 'model_type': 'mistral', 'sliding_window': window}, f)
        if window < context:
            refuses('attention in windows', 'attention in windows', f'{BUILD}/export', '--to', 'gguf', directory, f'{work}/x')
            continue
        os.remove(f'{directory}.f16.gguf')
        path, done = export(work, directory, 'f16')
        report(f'a window of {window} of {context} tokens is none',
               not done.returncode and 'llama.attention.sliding_window' not in Reader(path).values, done.stderr.strip())
        done = run(f'{BUILD}/export', '--to', 'hf', directory, f'{work}/hf-{window}')
        with open(f'{work}/hf-{window}/config.json', encoding='utf-8') as f:
            back = json.load(f)
        report(f'a window of {window} stays in config.json', (back['model_type'], back['sliding_window']) == ('mistral', window), f'{back}')


def check_refusals(work):
    def refuses(name, words, *command):
        done = run(*command)
        report(name, done.returncode == 1 and done.stderr.count('\n') == 1 and words in done.stderr, done.stderr.strip())
    directory = os.path.join(work, 'gpt-nano')
    refuses('what is there is not written over', 'already', f'{BUILD}/export', '--to', 'gguf', directory, f'{directory}.f32.gguf')
    refuses('a type that is none', 'q8_0', f'{BUILD}/export', '--to', 'gguf', '--type', 'q4', directory, f'{work}/x')
    refuses('a type for another form', '--to gguf', f'{BUILD}/export', '--type', 'f16', directory, f'{work}/x')
    os.rename(f'{directory}/tokenizer.vocab', f'{work}/away')
    refuses('no tokenizer', '--vocab', f'{BUILD}/export', '--to', 'gguf', directory, f'{work}/x')
    smollm3 = train(work, 'smollm3-nano')
    refuses('layers without rotations', 'smollm3', f'{BUILD}/export', '--to', 'gguf', smollm3, f'{work}/x')
    gemma2 = os.path.join(work, 'gemma2-nano')
    with open(f'{gemma2}/config.json', encoding='utf-8') as f:
        config = json.load(f)
    for cap in ('attn_logit_softcapping', 'final_logit_softcapping'):
        with open(f'{gemma2}/config.json', 'w', encoding='utf-8') as f:
            json.dump({**config, cap: None}, f)
        refuses(f'{cap} null, where llama.cpp caps', 'always caps', f'{BUILD}/export', '--to', 'gguf', gemma2, f'{work}/x')
    check_windows(work, refuses)
    chatglm = train(work, 'chatglm-nano')
    refuses('a family that llama.cpp has otherwise', 'chatglm', f'{BUILD}/export', '--to', 'gguf', chatglm, f'{work}/x')


def main():
    with tempfile.TemporaryDirectory() as work:
        with open(f'{work}/text', 'w', encoding='utf-8') as f:
            f.write(''.join(f'{i * i % 97} in the beginning was {i} wordEND' for i in range(3000)))
        run(f'{BUILD}/tokenize', '--vocab', 'bpe:300', '-o', f'{work}/t', '--separator', 'END', f'{work}/text')
        for model, arch in MODELS.items():
            check_model(work, model, arch)
        check_types(work)
        check_vocabulary(work)
        check_refusals(work)
    sys.exit(bad > 0)


if __name__ == '__main__':
    main()

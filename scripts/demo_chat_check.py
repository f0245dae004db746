#!/usr/bin/env python3
"""demo_chat_check.py DIR NAME - other programs read the exports of scripts/demo-chat: DIR/NAME-hf and DIR/NAME.gguf.

The weights in both are compared with Python's standard library alone.  transformers, and llama.cpp through
llama-cpp-python or xllamacpp, each if installed, answer DIR/asked.jsonl; the answers must equal DIR/NAME.answers.  Status 1 if not.
"""
import array
import importlib.util
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'test'))
sys.dont_write_bytecode = True
from gguf_reference import Reader  # noqa: E402

DIR, NAME = sys.argv[1:]
MOST = 8 # tokens of an answer
bad = 0


def report(what, fine):
    global bad
    bad += not fine
    print(f"{NAME}, {what}: {'the same' if fine else 'NOT the same'}", flush=True)


def safetensors(path):
    with open(path, 'rb') as f:
        n, = struct.unpack('<Q', f.read(8))
        header, data = json.loads(f.read(n)), f.read()
    for name, about in header.items():
        if name != '__metadata__':
            begin, end = about['data_offsets']
            yield name, about['shape'], array.array('f', data[begin:end])


def interleaved(values, shape, heads):
    """Rows of a matrix of queries or keys, as llama.cpp's rotation wants them: (half, i) becomes (i, half)."""
    cols, size = shape[1], shape[0] // heads
    rows = [values[r * cols:(r + 1) * cols] for r in range(shape[0])]
    out = array.array('f')
    for h in range(heads):
        for i in range(size):
            out.extend(rows[h * size + i // 2 + i % 2 * (size // 2)])
    return out


def check_numbers():
    names = {'model.embed_tokens.weight': 'token_embd.weight', 'model.norm.weight': 'output_norm.weight',
             'lm_head.weight': 'output.weight'}
    parts = {'self_attn.q_proj': 'attn_q', 'self_attn.k_proj': 'attn_k', 'self_attn.v_proj': 'attn_v',
             'self_attn.o_proj': 'attn_output', 'mlp.gate_proj': 'ffn_gate', 'mlp.up_proj': 'ffn_up',
             'mlp.down_proj': 'ffn_down', 'input_layernorm': 'attn_norm', 'post_attention_layernorm': 'ffn_norm'}
    with open(f'{DIR}/{NAME}-hf/config.json', encoding='utf-8') as f:
        config = json.load(f)
    gguf, seen = Reader(f'{DIR}/{NAME}.gguf'), 0
    same = True
    for name, shape, values in safetensors(f'{DIR}/{NAME}-hf/model.safetensors'):
        if name not in names:
            _, _, layer, part = name.split('.', 3)
            names[name] = f"blk.{layer}.{parts[part.removesuffix('.weight')]}.weight"
        if 'q_proj' in name or 'k_proj' in name:
            values = interleaved(values, shape, config['num_attention_heads' if 'q_proj' in name else 'num_key_value_heads'])
        same = same and list(values) == gguf.numbers(names[name])
        seen += 1
    report("every number in GGUF and Hugging Face's file", same and seen == len(gguf.tensors))


def read_questions():
    with open(f'{DIR}/asked.jsonl', encoding='utf-8') as f:
        questions = [json.loads(line)['prompt'] for line in f]
    with open(f'{DIR}/{NAME}.answers', encoding='utf-8') as f:
        return questions, f.read().splitlines()


def llama_cpp(chats):
    from llama_cpp import Llama
    model = Llama(f'{DIR}/{NAME}.gguf', n_ctx=64, n_threads=2, verbose=False)
    return [model.create_chat_completion(chat, max_tokens=MOST, temperature=0)['choices'][0]['message']['content'] for chat in chats]


def xllamacpp(chats):
    import xllamacpp
    how = xllamacpp.CommonParams()
    how.model.path, how.n_ctx, how.n_parallel, how.cpuparams.n_threads = f'{DIR}/{NAME}.gguf', 64, 1, 1
    server = xllamacpp.Server(how)
    asked = [server.handle_chat_completions({'messages': chat, 'temperature': 0, 'max_tokens': MOST}) for chat in chats]
    return [a['choices'][0]['message']['content'] for a in asked]


def main():
    check_numbers()
    questions, answers = read_questions()
    chats = [[{'role': 'user', 'content': q}] for q in questions]
    have = {m: importlib.util.find_spec(m) for m in ('torch', 'transformers', 'llama_cpp', 'xllamacpp')}
    if have['torch'] and have['transformers']:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        torch.set_num_threads(2)
        tokenizer = AutoTokenizer.from_pretrained(f'{DIR}/{NAME}-hf')
        model = AutoModelForCausalLM.from_pretrained(f'{DIR}/{NAME}-hf')
        got = []
        for chat in chats:
            ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors='pt', return_dict=True)
            made = model.generate(**ids, max_new_tokens=MOST, do_sample=False)
            got.append(tokenizer.decode(made[0][ids['input_ids'].shape[1]:], skip_special_tokens=True))
        report("answers of transformers", got == answers)
    else:
        print(f'{NAME}, answers of transformers: skipped, {sys.executable} does not have it', flush=True)
    if have['llama_cpp'] or have['xllamacpp']:
        report('answers of llama.cpp', (llama_cpp if have['llama_cpp'] else xllamacpp)(chats) == answers)
    else:
        print(f'{NAME}, answers of llama.cpp: skipped, {sys.executable} has neither llama-cpp-python nor xllamacpp', flush=True)
    sys.exit(bad > 0)


main()

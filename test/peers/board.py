#!/usr/bin/env python3
"""board.py TRAIN_GPT TOKENIZE: what a run writes for TensorBoard, read by its own library: the numbers of log.jsonl, each
step once, after a resume, too."""
import json
import os
import subprocess
import sys
import tempfile
import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def train(program, *words):
    subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL)


def main():
    program, tokenize = (os.path.abspath(p) for p in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        with open('x.txt', 'w', encoding='utf-8') as f:
            f.write('In the beginning was a text of some length. ' * 60)
        subprocess.run([tokenize, '--vocab', 'bytes', '-o', 'x', 'x.txt'], check=True, stdout=subprocess.DEVNULL)
        train(program, '--layers', '1', '--width', '8', '--heads', '2', '--context', '16', '--batch', '2', '--device', 'cpu',
              '--train-data', 'x_train.bin', '--val-data', 'x_val.bin', '--steps', '6', '--eval-every', '2',
              '--checkpoint-every', '3', '--out', 'run', '--tensorboard', 'board')
        subprocess.run(['rm', '-r', 'run/step_00000006'], check=True)
        time.sleep(1.1)  # files are named by the second
        train(program, '--resume', 'auto', '--out', 'run', '--steps', '7')
        with open('run/log.jsonl', encoding='utf-8') as f:
            lines = [json.loads(line) for line in f]
        board = EventAccumulator('board')
        board.Reload()
        bad = 0
        for tag, name in (('loss/train', 'loss'), ('loss/validation', 'val_loss'), ('optimizer/lr', 'lr'),
                          ('optimizer/grad_norm', 'grad_norm')):
            got = [(e.step, e.value) for e in board.Scalars(tag)]
            want = [(line['step'], line[name]) for line in lines if name in line]
            same = len(got) == len(want) and all(a[0] == b[0] and abs(a[1] - b[1]) < 1e-6 * (1 + abs(b[1]))
                                                 for a, b in zip(got, want))
            print(f'{"ok" if same else "not ok"} tensorboard {tag}: {len(got)} steps')
            bad |= not same
        for tag in ('speed/tokens_per_s', 'memory/planned_mib', 'memory/process_mib'):
            steps = [e.step for e in board.Scalars(tag)]
            print(f'{"ok" if steps == list(range(1, 8)) else "not ok"} tensorboard {tag}')
            bad |= steps != list(range(1, 8))
        os.chdir('/')
    return bad


sys.exit(main())

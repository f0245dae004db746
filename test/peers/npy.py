#!/usr/bin/env python3
"""npy.py TRAIN_GPT: arrays that NumPy saves, and raw ids, are the same data as a shard: the same losses."""
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy


def losses(program, word):
    subprocess.run([program, '--layers', '1', '--width', '8', '--heads', '2', '--context', '16', '--vocab', '300', '--batch', '2',
                    '--device', 'cpu', '--steps', '4', '--eval-every', '0', '--out', 'run', '--train-data', word],
                   check=True, stdout=subprocess.DEVNULL)
    with open('run/log.jsonl', encoding='utf-8') as f:
        return [json.loads(line).get('loss') for line in f]


def main():
    program = os.path.abspath(sys.argv[1])
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        ids = numpy.random.default_rng(1).integers(0, 300, 2000)
        with open('x.bin', 'wb') as f:
            f.write(struct.pack('<3i', 20240520, 1, len(ids)) + bytes(1012) + ids.astype('<u2').tobytes())
        want = losses(program, 'x.bin')
        ids.astype('<u2').tofile('raw.bin')
        words = ['raw16:raw.bin']
        for kind in ('u2', 'u4', 'i2', 'i4', 'i8', 'u8'):
            numpy.save(kind + '.npy', ids.astype(kind))
            words.append(kind + '.npy')
        with open('v3.npy', 'wb') as f:
            numpy.lib.format.write_array(f, ids.astype('u2'), version=(3, 0))
        for word in [*words, 'v3.npy']:
            same = losses(program, word) == want
            print(f'{"ok" if same else "not ok"} numpy {numpy.__version__} {word}')
            bad |= not same
        os.chdir('/')
    return bad


sys.exit(main())

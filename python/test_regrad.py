"""test_regrad.py - the Python module: test_regrad.py PREFIX LOSS, where LOSS is train_gpt's after step 50 of
the options of lib/example.c.  Prints lines "ok ...", "not ok ..."; run by test/test_libregrad.sh.
"""
import json
import math
import os
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import regrad

bad = 0


def check(name, fine, why=''):
    global bad
    bad += not fine
    print(f'ok python: {name}' if fine else f'not ok python: {name}: {why}')


def program(name, kind_options, *more):
    """What a program beside the library prints."""
    words = [f'--{key.replace("_", "-")}={value}' for key, value in kind_options.items()]
    path = os.path.join(os.path.dirname(os.environ['REGRAD_LIBRARY']), '..', 'bin', name)
    return subprocess.run([path, *words, *more], check=True, stdout=subprocess.PIPE).stdout


def images(n):
    """n images of 4 x 4 in three classes, as MNIST's files: the name of theirs."""
    with open('x-images-idx3-ubyte', 'wb') as f:
        f.write(struct.pack('>4i', 0x803, n, 4, 4) + bytes(i * 37 % 256 for i in range(16 * n)))
    with open('x-labels-idx1-ubyte', 'wb') as f:
        f.write(struct.pack('>2i', 0x801, n) + bytes(i % 3 for i in range(n)))
    return 'x-images-idx3-ubyte'


def refuses(name, words, call):
    try:
        call()
        check(name, False, 'no error')
    except regrad.Error as e:
        check(name, words in str(e) and '\n' not in str(e), str(e))


prefix, loss = sys.argv[1], float(sys.argv[2])
options = {'model': 'gpt-nano', 'vocab': 1024, 'optim': 'adamw_r', 'train_data': f'{prefix}_train.bin'}

plan = regrad.plan('gpt', **options)
check('a plan is a dict', plan['peak_bytes'] > 0 and plan['parameters'] == 169728, str(plan)[:200])
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'VERSION'), encoding='utf-8') as f:
    check('the version', regrad.version() == f.read().strip(), regrad.version())
log = regrad.train(steps=50, eval_every=0, out='python-out', **options)
check('the losses of train_gpt', f'{log[-1]["loss"]:.9g}' == f'{loss:.9g}', f'{log[-1]} {loss}')
check('a line a step', [e['step'] for e in log] == list(range(1, 51)))
with open('python-out/model.safetensors', 'rb') as a, open('run/model.safetensors', 'rb') as b:
    check('and its bits', a.read() == b.read())
with regrad.Run('gpt', val_data=[f'{prefix}_val.bin'], eval_batches=2, **options) as run:
    check('planned bytes are the plan\'s', run.planned_bytes == regrad.plan('gpt', val_data=f'{prefix}_val.bin', eval_batches=2,
                                                                            **options)['peak_bytes'], str(run.planned_bytes))
    check('an evaluation', math.isfinite(run.evaluate()['val_loss']))
    check('two runs at once', regrad.Run('gpt', **options).step()['loss'] == run.step()['loss'])
# on a GPU in bf16 --attention auto has a choice
for more in {}, {'device': 'cuda', 'dtype': 'bf16'}:
    check(f'the plan of train_gpt {more}', json.loads(program('train_gpt', {**options, **more}, '--plan', '--json'))
          == regrad.plan('gpt', **options, **more))
rooms = [regrad.plan('gpt', **options, device='cuda', dtype='bf16', attention=a)['most_by_kind']['workspace']
         for a in ('auto', 'cudnn', 'flash')]
check('which is not always flash', rooms[0] == rooms[1] != rooms[2], str(rooms))
vit = {'image_size': '4x4', 'channels': 1, 'patch': 2, 'classes': 3, 'layers': 1, 'heads': 1, 'width': 8, 'inner': 8, 'batch': 4,
       'train_data': images(12), 'eval_every': 0, 'steps': 3, 'device': 'cpu'}
for more in {}, {'ema': 0.5}:
    program('train_vit', {**vit, **more}, '--out', 'vit-run')
    with regrad.Run('vit', **vit, **more) as run:
        for step in range(3):
            run.save('vit-out')  # which changes nothing
            run.step()
        run.save('vit-out')
    for file in 'model.safetensors', 'config.json':
        with open(f'vit-out/{file}', 'rb') as a, open(f'vit-run/{file}', 'rb') as b:
            check(f'a trained ViT {more}: {file}', a.read() == b.read())
refuses('a closed run', 'closed', run.step)
with regrad.Run('gpt', load='python-out', train_data=f'{prefix}_train.bin', lr=1e-9) as run:
    check('loaded weights count', run.step()['loss'] < log[0]['loss'] - 0.5)
refuses('an option that is none', '--optin', lambda: regrad.plan('gpt', optin='adamw'))
refuses('an optimizer that is none', 'adamv', lambda: regrad.plan('gpt', optim='adamv'))
refuses('no data', '--train-data', lambda: regrad.Run('gpt', model='gpt-nano'))
refuses('a file that is not there', 'none.bin', lambda: regrad.Run('gpt', train_data='none.bin'))
refuses('what would end the process', '--help', lambda: regrad.plan('gpt', help=True))
refuses('another kind', 'gpt', lambda: regrad.plan('bert'))
sys.exit(bad > 0)

#!/usr/bin/env python3
"""words.py - what people read of this project, and the idioms that an English reader stumbles over.

    test/words.py PROGRAMS          status 1 where one of the worst is used (test/language.sh)
    test/words.py --all PROGRAMS    the clumsy ones, too
    test/words.py PAGE.md ...       only these pages

Read are the pages (*.md), what the programs in PROGRAMS print with --help, strings of sources (messages),
the comments of headers, those at the head of other sources, and scripts.
"""
import os
import re
import subprocess
import sys

# idiom (a regular expression, whole words) -> what to say instead
WORST = {
    r'behind': 'after, beside, or name what it does',
    r'anew|afresh': 'again',
    r'(?:is|are|was|were|be|been) told|told apart': 'reported, warned about, printed; distinguished',
    r'go(?:es)? on': 'continue',
    r'dealt|deals?': 'distribute',
    r'to be (?:had|seen|said|learnt)': 'available, visible, to say, to learn',
    r'(?:is|are) heard': 'read, applied',
    r'(?:do(?:es)? not|cannot|must) go with': 'conflict with, cannot be combined with',
    r'(?<!run )makes? again|made again': 'recompute, rebuild, create again',
    r'handed out|hands out': 'allocated',
    r'at hand': 'available',
    r'is there (?:already|twice)': 'already exists, appears twice',
    r'(?:is|are) not (?:known|rendered) here': 'is not supported',
    r'with commas between': 'separated by commas',
    r'(?:is|are) refused by name': 'refused, with a message that names it',
    r'whole checkpoints?': 'complete checkpoint',
    r'fits? into no': 'is too large for any',
    r'gives? way': 'is removed to make room, yields',
    r'whereby|thereof|whereof|wherefore|hereby|thereto': 'by which, of it',
    r'for ever': 'forever',
    r'passed over': 'skipped, ignored',
    r'(?:NULL|it) is fine': 'NULL is ignored',
    r'wholly or not at all': 'complete or not at all',
    r'(?:gives?|given) back': 'free, return',
    r'puts? out': 'output, compute',
    r'made ready|makes? ready': 'prepare, build',
    r'in vain': 'without effect',
    r'at the (?:least|most)': 'at least, at most',
    r'(?:has|have) it (?:a|an|the|to)': 'does it have',
    r'once in the record': 'while recording',
    r'by way of': 'through, by',
    r'under another than|another than': 'other than, different from',
    r'without a word': 'silently',
    r'in few words': 'briefly',
    r'in other sizes than|than usual': 'another size than, unusually',
}
# good to avoid, too, and common: these are shown with --all
CLUMSY = {
    r'lies?': 'is, are, is stored',
    r'takes? in': 'accumulate, include',
    r'what of': 'which part of',
    r'so many': 'that many',
    r'besides[.,;)]': 'also, too',
    r'(?:which|that) (?:it|they|the model|nobody) (?:has|have) not': 'does not have',
    r'(?<!there )(?<!here )(?:is|are) no(?! longer| more| less| such| better| worse| other| faster| slower| larger)':
        'is not a',
}


def lines_of(path):
    with open(path, encoding='utf-8') as f:
        return f.read().split('\n')


def prose(path):
    """(line number, text) of a page, without code; a code span may go over the end of a line."""
    fenced = inside = False
    for n, line in enumerate(lines_of(path), 1):
        if line.startswith('```'):
            fenced = not fenced
        elif fenced or line.startswith('    '):
            continue
        inside = inside and bool(line.strip())
        text = ''
        for part in re.split('(`)', line):
            if part == '`':
                inside = not inside
            elif not inside:
                text += part + '`'
        yield n, text


def comments(path):
    """Of C: what stands in comments."""
    inside = False
    for n, line in enumerate(lines_of(path), 1):
        text = ''
        for part in re.split(r'(/\*|\*/)', line):
            if part in ('/*', '*/'):
                inside = part == '/*'
            elif inside:
                text += part
        yield n, text


def essay(path):
    """Of C: the comment at the head of a file."""
    for n, text in comments(path):
        if n > 1 and not text:
            return
        yield n, text


def strings(path):
    """Of C: what stands in quotes and has a space in it."""
    for n, line in enumerate(lines_of(path), 1):
        if not line.startswith('#include'):
            yield n, ' '.join(s for s in re.findall(r'"((?:[^"\\]|\\.)*)"', line) if ' ' in s)


def script(path):
    """Of a script: all of it."""
    for n, line in enumerate(lines_of(path), 1):
        yield n, line


def texts(programs):
    files = subprocess.run(['git', 'ls-files'], capture_output=True, text=True, check=True).stdout.split()
    for path in files:
        if path.startswith(('test/', 'findings/')) or not os.path.isfile(path):
            continue
        if path.endswith('.md'):
            yield from ((f'{path}:{n}', text) for n, text in prose(path))
        elif path.endswith(('.h', '.cuh', '.def')):
            yield from ((f'{path}:{n}', text) for n, text in comments(path))
        elif path.endswith(('.c', '.cu', '.cpp')):
            yield from ((f'{path}:{n}', text) for n, text in strings(path))
            yield from ((f'{path}:{n}', text) for n, text in essay(path))
        elif path.startswith(('scripts/', 'python/')) or path in ('Makefile', 'Dockerfile') or path.endswith('.yml'):
            yield from ((f'{path}:{n}', text) for n, text in script(path))
    for name in ('train_gpt', 'train_vit', 'tokenize', 'generate', 'export', 'predict'):
        told = subprocess.run([os.path.join(programs, name), '--help'], capture_output=True, text=True, check=True).stdout
        yield f'{name} --help', ' '.join(told.split())


def find(where_and_text, idioms):
    expressions = [(re.compile(rf'\b(?:{idiom})(?!\w)', re.I), better) for idiom, better in idioms.items()]
    for where, text in where_and_text:
        for idiom, better in expressions:
            match = idiom.search(text)
            if match:
                yield f'{where}: "{match[0]}": {better}'


def main():
    words, everything = [w for w in sys.argv[1:] if w != '--all'], '--all' in sys.argv[1:]
    if not words:
        sys.exit('words.py: give the directory of the programs, or pages')
    pages = [w for w in words if w.endswith('.md')]
    read = ((f'{page}:{n}', text) for page in pages for n, text in prose(page)) if pages else texts(words[0])
    found = list(find(read, {**WORST, **(CLUMSY if everything else {})}))
    print(*found, sep='\n', end='\n' if found else '')
    sys.exit(len(found) > 0)


main()

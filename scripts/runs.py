#!/usr/bin/env python3
"""runs.py - reads a run's directory, for the reports.

    log.jsonl      one object per line (run/log.h); a truncated line is skipped
    options.json   every option, resolved
    plan.txt       the memory plan; its table of kinds

    scripts/runs.py complete DIR STEPS       status 0 if it finished its last step and saved its model
    scripts/runs.py values DIR FIELD...      the last value of each, or FIELD:median, FIELD:least; separated by tabs, "-": none
    scripts/runs.py series DIR FIELD...      a line for each step and field: step, field, value
    scripts/runs.py plan FIELD...            numbers of a plan (--plan --json) from standard input; a dot selects
                                             a member: most_by_kind.states; 0: none
"""
import json
import math
import os
import re
import statistics
import sys


class RunError(Exception):
    """Why a run cannot be read: one line for people."""


class Run:
    """A run's directory, read once."""

    def __init__(self, path):
        self.path, self.name = path, os.path.basename(os.path.normpath(path))
        log = os.path.join(path, 'log.jsonl')
        if not os.path.isdir(path):
            raise RunError(f'{path} is not a directory: give a run\'s, which has log.jsonl')
        try:
            with open(log, encoding='utf-8', errors='replace') as f:
                self.lines = [entry for entry in map(_object, f) if entry]
        except OSError:
            raise RunError(f'{path} has no log.jsonl that can be read: is it a run\'s directory (--out)?') from None
        if not any('loss' in entry for entry in self.lines):
            raise RunError(f'{log} has no steps: wait for the first, or give another run')
        self.options = _read_json(os.path.join(path, 'options.json'))

    def series(self, field):
        """(step, value) of every line that has the field as a number."""
        return [(e['step'], e[field]) for e in self.lines if _number(e.get(field)) and 'step' in e]

    def by_time(self, field):
        """(seconds in training steps, value)."""
        points, seconds = [], 0.0
        for e in self.lines:
            seconds += e['ms'] / 1000 if _number(e.get('ms')) else 0
            if _number(e.get(field)):
                points.append((seconds, e[field]))
        return points

    def last(self, field):
        values = self.series(field)
        return values[-1][1] if values else None

    def median(self, field):
        values = [v for _, v in self.series(field)]
        return statistics.median_low(values) if values else None

    def unit(self):
        """What the run counts: tokens or images."""
        names = {k for e in self.lines for k in e if k.endswith('_per_s')}
        return min(names)[:-len('_per_s')] if names else 'tokens'

    def plan(self):
        """The plan's bytes by kind, its lower bound and gradient policy, from plan.txt."""
        kinds, bound, policy = {}, None, '-'
        try:
            with open(os.path.join(self.path, 'plan.txt'), encoding='utf-8') as f:
                text = f.read()
        except OSError:
            return kinds, bound, policy
        for name, mib in re.findall(r'^  ([a-z ]+?) +([0-9.]+) MiB +[0-9.]+ %$', text, re.M):
            kinds.setdefault(name, float(mib))
        found = re.search(r'lower bound (\d+)', text)
        bound = int(found[1]) if found else None
        found = re.search(r'^gradients: (\w+)', text, re.M)
        return kinds, bound, found[1] if found else '-'

    def complete(self, steps=None):
        """Has it made its last step, and left its model?"""
        steps = steps or self.options.get('steps')
        model = os.path.join(self.path, 'model.safetensors')
        return os.path.isfile(model) and os.path.getsize(model) > 0 and any(
            e.get('step') == steps and 'resident_bytes' in e for e in self.lines)


def _object(line):
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _read_json(path):
    try:
        with open(path, encoding='utf-8') as f:
            value = json.load(f)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_complete(path, steps):
    try:
        return Run(path).complete(steps)
    except RunError:
        return False


def smooth(points, stretches=200):
    """Running means: of at most that many stretches of points their middle and mean."""
    n = -(-len(points) // stretches) or 1
    parts = [points[i:i + n] for i in range(0, len(points), n)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts]


def ceiling(runs):
    """The highest first loss, and a little: what rises above it has diverged."""
    return 1.05 * max(run.series('loss')[0][1] for run in runs)


def _plan_numbers(fields):
    whole = json.load(sys.stdin)
    for field in fields:
        value = whole
        for name in field.split('.'):
            value = value.get(name, 0)
        yield value


def _value(run, field):
    name, _, which = field.partition(':')
    values = [v for _, v in run.series(name)]
    if which == 'least':
        return min(values) if values else None
    return run.median(name) if which == 'median' else run.last(name)


def main(words):
    what, path = words[0], words[1]
    if what == 'plan':
        print(*(f'{v:.17g}' for v in _plan_numbers(words[1:])))
        return
    if what == 'complete':
        sys.exit(0 if is_complete(path, int(words[2])) else 1)
    run = Run(path)
    if what == 'series':
        for entry in run.lines:
            for field in words[2:]:
                if _number(entry.get(field)):
                    print(entry['step'], field, repr(entry[field]))
        return
    values = [_value(run, f) for f in words[2:]]
    print('\t'.join('-' if v is None else f'{v:.9g}' if isinstance(v, float) else str(v) for v in values))


if __name__ == '__main__':
    main(sys.argv[1:])

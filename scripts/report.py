"""report.py - what scripts/compare found, as a table and as one page.

    each run's log.jsonl, plan.txt, options.json, output.txt, about --> report.tsv, a line a run
    the runs --> the table (stdout), report.html (charts and all; it needs no other file)

Nothing is remembered from the runs but what they wrote.  "same bits as": all losses as they stand in
the logs (%.9g, which is exact for a float), training and validation, and model.safetensors.
"""
import hashlib
import math
import os
import re
import shlex

import charts
import runs

MIB = 1048576.0


def bits(run):
    """Losses and model, as a short hash; None without a model."""
    model = os.path.join(run.path, 'model.safetensors')
    if not os.path.isfile(model):
        return None
    digest = hashlib.sha256()
    for e in run.lines:
        for field in ('loss', 'val_loss'):
            if field in e:
                digest.update(f'{e.get("step")} {field} {e[field]}\n'.encode())
    with open(model, 'rb') as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:16]


class Result:
    """One run, and everything that is said of it."""

    def __init__(self, job):
        self.job, run = job, runs.Run(job.path)
        self.run, self.optim, self.form, self.seed = run, job.optim, job.form, job.seed
        self.lr = job.lr if job.lr != 'default' else f'{run.options.get("lr", math.nan):g}'
        self.diverged = self._diverged()
        self.bits = bits(run)
        self.loss, self.val = run.last('loss'), run.last('val_loss')
        self.planned, self.handed_out = run.last('peak_bytes'), run.last('high_water_bytes')
        self.resident, self.ranks = run.last('resident_bytes'), run.last('ranks') or 1
        self.rate, self.ms = run.median(run.unit() + '_per_s'), run.median('ms')
        self.phases = [run.median(p + '_ms') for p in ('forward', 'backward', 'optimizer')]
        self.kinds, self.bound, self.gradients = run.plan()

    def _diverged(self):
        try:
            with open(self.job.file('diverged'), encoding='utf-8', errors='replace') as f:
                found = re.search(r': step (\d+): the loss is', f.read())
        except OSError:
            return None
        return int(found[1]) if found else None

    def about(self, key):
        """A line of the file `about`, or of output.txt."""
        try:
            with open(self.job.file('about'), encoding='utf-8', errors='replace') as f:
                return ' + '.join(sorted({line.split('\t', 1)[1].strip() for line in f if line.startswith(key + '\t')}))
        except OSError:
            return ''

    def said(self, name, pattern):
        try:
            with open(self.job.file(name), encoding='utf-8', errors='replace') as f:
                found = re.findall(pattern, f.read(), re.M)
        except OSError:
            return ''
        return found[-1] if found else ''


class Group:
    """One optimizer, form and learning rate, over its seeds."""

    def __init__(self, results):
        self.results, first = results, results[0]
        self.first, self.optim, self.form, self.lr = first, first.optim, first.form, first.lr
        self.diverged = next((r.diverged for r in results if r.diverged is not None), None)
        self.same_as, self.best = None, False

    def score(self):
        """What it is ranked by: the mean of the last validation losses, or of the last losses."""
        values = [r.val if r.val is not None else r.loss for r in self.results]
        return math.inf if self.diverged is not None or None in values else sum(values) / len(values)

    def mean(self, field):
        """Text: the mean, and half of the range where there are several seeds."""
        values = [getattr(r, field) for r in self.results]
        if self.diverged is not None:
            return f'diverged: step {self.diverged}' if field == 'loss' else '-'
        if None in values:
            return '-'
        middle = sum(values) / len(values)
        return f'{middle:.4f} ±{(max(values) - min(values)) / 2:.4f}' if len(values) > 1 else f'{middle:.4f}'

    def label(self):
        return self.optim + ('' if self.form == 'fused' else f'/{self.form}')


def groups_of(results):
    by_key = {}
    for r in results:
        by_key.setdefault((r.optim, r.form, r.lr), []).append(r)
    groups = [Group(rs) for rs in by_key.values()]
    for i, g in enumerate(groups):
        mine = [r.bits for r in g.results]
        if None not in mine:
            g.same_as = next((o for o in groups[:i] if [r.bits for r in o.results] == mine), None)
    for name in {g.label() for g in groups}:
        least = min((g for g in groups if g.label() == name), key=Group.score)
        least.best = math.isfinite(least.score())
    return groups


def text_of(value, form='{:.1f}'):
    return '-' if value is None else form.format(value)


def mib(value):
    return '-' if value is None else f'{value / MIB:.1f}'


# ---- report.tsv ----

COLUMNS = ('run optimizer form lr seed diverged bits loss val_loss planned handed_out resident rate ms forward_ms '
           'backward_ms optimizer_ms lower_bound gradients ranks').split()


def tsv(results):
    def cells(r):
        exact = '{:.9g}'
        return [r.job.name, r.optim, r.form, r.lr, r.seed, text_of(r.diverged, '{}'), r.bits or '-', text_of(r.loss, exact),
                text_of(r.val, exact), text_of(r.planned, exact if r.planned is None else '{:.0f}'),
                text_of(r.handed_out, '{:.0f}'), text_of(r.resident, '{:.0f}'), text_of(r.rate, exact), text_of(r.ms, exact),
                *[text_of(p, exact) for p in r.phases], text_of(r.bound, '{}'), r.gradients, str(int(r.ranks)),
                *[f'{r.kinds.get(k, 0):.1f}' for k in charts.KINDS]]
    lines = [[*COLUMNS, *[k.replace(' ', '_') for k in charts.KINDS]]] + [cells(r) for r in results]
    return ''.join('\t'.join(line) + '\n' for line in lines)


# ---- the table ----

def headings(unit, several_ranks):
    return ['optimizer', 'form', 'gradients', 'lr', 'seeds', 'loss', 'validation', f'{unit}/s', 'ms', 'forward', 'backward',
            'optimizer', 'planned MiB', 'lower bound', 'allocated', 'process', *(['ranks'] if several_ranks else []),
            'same bits as']


LEFT = (0, 1, 2, 3)


def same_text(g):
    o = g.same_as
    if not o:
        return '-'
    return o.optim + ('' if o.form == g.form else f'/{o.form}') + ('' if o.lr == g.lr else f' at {o.lr}')


def cells_of(g, several_ranks):
    r = g.first
    return [g.optim, g.form, r.gradients, g.lr + ('*' if g.best else ''), str(len(g.results)), g.mean('loss'), g.mean('val'),
            text_of(r.rate, '{:.0f}'), text_of(r.ms), *[text_of(p) for p in r.phases], mib(r.planned), mib(r.bound),
            mib(r.handed_out), mib(r.resident), *([str(int(r.ranks))] if several_ranks else []), same_text(g)]


def aligned(rows):
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    last = len(wide) - 1
    return '\n'.join('  '.join(c.ljust(w) if i in LEFT or i == last else c.rjust(w)
                               for i, (c, w) in enumerate(zip(row, wide))).rstrip() for row in rows)


def sentence(groups):
    """The result in one sentence."""
    best = [g for g in groups if g.best]
    if not best:
        return 'No run kept a finite loss.'
    first = min(best, key=Group.score)
    least = min((g for g in best if g.first.planned), key=lambda g: g.first.planned, default=first)
    kind = 'validation loss' if first.first.val is not None else 'loss'
    mean = first.mean('val' if first.first.val is not None else 'loss')
    text = f'Lowest {kind}: {first.label()}, {mean} at learning rate {first.lr}'
    same = [g.label() for g in groups if g.same_as is first or first.same_as is g]
    if same:
        text += f' (the same bits: {", ".join(sorted(set(same)))})'
    if least is not first and least.first.planned < first.first.planned:
        saved = 100 * (1 - least.first.planned / first.first.planned)
        text += f'; least memory: {least.label()}, {mib(least.first.planned)} MiB ({saved:.0f} % less than {first.label()})'
    return text + '.'


# ---- the charts ----

def colours_of(groups):
    """A colour for each optimizer and form."""
    names = list(dict.fromkeys(g.label() for g in groups))
    return {name: charts.PALETTE[i % len(charts.PALETTE)] for i, name in enumerate(names)}


def mean_of(series):
    """Point by point over runs that logged the same steps; None where they did not."""
    if len({tuple(x for x, _ in s) for s in series}) != 1:
        return None
    return [(points[0][0], sum(y for _, y in points) / len(points)) for points in zip(*series)]


def lines_of(groups, colour, field, smooth):
    """Each optimizer's best learning rate thick, other rates and single seeds thin and pale; a curve that is on
    another is dashed, and says so."""
    lines = []
    for g in groups:
        label = g.label() + (f' {g.lr}' if sum(o.label() == g.label() for o in groups) > 1 else '')
        series = [smooth(r.run.series(field)) for r in g.results]
        note = f'same curve as {g.same_as.label()}' if g.same_as else ''
        over = g.same_as is not None
        middle = mean_of(series) if len(series) > 1 else series[0]
        if len(series) > 1:
            lines += [charts.Curve(label, s, colour[g.label()], 1, pale=True, legend=False) for s in series]
        if middle and not g.best and any(o.best and o.label() == g.label() for o in groups):
            lines.append(charts.Curve(label, middle, colour[g.label()], 1.4, pale=True, legend=False))
        elif middle:
            lines.append(charts.Curve(label, middle, colour[g.label()], 2 if over else 3.2, over, note=note))
    return lines


def by_rate(groups, colour):
    """The last loss over the learning rate, where an optimizer has several."""
    lines = []
    for name in dict.fromkeys(g.label() for g in groups):
        points = sorted((math.log10(float(g.lr)), g.score()) for g in groups if g.label() == name and math.isfinite(g.score()))
        if points:
            lines.append(charts.Curve(name, points, colour[name]))
    return lines if any(len(c.points) > 1 for c in lines) else []


def memory_rows(groups):
    seen, rows = set(), []
    for g in groups:
        r = g.first
        key = (g.optim, g.form, r.gradients)
        if key not in seen:
            seen.add(key)
            # what the table prints is rounded; the last part takes the difference, so that sums agree
            values = [r.kinds.get(k, 0) for k in charts.KINDS]
            if r.planned is not None and values[-1] >= 0:
                values[-1] = max(0.0, r.planned / MIB - sum(values[:-1]))
            rows.append(charts.Row(f'{g.label()}, {r.gradients}', values,
                                   '' if r.resident is None else f'process {r.resident / MIB:.1f}'))
    return rows


def time_rows(groups):
    rows = []
    for g in groups:
        for r in g.results:
            if None not in r.phases and r.ms is not None:
                rows.append(charts.Row(r.job.name, [*r.phases, max(0.0, r.ms - sum(r.phases))]))
    return rows


def figures(groups, unit):
    drawn = groups if len(groups) <= 12 else [g for g in groups if g.best] or groups
    colour, most = colours_of(groups), runs.ceiling([r.run for g in drawn for r in g.results])
    thin = 'thin: ' + ('other learning rates' if any(not g.best for g in drawn) else 'seeds') + ', thick: ' + (
        'the best' if any(not g.best for g in drawn) else 'their mean')
    charts_ = [charts.curves('Training loss', f'running means over 1/200 of the steps; {thin}', 'step',
                             'loss', lines_of(drawn, colour, 'loss', runs.smooth), y_most=most)]
    if any(r.val is not None for g in drawn for r in g.results):
        charts_.append(charts.curves('Validation loss', thin, 'step', 'loss',
                                     lines_of(drawn, colour, 'val_loss', list), y_most=most))
    rates = by_rate(groups, colour)
    if rates:
        names = {math.log10(float(g.lr)): g.lr for g in groups if g.lr != 'default'}
        places = sorted(names)[::max(1, (len(names) + 6) // 7)]
        charts_.append(charts.curves('Last loss by learning rate', 'mean over the seeds', 'learning rate', 'loss', rates,
                                     x_ticks=[(x, names[x]) for x in places]))
    charts_.append(charts.bars('Memory at the peak', 'as planned, of the first seed; process: resident', 'MiB',
                               list(charts.KINDS.items()), memory_rows(groups)))
    rows = time_rows(drawn)
    if rows:
        parts = [('forward', '#4e79a7'), ('backward', '#f2b447'), ('optimizer', '#e15759'), ('rest', '#d9d9d9')]
        charts_.append(charts.bars('Time of a step', 'medians; under release, updates in the backward pass count as optimizer',
                                   'ms', parts, rows))
    return '<div class="figures">' + '\n'.join(map(charts.figure, charts_)) + '</div>'


# ---- the page ----

def distinct(results, value):
    """Each distinct value, and of how many runs it is where they differ."""
    values = [value(r) or 'unknown' for r in results]
    return '; '.join(v if values.count(v) == len(values) else f'{v} ({values.count(v)} runs)' for v in dict.fromkeys(values))


def facts(results):
    rows = [('model and batch', lambda r: r.said('plan.txt', r'^plan: (.*), [a-z0-9_]+ \([a-z]+\)$')),
            ('device', lambda r: r.said('output.txt', r'^device: (.*?); memory: ')),
            ('processor', lambda r: r.about('processor')), ('commit', lambda r: r.about('commit'))]
    return '<dl>' + ''.join(f'<dt>{name}</dt><dd>{charts.escape(distinct(results, value))}</dd>' for name, value in rows) + '</dl>'


NOTES = """<p>Sorted by loss.  loss, validation: the last in the log, over the seeds the mean ± half of the range; * the best
learning rate of its optimizer, set bold.  Speed and times: medians over the steps of the first seed.  planned, lower bound: of
the plan; allocated: up to the highest address used; process: all of it, resident.  same bits as: the same losses in every
step, the same trained parameters.</p>"""


def page(out, results, groups, unit, several_ranks):
    ranked = sorted(groups, key=Group.score)
    best = [i for i, g in enumerate(ranked) if g.best] if any(not g.best for g in ranked) else []
    try:
        with open(os.path.join(out, 'command'), encoding='utf-8') as f:
            command = f.read()
    except OSError:
        command = ''
    each = '\n'.join(shlex.join([*r.job.words, '--out', r.job.path]) for r in results)
    body = '\n'.join([
        f'<p><b>{charts.escape(sentence(groups))}</b></p>', facts(results),
        charts.table(headings(unit, several_ranks), [cells_of(g, several_ranks) for g in ranked], LEFT, best), NOTES,
        figures(groups, unit), f'<h2>To repeat it</h2>\n<pre>{charts.escape(command)}</pre>\n<p>which ran</p>\n'
        f'<pre>{charts.escape(each)}</pre>'])
    return charts.page('Optimizers compared', body)


def write(out, jobs):
    """report.tsv and report.html in `out`, and the table on standard output."""
    results = [Result(job) for job in jobs]
    groups = groups_of(results)
    unit, several = results[0].run.unit(), any(r.ranks > 1 for r in results)
    charts.write(os.path.join(out, 'report.tsv'), tsv(results))
    print(aligned([headings(unit, several)] + [cells_of(g, several) for g in groups]))
    print(f'\n{sentence(groups)}')
    charts.write(os.path.join(out, 'report.html'), page(out, results, groups, unit, several))
    print(f'\n{os.path.join(out, "report.html")}')

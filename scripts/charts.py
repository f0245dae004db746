"""charts.py - the charts of every report: curves, bars and pages of them, as SVG and HTML.

One module draws for scripts/compare, plot, plot-demo and plot-vit, with nothing but Python's
standard library, so that a report needs no other program and a page no other file.

    curves([Curve(...), ...]) --> one <svg>         loss over steps, loss over time
    bars(parts, rows)         --> one <svg>         memory at the peak, time of a step
    columns([svg, ...])       --> one <svg>         several beside each other
    page(title, body)         --> HTML              with the style and the hover values
    write(path, text)         --> a file            whole or not at all; .png by rsvg-convert

A chart is drawn for light and dark backgrounds: what is not a colour of the data has a class, and
the style below says what that is on either.
"""
import html
import json
import math
import os
import shutil
import subprocess

# Optimizers, in a palette that colour-blind readers can tell apart (after Tableau 10).
PALETTE = ['#4e79a7', '#e15759', '#59a14f', '#f28e2b', '#b07aa1', '#76b7b2',
           '#9c755f', '#d37295', '#b6992d', '#499894', '#1b5e20', '#79706e']
# Kinds of memory, as in plan.svg.
KINDS = {'parameters': '#4e79a7', 'master weights': '#a0cbe8', 'gradients': '#e15759',
         'states': '#59a14f', 'intermediates': '#b07aa1', 'activations': '#f2b447',
         'workspace': '#9c9c9c', 'batch': '#76b7b2', 'cache': '#ff9da7', 'gaps': '#d9d9d9'}

STYLE = ('.bg{fill:#fff}.ink{fill:#202020}.faint{fill:#606060}.grid{stroke:#e4e4e4}.axis{stroke:#606060}'
         '@media(prefers-color-scheme:dark){.bg{fill:#14181d}.ink{fill:#e6e6e6}.faint{fill:#a0a0a0}'
         '.grid{stroke:#30363d}.axis{stroke:#8b949e}rect[fill="#d9d9d9"]{fill:#4a515a}}')
LETTER = 7.9  # average width of a letter at 13 pixels


def escape(text):
    return html.escape(str(text), quote=True)


def width_of(text, size=13):
    return len(str(text)) * LETTER * size / 13


class Canvas:
    """An SVG that grows: shapes are appended, and svg() closes it."""

    def __init__(self, width, height, data=None):
        self.width, self.height, self.data, self.shapes = width, height, data, []

    def add(self, shape):
        self.shapes.append(shape)

    def text(self, x, y, text, anchor='start', size=13, kind='ink', bold=False):
        more = ' font-weight="bold"' if bold else ''
        self.add(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{more}>'
                 f'{escape(text)}</text>')

    def rect(self, x, y, width, height, colour, title=None):
        inner = f'<title>{escape(title)}</title>' if title else ''
        self.add(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}">{inner}</rect>')

    def rule(self, x0, y0, x1, y1, kind='grid', dash=''):
        dashes = f' stroke-dasharray="{dash}"' if dash else ''
        self.add(f'<path class="{kind}" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" fill="none"{dashes}/>')

    def svg(self):
        data = f' class="chart" data-chart="{escape(json.dumps(self.data))}"' if self.data else ''
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" font-family="sans-serif"{data}>'
                f'<style>{STYLE}</style>'
                f'<rect class="bg" width="{self.width}" height="{self.height}"/>\n' + '\n'.join(self.shapes) + '\n</svg>')


def number(value):
    """A number as a tick or a label: four significant digits, no exponent where none is needed."""
    if value == 0:
        return '0'
    if 1e-4 <= abs(value) < 1e6:
        return f'{value:.4g}'
    return f'{value:.3g}'


def ticks(low, high, about):
    """Multiples of 1, 2 or 5 times a power of ten, about that many of them, within [low, high]."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= about)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


class Curve:
    """One line of a chart.  A `mean` is thick, a run of several seeds thin and pale; `over` draws
    dashes, so that a curve that is on another does not hide it."""

    def __init__(self, label, points, colour, width=2.2, over=False, pale=False, legend=True, note=''):
        self.label, self.colour, self.width, self.over = label, colour, width, over
        self.pale, self.legend, self.note = pale, legend, note
        self.points = [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def extent(values, least=None, most=None):
    values = list(values)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if most is not None and low < most < high:
        high = most
    if high <= low:
        high = low + 1
    return low, high


def legend_rows(names, width):
    """Names broken into rows that fit: [[(x, index), ...], ...]"""
    rows, x = [[]], 0.0
    for i, name in enumerate(names):
        wide = 44 + width_of(name)
        if rows[-1] and x + wide > width:
            rows.append([])
            x = 0.0
        rows[-1].append((x, i))
        x += wide
    return rows


def curves(title, note, x_label, y_label, lines, width=520, height=340, y_most=None, x_ticks=None):
    """Curves over a common x; what rises above y_most is cut off there.  x_ticks: (place, text) instead of
    round numbers."""
    shown = [c for c in lines if c.legend]
    names = [c.label + (f' ({c.note})' if c.note else '') for c in shown]
    left, right, top = 62, width - 18, 66
    rows = legend_rows(names, right - left)
    bottom = height - 46
    x0, x1 = extent(x for c in lines for x, _ in c.points)
    y0, y1 = extent((y for c in lines for _, y in c.points), most=y_most)
    pad = 0.03 * (y1 - y0)
    y0, y1 = y0 - pad, y1 + pad

    def px(x):
        return left + (x - x0) / (x1 - x0) * (right - left)

    def py(y):
        return bottom - (y - y0) / (y1 - y0) * (bottom - top)

    data = {'box': [left, top, right, bottom], 'range': [x0, x1, y0, y1], 'x': x_label,
            'series': [{'label': c.label, 'colour': c.colour,
                        'points': [[round(x, 6), round(y, 6)] for x, y in c.points]} for c in lines if c.legend]}
    total = height + 14 + 20 * len(rows)
    canvas = Canvas(width, total, data)
    canvas.text(16, 22, title, size=15, bold=True)
    canvas.text(16, 41, note, size=12, kind='faint')
    for y in ticks(y0, y1, 6):
        canvas.rule(left, py(y), right, py(y))
        canvas.text(left - 7, py(y) + 4, number(y), 'end')
    for x, text in x_ticks or [(x, number(x)) for x in ticks(x0, x1, 7)]:
        canvas.text(px(x), bottom + 17, text, 'middle')
    canvas.add(f'<path class="axis" d="M{left} {top}V{bottom}H{right}" fill="none"/>')
    canvas.text((left + right) / 2, bottom + 35, x_label, 'middle', size=12, kind='faint')
    canvas.text(left, top - 5, y_label, size=12, kind='faint')
    # an <svg> inside cuts off what leaves it
    canvas.add(f'<svg x="{left}" y="{top}" width="{right - left}" height="{bottom - top}">')
    for c in sorted(lines, key=lambda c: (c.over, not c.pale)):
        path = ''.join(f'{"L" if i else "M"}{px(x) - left:.1f} {py(y) - top:.1f}' for i, (x, y) in enumerate(c.points))
        if path:
            dash = ' stroke-dasharray="7 5"' if c.over else ''
            pale = ' stroke-opacity="0.35"' if c.pale else ''
            canvas.add(f'<path d="{path}" fill="none" stroke="{c.colour}" stroke-width="{c.width}"{dash}{pale}>'
                       f'<title>{escape(c.label)}</title></path>')
    canvas.add('</svg>')
    for r, row in enumerate(rows):
        y = height + 10 + 20 * r
        for x, i in row:
            c = shown[i]
            dash = ' stroke-dasharray="7 5"' if c.over else ''
            canvas.add(f'<path d="M{left + x:.1f} {y}h26" stroke="{c.colour}" stroke-width="{max(c.width, 2)}"{dash}/>')
            canvas.text(left + x + 32, y + 4, names[i])
    return canvas.svg()


class Row:
    """One horizontal bar: its label, its parts, and what stands after their sum."""

    def __init__(self, label, values, note=''):
        self.label, self.values, self.note = label, [float(v) for v in values], note


def bars(title, note, unit, parts, rows, width=520, digits=1):
    """Horizontal bars of several parts.  `parts` are (name, colour); only those that occur are named."""
    used = [k for k in range(len(parts)) if any(row.values[k] > 0 for row in rows)]
    left = min(max([width_of(row.label) for row in rows] + [60]) + 26, 300)
    sums = [sum(row.values) for row in rows]
    ends = [f'{s:.{digits}f} {unit}' + (f', {row.note}' if row.note else '') for s, row in zip(sums, rows)]
    right = width - max([width_of(end) for end in ends] + [60]) - 20
    legend = legend_rows([parts[k][0] for k in used], width - 32)
    top = 56 + 20 * len(legend)
    canvas = Canvas(width, top + 28 * len(rows) + 12)
    canvas.text(16, 22, title, size=15, bold=True)
    canvas.text(16, 41, note, size=12, kind='faint')
    for r, row in enumerate(legend):
        for x, i in row:
            name, colour = parts[used[i]]
            canvas.rect(16 + x, 52 + 20 * r, 12, 12, colour)
            canvas.text(34 + x, 63 + 20 * r, name)
    most = max(sums + [0]) or 1
    for i, row in enumerate(rows):
        x, y = left, top + 28 * i
        canvas.text(left - 10, y + 15, row.label, 'end')
        for k in used:
            wide = row.values[k] / most * (right - left)
            if wide > 0:
                canvas.rect(x, y, wide, 21, parts[k][1], f'{parts[k][0]}: {row.values[k]:.{digits}f} {unit}')
            x += wide
        canvas.text(x + 8, y + 15, ends[i])
    return canvas.svg()


def towers(title, note, unit, parts, rows, width=380, height=420, marks=()):
    """Vertical bars with their sums above, and their parts' values within; `marks` are (row, value,
    text): a diamond at a height."""
    used = [k for k in range(len(parts)) if any(row.values[k] > 0.002 * sum(row.values) for row in rows)]
    legend = legend_rows([parts[k][0] for k in used], width - 24)
    left, right, top, bottom = 58, width - 10, 66, height - 34
    most = max([sum(row.values) for row in rows] + [m[1] for m in marks]) * 1.12
    canvas = Canvas(width, height + 20 * len(legend))
    canvas.text(12, 22, title, size=15, bold=True)
    canvas.text(12, 41, note, size=12, kind='faint')

    def py(v):
        return bottom - v / most * (bottom - top)

    for v in ticks(0, most, 6):
        canvas.rule(left, py(v), right, py(v))
        canvas.text(left - 7, py(v) + 4, number(v), 'end')
    canvas.text(left, top - 6, unit, size=12, kind='faint')
    step = (right - left) / len(rows)
    for i, row in enumerate(rows):
        x, below = left + step * (i + 0.16), 0.0
        for k in range(len(parts)):
            v = row.values[k]
            if v <= 0:
                continue
            canvas.rect(x, py(below + v), step * 0.68, py(below) - py(below + v), parts[k][1],
                        f'{parts[k][0]}: {v:.1f} {unit}')
            if v > 0.045 * most:
                dark = '#202020' if parts[k][1] in (KINDS['activations'], KINDS['gaps']) else '#ffffff'
                canvas.add(f'<text x="{x + step * 0.34:.1f}" y="{(py(below) + py(below + v)) / 2 + 4:.1f}" '
                           f'text-anchor="middle" font-size="12" fill="{dark}">{number(v)}</text>')
            below += v
        total = number(round(below, 1 if below < 100 else 0))
        canvas.text(x + step * 0.34, py(below) - 7, total + (f'  {row.note}' if row.note else ''), 'middle', bold=True)
        canvas.text(x + step * 0.34, bottom + 18, row.label, 'middle')
    for i, value, text in marks:
        x, y = left + step * (i + 0.93), py(value)
        canvas.add(f'<path class="ink" d="M{x - 5:.1f} {y:.1f}l5 -5l5 5l-5 5z"><title>{escape(text)}</title></path>')
        canvas.text(x, y - 9, number(round(value, 1)), 'middle', size=11)
    canvas.add(f'<path class="axis" d="M{left} {top}V{bottom}H{right}" fill="none"/>')
    for r, row in enumerate(legend):
        for x, i in row:
            name, colour = parts[used[i]]
            canvas.rect(12 + x, height - 2 + 20 * r, 12, 12, colour)
            canvas.text(30 + x, height + 9 + 20 * r, name)
    return canvas.svg()


def _size(svg):
    head = svg[:svg.index('>')]
    return [int(float(head.split(f' {name}="')[1].split('"')[0])) for name in ('width', 'height')]


def columns(svgs, down=False):
    """Charts beside each other, or below each other, as one SVG."""
    sizes = [_size(s) for s in svgs]
    width = max(w for w, _ in sizes) if down else sum(w for w, _ in sizes)
    height = sum(h for _, h in sizes) if down else max(h for _, h in sizes)
    canvas, at = Canvas(width, height), 0
    for svg, (w, h) in zip(svgs, sizes):
        canvas.add(svg.replace('<svg ', f'<svg {"y" if down else "x"}="{at}" ', 1))
        at += h if down else w
    return canvas.svg()


PAGE_STYLE = """
:root{color-scheme:light dark;--ink:#202020;--paper:#fff;--line:#e4e4e4;--soft:#f4f4f4}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--paper:#14181d;--line:#30363d;--soft:#1d232a}}
body{font:15px/1.45 sans-serif;color:var(--ink);background:var(--paper);max-width:1120px;margin:1.5em auto;padding:0 1em}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:12px;white-space:nowrap}
td,th{padding:3px 6px;border-bottom:1px solid var(--line);text-align:right}
th{white-space:normal;vertical-align:bottom}
td.left,th.left{text-align:left}tr.best td{font-weight:bold}
pre{background:var(--soft);padding:8px;overflow-x:auto;font-size:12px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1em}dt{font-weight:bold}dd{margin:0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:1.5em}
figure{margin:0}figure svg{display:block;width:100%;height:auto}
#tip{position:fixed;display:none;pointer-events:none;background:var(--paper);border:1px solid var(--line);
padding:4px 8px;font-size:12px;white-space:nowrap}
"""

# Values under the pointer: of each curve the point nearest in x.
PAGE_SCRIPT = """
const tip = document.getElementById('tip');
for (const svg of document.querySelectorAll('svg.chart')) {
  const c = JSON.parse(svg.dataset.chart), [x0, x1] = c.range, [left, , right] = c.box;
  svg.addEventListener('pointermove', e => {
    const at = svg.getBoundingClientRect(), px = (e.clientX - at.left) * svg.viewBox.baseVal.width / at.width;
    const x = x0 + (px - left) / (right - left) * (x1 - x0);
    if (px < left || px > right) { tip.style.display = 'none'; return; }
    tip.replaceChildren();
    const head = document.createElement('div');
    head.textContent = c.x + ' ' + Number(x.toPrecision(4));
    tip.append(head);
    for (const s of c.series) {
      if (!s.points.length) continue;
      const p = s.points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
      const row = document.createElement('div');
      row.textContent = s.label + ': ' + p[1].toPrecision(5);
      row.style.borderLeft = '4px solid ' + s.colour; row.style.paddingLeft = '5px';
      tip.append(row);
    }
    tip.style.display = 'block';
    tip.style.left = Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 4) + 'px';
    tip.style.top = e.clientY + 14 + 'px';
  });
  svg.addEventListener('pointerleave', () => tip.style.display = 'none');
}
"""


def figure(svg):
    return f'<figure>{svg}</figure>'


def table(headings, rows, left=(), best=()):
    """headings and rows of text; columns in `left` are set to the left, rows in `best` are bold."""
    def line(cells, tag, more=''):
        inner = ''.join(f'<{tag}{" class=left" if i in left else ""}>{escape(c)}</{tag}>' for i, c in enumerate(cells))
        return f'<tr{more}>{inner}</tr>'
    body = '\n'.join(line(row, 'td', ' class=best' if i in best else '') for i, row in enumerate(rows))
    return f'<div class="wide"><table>\n{line(headings, "th")}\n{body}\n</table></div>'


def page(title, body):
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>\n'
            f'<style>{PAGE_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n{body}\n'
            f'<div id="tip"></div><script>{PAGE_SCRIPT}</script>\n</body></html>\n')


def write(path, text):
    """The file appears whole or not at all.  OSError where it cannot be written."""
    part = f'{path}.part'
    try:
        with open(part, 'w', encoding='utf-8') as f:
            f.write(text)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)


def write_png(path, svg_path, scale=1.5):
    """A PNG of an SVG, by rsvg-convert (Debian: librsvg2-bin).  False where there is none."""
    if not shutil.which('rsvg-convert'):
        return False
    subprocess.run(['rsvg-convert', '-z', str(scale), '-o', path, svg_path], check=True)
    return True

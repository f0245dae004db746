/* plan_picture.c - see plan_picture.h */
#include "plan/plan_picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"

enum { PANEL = 620, HEIGHT = 500, LEFT = 66, RIGHT = 24, TOP = 86, BOTTOM = 92, NAMED = 10 };

/* As in scripts/charts.py. */
static const char *const colours[KIND_COUNT] = {
    [KIND_PARAMETER] = "#4e79a7", [KIND_MASTER] = "#a0cbe8",       [KIND_GRADIENT] = "#e15759",
    [KIND_STATE] = "#59a14f",     [KIND_INTERMEDIATE] = "#b07aa1", [KIND_ACTIVATION] = "#f2b447",
    [KIND_AVERAGE] = "#9c755f",   [KIND_WORKSPACE] = "#9c9c9c",    [KIND_BATCH] = "#76b7b2",
    [KIND_CACHE] = "#ff9da7",     [KIND_COPY] = "#d7b5a6"};

static const char style[] =
    ".bg{fill:#fff}.ink{fill:#202020}.faint{fill:#606060}.grid{stroke:#e4e4e4}.axis{stroke:#606060}"
    ".band{fill:#000;fill-opacity:.035}"
    "@media(prefers-color-scheme:dark){.bg{fill:#14181d}.ink{fill:#e6e6e6}.faint{fill:#a0a0a0}"
    ".grid{stroke:#30363d}.axis{stroke:#8b949e}.band{fill:#fff;fill-opacity:.05}}";

static double mib(double bytes)
{
    return bytes / 1048576.0;
}

/* ---- what is drawn: blocks over [0, clocks), from the bottom of the arena ---- */

typedef struct {
    block_info *block;
    size_t n, room;
    error *failure;
} block_list;

static void collect_block(void *context, const block_info *b)
{
    block_list *list = context;
    block_info *last = list->n ? &list->block[list->n - 1] : NULL;
    if (list->failure) return;
    if (b->persistent && last && last->persistent && last->kind == b->kind &&
        last->offset + last->bytes == b->offset) {
        last->bytes += b->bytes;
        snprintf(last->name, sizeof last->name, "%s", block_kind_name(b->kind));
        return;
    }
    list->failure = grow_array(&list->block, &list->room, list->n + 1, sizeof *list->block);
    if (!list->failure) list->block[list->n++] = *b;
}

static int by_bytes(const void *a, const void *b)
{
    const block_info *x = a, *y = b;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

/* ---- a panel ---- */

typedef struct {
    FILE *out;
    const trainer *t;
    arena_summary s;
    block_list list;
    double left, most; /* where it begins; MiB at its top */
} panel;

static double at_clock(const panel *p, double clock)
{
    return p->left + LEFT + clock / (double)p->s.clocks * (PANEL - LEFT - RIGHT);
}

static double at_mib(const panel *p, double value)
{
    return HEIGHT - BOTTOM - value / p->most * (HEIGHT - BOTTOM - TOP);
}

static void text(const panel *p, double x, double y, const char *anchor, int size, const char *kind,
                 const char *words)
{
    fprintf(p->out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\">",
            kind, x, y, anchor, size);
    for (; *words; words++) { /* may contain characters of a file name */
        const char *entity = *words == '&'   ? "&amp;"
                             : *words == '<' ? "&lt;"
                             : *words == '>' ? "&gt;"
                                             : NULL;
        if (entity)
            fputs(entity, p->out);
        else
            fputc((unsigned char)*words < ' ' ? ' ' : *words, p->out);
    }
    fputs("</text>\n", p->out);
}

/* 1, 2 or 5 times a power of ten: about six of them up to `most`. */
static double tick_step(double most)
{
    double power = pow(10.0, floor(log10(most / 6.0)));
    for (int m = 1; m < 10; m = m == 2 ? 5 : 2 * m)
        if (most / (power * m) <= 6.0) return power * m;
    return power * 10.0;
}

static void draw_axes(const panel *p)
{
    char words[32];
    double x0 = p->left + LEFT, x1 = p->left + PANEL - RIGHT, step = tick_step(p->most);
    for (int k = 0; k * step <= p->most; k++) {
        double y = at_mib(p, k * step);
        fprintf(p->out, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>\n", x0, y, x1);
        snprintf(words, sizeof words, "%.4g", k * step);
        text(p, x0 - 7, y + 4, "end", 12, "ink", words);
    }
    text(p, x0, TOP - 22, "start", 12, "faint", "MiB");
    text(p, (x0 + x1) / 2, HEIGHT - BOTTOM + 34, "middle", 12, "faint",
         "allocations and releases of one step, in order");
}

/* Forward, backward, optimizer: each from its mark to the next. */
static void draw_phases(const panel *p)
{
    arena_mark_info marks[ARENA_MARKS];
    int n = arena_marks(p->t->arena, marks);
    for (int i = 0; i < n; i++) {
        double x0 = at_clock(p, (double)marks[i].clock);
        double x1 = at_clock(p, i + 1 < n ? (double)marks[i + 1].clock : (double)p->s.clocks);
        if (x1 - x0 < 1) continue;
        if (i % 2 == 0)
            fprintf(p->out,
                    "<rect class=\"band\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n", x0,
                    TOP - 16, x1 - x0, HEIGHT - BOTTOM - TOP + 32);
        if (x1 - x0 > 7.0 * (double)strlen(marks[i].what))
            text(p, (x0 + x1) / 2, HEIGHT - BOTTOM + 15, "middle", 12, "faint", marks[i].what);
    }
}

static void draw_blocks(const panel *p)
{
    for (size_t i = 0; i < p->list.n; i++) {
        const block_info *b = &p->list.block[i];
        double base = mib((double)b->offset), x = at_clock(p, (double)b->start);
        double top = at_mib(p, base + mib((double)b->bytes));
        fprintf(p->out,
                "<rect x=\"%.1f\" y=\"%.2f\" width=\"%.1f\" height=\"%.2f\" fill=\"%s\"><title>", x,
                top, at_clock(p, (double)b->end) - x, at_mib(p, base) - top, colours[b->kind]);
        fprintf(p->out, "%s (%s) %.2f MiB</title></rect>\n", b->name, block_kind_name(b->kind),
                mib((double)b->bytes));
    }
}

/* Labels the largest blocks whose name fits. */
static void draw_names(panel *p)
{
    int named = 0;
    qsort(p->list.block, p->list.n, sizeof *p->list.block, by_bytes);
    for (size_t i = 0; i < p->list.n && named < NAMED; i++) {
        const block_info *b = &p->list.block[i];
        char words[96];
        double x0 = at_clock(p, (double)b->start), x1 = at_clock(p, (double)b->end);
        double base = mib((double)b->offset), size = mib((double)b->bytes);
        double height = at_mib(p, base) - at_mib(p, base + size);
        bool gradient = b->kind == KIND_GRADIENT && !b->persistent;
        snprintf(words, sizeof words, "%s%s %.*f", gradient ? "gradient of " : "", b->name,
                 size < 10 ? 1 : 0, size);
        if (height < 13 || x1 - x0 < 6.6 * (double)strlen(words)) continue;
        bool dark = b->kind == KIND_ACTIVATION || b->kind == KIND_MASTER;
        fprintf(p->out, "<g style=\"fill:%s\">", dark ? "#202020" : "#fff");
        text(p, (x0 + x1) / 2, (at_mib(p, base) + at_mib(p, base + size)) / 2 + 4, "middle", 11,
             "on", words);
        fputs("</g>\n", p->out);
        named++;
    }
}

static void draw_peak(const panel *p)
{
    char words[200];
    double y = at_mib(p, mib((double)p->s.peak)), x0 = p->left + LEFT, x1 = p->left + PANEL - RIGHT;
    fprintf(p->out, "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\" stroke-dasharray=\"6 4\"/>\n", x0,
            y, x1);
    snprintf(words, sizeof words, "peak %.1f MiB (lower bound %.1f)", mib((double)p->s.peak),
             mib((double)p->s.load));
    text(p, x1, y - 6, "end", 13, "ink", words);
}

static void draw_title(const panel *p)
{
    const options *o = p->t->o;
    char words[256];
    snprintf(words, sizeof words, "%s: %.0f MiB", o->optim_name, mib((double)p->s.peak));
    fputs("<g font-weight=\"bold\">", p->out);
    text(p, p->left + 16, 24, "start", 16, "ink", words);
    snprintf(words, sizeof words, "%s, batch %lld x %lld, %s, gradients: %s", o->model.name,
             (long long)o->batch, (long long)o->seq, o->optim.fused ? "fused" : "passes",
             grad_policy_name(o->optim.gradients));
    fputs("</g>", p->out);
    text(p, p->left + 16, 42, "start", 12, "faint", words);
}

/* The kinds that occur. */
static void draw_legend(const panel *p)
{
    double x = p->left + LEFT;
    for (int k = 0; k < KIND_COUNT; k++) {
        const char *name = block_kind_name((block_kind)k);
        if (p->s.most[k] * 500 < p->s.peak) continue;
        fprintf(p->out, "<rect x=\"%.1f\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/>", x,
                HEIGHT - 36, colours[k]);
        text(p, x + 17, HEIGHT - 26, "start", 12, "ink", name);
        x += 34 + 7.2 * (double)strlen(name);
    }
}

static error *draw_panel(panel *p)
{
    arena_visit(p->t->arena, collect_block, &p->list);
    TRY(p->list.failure);
    draw_phases(p);
    draw_axes(p);
    draw_blocks(p);
    draw_names(p);
    draw_peak(p);
    draw_title(p);
    draw_legend(p);
    return NULL;
}

error *plan_picture(const trainer *const *plans, int n, FILE *out)
{
    panel panels[2] = {0};
    double most = 0;
    error *e = NULL;
    for (int i = 0; i < n; i++) {
        panels[i] = (panel){
            .out = out, .t = plans[i], .s = arena_summarize(plans[i]->arena), .left = i * PANEL};
        most = fmax(most, mib((double)panels[i].s.peak));
    }
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" "
            "font-family=\"sans-serif\"><style>%s</style>\n<rect class=\"bg\" width=\"%d\" "
            "height=\"%d\"/>\n",
            n * PANEL, HEIGHT, n * PANEL, HEIGHT, style, n * PANEL, HEIGHT);
    for (int i = 0; i < n && !e; i++) {
        panels[i].most = 1.04 * most;
        e = draw_panel(&panels[i]);
        free(panels[i].list.block);
    }
    fputs("</svg>\n", out);
    if (e || !ferror(out)) return e;
    return user_error("the plan's picture cannot be written: is the disk full?");
}

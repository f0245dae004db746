/* product.c - see product.h
 *
 *      for a chunk of the shared matrix's free side, and of the depth:
 *          all:           pack its panels                                 barrier
 *          one job each:  a group of the other matrix's panels; for each DEPTH of them:
 *                         pack it, times all shared panels, each tile finished at once
 *                                                                         barrier
 */
#include "cpu/product.h"

#include "cpu/cpu_internal.h"
#include "cpu/micro.h"
#include "cpu/pack.h"
#include "cpu/tile.h"
#include "cpu/unit.h"

#include <stdatomic.h>

enum {
    DEPTH = PRODUCT_DEPTH, /* in units, like whatever counts k here */
    GROUP = 4,             /* most panels of a job, and of what is packed at a time */
    /* of rows, in a job: 8 of 6 rows are three cache lines of each stored row of a transposed a,
     * and a shared panel that comes from the L3 cache is used for twice as many tiles */
    GROUP_ROWS = TILE_ROWS < 8 ? 2 * GROUP : GROUP,
    CHUNK_DEPTH = PRODUCT_CHUNK, /* minimum depth of a part, if there is that much */
    L2 = 1 << 17,           /* floats: part of the shared side, if the depth is divided anyway */
    JOBS_EACH = 4,          /* for each thread, or more */
    SMALL = 1 << 17,        /* multiplications; below this, waking threads does not pay off */
    FEW_APART = K_STEP == 1 /* else its bits would differ from those of many rows */
};

/* The panel that a job packs for itself. */
enum {
    OWN_ROWS = GROUP_ROWS * TILE_ROWS * DEPTH,
    OWN_COLS = GROUP * TILE_COLS * DEPTH,
    OWN = OWN_ROWS > OWN_COLS ? OWN_ROWS : OWN_COLS
};

/* One side of a product: rows of a, or columns of b. */
typedef struct {
    operand f;
    int64_t n, width; /* of all, and of a panel */
    void (*pack)(operand, int64_t, int64_t, int64_t, int64_t, float *);
} side;

typedef struct {
    const product *p;
    side shared, streamed;
    bool shares_rows;
    int64_t k;
    int64_t chunk, wide, deep; /* of the shared side, of the streamed one, of the depth */
    int64_t group;
    float *packed; /* of the shared side */
    float *sums;   /* f32 sums of a chunk, if out is not f32 and the depth is divided */
    atomic_llong next_part, next_job;
} work;

/* A part of the product: [s, s + ns) of the shared side, [t, t + nt) of the streamed one. */
typedef struct {
    int64_t s, ns, t, nt, k, nk;
} chunk;

/* ---- jobs ---- */

static int64_t panels_of(int64_t n, int64_t width)
{
    return (n + width - 1) / width;
}

/* The address of a panel of the shared side, for the part of the depth that begins at k of a
 * chunk. */
static float *shared_panel(const work *w, const chunk *c, int64_t which, int64_t k)
{
    int64_t all = panels_of(c->ns, w->shared.width) * w->shared.width;
    int64_t depth = whole_steps(min64(DEPTH, c->nk - k));
    return w->packed + k * all + which * w->shared.width * depth;
}

/* The block of panels from t, at part k of the depth; it is needed after that many tiles. */
static ahead ahead_of(const work *w, const chunk *c, int64_t t, int64_t k, int64_t tiles)
{
    operand f = w->streamed.f;
    if (w->streamed.pack == pack_columns) f = (operand){f.data, f.col, f.row, f.type};
    int64_t size = f.type == BF16 ? 2 : 4, n = min64(w->group * w->streamed.width, c->nt - t),
            depth = min64(DEPTH, c->nk - k);
    if (n <= 0) return (ahead){0};
    bool along = f.col == 1;
    depth *= UNIT;
    int64_t rows = along ? n : depth, lines = ((along ? depth : n) * size + 63) / 64;
    return (ahead){.at = element(f, c->t + t, c->k + k),
                   .rows = rows,
                   .lines = lines,
                   .step = (along ? f.row : f.col) * size,
                   .tile = (rows * lines + tiles - 1) / tiles};
}

/* Some panels of the shared side, at one part of the depth. */
static void pack_shared(work *w, const chunk *c, int64_t which, int64_t k)
{
    int64_t width = w->shared.width, at = which * width;
    w->shared.pack(w->shared.f, c->s + at, min64(GROUP * width, c->ns - at), c->k + k,
                   min64(DEPTH, c->nk - k), shared_panel(w, c, which, k));
}

/* One tile: panel `which` of the shared side times panel t of the streamed side. */
static void do_tile(const work *w, const chunk *c, int64_t which, int64_t t, int64_t k,
                    const float *own, ahead *next)
{
    _Alignas(64) float tile[TILE];
    const product *p = w->p;
    int64_t depth = min64(DEPTH, c->nk - k), s = which * w->shared.width;
    const float *shared = shared_panel(w, c, which, k);
    int64_t ns = min64(w->shared.width, c->ns - s), nt = min64(w->streamed.width, c->nt - t);
    spot at = {.i = w->shares_rows ? c->s + s : c->t + t,
               .j = w->shares_rows ? c->t + t : c->s + s,
               .rows = w->shares_rows ? ns : nt,
               .cols = w->shares_rows ? nt : ns,
               .first = c->k + k == 0,
               .last = c->k + k + depth == w->k};
    if (p->out.type == F32) {
        at.sums = row(p->out, at.i) + at.j;
        at.ld = p->out.ld;
    } else {
        at.ld = w->shares_rows ? w->wide : w->chunk;
        at.sums = w->sums + (w->shares_rows ? s * at.ld + t : t * at.ld + s);
    }
    bool plain = tile_is_plain(p, &at);
    next->now = next->tile;
    micro_tile(A_PACKED, (int)at.rows,
               &(micro_product){.a = w->shares_rows ? shared : own,
                                .b = w->shares_rows ? own : shared,
                                .ldb = TILE_COLS,
                                .k = depth,
                                .out = plain ? at.sums : tile,
                                .ld = plain ? at.ld : TILE_COLS,
                                .add = plain && (!at.first || p->beta != 0),
                                .next = next});
    if (!plain) tile_finish(p, &at, tile);
}

/* Group g of the streamed panels against panels [first, end) of the shared side. */
static void do_job(const work *w, const chunk *c, int64_t g, int64_t first, int64_t end,
                   int threads)
{
    _Alignas(64) float own[OWN];
    int64_t width = w->streamed.width, from = g * w->group * width,
            to = min64(from + w->group * width, c->nt), ours = panels_of(to - from, width);
    micro_begin();
    for (int64_t k = 0; k < c->nk; k += DEPTH) {
        int64_t depth = min64(DEPTH, c->nk - k), tiles = (end - first) * ours;
        int64_t each = width * whole_steps(depth);
        w->streamed.pack(w->streamed.f, c->t + from, to - from, c->k + k, depth, own);
        ahead next = k + DEPTH < c->nk
                         ? ahead_of(w, c, from, k + DEPTH, tiles)
                         : ahead_of(w, c, from + threads * w->group * width, 0, tiles);
        if (w->shares_rows) /* columns outermost: for both panels theirs is the larger */
            for (int64_t i = 0; i < ours; i++)
                for (int64_t which = first; which < end; which++)
                    do_tile(w, c, which, from + i * width, k, own + i * each, &next);
        else
            for (int64_t which = first; which < end; which++)
                for (int64_t i = 0; i < ours; i++)
                    do_tile(w, c, which, from + i * width, k, own + i * each, &next);
    }
    micro_end();
}

/* The counter's value before a phase: the parts of all earlier phases, plus one failed attempt per
 * thread. */
typedef struct {
    int64_t parts, jobs;
} taken;

static void do_chunk(work *w, const chunk *c, member me, taken *before)
{
    int64_t panels = panels_of(c->ns, w->shared.width), at;
    int64_t parts = panels_of(panels, GROUP), steps = panels_of(c->nk, DEPTH);
    while ((at = atomic_fetch_add(&w->next_part, 1) - before->parts) < parts * steps)
        pack_shared(w, c, at % parts * GROUP, at / parts * DEPTH);
    before->parts += parts * steps + me.threads;
    pool_barrier(me);
    int64_t groups = panels_of(c->nt, w->group * w->streamed.width);
    int64_t cuts = min64(panels, panels_of((int64_t)me.threads * JOBS_EACH, groups));
    while ((at = atomic_fetch_add(&w->next_job, 1) - before->jobs) < groups * cuts) {
        int64_t cut = at % cuts;
        do_job(w, c, at / cuts, panels * cut / cuts, panels * (cut + 1) / cuts, me.threads);
    }
    before->jobs += groups * cuts + me.threads;
    pool_barrier(me);
}

static void do_all(void *context, member me)
{
    work *w = context;
    taken before = {0};
    chunk c;
    for (c.s = 0; c.s < w->shared.n; c.s += w->chunk)
        for (c.t = 0; c.t < w->streamed.n; c.t += w->wide)
            for (c.k = 0; c.k < w->k; c.k += w->deep) {
                c.ns = min64(w->chunk, w->shared.n - c.s);
                c.nt = min64(w->wide, w->streamed.n - c.t);
                c.nk = min64(w->deep, w->k - c.k);
                do_chunk(w, &c, me, &before);
            }
}

/* ---- dividing the work ---- */

static int64_t rounded(int64_t n, int64_t to)
{
    return panels_of(n, to) * to;
}

/* Divides n into equal parts of at most `most` >= `of`, in multiples of `of`. */
static int64_t equal_part(int64_t n, int64_t most, int64_t of)
{
    return rounded(panels_of(n, panels_of(n, most / of * of)), of);
}

/* room: floats for `packed` and for `sums` */
static void cut(work *w, int64_t packed, int64_t sums)
{
    int64_t width = w->shared.width, k = rounded(w->k, DEPTH), all = rounded(w->shared.n, width);
    w->deep = min64(k, CHUNK_DEPTH);
    if (packed / w->deep < 4 * width) w->deep = DEPTH;
    w->chunk = equal_part(w->shared.n, min64(all, packed / w->deep), width);
    if (w->chunk >= all) w->deep = min64(k, packed / all / DEPTH * DEPTH);
    if (w->deep > CHUNK_DEPTH) w->deep = min64(w->deep, (L2 / all + DEPTH) / DEPTH * DEPTH);
    w->wide = rounded(w->streamed.n, w->streamed.width);
    if (w->p->out.type == F32 || w->k <= DEPTH) return;
    w->chunk = equal_part(w->shared.n, min64(w->chunk, sums / (8 * TILE_COLS)), width);
    w->wide = equal_part(w->streamed.n, sums / w->chunk, w->group * w->streamed.width);
}

static void run_in(device *dev, const product *p, float *room, int64_t packed, int64_t sums)
{
    side rows = {p->a, p->m, TILE_ROWS, pack_rows}, cols = {p->b, p->n, TILE_COLS, pack_columns};
    bool shares_rows = p->m <= p->n;
    work w = {.p = p,
              .k = p->k / UNIT,
              .shared = shares_rows ? rows : cols,
              .streamed = shares_rows ? cols : rows,
              .shares_rows = shares_rows,
              .packed = room,
              .sums = room + packed};
    int64_t each = panels_of(w.streamed.n, w.streamed.width) / ((int64_t)dev->threads * JOBS_EACH);
    w.group = each < 1 ? 1 : min64(each, shares_rows ? GROUP : GROUP_ROWS);
    cut(&w, packed, sums);
    bool small = p->m * p->n < SMALL && p->m * p->n * p->k < SMALL;
    pool_run(cpu_threads(dev), small ? 1 : dev->threads, do_all, &w);
}

/* For a device without lent workspace. */
static __attribute__((noinline)) void run_on_stack(device *dev, const product *p)
{
    enum { SUMS = 1 << 15 };
    _Alignas(64) float room[PRODUCT_STACK + SUMS];
    run_in(dev, p, room, PRODUCT_STACK, SUMS);
}

void product_own(device *dev, const product *p)
{
    if (FEW_APART && product_few(dev, p)) return;
    tensor room = cpu_room(dev);
    if (!present(room)) {
        run_on_stack(dev, p);
        return;
    }
    int64_t floats_there = tensor_count(room) / (int64_t)sizeof(float), sums = floats_there / 4;
    run_in(dev, p, floats(room), floats_there - sums, sums);
}

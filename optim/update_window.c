/* update_window.c - see update_window.h */
#include "optim/update_window.h"
#include "core/segment.h"
#include "core/stored_numbers.h"
#include "params/offload.h"

#include <string.h>

enum { PIECE = 1 << 18 }; /* elements: 1 MiB of f32 in one read */
_Static_assert(PIECE % SEGMENT_BLOCK == 0 && PIECE % STATE_BLOCK == 0, "pieces of whole blocks");

size_t far_item_width(const far_item *f)
{
    size_t width = 0;
    for (int i = 0; i < FAR_LANES; i++)
        if (is_far(f->lane[i])) width += dtype_size(f->lane[i].type);
    return width;
}

void update_window_place(update_window *w, arena *a, const far_item *items, int64_t n)
{
    int64_t most = 0;
    size_t width = 0;
    for (int64_t i = 0; i < n; i++) {
        size_t needs = far_item_width(&items[i]);
        if (needs && items[i].count > most) most = items[i].count;
        if (needs > width) width = needs;
    }
    most = (most + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK * SEGMENT_BLOCK;
    *w = (update_window){.piece = most < PIECE ? most : PIECE};
    for (int i = 0; i < 2 && most; i++)
        w->room[i] = arena_keep(a, KIND_WORKSPACE, U8, SHAPE(w->piece * (int64_t)width),
                                NAME("window %d of offloaded numbers", i));
}

/* One piece on its way. */
typedef struct {
    int64_t item, first; /* elements from `first` of that item */
    optim_item it;       /* those alone */
    int64_t request;     /* the last of its reads */
} piece;

static tensor *lane_of(optim_item *it, int i)
{
    return i == 0 ? &it->p : i == 1 ? &it->master : &it->state[i - 2];
}

/* Elements [first, first + n). */
static tensor part_from(tensor t, int64_t first, int64_t n)
{
    return present(t) ? tensor_part(t, first, n) : t;
}

static int64_t length(const update_window *w, const far_item *f, int64_t first)
{
    return f->count - first < w->piece ? f->count - first : w->piece;
}

/* The piece's tensors, and the reads of those that are far. */
static void begin(update_window *w, far *disk, const optim_op *o, const far_item *of, piece *p)
{
    const far_item *f = &of[p->item];
    int64_t n = length(w, f, p->first), blocks = STATE_BLOCK;
    char *at = w->room[w->turn].data;
    optim_item *it = &p->it;
    *it = o->items[p->item];
    it->g = part_from(it->g, p->first, n);
    it->temp = part_from(it->temp, p->first, n);
    it->first = p->first;
    for (int k = 0; k < MAX_STATES; k++)
        it->scale[k] = part_from(it->scale[k], p->first / blocks, (n + blocks - 1) / blocks);
    for (int i = 0; i < FAR_LANES; i++) {
        tensor *t = lane_of(it, i);
        if (!is_far(f->lane[i])) {
            *t = part_from(*t, p->first, n);
            continue;
        }
        *t = tensor_of(at, f->lane[i].type, SHAPE(n));
        p->request = far_read(disk, f->lane[i], p->first, n, at);
        at += (size_t)w->piece * dtype_size(f->lane[i].type);
    }
    for (int k = 0; k < MAX_STATES && !o->fused && !present(it->temp); k++)
        if (o->rule->r_temp == (unsigned)LANE_S0 << k) it->temp = it->state[k]; /* the _r form */
    w->turn = !w->turn;
}

/* The next piece after this one; false: there is none. */
static bool next_of(const update_window *w, const optim_op *o, const far_item *of, const piece *p,
                    piece *next)
{
    *next = (piece){.item = p->item, .first = p->first + w->piece};
    if (next->first >= of[p->item].count) *next = (piece){.item = p->item + 1};
    return next->item < o->n;
}

static void finish(far *disk, const far_item *f, piece *p)
{
    for (int i = 0; i < FAR_LANES; i++) {
        tensor *t = lane_of(&p->it, i);
        if (is_far(f->lane[i])) far_write(disk, f->lane[i], p->first, tensor_count(*t), t->data);
    }
}

void update_window_run(update_window *w, runtime *r, const optim_op *o, const far_item *far_of)
{
    far *disk = r->params->far;
    piece now = {0}, next;
    if (r->dev->failure || !o->n) return;
    begin(w, disk, o, far_of, &now);
    for (bool more = true; more && !r->dev->failure; now = next) {
        more = next_of(w, o, far_of, &now, &next);
        if (more) begin(w, disk, o, far_of, &next);
        offload_wait(r, now.request);
        OP(optim, r->dev, r->stream, .rule = o->rule, .fused = o->fused, .hyper = o->hyper,
           .items = &now.it, .n = 1);
        if (!r->dev->failure) finish(disk, &far_of[now.item], &now);
    }
}

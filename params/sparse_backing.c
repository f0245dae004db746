/* sparse_backing.c - see sparse_backing.h */
#include "params/sparse_backing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A matrix in the pool. */
typedef struct {
    int id;
    int64_t elements;
    int64_t first_group, groups; /* of bits and starts */
    int64_t begins_with;         /* non-zeros */
    int64_t had, left, drawn;    /* non-zeros during a change: before, after pruning, new */
} matrix;

struct sparse {
    param_backing backing;
    matrix *matrices; /* (n) */
    int *of;          /* (rows) the matrix in that row, or -1 */
    int n;
    int64_t groups, total;
    uint64_t seed;
    tensor bits, starts; /* (groups,32) i32, (groups+1) i64 */
    tensor count;        /* (1) i64 */
};

/* The bits of a set of non-zeros, and where the values of its groups begin: for all matrices. */
typedef struct {
    tensor bits, starts;
} set;

static set now(const sparse *s)
{
    return (set){s->bits, s->starts};
}

/* Matrix m's part of a set. */
static set part(set all, const matrix *m)
{
    char *starts = (char *)all.starts.data + (size_t)m->first_group * sizeof(int64_t);
    return (set){tensor_slice(all.bits, m->first_group, m->groups),
                 tensor_of(starts, I64, SHAPE(m->groups + 1))};
}

/* ---- what the hooks call ---- */

static void expand(void *own, runtime *r, int id)
{
    const sparse *s = own;
    set of = part(now(s), &s->matrices[s->of[id]]);
    OP(expand, r->dev, r->stream, .out = r->params->row[id].value,
       .values = r->params->row[s->backing.pool].value, .bits = of.bits, .starts = of.starts);
}

/* Accumulates a dense gradient in the pool's. */
static void collect(void *own, runtime *r, const int *ids, int n)
{
    const sparse *s = own;
    params *p = r->params;
    for (int i = 0; i < n; i++) {
        set of = part(now(s), &s->matrices[s->of[ids[i]]]);
        grad g = grad_begin(r, s->backing.pool);
        /* has this matrix contributed in this step?  (Under fold the pool starts again from
         * zero.) */
        g.accumulate = p->micro > 0 && p->policy != GRADS_FOLD;
        OP(compress, r->dev, r->stream, .values = g, .x = p->row[ids[i]].gradient, .bits = of.bits,
           .starts = of.starts);
        grad_done(r, s->backing.pool);
    }
}

static void settle_sparse(void *own, runtime *r)
{
    (void)own, (void)r;
}

/* ---- open, close ---- */

static bool belongs(const param *row)
{
    return row->trainable && row->spec.hidden && row->spec.shape.rank >= 2;
}

static int count_matrices(const params *p)
{
    int n = 0;
    for (int id = 0; id < p->n; id++)
        n += belongs(&p->row[id]);
    return n;
}

/* Notes the matrices, and that they own nothing themselves. */
static void list_matrices(sparse *s, params *p, double sparsity)
{
    for (int id = 0; id < p->n; id++) {
        param *row = &p->row[id];
        s->of[id] = -1;
        if (!belongs(row)) continue;
        s->of[id] = s->n;
        matrix *m = &s->matrices[s->n++];
        *m = (matrix){.id = id,
                      .elements = row->count,
                      .first_group = s->groups,
                      .groups = (row->count + SPARSE_GROUP - 1) / SPARSE_GROUP,
                      .begins_with = (int64_t)llround((1 - sparsity) * (double)row->count)};
        if (m->begins_with < 1) m->begins_with = 1;
        s->groups += m->groups;
        s->total += m->begins_with;
        row->own = 0;
    }
}

static error *build_matrices(sparse *s, params *p, double sparsity)
{
    int n = count_matrices(p);
    if (!n)
        return user_error("--sparsity %g: no matrix of a block is trained: leave it out, or freeze "
                          "less",
                          sparsity);
    TRY(alloc_array(&s->matrices, (size_t)n, sizeof *s->matrices));
    TRY(alloc_array(&s->of, (size_t)p->n, sizeof *s->of));
    list_matrices(s, p, sparsity);
    /* two dimensions: states of fewer bits are for matrices */
    param_spec pool = {
        .name = "nonzeros", .layer = -1, .shape = SHAPE(1, s->total), .decay = true, .writers = n};
    s->backing.pool = params_add(p, pool);
    if (s->backing.pool < 0) return user_error("out of memory for the parameter table");
    params_back(p, &s->backing);
    return NULL;
}

error *sparse_open(runtime *r, double sparsity, uint64_t seed, sparse **out)
{
    sparse *s;
    TRY(alloc_array(&s, 1, sizeof *s));
    s->seed = seed;
    s->backing = (param_backing){
        .own = s, .collects = true, .expand = expand, .collect = collect, .settle = settle_sparse};
    error *e = build_matrices(s, r->params, sparsity);
    if (e) {
        sparse_close(s);
        return e;
    }
    *out = s;
    return NULL;
}

void sparse_close(sparse *s)
{
    if (!s) return;
    free(s->matrices);
    free(s->of);
    free(s);
}

int sparse_pool(const sparse *s)
{
    return s->backing.pool;
}

int64_t sparse_elements(const sparse *s)
{
    int64_t sum = 0;
    for (int i = 0; i < s->n; i++)
        sum += s->matrices[i].elements;
    return sum;
}

tensor sparse_bits(const sparse *s)
{
    return s->bits;
}

void sparse_place(sparse *s, runtime *r)
{
    s->bits = arena_keep(r->arena, KIND_PARAMETER, I32, SHAPE(s->groups, SPARSE_WORDS),
                         NAME("nonzeros' bits", 0));
    s->starts = arena_keep(r->arena, KIND_PARAMETER, I64, SHAPE(s->groups + 1),
                           NAME("nonzeros' starts", 0));
    s->count = arena_keep(r->arena, KIND_BATCH, I64, SHAPE(1), NAME("nonzeros' count", 0));
}

/* ---- how many ---- */

static int64_t fetch_number(runtime *r, tensor numbers, int64_t i)
{
    int64_t number = 0;
    op_get(r->dev, r->stream, &number, tensor_part(numbers, i, 1));
    op_sync(r->dev, r->stream);
    return number;
}

static int64_t count_of(runtime *r, set all, const matrix *m)
{
    return fetch_number(r, all.starts, m->first_group + m->groups) -
           fetch_number(r, all.starts, m->first_group);
}

int64_t sparse_count(const sparse *s, runtime *r, int id)
{
    return count_of(r, now(s), &s->matrices[s->of[id]]);
}

static void count_up(sparse *s, runtime *r)
{
    OP(starts, r->dev, r->stream, .starts = s->starts, .bits = s->bits);
}

/* ---- drawing ---- */

/* Draws m->drawn elements of each matrix, from those not in `taken`. */
static void draw_elements(sparse *s, runtime *r, set taken, uint32_t event)
{
    for (int i = 0; i < s->n; i++) {
        const matrix *m = &s->matrices[i];
        set of = part(taken, m);
        OP(regrow, r->dev, r->stream, .bits = part(now(s), m).bits, .taken = of.bits,
           .starts = of.starts, .elements = m->elements, .n = m->drawn, .seed = s->seed,
           .matrix = (uint32_t)i, .event = event);
    }
    count_up(s, r);
}

static set take_set(sparse *s, runtime *r, const char *bits, const char *starts)
{
    return (set){
        arena_take(r->arena, KIND_WORKSPACE, I32, SHAPE(s->groups, SPARSE_WORDS), NAME(bits, 0)),
        arena_take(r->arena, KIND_WORKSPACE, I64, SHAPE(s->groups + 1), NAME(starts, 0))};
}

static void copy_set(runtime *r, set to, set from)
{
    OP(copy, r->dev, r->stream, .dst = to.bits, .src = from.bits);
    OP(copy, r->dev, r->stream, .dst = to.starts, .src = from.starts);
}

static void drop_set(runtime *r, set *all)
{
    arena_drop(r->arena, &all->bits);
    arena_drop(r->arena, &all->starts);
}

static tensor take_dense(runtime *r, const matrix *m, dtype type)
{
    const param_spec *spec = &r->params->row[m->id].spec;
    return arena_take(r->arena, KIND_PARAMETER, type, spec->shape, NAME(spec->name, spec->layer));
}

error *sparse_initialize(sparse *s, runtime *r)
{
    params *p = r->params;
    error *e = NULL;
    arena_begin(r->arena, "begin with non-zeros");
    set none = take_set(s, r, "no bits", "no starts");
    op_clear(r->dev, r->stream, none.bits);
    op_clear(r->dev, r->stream, none.starts);
    op_clear(r->dev, r->stream, s->bits);
    for (int i = 0; i < s->n; i++)
        s->matrices[i].drawn = s->matrices[i].begins_with;
    draw_elements(s, r, none, 0);
    drop_set(r, &none);
    for (int i = 0; i < s->n; i++) {
        const matrix *m = &s->matrices[i];
        param *row = &p->row[m->id];
        set of = part(now(s), m);
        row->value = take_dense(r, m, p->type);
        if (!e && r->dev->ops->alloc) e = param_initialize(p, r->dev, s->seed, m->id);
        OP(compress, r->dev, r->stream, .values.t = p->row[s->backing.pool].value, .x = row->value,
           .bits = of.bits, .starts = of.starts);
        arena_drop(r->arena, &row->value);
    }
    arena_end(r->arena);
    if (!e && r->dev->ops->alloc) e = param_adopt(p, r->dev, s->backing.pool);
    return e;
}

/* ---- pruning ---- */

/* The largest limit below which there are no more than `most` of x. */
static double find_limit(sparse *s, runtime *r, tensor x, int64_t most)
{
    uint32_t low = 0, high = 0x7f800000u; /* bits of 0 and of infinity: for positive numbers bits
                                           * are ordered as values */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        float limit;
        memcpy(&limit, &middle, sizeof limit);
        OP(count_below, r->dev, r->stream, .count = s->count, .x = x, .limit = (double)limit);
        if (fetch_number(r, s->count, 0) <= most)
            low = middle;
        else
            high = middle;
    }
    float limit;
    memcpy(&limit, &low, sizeof limit);
    return (double)limit;
}

/* Distributes the pruned number in proportion to the remaining non-zeros of each matrix; what does
 * not fit goes to the first matrices that have room. */
static void deal(sparse *s)
{
    int64_t left = 0, given = 0, before = 0;
    for (int i = 0; i < s->n; i++) {
        left += s->matrices[i].left;
        s->matrices[i].drawn = 0;
    }
    int64_t gone = s->total - left;
    for (int i = 0; i < s->n && left; i++) {
        matrix *m = &s->matrices[i];
        double from = (double)before / (double)left,
               to = (double)(before + m->left) / (double)left; /* exactly 1 for the last matrix */
        int64_t room = m->elements - m->had;
        m->drawn = (int64_t)((double)gone * to) - (int64_t)((double)gone * from);
        if (m->drawn > room) m->drawn = room;
        given += m->drawn;
        before += m->left;
    }
    for (int i = 0; i < s->n && given < gone; i++) {
        matrix *m = &s->matrices[i];
        int64_t room = m->elements - m->had - m->drawn, more = gone - given;
        if (more > room) more = room;
        m->drawn += more;
        given += more;
    }
}

/* Moves matrix m's part of t from its place in one set to that in another. */
static void move_matrix(runtime *r, const matrix *m, tensor t, set from, set to)
{
    tensor dense = take_dense(r, m, t.type);
    OP(expand, r->dev, r->stream, .out = dense, .values = t, .bits = part(from, m).bits,
       .starts = part(from, m).starts);
    OP(compress, r->dev, r->stream, .values.t = t, .x = dense, .bits = part(to, m).bits,
       .starts = part(to, m).starts);
    arena_drop(r->arena, &dense);
}

/* Rearranges t in place.  What stays moves to the front, from the first matrix on, then to its new
 * place, from the last matrix on: nothing is overwritten before it is read. */
static void move(const sparse *s, runtime *r, tensor t, set old, set remaining)
{
    for (int i = 0; i < s->n; i++)
        move_matrix(r, &s->matrices[i], t, old, remaining);
    for (int i = s->n - 1; i >= 0; i--)
        move_matrix(r, &s->matrices[i], t, remaining, now(s));
}

/* Reduces s's set to what stays. */
static void prune(sparse *s, runtime *r, set old, double fraction)
{
    tensor values = r->params->row[s->backing.pool].value;
    int64_t most = (int64_t)(fraction * (double)s->total), zeros = 0;
    for (int i = 0; i < s->n; i++) {
        matrix *m = &s->matrices[i];
        m->had = count_of(r, old, m);
        zeros += m->elements - m->had;
    }
    OP(prune, r->dev, r->stream, .remaining = s->bits, .values = values, .bits = old.bits,
       .starts = old.starts, .limit = find_limit(s, r, values, most < zeros ? most : zeros));
    count_up(s, r);
    for (int i = 0; i < s->n; i++)
        s->matrices[i].left = count_of(r, now(s), &s->matrices[i]);
}

error *sparse_renew(sparse *s, runtime *r, double fraction, int64_t step, const tensor *tensors,
                    int n)
{
    arena_begin(r->arena, "renew non-zeros");
    set old = take_set(s, r, "nonzeros' old bits", "nonzeros' old starts"),
        remaining = take_set(s, r, "nonzeros' kept bits", "nonzeros' kept starts");
    copy_set(r, old, now(s));
    prune(s, r, old, fraction);
    copy_set(r, remaining, now(s));
    deal(s);
    draw_elements(s, r, old, (uint32_t)step);
    for (int i = 0; i < n; i++)
        move(s, r, tensors[i], old, remaining);
    drop_set(r, &old);
    drop_set(r, &remaining);
    arena_end(r->arena);
    return device_status(r->dev);
}

error *sparse_adopt(sparse *s, runtime *r)
{
    count_up(s, r);
    int64_t has = fetch_number(r, s->starts, s->groups);
    if (has != s->total && !r->dev->failure)
        return user_error("%lld elements are marked as non-zeros, but there are %lld: the file is "
                          "damaged, take another checkpoint",
                          (long long)has, (long long)s->total);
    return device_status(r->dev);
}

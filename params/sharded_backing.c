/* sharded_backing.c - see sharded_backing.h */
#include "params/sharded_backing.h"

#include <stdlib.h>

enum { UNIT = 16 }; /* elements: alignment of vector loops and 16-byte accesses */

struct zero {
    param_backing backing;
    share *shares; /* (n) */
    int *order;    /* (n) scratch: indices, largest first */
    int stage;
    int64_t arrived; /* the last mark that was waited for */
};

/* ---- who owns what ---- */

static void deal_evenly(zero *z, const params *p, int ranks)
{
    for (int id = 0; id < p->n; id++)
        z->shares[id] = share_evenly(p->row[id].count, ranks, UNIT);
}

static void repeat_in_groups(zero *z, const params *p, int group)
{
    for (int id = 0; id < p->n; id++)
        z->shares[id].group = group;
}

static error *shard_by_matrix(zero *z, const params *p, int ranks)
{
    int64_t *load;
    TRY(alloc_array(&load, (size_t)ranks, sizeof *load));
    for (int i = 0; i < p->n; i++) { /* by size; ties by index */
        int at = i;
        for (; at > 0 && p->row[z->order[at - 1]].count < p->row[i].count; at--)
            z->order[at] = z->order[at - 1];
        z->order[at] = i;
    }
    for (int i = 0; i < p->n; i++) {
        int id = z->order[i], least = 0;
        for (int r = 1; r < ranks; r++)
            if (load[r] < load[least]) least = r;
        z->shares[id] = (share){.count = p->row[id].count, .owner = least};
        load[least] += p->row[id].count;
    }
    free(load);
    return NULL;
}

static void take_own(const zero *z, params *p, int rank)
{
    for (int id = 0; id < p->n; id++) {
        param *row = &p->row[id];
        if (row->spec.state) continue;
        int place = share_place(&z->shares[id], rank);
        row->own_first = share_begin(&z->shares[id], place);
        row->own = share_begin(&z->shares[id], place + 1) - row->own_first;
    }
}

/* ---- what the hooks call ---- */

/* The communication stream waits for the work so far; on a device with one stream they are the
 * same. */
static void leave(runtime *r)
{
    op_fork(r->dev, r->stream, STREAM_COMM);
}
static void come_back(runtime *r)
{
    comm_join(r->comm, r->dev, r->stream);
}

static void doing(runtime *r, const char *what)
{
    r->comm->doing = what;
}

static void collect(void *own, runtime *r, const int *ids, int n)
{
    const zero *z = own;
    doing(r, "adding up gradients");
    leave(r);
    comm_group(r->comm, r->dev, true);
    for (int i = 0; i < n; i++) {
        tensor g = r->params->row[ids[i]].gradient;
        if (z->stage)
            comm_scatter(r->comm, r->dev, STREAM_COMM, g, &z->shares[ids[i]]);
        else
            comm_sum(r->comm, r->dev, STREAM_COMM, g);
    }
    comm_group(r->comm, r->dev, false);
}

static void settle(void *own, runtime *r)
{
    (void)own;
    come_back(r);
}

static void spread(void *own, runtime *r)
{
    const zero *z = own;
    doing(r, "gathering parameters");
    leave(r);
    comm_group(r->comm, r->dev, true);
    for (int id = 0; id < r->params->n; id++)
        if (r->params->row[id].trainable)
            comm_gather(r->comm, r->dev, STREAM_COMM, r->params->row[id].value, &z->shares[id]);
    comm_group(r->comm, r->dev, false);
    come_back(r);
}

/* The own part of a value goes where the others' will be. */
static void lay_own(runtime *r, const param *row)
{
    if (!row->own || !present(row->value)) return;
    char *first = (char *)row->value.data + (size_t)row->own_first * dtype_size(row->value.type);
    OP(copy, r->dev, r->stream, .src = row->stored,
       .dst = tensor_of(first, row->value.type, SHAPE(row->own)));
}

static int64_t send_for(void *own, runtime *r, const int *ids, int n)
{
    const zero *z = own;
    doing(r, "gathering parameters");
    for (int i = 0; i < n; i++)
        lay_own(r, &r->params->row[ids[i]]);
    leave(r);
    if (n > 1) comm_group(r->comm, r->dev, true);
    for (int i = 0; i < n; i++)
        comm_gather(r->comm, r->dev, STREAM_COMM, r->params->row[ids[i]].value, &z->shares[ids[i]]);
    if (n > 1) comm_group(r->comm, r->dev, false);
    return comm_mark(r->comm, r->dev);
}

/* Marks follow one another: what is waited for once is there. */
static void arrive(void *own, runtime *r, int64_t mark)
{
    zero *z = own;
    if (mark && mark <= z->arrived) return;
    comm_await(r->comm, r->dev, r->stream, mark);
    z->arrived = mark;
}

static void expand(void *own, runtime *r, int id)
{
    arrive(own, r, send_for(own, r, &id, 1));
}

/* ---- open, close ---- */

static error *deal(zero *z, params *p, const comm *c, bool full)
{
    TRY(alloc_array(&z->shares, (size_t)p->n, sizeof *z->shares));
    TRY(alloc_array(&z->order, (size_t)p->n, sizeof *z->order));
    int ranks = c->group ? c->group : c->size;
    if (full)
        TRY(shard_by_matrix(z, p, ranks));
    else
        deal_evenly(z, p, ranks);
    repeat_in_groups(z, p, c->group);
    if (z->stage) take_own(z, p, c->rank);
    params_back(p, &z->backing);
    return NULL;
}

error *zero_open(runtime *r, int stage, bool full, int64_t bucket, zero **out)
{
    zero *z;
    TRY(alloc_array(&z, 1, sizeof *z));
    z->stage = stage;
    z->backing = (param_backing){.own = z,
                                 .collects = stage >= 2 && r->params->policy != GRADS_RELEASE,
                                 .bucket = bucket,
                                 .expand = stage == 3 ? expand : NULL,
                                 .fetch = stage == 3 ? send_for : NULL,
                                 .arrive = stage == 3 ? arrive : NULL,
                                 .collect = collect,
                                 .settle = settle,
                                 .spread = stage == 1 || stage == 2 ? spread : NULL};
    if (bucket || r->params->ahead) r->comm->beside = true;
    error *e = deal(z, r->params, r->comm, full);
    if (e) {
        zero_close(z);
        return e;
    }
    *out = z;
    return NULL;
}

void zero_close(zero *z)
{
    if (!z) return;
    free(z->shares);
    free(z->order);
    free(z);
}

const share *zero_share(const zero *z, int id)
{
    return &z->shares[id];
}

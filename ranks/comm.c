/* comm.c - see comm.h: the front, which checks and counts. */
#include "ranks/comm.h"

#include <stdlib.h>
#include <string.h>

int64_t share_begin(const share *s, int rank)
{
    if (s->owner >= 0) return rank <= s->owner ? 0 : s->count;
    int64_t at = (int64_t)rank * s->each;
    return at < s->count ? at : s->count;
}

int64_t share_slab(const share *s, int rank, int64_t at, int64_t room)
{
    int64_t left = share_begin(s, rank + 1) - share_begin(s, rank) - at;
    return left < 0 ? 0 : left < room ? left : room;
}

int64_t share_longest(const share *s)
{
    return s->owner < 0 && s->each < s->count ? s->each : s->count;
}

share share_evenly(int64_t count, int ranks, int64_t unit)
{
    int64_t each = (count + ranks - 1) / ranks;
    return (share){.count = count, .each = (each + unit - 1) / unit * unit, .owner = -1};
}

/* ---- on tensors ---- */

/* Is there anything to do?  A misuse is a failure of the device. */
static bool goes(const comm *c, device *dev, const char *call, tensor x, const share *s)
{
    if (comm_size(c) == 1 || dev->failure || !dev->ops->alloc) return false;
    if (!c->ops) {
        device_fail(dev, internal_error("%s: the ranks of a plan are not there", call));
    } else if (s && s->group && s->group != c->group) {
        device_fail(dev, internal_error("%s in groups of %d, where ranks are in groups of %d", call,
                                        s->group, c->group));
    } else if (!present(x) || !tensor_contiguous(x) || (s && s->count != tensor_count(x))) {
        char text[80];
        device_fail(dev, internal_error("%s of %s, sharded as %lld elements", call,
                                        tensor_text(x, text, sizeof text),
                                        s ? (long long)s->count : -1LL));
    }
    return !dev->failure;
}

void comm_sum(comm *c, device *dev, int stream, tensor x)
{
    if (!goes(c, dev, "sum", x, NULL)) return;
    c->moved.all += 2 * (int64_t)tensor_bytes(x);
    c->ops->sum(c, dev, stream, x);
}

void comm_scatter(comm *c, device *dev, int stream, tensor x, const share *s)
{
    if (!goes(c, dev, "scatter", x, s)) return;
    int place = share_place(s, c->rank);
    int64_t own = share_begin(s, place + 1) - share_begin(s, place),
            sums = s->group ? 2 * own * (int64_t)dtype_size(x.type) : 0;
    c->moved.between += sums;
    c->moved.all += (int64_t)tensor_bytes(x) + sums;
    c->ops->scatter(c, dev, stream, x, s);
}

void comm_gather(comm *c, device *dev, int stream, tensor x, const share *s)
{
    if (!goes(c, dev, "gather", x, s)) return;
    c->moved.all += (int64_t)tensor_bytes(x);
    c->ops->gather(c, dev, stream, x, s);
}

void comm_group(comm *c, device *dev, bool begin)
{
    if (comm_size(c) > 1 && c->ops && c->ops->group && dev->ops->alloc)
        c->ops->group(c, dev, begin);
}

void comm_join(comm *c, device *dev, int stream)
{
    if (c->ops && c->ops->join && dev->ops->alloc && !dev->failure)
        c->ops->join(c, dev, stream);
    else
        op_join(dev, STREAM_COMM, stream);
}

int64_t comm_mark(comm *c, device *dev)
{
    bool there = c->ops && c->ops->mark && dev->ops->alloc && !dev->failure;
    return there ? c->ops->mark(c, dev) : 0;
}

void comm_await(comm *c, device *dev, int stream, int64_t mark)
{
    if (c->ops && c->ops->await && dev->ops->alloc && !dev->failure)
        c->ops->await(c, dev, stream, mark);
    else
        op_join(dev, STREAM_COMM, stream);
}

void comm_abandon(comm *c)
{
    if (c && c->ops && c->ops->abandon) c->ops->abandon(c);
}

double comm_waited(comm *c, device *dev)
{
    if (comm_size(c) == 1) return 0;
    if (c->ops && c->ops->waited && !dev->failure) c->ops->waited(c, dev);
    return c->seconds;
}

/* ---- between the hosts ---- */

error *comm_share(comm *c, const void *mine, void *all, size_t bytes)
{
    if (comm_size(c) > 1 && c->ops) return c->ops->share_words(c, mine, all, bytes);
    memcpy(all, mine, bytes);
    return NULL;
}

enum { WORDS = 480 };

/* The outcome of one rank. */
typedef struct {
    int32_t failed; /* an error_kind, 0 if it succeeded */
    char text[WORDS];
} outcome;

/* The error of the first rank that has one; consumes mine. */
static error *first_of(comm *c, error *mine, const outcome *all)
{
    int first = 0;
    while (first < c->size && !all[first].failed)
        first++;
    if (first == c->size) return NULL;
    c->agreed = true;
    c->told = first != c->rank;
    if (first == c->rank) return error_context(mine, "rank %d", c->rank);
    error_free(mine);
    return error_as(user_error("rank %d: %.*s", first, WORDS, all[first].text),
                    (error_kind)all[first].failed);
}

error *comm_agree(comm *c, error *mine)
{
    outcome own = {0}, *all = NULL;
    if (comm_size(c) == 1 || !c->ops) return mine;
    if (mine) {
        own.failed = (int32_t)error_kind_of(mine);
        strncpy(own.text, error_text(mine), WORDS - 1);
    }
    error *e = alloc_array(&all, (size_t)c->size, sizeof *all);
    if (!e) e = comm_share(c, &own, all, sizeof own);
    mine = e ? error_first(mine, e) : first_of(c, mine, all);
    free(all);
    return mine;
}

error *comm_compare(comm *c, const uint64_t *mine, int n, int *rank, int *which)
{
    uint64_t *all;
    size_t row = (size_t)n;
    *rank = *which = -1;
    TRY(alloc_array(&all, row * (size_t)comm_size(c), sizeof *all));
    error *e = comm_share(c, mine, all, row * sizeof *all);
    for (int r = 1; !e && *rank < 0 && r < comm_size(c); r++)
        for (int i = 0; *rank < 0 && i < n; i++)
            if (all[(size_t)r * row + (size_t)i] != all[i]) {
                *rank = r;
                *which = i;
            }
    free(all);
    return e;
}

error *comm_same(comm *c, uint64_t mine, const char *what)
{
    int rank, which;
    if (comm_size(c) == 1) return NULL;
    TRY(comm_compare(c, &mine, 1, &rank, &which));
    if (rank < 0) return NULL;
    return comm_alike(
        c, user_error("rank %d has other %s than rank 0: give all ranks the same", rank, what));
}

error *comm_any(comm *c, bool *so)
{
    char mine = *so, *all;
    if (comm_size(c) == 1) return NULL;
    TRY(alloc_array(&all, (size_t)c->size, 1));
    error *e = comm_share(c, &mine, all, 1);
    for (int r = 0; !e && r < c->size; r++)
        *so = *so || all[r];
    free(all);
    return e;
}

error *comm_tell(comm *c, void *bytes, size_t n)
{
    char *all;
    if (comm_size(c) == 1) return NULL;
    TRY(alloc_array(&all, (size_t)c->size, n));
    error *e = comm_share(c, bytes, all, n);
    if (!e) memcpy(bytes, all, n);
    free(all);
    return e;
}

error *comm_alike(comm *c, error *e)
{
    if (!e || comm_size(c) == 1) return e;
    c->agreed = true;
    c->told = c->rank > 0;
    return e;
}

double comm_patience(comm *c, double seconds)
{
    if (!c) return 0;
    double before = c->limit;
    c->limit = seconds;
    return before;
}

error *comm_divide(comm *c, int64_t n)
{
    if (n && c->size % n)
        return comm_alike(c,
                          user_error("--shard-group %lld with %d ranks: they are not whole groups; "
                                     "give a divisor of %d",
                                     (long long)n, c->size, c->size));
    c->group = n < c->size ? (int)n : 0;
    return NULL;
}

comm comm_planned(int size, size_t staging)
{
    return (comm){.size = size, .staging = staging};
}

void comm_close(comm *c, int status)
{
    if (c && c->ops) c->ops->close(c, status);
}

/* who.c - see who.h */
#include "train/who.h"
#include "train/choose_device.h"
#include "train/freeze.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOST = 64, DEVICE_TEXT = 96, MOST_LINES = 32 };

/* A rank's description of itself. */
typedef struct {
    char host[HOST], device[DEVICE_TEXT];
    int64_t own; /* elements that it updates */
} whereabouts;

static whereabouts here(const trainer *t, const device *dev)
{
    whereabouts w = {0};
    char text[320];
    if (gethostname(w.host, sizeof w.host - 1)) snprintf(w.host, sizeof w.host, "(no name)");
    snprintf(w.device, sizeof w.device, "%.*s", DEVICE_TEXT - 1,
             device_describe(dev, text, sizeof text));
    for (int id = 0; id < t->params.n; id++)
        if (t->params.row[id].trainable) w.own += t->params.row[id].own;
    return w;
}

/* The number of a rank within its machine: that of its GPU, if each has one. */
static int number_on_machine(const whereabouts *all, int rank)
{
    int n = 0;
    for (int r = 0; r < rank; r++)
        n += !strcmp(all[r].host, all[rank].host);
    return n;
}

static bool alike(const whereabouts *a, const whereabouts *b)
{
    return !strcmp(a->host, b->host) && !strcmp(a->device, b->device);
}

const char *ranks_groups(const comm *c, char *buffer, size_t size)
{
    *buffer = 0;
    if (c->group) snprintf(buffer, size, ", in groups of %d ranks", c->group);
    return buffer;
}

static void print_all(const trainer *t, const device *dev, const whereabouts *all)
{
    static const char *const sharded[] = {"each has all", "states are sharded",
                                          "gradients and states are sharded",
                                          "parameters, gradients and states are sharded"};
    const comm *c = t->o->comm;
    long long trained = (long long)trained_count(&t->params);
    bool each_its_own = dev->kind->join != NULL;
    char groups[48];
    printf("ranks: %d by %s, --zero %lld: %s%s\n", c->size,
           each_its_own       ? "NCCL"
           : c->shares_memory ? "MPI in shared memory"
                              : "MPI",
           (long long)t->o->zero, sharded[t->o->zero], ranks_groups(c, groups, sizeof groups));
    for (int r = 0, end; r < c->size; r = end) {
        for (end = r + 1; end < c->size && c->size > MOST_LINES && alike(&all[r], &all[end]);)
            end++;
        char until[32] = "", number[32] = "";
        if (end > r + 1) snprintf(until, sizeof until, " to %d", end - 1);
        if (each_its_own && end == r + 1)
            snprintf(number, sizeof number, ", its GPU %d", number_on_machine(all, r));
        printf("  rank%s %d%s on %s: %s%s; updates %lld of %lld parameters\n",
               end > r + 1 ? "s" : "", r, until, all[r].host, all[r].device, number,
               (long long)all[r].own, trained);
    }
}

error *ranks_tell(const trainer *t, const device *dev)
{
    comm *c = t->o->comm;
    if (comm_size(c) == 1) return NULL;
    whereabouts mine = here(t, dev), *all;
    TRY(alloc_array(&all, (size_t)c->size, sizeof *all));
    error *e = comm_share(c, &mine, all, sizeof mine);
    for (int r = 0; !e && r < c->size; r++) /* from other ranks */
        all[r].host[HOST - 1] = all[r].device[DEVICE_TEXT - 1] = 0;
    if (!e && c->rank == 0) print_all(t, dev, all);
    free(all);
    return e;
}

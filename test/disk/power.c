/* power.c - see power.h */
#include "test/disk/power.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NODES = 512, NAMES = 64 };

typedef struct {
    char name[100];
    int node;
} entry;

typedef struct {
    entry list[NAMES];
    int n;
} names;

typedef struct {
    bool directory;
    names now, synced; /* of a directory */
    uint8_t *bytes;    /* of a file: what was written */
    size_t n, n_synced;
    uint8_t *synced_bytes; /* (n_synced) */
} node;

typedef struct {
    node list[NODES];
    int n;
    int64_t file[1 << 14]; /* by number of what was opened: its node, -1 elsewhere */
    const char *root;
    uint64_t coin, throws;
    power_loss loss;
} disk;

static void want(bool condition, const char *what)
{
    if (condition) return;
    printf("power.c: %s\n", what);
    abort();
}

static int new_node(disk *d, bool directory)
{
    want(d->n < NODES, "too many files");
    d->list[d->n] = (node){.directory = directory};
    return d->n++;
}

static entry *find(names *in, const char *name)
{
    for (int i = 0; i < in->n; i++)
        if (!strcmp(in->list[i].name, name)) return &in->list[i];
    return NULL;
}

static void put(names *in, const char *name, int where)
{
    entry *e = find(in, name);
    if (!e) {
        want(in->n < NAMES && strlen(name) < sizeof e->name, "too many names");
        e = &in->list[in->n++];
        snprintf(e->name, sizeof e->name, "%s", name);
    }
    e->node = where;
}

static int take(names *in, const char *name)
{
    entry *e = find(in, name);
    want(e, "a name that is not there is removed");
    int where = e->node;
    *e = in->list[--in->n];
    return where;
}

/* The directory that holds a path, and the last name of it; NULL outside of the root. */
static names *holder(disk *d, const char *path, char *last)
{
    size_t n = strlen(d->root);
    if (strncmp(path, d->root, n) || path[n] != '/') return NULL;
    names *in = &d->list[0].now;
    for (path += n + 1;; path += n + 1) {
        n = strcspn(path, "/");
        snprintf(last, 100, "%.*s", (int)n, path);
        if (!path[n]) return in;
        entry *e = find(in, last);
        want(e && d->list[e->node].directory, "a path through no directory");
        in = &d->list[e->node].now;
    }
}

static void do_open(disk *d, const call *c)
{
    char last[100];
    d->file[c->file] = -1;
    if (!strcmp(c->a, d->root)) {
        d->file[c->file] = 0;
        return;
    }
    names *in = holder(d, c->a, last);
    if (!in) return;
    entry *e = find(in, last);
    if (!e) {
        want(c->create, "a file is opened that is not there");
        int made = new_node(d, false);
        put(in, last, made);
        e = find(in, last);
    }
    if (c->truncate) d->list[e->node].n = 0;
    d->file[c->file] = e->node;
}

static void do_write(disk *d, const call *c)
{
    if (d->file[c->file] < 0) return;
    node *f = &d->list[d->file[c->file]];
    f->bytes = realloc(f->bytes, f->n + c->n);
    want(f->bytes, "no memory");
    memcpy(f->bytes + f->n, c->bytes, c->n);
    f->n += c->n;
}

static void do_fsync(disk *d, const call *c)
{
    if (d->file[c->file] < 0) return;
    node *f = &d->list[d->file[c->file]];
    f->synced = f->now;
    free(f->synced_bytes);
    f->synced_bytes = malloc(f->n + 1);
    want(f->synced_bytes, "no memory");
    if (f->n) memcpy(f->synced_bytes, f->bytes, f->n);
    f->n_synced = f->n;
}

static void do_call(disk *d, const call *c)
{
    char last[100], other[100];
    names *in;
    switch (c->kind) {
    case CALL_OPEN:
        do_open(d, c);
        break;
    case CALL_WRITE:
        do_write(d, c);
        break;
    case CALL_FSYNC:
        do_fsync(d, c);
        break;
    case CALL_MKDIR:
        if ((in = holder(d, c->a, last))) put(in, last, new_node(d, true));
        break;
    case CALL_RENAME:
        if (!(in = holder(d, c->a, last))) break;
        put(holder(d, c->b, other), other, take(in, last));
        break;
    case CALL_UNLINK:
    case CALL_RMDIR:
        if ((in = holder(d, c->a, last))) take(in, last);
        break;
    default:
        break;
    }
}

/* ---- what is left ---- */

static bool heads(disk *d)
{
    return rng_uniform(d->coin, RNG_TEST, d->throws++) < 0.5;
}

static bool keeps_names(disk *d)
{
    return d->loss == POWER_ALL || d->loss == POWER_NAMES || (d->loss == POWER_ANY && heads(d));
}

static bool keeps_bytes(disk *d)
{
    return d->loss == POWER_ALL || (d->loss == POWER_ANY && heads(d));
}

static void lay_file(disk *d, const node *f, const char *path)
{
    bool all = keeps_bytes(d);
    FILE *out = fopen(path, "wb");
    size_t n = all ? f->n : f->n_synced;
    want(out, "cannot create");
    want(!n || fwrite(all ? f->bytes : f->synced_bytes, 1, n, out) == n, "cannot write");
    fclose(out);
}

static void lay(disk *d, int which, const char *path);

static void lay_name(disk *d, const entry *e, const char *path)
{
    char below[4096];
    snprintf(below, sizeof below, "%s/%s", path, e->name);
    if (d->list[e->node].directory) {
        want(mkdir(below, 0777) == 0, "cannot make a directory");
        lay(d, e->node, below);
    } else {
        lay_file(d, &d->list[e->node], below);
    }
}

static void lay(disk *d, int which, const char *path)
{
    node *f = &d->list[which];
    for (int i = 0; i < f->now.n; i++) {
        const entry *e = &f->now.list[i], *s = find(&f->synced, e->name);
        if (s && s->node == e->node)
            lay_name(d, e, path);
        else if (keeps_names(d))
            lay_name(d, e, path);
        else if (s)
            lay_name(d, s, path);
    }
    for (int i = 0; i < f->synced.n; i++) /* removed since */
        if (!find(&f->now, f->synced.list[i].name) && !keeps_names(d))
            lay_name(d, &f->synced.list[i], path);
}

void power_cut(const call_log *log, int64_t n, const char *from, const char *to, power_loss loss,
               uint64_t coin)
{
    disk *d = calloc(1, sizeof *d);
    want(d, "no memory");
    d->root = from;
    d->loss = loss;
    d->coin = coin;
    new_node(d, true);
    want(log->files < 1 << 14, "too many files");
    for (int64_t i = 0; i < n; i++)
        do_call(d, &log->list[i]);
    lay(d, 0, to);
    for (int i = 0; i < d->n; i++) {
        free(d->list[i].bytes);
        free(d->list[i].synced_bytes);
    }
    free(d);
}

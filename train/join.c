/* join.c - see join.h */
#include "train/join.h"
#include "base/json.h"
#include "base/fingerprint.h"
#include "ranks/mpi.h"
#include "ranks/tcp.h"
#include "train/conflicts.h"
#include "train/task.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_OPTIONS = 128 };

/* ---- agreement ---- */

/* The program's executable. */
static error *hash_of_program(uint64_t *out)
{
    static const char self[] = "/proc/self/exe";
    fingerprint f = {0};
    error *e = access(self, R_OK)
                   ? NULL
                   : fingerprint_path(self, &f); /* it has none: nothing to compare */
    *out = f.value;
    return e;
}

/* One number for each option of the task, in the order of option_name. */
static error *hashes_of_options(const options *o, uint64_t *out, int *n)
{
    char *text;
    TRY(options_json(o, &text));
    cJSON *all = cJSON_Parse(text);
    free(text);
    if (!all) return user_error("out of memory for the options");
    for (*n = 0; *n < MOST_OPTIONS && option_name(o->task, *n); ++*n) {
        const cJSON *item = json_get(all, option_name(o->task, *n));
        char *value = item ? cJSON_PrintUnformatted(item) : NULL;
        out[*n] = value ? fingerprint_add(0, value, strlen(value)) : 0;
        cJSON_free(value);
    }
    cJSON_Delete(all);
    return NULL;
}

static error *compare_all(const options *o, comm *c)
{
    uint64_t mine[MOST_OPTIONS + 1] = {0};
    int n = 0, rank, which;
    error *e = hash_of_program(&mine[0]);
    if (!e) e = hashes_of_options(o, mine + 1, &n);
    TRY(comm_agree(c, e));
    TRY(comm_compare(c, mine, MOST_OPTIONS + 1, &rank, &which));
    if (rank < 0) return NULL;
    if (!which)
        e = user_error(
            "rank %d runs another build of %s than rank 0: install the same one on every "
            "machine",
            rank, o->task->kind->program);
    else
        e = user_error("rank %d was given another --%s than rank 0: start all ranks with the same "
                       "options",
                       rank, option_name(o->task, which - 1));
    return comm_alike(c, e);
}

/* ---- joining ---- */

/* All ranks on GPUs, or all on CPUs. */
static error *agree_on_device(options *o, comm *c)
{
    int rank, which;
    o->device = device_likely(o->device);
    uint64_t chosen = (uint64_t)o->device;
    TRY(comm_compare(c, &chosen, 1, &rank, &which));
    if (rank < 0) return NULL;
    return comm_alike(c, user_error("rank %d and rank 0 are not both on machines with a GPU: give "
                                    "--device cpu or cuda",
                                    rank));
}

static error *join(options *o, comm *c, error *(*open)(comm *))
{
    TRY(open(c));
    c->limit = COMM_DISK_SECONDS;
    if (c->size == 1) return NULL;
    if (c->rank && !freopen("/dev/null", "w", stdout))
        return user_error("/dev/null cannot be opened: %s", strerror(errno));
    o->comm = c;
    TRY(compare_all(o, c));
    TRY(comm_divide(c, o->shard_group));
    TRY(agree_on_device(o, c));
    const device_kind *kind = device_kind_at(o->device);
    if (kind->join) { /* the device's engine carries tensors, and has workspace of its own */
        int local = 0;
        c->staging = 0;
        error *e = c->ops->local_rank(c, &local);
        return comm_agree(c, e || !kind->choose ? e : kind->choose(local));
    }
    if (c->ops->sum) return NULL;
    return comm_alike(c, user_error("several ranks on CPUs communicate by MPI: start them with "
                                    "mpirun -np %d %s ..., or give --device cuda",
                                    c->size, o->task->kind->program));
}

static error *wants_mpi(const options *o, const char *n)
{
    return user_error("%s ranks on CPUs communicate by MPI: start them "
                      "with mpirun -np %s %s ..., or give --device cuda",
                      n, n, o->task->kind->program);
}

error *ranks_start(const options *o, bool *parent, int *status)
{
    *parent = false;
    if (o->gpus == 1) return NULL;
    if (mpi_started() || wire_started())
        return user_error("--gpus %lld in one of several ranks that something else has started: "
                          "leave it out",
                          (long long)o->gpus);
    char n[16];
    snprintf(n, sizeof n, "%d", (int)o->gpus);
    if (o->device == DEVICE_CPU) return wants_mpi(o, n); /* reported before the fork, once */
    TRY(device_enough((int)o->gpus));
    return wire_launch((int)o->gpus, parent, status);
}

error *ranks_join(comm *c, device *dev)
{
    return comm_size(c) > 1 && dev->kind->join ? dev->kind->join(dev, c) : NULL;
}

error *ranks_open(options *o, comm *room)
{
    *room = (comm){.size = 1};
    if (o->plan && o->ranks > 1) {
        *room = comm_planned((int)o->ranks,
                             device_kind_at(device_likely(o->device))->join ? 0 : MPI_STAGING);
        TRY(comm_divide(room, o->shard_group));
        o->comm = room;
    } else if (mpi_started()) {
        TRY(join(o, room, mpi_open));
    } else if (!o->plan && wire_started()) {
        if (device_likely(o->device) == DEVICE_CPU) /* before waiting for the others */
            return wants_mpi(o, wire_size());
        TRY(join(o, room, wire_open));
    }
    return comm_size(o->comm) > 1 ? comm_agree(room, options_refuse(o)) : NULL;
}

/* join.c - see join.h */
#include "train/join.h"
#include "base/hash.h"
#include "cuda/cuda.h"
#include "ranks/mpi.h"
#include "ranks/tcp.h"
#include "train/conflicts.h"
#include "train/task.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 20, MOST_OPTIONS = 128 };

/* ---- of one mind? ---- */

/* The program's own file. */
static error *hash_of_program(uint64_t *out)
{
    char *buffer;
    FILE *f = fopen("/proc/self/exe", "rb");
    *out = HASH_BEGIN;
    if (!f) return NULL; /* no such thing here: nothing to compare */
    error *e = alloc_array(&buffer, CHUNK, 1);
    for (size_t n = 1; !e && n;) {
        n = fread(buffer, 1, CHUNK, f);
        *out = hash_add(*out, buffer, n);
    }
    if (!e && ferror(f)) e = user_error("the program's file cannot be read: %s", strerror(errno));
    if (!e) free(buffer);
    fclose(f);
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
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(all, option_name(o->task, *n));
        char *value = item ? cJSON_PrintUnformatted(item) : NULL;
        out[*n] = value ? hash_add(HASH_BEGIN, value, strlen(value)) : 0;
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
static error *choose_place(options *o, comm *c)
{
    int rank, which;
    if (o->place == PLACE_AUTO) o->place = cuda_driver_here() ? PLACE_CUDA : PLACE_CPU;
    uint64_t place = (uint64_t)o->place;
    TRY(comm_compare(c, &place, 1, &rank, &which));
    if (rank < 0) return NULL;
    return comm_alike(c, user_error("rank %d and rank 0 are not both on machines with a GPU: give "
                                    "--device cpu or cuda",
                                    rank));
}

/* The local rank's, of those that are to be seen; where one is, it was chosen for this rank. */
static error *choose_gpu(int local)
{
    char number[32];
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    if (seen && !strchr(seen, ',')) return NULL;
    snprintf(number, sizeof number, "%d", local);
    for (int i = 0; seen && i < local; i++) {
        seen = strchr(seen, ',');
        if (!seen)
            return user_error("there is no GPU for it: it is number %d on its machine, and "
                              "CUDA_VISIBLE_DEVICES=%s has %d: start fewer ranks there",
                              local, getenv("CUDA_VISIBLE_DEVICES"), i + 1);
        seen++;
    }
    if (seen) snprintf(number, sizeof number, "%.*s", (int)strcspn(seen, ","), seen);
    if (setenv("CUDA_VISIBLE_DEVICES", number, 1)) return user_error("out of memory");
    return NULL;
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
    TRY(choose_place(o, c));
    if (o->place == PLACE_CUDA) {
        int local = 0;
        error *e = NULL;
        c->staging = 0; /* NCCL has its own */
        if (open == mpi_open)
            local = mpi_local_rank(c);
        else
            e = wire_local_rank(&local);
        return comm_agree(c, e ? e : choose_gpu(local));
    }
    return open == mpi_open
               ? NULL
               : comm_alike(c,
                            user_error("several ranks on CPUs are carried by MPI: start them with "
                                       "mpirun -np %d %s ..., or give --device cuda",
                                       c->size, o->task->kind->program));
}

error *ranks_start(const options *o, bool *parent, int *status)
{
    *parent = false;
    if (o->gpus == 1) return NULL;
    if (mpi_started() || wire_started())
        return user_error("--gpus %lld in one of several ranks that something else has started: "
                          "leave it out",
                          (long long)o->gpus);
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    int n = seen && *seen;
    for (const char *at = seen; n && (at = strchr(at, ',')); at++)
        n++;
    if (seen && n < o->gpus)
        return user_error(
            "--gpus %lld: CUDA_VISIBLE_DEVICES=%s has %d: ask for no more, or show more",
            (long long)o->gpus, seen, n);
    return wire_launch((int)o->gpus, parent, status);
}

error *ranks_join(comm *c, device *dev)
{
    if (comm_size(c) == 1 || strcmp(dev->ops->name, "cuda")) return NULL;
    return cuda_join(dev, c);
}

error *ranks_open(options *o, comm *room)
{
    *room = (comm){.size = 1};
    if (o->plan && o->ranks > 1) {
        *room = comm_planned((int)o->ranks, o->place == PLACE_CUDA ? 0 : MPI_STAGING);
        o->comm = room;
    } else if (mpi_started()) {
        TRY(join(o, room, mpi_open));
    } else if (!o->plan && wire_started()) {
        TRY(join(o, room, wire_open));
    }
    return comm_size(o->comm) > 1 ? comm_alike(room, options_refuse(o)) : NULL;
}

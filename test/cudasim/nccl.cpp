/* nccl.cpp - NCCL on the CPU: ranks are processes that share a piece of memory.
 *
 *   rank 0 --- slot 0 |
 *   rank 1 --- slot 1 |--> all there? --> every rank reads every slot --> all there?
 *   rank 2 --- slot 2 |            (in chunks; sums start at another rank in each)
 *
 * The unique id is the name of the shared memory.  A call runs when its stream gets to it, as late
 * as the emulator lets it, and goes on whenever the stream is asked and the others have come; calls
 * of a group reach their stream when the group ends.  What hangs or corrupts on GPUs ends the run
 * here, with a line: ranks that call different collectives, counts, types or roots; operands that
 * leave their block of device memory; a call outside of the stream of the others; a rank that never
 * comes.  After CommAbort a call is over, whatever it has done.
 *
 * CUDASIM_NCCL_FAULT=absent: rank 1 never comes to the meeting; =remote: rank 0 is told that
 * another rank has failed.
 */
#include "test/cudasim/emu.h"
#include "test/cudasim/queue.h"
#include <nccl.h>
extern "C" {
#include "cuda/nccl.h"
}
#include "base/bf16.h"

#include <atomic>
#include <fcntl.h>
#include <map>
#include <memory>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace
{

enum { MOST_RANKS = 16, CHUNK = 4096 };
const double PATIENCE = 60;
enum what { INIT, SUM, SCATTER, GATHER, REDUCE, BROADCAST };

struct call {
    int kind, type, root, pad;
    size_t count;
};

struct shared {
    std::atomic<int64_t> steps[MOST_RANKS]; /* that each rank has come to */
    std::atomic<int> dead;
    call calls[MOST_RANKS];
    char slot[MOST_RANKS][CHUNK];
};

} // namespace

struct ncclComm {
    shared *m;
    int rank, n;
    cudaStream_t on; /* the one stream that all calls are on */
    bool gone;
};

namespace
{

int depth; /* of groups */
std::vector<std::function<void()>> group;

void die(const ncclComm *c, const char *why)
{
    if (!c->m->dead.exchange(1))
        fprintf(stderr, "emulated NCCL, rank %d of %d: %s\n", c->rank, c->n, why);
    _Exit(5);
}

bool has_fault(const char *which)
{
    const char *fault = getenv("CUDASIM_NCCL_FAULT");
    return fault && !strcmp(fault, which);
}

double now()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void come(ncclComm *c)
{
    c->m->steps[c->rank]++;
}

bool all_there(const ncclComm *c)
{
    if (c->m->dead) _Exit(5);
    for (int r = 0; r < c->n; r++)
        if (c->m->steps[r] < c->m->steps[c->rank]) return false;
    return true;
}

size_t size_of(int type)
{
    return type == ncclUint8 ? 1 : type == ncclBfloat16 ? 2 : type == ncclFloat64 ? 8 : 4;
}

/* out = the sum of all slots' n elements, rank `first` first, rounded at each step as a ring
 * does */
void add_up(const ncclComm *c, char *out, size_t n, int type, int first)
{
    for (size_t i = 0; i < n; i++) {
        double wide = 0;
        float sum = 0;
        for (int k = 0; k < c->n; k++) {
            const char *in = c->m->slot[(first + k) % c->n] + i * size_of(type);
            uint16_t half;
            float x = 0;
            double y = 0;
            if (type == ncclFloat32) memcpy(&x, in, 4);
            if (type == ncclFloat64) memcpy(&y, in, 8);
            if (type == ncclBfloat16) memcpy(&half, in, 2), x = float_of_bf16(half);
            wide += y;
            sum += x;
            if (type == ncclBfloat16) sum = float_of_bf16(bf16_of_float(sum));
        }
        uint16_t half = bf16_of_float(sum);
        if (type == ncclFloat32) memcpy(out + i * 4, &sum, 4);
        if (type == ncclFloat64) memcpy(out + i * 8, &wide, 8);
        if (type == ncclBfloat16) memcpy(out + i * 2, &half, 2);
    }
}

/* A call under way.  Chunk by chunk; a scatter sums one block of `count` after the
 * other, each for its rank. */
struct action {
    std::shared_ptr<ncclComm> c;
    call k;
    const char *in;
    char *out;
    enum { BEGIN, COMPARE, GIVE, TAKE } next;
    std::vector<char> copy; /* in may lie on out */
    size_t i;
    int block, turn;
    double begun;

    size_t size() const { return size_of(k.type); }
    int blocks() const { return k.kind == SCATTER ? c->n : 1; }
    size_t chunk() const
    {
        size_t left = k.count - i, most = CHUNK / size();
        return left < most ? left : most;
    }

    void begin()
    {
        bool gives = k.kind != BROADCAST || c->rank == k.root;
        copy.assign(in, in + (gives ? k.count * size() * blocks() : 0));
        c->m->calls[c->rank] = k;
        begun = now();
    }
    void compare() const
    {
        for (int r = 0; r < c->n; r++)
            if (memcmp(&c->m->calls[r], &k, sizeof k))
                die(c.get(), "ranks call different collectives");
    }
    void give()
    {
        if (!copy.empty())
            memcpy(c->m->slot[c->rank], &copy[(block * k.count + i) * size()], chunk() * size());
    }
    void take()
    {
        bool sums = k.kind == SUM || (k.kind == SCATTER && block == c->rank) ||
                    (k.kind == REDUCE && k.root == c->rank);
        size_t n = chunk();
        if (sums) add_up(c.get(), out + i * size(), n, k.type, turn % c->n);
        for (int r = 0; k.kind == GATHER && r < c->n; r++)
            memcpy(out + (r * k.count + i) * size(), c->m->slot[r], n * size());
        if (k.kind == BROADCAST) memcpy(out + i * size(), c->m->slot[k.root], n * size());
        turn++;
        i += n;
        if (i == k.count) block++, i = 0;
    }
    void step()
    {
        if (next == BEGIN)
            begin(), next = COMPARE;
        else if (next == COMPARE)
            compare(), next = GIVE;
        else if (next == GIVE)
            give(), next = TAKE;
        else
            take(), next = GIVE;
        come(c.get());
    }
    bool missing() const
    {
        if (c->gone || next == BEGIN || all_there(c.get())) return false;
        if (now() - begun > PATIENCE) die(c.get(), "a rank does not come");
        return true;
    }
    /* As far as it goes without waiting; is it done? */
    bool go_on()
    {
        for (; !c->gone; step()) {
            if (next == BEGIN) continue;
            if (missing()) return false;
            if (next == GIVE && block == blocks()) return true;
        }
        return true;
    }
};

/* Of each communicator, for the calls that may still be in a queue when it is destroyed. */
std::map<ncclComm *, std::shared_ptr<ncclComm>> comms;

ncclResult_t start(ncclComm_t c, cudaStream_t s, call k, const void *in, void *out)
{
    size_t bytes = k.count * size_of(k.type);
    if (!emu_may_touch(in, bytes * (k.kind == SCATTER ? c->n : 1)) ||
        !emu_may_touch(out, bytes * (k.kind == GATHER ? c->n : 1)))
        die(c, "an operand leaves its block of device memory");
    if (c->on && c->on != s) die(c, "a call on another stream than the one before");
    c->on = s;
    std::shared_ptr<ncclComm> mine = comms[c];
    auto enqueue = [=] {
        auto a = std::make_shared<std::unique_ptr<action>>();
        auto ready =
            [=] { /* a graph calls it again in each of its launches */
                  if (!*a)
                      *a = std::make_unique<action>(action{
                          mine, k, (const char *)in, (char *)out, action::BEGIN, {}, 0, 0, 0, 0});
                  return (*a)->go_on();
            };
        auto missing = [=] { return *a && (*a)->missing(); };
        emu_enqueue(s, [=] { a->reset(); }, {missing, ready});
    };
    if (depth)
        group.push_back(enqueue);
    else
        enqueue();
    return ncclSuccess;
}

} // namespace

const char *ncclGetErrorString(ncclResult_t r)
{
    return r == ncclSuccess ? "success" : "failure (emulator)";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    static int made; /* a process may begin several communicators */
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "/regrad_nccl.%d.%d", (int)getpid(), made++);
    int fd = shm_open(id->internal, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(shared))) return ncclSystemError;
    close(fd);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *c, int n, ncclUniqueId id, int rank)
{
    if (n < 1 || n > MOST_RANKS || rank < 0 || rank >= n) return ncclInvalidArgument;
    int fd = shm_open(id.internal, O_RDWR, 0600);
    if (fd < 0) return ncclSystemError;
    void *m = mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (m == MAP_FAILED) return ncclSystemError;
    std::shared_ptr<ncclComm> made(new ncclComm{(shared *)m, rank, n, NULL, false});
    *c = made.get();
    comms[*c] = made;
    while (rank == 1 && has_fault("absent"))
        sleep(1);
    come(*c);
    for (double begun = now(); !all_there(*c); sched_yield())
        if (now() - begun > PATIENCE) die(*c, "a rank does not come");
    if (rank == 0) shm_unlink(id.internal);
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t c)
{
    return ncclCommAbort(c);
}

/* The shared memory stays, for whoever is in it. */
ncclResult_t ncclCommAbort(ncclComm_t c)
{
    c->gone = true;
    comms.erase(c);
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *e)
{
    *e = c->rank == 0 && has_fault("remote") ? ncclRemoteError : ncclSuccess;
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *in, void *out, size_t n, ncclDataType_t t, ncclRedOp_t,
                           ncclComm_t c, cudaStream_t s)
{
    return start(c, s, call{SUM, t, 0, 0, n}, in, out);
}
ncclResult_t ncclReduceScatter(const void *in, void *out, size_t n, ncclDataType_t t, ncclRedOp_t,
                               ncclComm_t c, cudaStream_t s)
{
    return start(c, s, call{SCATTER, t, 0, 0, n}, in, out);
}
ncclResult_t ncclAllGather(const void *in, void *out, size_t n, ncclDataType_t t, ncclComm_t c,
                           cudaStream_t s)
{
    return start(c, s, call{GATHER, t, 0, 0, n}, in, out);
}
ncclResult_t ncclReduce(const void *in, void *out, size_t n, ncclDataType_t t, ncclRedOp_t,
                        int root, ncclComm_t c, cudaStream_t s)
{
    return start(c, s, call{REDUCE, t, root, 0, n}, in, out);
}
ncclResult_t ncclBroadcast(const void *in, void *out, size_t n, ncclDataType_t t, int root,
                           ncclComm_t c, cudaStream_t s)
{
    return start(c, s, call{BROADCAST, t, root, 0, n}, in, out);
}
ncclResult_t ncclGroupStart(void)
{
    depth++;
    return ncclSuccess;
}
ncclResult_t ncclGroupEnd(void)
{
    if (!depth) return ncclInvalidUsage;
    if (--depth) return ncclSuccess;
    for (auto &enqueue : group)
        enqueue();
    group.clear();
    return ncclSuccess;
}

error *nccl_load(nccl_library *out)
{
#define NCCL_TAKE(name) out->name = nccl##name;
    NCCL_FUNCTIONS(NCCL_TAKE)
#undef NCCL_TAKE
    return NULL;
}

void nccl_unload(nccl_library *l)
{
    *l = (nccl_library){};
}

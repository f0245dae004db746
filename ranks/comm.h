/* comm.h - communication between ranks: one interface over several engines.
 *
 * A run may be shared by N processes, called ranks 0 .. N-1.  All execute the same program and so
 * make the same calls in the same order.  Three engines implement them (Open MPI and NCCL move the
 * data):
 *
 *     one process    no engine: every call returns at once
 *     MPI            for the CPU's memory                             ranks/mpi.c
 *                    ... or what ranks of one machine share           ranks/shared.c
 *     NCCL           for a GPU's memory, on a stream; with control    cuda/nccl.c
 *                    messages over MPI or over TCP                    ranks/tcp.c
 *
 * A tensor is sharded over the ranks by a `share`: rank r owns one range of its elements, which may
 * be empty.  The two halves of an all-reduce work on it in place:
 *
 *              rank 0     rank 1     rank 2
 *     before   a0 b0 c0   a1 b1 c1   a2 b2 c2
 *     scatter  A  .  .    .  B  .    .  .  C      A = a0 + a1 + a2; the dots are undefined
 *     gather   A  B  C    A  B  C    A  B  C
 *
 * A share may be divided over a group of consecutive ranks only, say those of a machine, and all
 * groups are alike: rank r of groups of n owns what rank r % n does.  A scatter adds up all ranks
 * all the same; a gather copies within the group.  So between groups go sums of 1/n each, and
 * nothing else:
 *
 *              rank 0   rank 1  |  rank 2   rank 3        groups of two
 *     before   a0 b0    a1 b1   |  a2 b2    a3 b3
 *     scatter  A  .     .  B    |  A  .     .  B          A = a0 + a1 + a2 + a3
 *     gather   A  B     A  B    |  A  B     A  B
 *
 * Sums are taken in rank order wherever the engine allows it (MPI: in double, rounded once), so
 * that they do not depend on the stage, the bucket or the timing.
 *
 * Like operations, the calls on tensors return nothing: a failure is kept in the device.  On the
 * null device, while recording, they do nothing.  Traffic is counted as in the ZeRO paper: a
 * scatter or a gather of n bytes is n, a sum is 2 n; a rank sends and receives (N - 1) / N of that.
 * A scatter in groups is one within the group, and a sum of the own range.
 *
 * Every call has a timeout: a rank that does not arrive within `limit` seconds ends the run, and is
 * named if it can be found out.
 */
#ifndef REGRAD_COMM_H
#define REGRAD_COMM_H

#include "core/ops.h"

typedef struct comm comm;

/* Who owns which of `count` elements: rank r those from r * each on, up to the next rank's; or one
 * rank owns all.  In groups, r is a rank's place in its group. */
typedef struct {
    int64_t count, each;
    int owner; /* -1: by ranges */
    int group; /* ranks in a group; 0: all ranks are one */
} share;

/* Ranks of a group, of `size` in all; a rank's place in it. */
static inline int share_ranks(const share *s, int size)
{
    return s->group ? s->group : size;
}
static inline int share_place(const share *s, int rank)
{
    return s->group ? rank % s->group : rank;
}

/* The first element of rank r; that of rank r + 1 is one past its last. */
int64_t share_begin(const share *s, int rank);
/* Elements of rank r's in a slab of `room`, from its element `at` on; of the rank that has most. */
int64_t share_slab(const share *s, int rank, int64_t at, int64_t room);
int64_t share_longest(const share *s);
/* Even ranges whose ends are multiples of `unit`. */
share share_evenly(int64_t count, int ranks, int64_t unit);

/* Bytes, counted as above; and those of them that are between groups. */
typedef struct {
    int64_t all, between;
} comm_traffic;

typedef struct {
    const char *name; /* "mpi", "nccl" */
    /* ? x is contiguous; see the fronts below.  NULL: the device must carry tensors itself. */
    void (*sum)(comm *, device *, int stream, tensor x);
    void (*scatter)(comm *, device *, int stream, tensor x, const share *s);
    void (*gather)(comm *, device *, int stream, tensor x, const share *s);
    /* ? Calls between these may be batched. */
    void (*group)(comm *, device *, bool begin);
    /* ? Makes the stream wait for STREAM_COMM; the time it waits is counted. */
    void (*join)(comm *, device *, int stream);
    /* ? A number for what was asked of STREAM_COMM so far; makes the stream wait for that. */
    int64_t (*mark)(comm *, device *);
    void (*await)(comm *, device *, int stream, int64_t mark);
    /* ? Updates c->seconds. */
    void (*waited)(comm *, device *);
    /* ? For engines that carry control messages, on behalf of one that waits elsewhere: is anything
     * wrong with the others, or do they ask where this rank is; and which rank is missing? */
    error *(*idle)(comm *);
    error *(*missing)(comm *);
    /* ? After a failure: stop waiting for pending calls. */
    void (*abandon)(comm *);
    error *(*share_words)(comm *, const void *mine, void *all, size_t bytes);
    /* The number of this rank within its machine; 0 if unknown. */
    error *(*local_rank)(comm *, int *out);
    void (*close)(comm *, int status);
} comm_ops;

struct comm {
    const comm_ops *ops; /* NULL: a plan for `size` ranks, without peers */
    void *state;
    int rank, size;
    int group;          /* ranks that shard parameters among themselves; 0: all.  It divides size */
    double limit;       /* timeout in seconds */
    size_t staging;     /* bytes of workspace that the engine wants from the plan */
    tensor staged;      /* ... and gets: (staging) u8 */
    comm_traffic moved; /* so far */
    double seconds; /* these calls took so far: the host's, or as the GPU's main stream waited */
    bool shares_memory; /* all ranks are on one machine, and exchange tensors there */
    const char *doing;  /* for messages: "reducing gradients" */
    bool beside;        /* calls on STREAM_COMM should be made beside the computation */
    bool agreed;        /* all ranks know of the failure, and end in order */
    bool told;          /* another rank's failure, which that rank reports */
};

/* Number of ranks; 1 without a comm. */
static inline int comm_size(const comm *c)
{
    return c ? c->size : 1;
}
static inline int comm_rank(const comm *c)
{
    return c ? c->rank : 0;
}

/* Is it one of those that have what the first group has? */
static inline bool comm_repeats(const comm *c)
{
    return c && c->group && c->rank >= c->group;
}

/* ---- on tensors of the device, in the order of a stream ---- */

/* x = the sum of all ranks' x: f32, f64 */
void comm_sum(comm *c, device *dev, int stream, tensor x);
/* The own range of x becomes the sum over all ranks; the other ranges become undefined. */
void comm_scatter(comm *c, device *dev, int stream, tensor x, const share *s);
/* Every range of x is copied from its owner in the same group. */
void comm_gather(comm *c, device *dev, int stream, tensor x, const share *s);
void comm_group(comm *c, device *dev, bool begin);
/* Later work on the stream waits for STREAM_COMM. */
void comm_join(comm *c, device *dev, int stream);
/* The same for a part: a number for what was asked of STREAM_COMM so far, and later work on the
 * stream waits for that. */
int64_t comm_mark(comm *c, device *dev);
void comm_await(comm *c, device *dev, int stream, int64_t mark);
/* After a failure, before memory and streams are freed. */
void comm_abandon(comm *c);
/* Seconds that this process has waited so far. */
double comm_waited(comm *c, device *dev);

/* ---- between the hosts ---- */

/* all (size, bytes) = every rank's `mine`; the only call that returns its failure. */
error *comm_share(comm *c, const void *mine, void *all, size_t bytes) NODISCARD;
/* Every rank calls this with its own outcome.  If all succeeded: NULL.  Else each gets an error;
 * the first rank that has one names it, and reports it (the others have c->told set). */
error *comm_agree(comm *c, error *mine) NODISCARD;

/* Do all ranks have the same n numbers?  If not, *rank is the first that differs from the first
 * rank, and *which the first number that differs; else *rank is -1. */
error *comm_compare(comm *c, const uint64_t *mine, int n, int *rank, int *which) NODISCARD;
/* Do all ranks have this number?  `what` completes the user error "rank 2 has other ...". */
error *comm_same(comm *c, uint64_t mine, const char *what) NODISCARD;
/* Is it so in any rank?  *so: in this one, then in any. */
error *comm_any(comm *c, bool *so) NODISCARD;
/* Broadcasts the first rank's n bytes. */
error *comm_tell(comm *c, void *bytes, size_t n) NODISCARD;
/* An error that all ranks have found alike: only the first reports it. */
error *comm_alike(comm *c, error *e) NODISCARD;

/* Timeout, in seconds, while disks are in use. */
enum { COMM_DISK_SECONDS = 1800 };

/* Sets the timeout, since disks may be slow.  Returns the old value. */
double comm_patience(comm *c, double seconds);

/* User error if the ranks are not groups of n; 0: they are one. */
error *comm_divide(comm *c, int64_t n) NODISCARD;
/* A comm that only has a size: for plans. */
comm comm_planned(int size, size_t staging);
/* status: this process's exit status; if the others do not know of a failure, they are ended,
 * too. */
void comm_close(comm *c, int status); /* NULL is ignored */

#endif

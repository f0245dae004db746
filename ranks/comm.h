/* comm.h - how ranks talk to each other: one interface, whoever carries it.
 *
 * A run may be shared by N processes, called ranks 0 .. N-1.  All of them run the same program and
 * so come to the same calls in the same order.  Three engines carry them (none of them is ours:
 * Open MPI and NCCL move the data):
 *
 *     one process    no engine: every call returns at once
 *     MPI            the CPU's memory                                  ranks/mpi.c
 *     NCCL           a GPU's memory, on a stream; control messages by MPI    cuda/nccl.c
 *                    or by a socket                                    ranks/tcp.c
 *
 * A tensor is sharded over the ranks by a `share`: rank r owns one range of its elements, which may be
 * empty.  The two halves of an all-reduce work on it in place:
 *
 *              rank 0     rank 1     rank 2
 *     before   a0 b0 c0   a1 b1 c1   a2 b2 c2
 *     scatter  A  .  .    .  B  .    .  .  C      A = a0 + a1 + a2; the dots are undefined
 *     gather   A  B  C    A  B  C    A  B  C
 *
 * Sums are taken in the order of the ranks wherever the engine lets us (MPI: in double, rounded
 * once), so that they do not depend on the stage, the bucket or the moment.
 *
 * Like operations, the calls on tensors return nothing: a failure stays in the device.  On the null
 * device, in a recording, they do nothing.  What they move is counted as the ZeRO paper counts it: a
 * scatter or a gather of n bytes is n, a sum is 2 n; a rank sends and gets (N - 1) / N of that.
 *
 * Every call is watched: a rank that does not come within `limit` seconds ends the run, with its
 * number if it can be found out.
 */
#ifndef REGRAD_COMM_H
#define REGRAD_COMM_H

#include "core/ops.h"

typedef struct comm comm;

/* Who owns which elements of `count`: rank r those from r * each on, up to the next one's; or one
 * rank owns all. */
typedef struct {
    int64_t count, each;
    int owner; /* -1: by ranges */
} share;

/* The first element of rank r's; that of rank r + 1 is the one past its last. */
int64_t share_begin(const share *s, int rank);
/* Even ranges whose ends are multiples of `unit`. */
share share_evenly(int64_t count, int ranks, int64_t unit);

typedef struct {
    const char *name; /* "mpi", "nccl" */
    /* ? x is contiguous; see the fronts below.  None: tensors are for the device to carry. */
    void (*sum)(comm *, device *, int stream, tensor x);
    void (*scatter)(comm *, device *, int stream, tensor x, const share *s);
    void (*gather)(comm *, device *, int stream, tensor x, const share *s);
    /* ? Between these, calls may be carried together. */
    void (*group)(comm *, device *, bool begin);
    /* ? What comes on the stream waits for STREAM_COMM, and how long it does is counted. */
    void (*join)(comm *, device *, int stream);
    /* ? Brings c->seconds up to date. */
    void (*waited)(comm *, device *);
    /* ? Of those that carry words, for who waits elsewhere: is anything wrong with the others, and
     * do they ask where this one is; and who is it that does not come? */
    error *(*idle)(comm *);
    error *(*missing)(comm *);
    /* ? After a failure: nothing that was asked for is waited for any more. */
    void (*abandon)(comm *);
    error *(*share_words)(comm *, const void *mine, void *all, size_t bytes);
    /* The number of this rank among those of its machine; 0 if nobody knows. */
    error *(*local_rank)(comm *, int *out);
    void (*close)(comm *, int status);
} comm_ops;

struct comm {
    const comm_ops *ops; /* NULL: a plan for `size` ranks, nobody is there */
    void *state;
    int rank, size;
    double limit;      /* seconds of patience */
    size_t staging;    /* bytes that the engine wants from the plan */
    tensor staged;     /* ... and gets: (staging) u8 */
    int64_t bytes;     /* moved so far, as counted above */
    double seconds;    /* it has waited so far: the host, or the GPU's main stream */
    const char *doing; /* for messages: "reducing gradients" */
    bool agreed;       /* all know of the failure, and end in order */
    bool told;         /* it is another rank's, which says it itself */
};

/* How many ranks; 1 without a comm. */
static inline int comm_size(const comm *c)
{
    return c ? c->size : 1;
}
static inline int comm_rank(const comm *c)
{
    return c ? c->rank : 0;
}

/* ---- on tensors of the device, in the order of a stream ---- */

/* x = the sum of all ranks' x: f32, f64 */
void comm_sum(comm *c, device *dev, int stream, tensor x);
/* The own range of x becomes the sum of all ranks'; the others become undefined. */
void comm_scatter(comm *c, device *dev, int stream, tensor x, const share *s);
/* Every range of x becomes its owner's. */
void comm_gather(comm *c, device *dev, int stream, tensor x, const share *s);
void comm_group(comm *c, device *dev, bool begin);
/* What comes on the stream waits for STREAM_COMM. */
void comm_join(comm *c, device *dev, int stream);
/* After a failure, before memory and streams are given back. */
void comm_abandon(comm *c);
/* Seconds that this process has waited so far. */
double comm_waited(comm *c, device *dev);

/* ---- between the hosts ---- */

/* all (size, bytes) = everybody's `mine`; the only call that returns its failure. */
error *comm_share(comm *c, const void *mine, void *all, size_t bytes) NODISCARD;
/* Everybody comes here with what happened to it.  All went well: NULL.  Else each gets an error; the
 * first rank's that has one names it, and is the one to report it (the others' have c->told set). */
error *comm_agree(comm *c, error *mine) NODISCARD;

/* Are everybody's n numbers the same?  If not, *rank is the first whose are not the first rank's, and
 * *which the first number that differs; *rank is -1 if they are. */
error *comm_compare(comm *c, const uint64_t *mine, int n, int *rank, int *which) NODISCARD;
/* Has everybody this number?  `what` completes the user error "rank 2 has other ...". */
error *comm_same(comm *c, uint64_t mine, const char *what) NODISCARD;
/* Everybody gets the first rank's n bytes. */
error *comm_tell(comm *c, void *bytes, size_t n) NODISCARD;
/* An error that everybody has found alike: the first rank tells it. */
error *comm_alike(comm *c, error *e) NODISCARD;

/* Seconds of patience where disks are at work. */
enum { COMM_DISK_SECONDS = 1800 };

/* From here on up to that many seconds are not a fault: disks are slow.  Returns what it was. */
double comm_patience(comm *c, double seconds);

/* A comm of which only the size is true: for plans. */
comm comm_planned(int size, size_t staging);
/* status: what this process ends with; if the others do not know of a failure, they end with it, too. */
void comm_close(comm *c, int status); /* NULL is fine */

#endif

/* far.h - the second place of a run's memory: blocks that are looked at for a moment in each step,
 * in a file on a disk.
 *
 *   arena, near    | parameters | activations | gradients | ... | window 0 | window 1 |
 *                                                                   ^  |        read and write, in
 *   file, far      | m of wte | v of wte | m of h.0 ... |           |  v        the order asked for
 *
 * Like the arena it is known to the byte before the run: whoever has blocks here asks for them
 * twice in the same order, while it records (far_keep then says where each will be) and after
 * far_open.  Blocks live for the whole run and share nothing, so that their places need no search;
 * each begins on a page of the file.
 *
 * Nothing of the file is mapped.  Elements are copied between it and memory that the arena has
 * planned, by one thread of our own that serves requests first come, first served: so a read sees
 * every write that was asked for before it, and a buffer that is written from may at once be given
 * to a later read.  Whoever needs the bytes waits for its request's number.  So what is resident is
 * what is planned, also where an address space is limited (ulimit -v), and a disk's failure is an
 * error and no signal.  What the system keeps of the file in memory that nobody else wants (its
 * page cache) only makes it faster.
 *
 * A device with memory of its own has the second place in the host's memory instead: one pinned
 * block, and copies on streams of their own, which wait for the device's work by events (far_host
 * below).  Nobody waits on the host then: far_wait only makes the device's later work wait.  A read
 * that has not been waited for may overlap a later write of the same elements, so whoever writes
 * waits for its reads first.
 *
 * The file has no name (O_TMPFILE, or removed once it is open), so that nothing is left of it
 * however the process ends, and its room is reserved before the run begins.  It is zero at first.
 */
#ifndef REGRAD_FAR_H
#define REGRAD_FAR_H

#include "base/error.h"
#include "core/ops.h"

typedef struct far far;

/* Elements of one block; of type DT_NONE there is none. */
typedef struct {
    dtype type;
    int64_t count;
    size_t at; /* its first byte in the file */
} far_block;

static inline bool is_far(far_block b)
{
    return b.type != DT_NONE;
}

enum { FAR_KINDS = 16 }; /* those of the arena's blocks */

/* Records, until it is opened. */
error *far_create(far **out) NODISCARD;
void far_destroy(far *f); /* NULL is ignored; ends the thread, and the file is gone */

/* A block for the whole run; see above. */
far_block far_keep(far *f, int kind, dtype type, int64_t count);

/* The file, as large as was recorded, in that directory, and the thread.  User errors: the
 * directory cannot be written, has no room. */
error *far_open(far *f, const char *directory) NODISCARD;

/* Memory of the host that a device's copies read and write directly (pinned).  A copy begins when
 * what was asked of `stream` before has been done, one to the device also after all earlier ones
 * from it; it runs beside what is asked of the stream later.  After `wait` that waits for the copy
 * with this number, and for those of its direction before it. */
typedef struct {
    error *(*open)(device *dev, int stream, size_t bytes, void **own); /* zero at first */
    void (*close)(void *own);                                          /* waits for the copies */
    int64_t (*copy)(void *own, size_t at, void *memory, size_t bytes, bool write);
    void (*wait)(void *own, int64_t number);
    double (*waited)(void *own); /* seconds that the stream has */
} far_host;

/* The same there; the device must outlive it.  User error: there is not so much memory. */
error *far_open_host(far *f, const far_host *host, device *dev, int stream) NODISCARD;

size_t far_bytes(const far *f);              /* of the plan */
size_t far_bytes_of(const far *f, int kind); /* of them */

/* Elements [first, first + n) of a block; the memory must stay until the request has been served.
 * They return its number, 1, 2, 3 ...  While it records, bytes are counted and nothing is done. */
int64_t far_read(far *f, far_block b, int64_t first, int64_t n, void *to);
int64_t far_write(far *f, far_block b, int64_t first, int64_t n, const void *from);

/* Until that request has been served.  User error, from the first failure on: the disk's.  (A
 * device keeps its own.) */
error *far_wait(far *f, int64_t request) NODISCARD;

/* So far: bytes read and written, and what those who needed them have waited; and for how long the
 * thread was at it, which with the bytes is the disk's rate (0: there is none). */
typedef struct {
    int64_t read, written;
    double waited, busy; /* seconds */
} far_moved;

far_moved far_so_far(far *f);

#endif

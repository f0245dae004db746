/* runtime.cpp - the CUDA runtime on the CPU: device memory, streams, events; see emu.h.
 *
 * A stream is a queue.  Nothing in it runs before the program waits for it, and then only what must
 * run first:
 *
 *     stream 0   copy | kernel | set event e |            waiting for stream 1 runs kernel 2, for
 *     stream 1   wait for e | kernel 2 |                  which it runs all of stream 0 up to e
 *
 * so a missing event or a missing wait gives a wrong result.  Copies from ordinary host memory are
 * staged when they are asked for, from pinned memory when they run; both as the library does.
 * Device memory is closed to the host by its pages: touching it there is a fault.
 *
 * What needs other processes (NCCL) waits until they are so far; a query of an event does not wait.
 * CUDASIM_EAGER_STREAM=1 makes the second stream run as early as it may instead,
 * CUDASIM_DEAF_STREAM=1 leaves out its waits: so a run of the whole program can show that they are
 * needed.
 *
 * A graph keeps what was captured as queues of the same kind, one for each stream that took part,
 * and its launch runs them by the same rule; so a missing event is wrong there, too.
 */
#include "test/cudasim/emu.h"
#include "test/cudasim/queue.h"
#include "test/cudasim/runtime.h"

#include <deque>
#include <map>
#include <memory>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#ifdef EMU_ASAN
#include <sanitizer/asan_interface.h>
#else
#define __asan_poison_memory_region(p, n)   ((void)(p), (void)(n))
#define __asan_unpoison_memory_region(p, n) ((void)(p), (void)(n))
#define __asan_region_is_poisoned(p, n)     ((void)(n), (p) == NULL)
#endif

namespace
{

struct mark { /* an event, as recorded once */
    bool reached;
    CUstream_st *on;
};

struct item {
    std::function<void()> run;
    std::shared_ptr<mark> wait, set;
    emu_others others = {};
};

std::map<const char *, size_t> device_memory, pinned_memory;
std::map<const void *, size_t> shared_limit;
std::vector<CUstream_st *> streams;
cudaError_t last_error;
emu_machine machine;
int fail_after, fail_launch, graph_launches, allocations, host_waits;
/* For tests: a stream that runs as early as it may, and one whose waits are left out; -1: none. */
int eager_stream = -1, deaf_stream = -1;
bool refuse_memory;
void (*record_note)(void *, const char *);
void *record_context;
int open_depth;

enum {
    STAGED_MOST = 64 << 10,
    SHARED_DEFAULT = 48 * 1024,
    SHARED_MOST = 99 * 1024,
    PAGE = 4096,
    HUGE = 2 << 20
};

} // namespace

struct CUstream_st {
    std::deque<item> queue;
    CUgraph_st *capture; /* NULL: none is going on */
};
struct CUevent_st {
    std::shared_ptr<mark> last;
    CUgraph_st *capture; /* in which it was recorded */
};
struct CUgraph_st {
    CUstream_st *origin;
    std::map<CUstream_st *, std::vector<item>> notes;
    bool broken; /* something was asked for that cannot be captured */
};
struct CUgraphExec_st {
    CUgraph_st graph;
};

/* ---- device memory: pages of its own, closed to the host ---- */

static size_t full_pages(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void protect(int access)
{
    for (auto &m : device_memory)
        if (mprotect((void *)(size_t)m.first, full_pages(m.second), access))
            emu_die("mprotect failed");
}

static void open_memory(void)
{
    if (!open_depth++) protect(PROT_READ | PROT_WRITE);
}

static void close_memory(void)
{
    if (!--open_depth && !(emu_off & EMU_HOST)) protect(PROT_NONE);
}

/*     | page | bytes ... poisoned | page |      both pages closed for good */
static void *take_device_memory(size_t bytes)
{
    size_t pages = full_pages(bytes);
    /* large blocks begin where a large page may: few are faster to close than thousands */
    size_t edge = pages < HUGE ? PAGE : HUGE;
    void *m = mmap(NULL, edge + pages + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) emu_die("no memory");
    char *p = (char *)(((size_t)m + PAGE + edge - 1) / edge * edge);
    char *end = p + pages + PAGE, *all = (char *)m + edge + pages + PAGE;
    if (p - PAGE > (char *)m) munmap(m, (size_t)(p - PAGE - (char *)m));
    if (end < all) munmap(end, (size_t)(all - end));
    if (mprotect(p, pages, PROT_READ | PROT_WRITE)) emu_die("mprotect failed");
    if (record_note) return p;
    madvise(p, pages, MADV_HUGEPAGE);
    memset(p, 0xff, bytes); /* NaN, or -1 */
    __asan_poison_memory_region(p + bytes, pages - bytes);
    return p;
}

void emu_forbid(const void *memory, size_t bytes)
{
    __asan_poison_memory_region((void *)(size_t)memory, bytes);
}

void emu_allow(const void *memory, size_t bytes)
{
    __asan_unpoison_memory_region((void *)(size_t)memory, bytes);
}

static bool inside(const std::map<const char *, size_t> &blocks, const void *p, size_t bytes)
{
    auto i = blocks.upper_bound((const char *)p);
    return i != blocks.begin() && (--i, (const char *)p + bytes <= i->first + i->second);
}

bool emu_may_touch(const void *memory, size_t bytes)
{
    return inside(device_memory, memory, bytes) &&
           !__asan_region_is_poisoned((void *)(size_t)memory, bytes);
}

size_t emu_device_bytes(void)
{
    size_t sum = 0;
    for (auto &m : device_memory)
        sum += m.second;
    return sum;
}

void emu_set_order(int order)
{
    emu_order = order;
}

void emu_switch_off(emu_check checks)
{
    emu_off = checks;
}

void emu_set_machine(emu_machine m)
{
    machine = m;
}

/* ---- errors ---- */

static cudaError_t fail(cudaError_t e)
{
    return last_error = e;
}

void emu_fail_call(int n)
{
    fail_after = n;
}

void emu_fail_launch(int n)
{
    fail_launch = n;
}

int emu_launches_left(void)
{
    return fail_launch;
}

void emu_refuse_memory(bool refuse)
{
    refuse_memory = refuse;
}

int emu_allocations(void)
{
    return allocations;
}

int emu_host_waits(void)
{
    return host_waits;
}

int emu_graph_launches(void)
{
    return graph_launches;
}

/* First line of every call that may fail. */
#define MAY_FAIL(error)                                                                            \
    do {                                                                                           \
        if (fail_after && !--fail_after) return fail(error);                                       \
    } while (0)

/* Likewise, of calls that make the driver take memory. */
#define TAKES_MEMORY                                                                               \
    do {                                                                                           \
        if (refuse_memory) return fail(cudaErrorMemoryAllocation);                                 \
    } while (0)

/* Likewise, of calls that may not be made while a stream captures. */
#define NOT_IN_CAPTURE                                                                             \
    do {                                                                                           \
        if (capture_broken()) return fail(cudaErrorStreamCaptureUnsupported);                      \
    } while (0)

static bool capture_broken(void)
{
    bool any = false;
    if (emu_off & EMU_CAPTURE) return false;
    for (CUstream_st *s : streams)
        if (s->capture) any = s->capture->broken = true;
    return any;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}

const char *cudaGetErrorName(cudaError_t e)
{
    static const char *const names[CUDASIM_ERRORS] = {"cudaSuccess",
                                                      "cudaErrorInvalidValue",
                                                      "cudaErrorMemoryAllocation",
                                                      "cudaErrorInvalidConfiguration",
                                                      "cudaErrorNotReady",
                                                      "cudaErrorNoDevice",
                                                      "cudaErrorInsufficientDriver",
                                                      "cudaErrorInvalidDevice",
                                                      "cudaErrorInvalidResourceHandle",
                                                      "cudaErrorNoKernelImageForDevice",
                                                      "cudaErrorStreamCaptureUnsupported",
                                                      "cudaErrorStreamCaptureUnjoined",
                                                      "cudaErrorIllegalState"};
    return e < CUDASIM_ERRORS ? names[e] : "cudaErrorUnknown";
}

const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaErrorNoDevice             ? "no CUDA-capable device is detected"
           : e == cudaErrorInsufficientDriver ? "CUDA driver version is insufficient"
                                              : "(emulator)";
}

/* ---- queues ---- */

static bool advance(CUstream_st *s, const mark *until, bool patient);

/* Opening and closing a device's memory takes longer than a look at the others. */
static bool others_missing(CUstream_st *s)
{
    if (s->queue.empty()) return false;
    item &head = s->queue.front();
    if (head.wait && !head.wait->reached) return others_missing(head.wait->on);
    return head.others.missing && head.others.missing();
}

/* Gives the core away, in the end for longer: there may be more ranks than cores. */
static void let_others(int turn)
{
    if (turn < 20)
        sched_yield();
    else
        usleep(50);
}

/* False: other processes are not so far, and the caller has no patience. */
static bool run_head(CUstream_st *s, bool patient)
{
    item head = s->queue.front();
    if (head.wait && !head.wait->reached) {
        if (head.wait->on->queue.empty()) emu_die("an event is waited for that nobody records");
        if (!advance(head.wait->on, head.wait.get(), patient)) return false;
    }
    for (int turn = 0; head.others.ready && !head.others.ready(); turn++) {
        if (!patient) return false;
        let_others(turn);
    }
    s->queue.pop_front();
    if (head.run) head.run();
    if (head.set) head.set->reached = true;
    return true;
}

/* Runs a stream up to a mark, or (NULL) until it is empty. */
static bool advance(CUstream_st *s, const mark *until, bool patient)
{
    bool goes = true;
    if (until ? until->reached : s->queue.empty()) return true;
    if (!patient && others_missing(s)) return false;
    open_memory();
    while (goes && (until ? !until->reached : !s->queue.empty()))
        goes = run_head(s, patient);
    close_memory();
    return goes;
}

static void drain(CUstream_st *s, const mark *until)
{
    (void)advance(s, until, true);
}

static bool is_stream(const CUstream_st *s, int number)
{
    return number >= 0 && (size_t)number < streams.size() && streams[(size_t)number] == s;
}

void emu_record(void (*note)(void *context, const char *what), void *context)
{
    record_note = note;
    record_context = context;
}

bool emu_recorded(const char *what)
{
    if (record_note) record_note(record_context, what);
    return record_note;
}

void emu_enqueue(cudaStream_t s, std::function<void()> run, emu_others others)
{
    if (record_note) return;
    if (!s) emu_die("the default stream is not for this project: it waits for all others");
    if (s->capture) {
        s->capture->notes[s].push_back({run, nullptr, nullptr, others});
        return;
    }
    s->queue.push_back({run, nullptr, nullptr, others});
    if (emu_off & EMU_LATE || is_stream(s, eager_stream)) drain(s, NULL);
}

void emu_enqueue_kernel(cudaStream_t s, const emu_kernel &k)
{
    std::shared_ptr<void> call(k.call, k.drop); /* a graph runs it again and again */
    emu_enqueue(s, [=] { emu_grid(k.grid, k.block, k.shared, k.body, call.get()); });
}

bool emu_launch_allowed(const void *kernel, dim3 g, dim3 b, size_t shared)
{
    uint64_t threads = (uint64_t)b.x * b.y * b.z;
    size_t limit = shared_limit.count(kernel) ? shared_limit[kernel] : (size_t)SHARED_DEFAULT;
    bool bad = !g.x || !g.y || !g.z || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535;
    bad = bad || !threads || b.x > 1024 || b.y > 1024 || b.z > 64 || threads > 1024;
    if ((bad || shared > limit) && !(emu_off & EMU_LIMITS)) {
        fail(bad ? cudaErrorInvalidConfiguration : cudaErrorInvalidValue);
        return false;
    }
    bool fails = (fail_after && !--fail_after) || (fail_launch && !--fail_launch);
    if (fails) fail(cudaErrorInvalidConfiguration);
    if (machine == EMU_NO_CODE) fail(cudaErrorNoKernelImageForDevice);
    return !fails && machine != EMU_NO_CODE;
}

/* ---- the device ---- */

cudaError_t cudaGetDeviceCount(int *n)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    *n = machine == EMU_NO_DEVICE || machine == EMU_OLD_DRIVER || (visible && !*visible) ? 0 : 1;
    if (machine == EMU_OLD_DRIVER) return fail(cudaErrorInsufficientDriver);
    return *n ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int d)
{
    MAY_FAIL(cudaErrorInvalidDevice);
    return d == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    if (device != 0) return fail(cudaErrorInvalidDevice);
    *p = (struct cudaDeviceProp){};
    snprintf(p->name, sizeof p->name, "emulated GPU");
    p->major = machine == EMU_OLD_DEVICE ? 7 : machine == EMU_AMPERE ? 8 : 9;
    p->multiProcessorCount = 2;
    p->sharedMemPerBlock = SHARED_DEFAULT;
    p->sharedMemPerBlockOptin = SHARED_MOST;
    p->totalGlobalMem = 1ul << 30;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *v)
{
    *v = machine == EMU_OLD_DRIVER ? 11080 : 13000;
    return cudaSuccess;
}

/* In place of cuda/driver.c. */
extern "C" bool cuda_driver_here(void)
{
    return true;
}

cudaError_t cudaRuntimeGetVersion(int *v)
{
    *v = 13000;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    MAY_FAIL(cudaErrorInvalidValue);
    *total = record_note ? 1ul << 40 : 1ul << 30;
    size_t used = emu_device_bytes();
    *available = used < *total ? *total - used : 0;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    MAY_FAIL(cudaErrorInvalidValue);
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value > SHARED_MOST)
        return fail(cudaErrorInvalidValue);
    shared_limit[kernel] = (size_t)value;
    return cudaSuccess;
}

/* ---- memory ---- */

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    MAY_FAIL(cudaErrorMemoryAllocation);
    TAKES_MEMORY;
    NOT_IN_CAPTURE;
    size_t available, total;
    if (cudaMemGetInfo(&available, &total) || bytes > available)
        return fail(cudaErrorMemoryAllocation);
    allocations++;
    *p = take_device_memory(bytes);
    device_memory[(char *)*p] = bytes;
    emu_race_device_memory(*p, bytes);
    if (!(emu_off & EMU_HOST)) protect(PROT_NONE);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    if (!p) return cudaSuccess;
    NOT_IN_CAPTURE;
    auto i = device_memory.find((char *)p);
    if (i == device_memory.end()) return fail(cudaErrorInvalidValue);
    for (CUstream_st *s : streams) /* the library waits, too */
        drain(s, NULL);
    size_t pages = full_pages(i->second);
    __asan_unpoison_memory_region(p, pages);
    emu_race_forget(p);
    munmap((char *)p - PAGE, pages + 2 * PAGE);
    device_memory.erase(i);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    MAY_FAIL(cudaErrorMemoryAllocation);
    TAKES_MEMORY;
    NOT_IN_CAPTURE;
    *p = emu_memory(bytes);
    pinned_memory[(char *)*p] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    if (!pinned_memory.erase((char *)p)) return fail(cudaErrorInvalidValue);
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t s)
{
    MAY_FAIL(cudaErrorInvalidValue);
    if (!bytes || emu_recorded("copy")) {
        if (kind == cudaMemcpyDeviceToHost) memset(to, 0, bytes);
        return cudaSuccess;
    }
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (inside(device_memory, to, bytes) != to_device ||
        inside(device_memory, from, bytes) != from_device)
        return fail(cudaErrorInvalidValue);
    bool pageable = (!from_device && !inside(pinned_memory, from, bytes)) ||
                    (!to_device && !inside(pinned_memory, to, bytes));
    if (pageable && s->capture) NOT_IN_CAPTURE;
    if (!from_device && !inside(pinned_memory, from, bytes)) {
        auto stage =
            std::make_shared<std::vector<char>>((const char *)from, (const char *)from + bytes);
        emu_enqueue(s, [=] { memcpy(to, stage->data(), bytes); });
        if (bytes > STAGED_MOST) {
            host_waits++;
            drain(s, NULL);
        }
        return cudaSuccess;
    }
    emu_enqueue(s, [=] { memcpy(to, from, bytes); });
    if (!to_device && !inside(pinned_memory, to, bytes)) drain(s, NULL);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int byte, size_t bytes, cudaStream_t s)
{
    MAY_FAIL(cudaErrorInvalidValue);
    if (emu_recorded("set")) return cudaSuccess;
    if (bytes && !inside(device_memory, to, bytes)) return fail(cudaErrorInvalidValue);
    emu_enqueue(s, [=] { memset(to, byte, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemset2DAsync(void *to, size_t pitch, int byte, size_t width, size_t height,
                              cudaStream_t s)
{
    MAY_FAIL(cudaErrorInvalidValue);
    if (!width || !height) return cudaSuccess;
    if (pitch < width || !inside(device_memory, to, pitch * (height - 1) + width))
        return fail(cudaErrorInvalidValue);
    emu_enqueue(s, [=] {
        for (size_t r = 0; r < height; r++)
            memset((char *)to + r * pitch, byte, width);
    });
    return cudaSuccess;
}

/* ---- streams and events ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    MAY_FAIL(cudaErrorInvalidValue);
    TAKES_MEMORY;
    const char *eager = getenv("CUDASIM_EAGER_STREAM"), *deaf = getenv("CUDASIM_DEAF_STREAM");
    if (eager) eager_stream = atoi(eager);
    if (deaf) deaf_stream = atoi(deaf);
    *s = new CUstream_st();
    streams.push_back(*s);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    drain(s, NULL);
    std::erase(streams, s);
    delete s;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    MAY_FAIL(cudaErrorInvalidValue);
    if (s->capture) NOT_IN_CAPTURE;
    drain(s, NULL);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    MAY_FAIL(cudaErrorInvalidValue);
    TAKES_MEMORY;
    *e = new CUevent_st();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    delete e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    MAY_FAIL(cudaErrorInvalidValue);
    e->last = std::make_shared<mark>(mark{false, s});
    e->capture = s->capture;
    if (s->capture)
        s->capture->notes[s].push_back({nullptr, nullptr, e->last});
    else
        s->queue.push_back({nullptr, nullptr, e->last});
    return cudaSuccess;
}

/* Asked often enough it will have come: all is done for it that needs no other process. */
cudaError_t cudaEventQuery(cudaEvent_t e)
{
    MAY_FAIL(cudaErrorInvalidValue);
    bool there = !e->last || advance(e->last->on, e->last.get(), false);
    return there ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    MAY_FAIL(cudaErrorInvalidValue);
    if (e->last) drain(e->last->on, e->last.get());
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    MAY_FAIL(cudaErrorInvalidValue);
    if (is_stream(s, deaf_stream)) return cudaSuccess;
    if (e->last && e->capture) {
        s->capture = e->capture; /* the stream takes part from here on */
        s->capture->notes[s].push_back({nullptr, e->last, nullptr});
    } else if (e->last) {
        s->queue.push_back({nullptr, e->last, nullptr});
    }
    return cudaSuccess;
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
    MAY_FAIL(cudaErrorInvalidValue);
    NOT_IN_CAPTURE;
    s->capture = new CUgraph_st{s, {}, false};
    return cudaSuccess;
}

/* Has the stream that began waited for the last that each of the others does? */
static bool joined(const CUgraph_st *g)
{
    for (auto &note : g->notes) {
        if (note.first == g->origin) continue;
        bool waited = false;
        const std::shared_ptr<mark> &last = note.second.back().set;
        for (auto &other : g->notes)
            for (const item &i : other.second)
                waited = waited || (last && i.wait == last && other.first != note.first);
        if (!waited) return false;
    }
    return true;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out)
{
    CUgraph_st *g = s->capture;
    *out = NULL;
    if (!g || g->origin != s) return fail(cudaErrorIllegalState);
    for (CUstream_st *x : streams)
        if (x->capture == g) x->capture = NULL;
    bool complete = (!g->broken && joined(g)) || emu_off & EMU_CAPTURE;
    cudaError_t error =
        g->broken ? cudaErrorStreamCaptureUnsupported : cudaErrorStreamCaptureUnjoined;
    bool fails = fail_after && !--fail_after;
    if (complete && !fails) *out = g;
    if (!*out) delete g;
    return *out ? cudaSuccess : fail(error);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long)
{
    MAY_FAIL(cudaErrorMemoryAllocation);
    TAKES_MEMORY;
    *x = new CUgraphExec_st{*g};
    return cudaSuccess;
}

/* A launch: each stream's notes on a stream of its own, with marks of its own.  Launches take turns
 * in which stream runs as early as it may: a wait may be missing on either side.  As with a real
 * GPU the host need not wait for it, though another rank does not come. */
struct replay {
    std::map<CUstream_st *, CUstream_st> lanes;
    CUstream_st *origin; /* its lane */
    bool origin_first;

    replay(const CUgraph_st *g, bool first) : origin_first(first)
    {
        std::map<const mark *, std::shared_ptr<mark>> marks;
        for (auto &note : g->notes)
            for (const item &i : note.second)
                if (i.set)
                    marks[i.set.get()] = std::make_shared<mark>(mark{false, &lanes[note.first]});
        for (auto &note : g->notes)
            for (const item &i : note.second)
                lanes[note.first].queue.push_back({i.run, i.wait ? marks[i.wait.get()] : nullptr,
                                                   i.set ? marks[i.set.get()] : nullptr, i.others});
        origin = &lanes[g->origin];
    }
    /* As far as it goes without waiting; is it done? */
    bool go_on()
    {
        if (origin_first && !advance(origin, NULL, false)) return false;
        for (auto &lane : lanes)
            if (&lane.second != origin && !advance(&lane.second, NULL, false)) return false;
        return advance(origin, NULL, false);
    }
    bool missing()
    {
        bool waits = false;
        for (auto &lane : lanes) {
            if (lane.second.queue.empty()) continue;
            if (!others_missing(&lane.second)) return false;
            waits = true;
        }
        return waits;
    }
};

cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s)
{
    MAY_FAIL(cudaErrorInvalidValue);
    bool origin_first = emu_off & EMU_LATE || ++graph_launches % 2 == 0;
    auto launch = std::make_shared<replay>(&x->graph, origin_first);
    emu_enqueue(s, nullptr, {[=] { return launch->missing(); }, [=] { return launch->go_on(); }});
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    delete g;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x)
{
    for (CUstream_st *s : streams) /* it may be in their queues */
        drain(s, NULL);
    delete x;
    return cudaSuccess;
}

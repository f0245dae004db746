/* faults.cu - see faults.h */
#include "test/cudasim/faults.h"

#include "cuda/mma.h"
#include "test/cudasim/runtime.h"

static constexpr int N = 64;

/* Half warps on their own, several barriers, a vote: all of it allowed. */
static __global__ void none(float *out)
{
    SHARED(float, s, [N]);
    int t = threadIdx.x, lane = t % 32;
    float v = 1;
    unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
    if (lane < 16)
        for (int d = 8; d; d /= 2)
            v += __shfl_xor_sync(half, v, d);
    else
        v = 4 * __shfl_sync(half, 4.0f, 16 + 3);
    s[t] = v;
    bool any = __syncthreads_or(t == 3);
    v = s[N - 1 - t] + (float)__popc(__ballot_sync(ALL_LANES, lane < 5));
    __syncthreads();
    s[t] = v;
    __syncwarp();
    out[t] = any ? s[t ^ 1] - 21 : 0;
}
static __global__ void global_overrun(float *out)
{
    out[threadIdx.x + 1] = 0;
}
static __global__ void static_overrun(float *out)
{
    SHARED(float, s, [N]);
    s[threadIdx.x + 1] = 0;
    out[threadIdx.x] = 0;
}
static __global__ void dynamic_overrun(float *out)
{
    SHARED_DYN(float, s);
    s[threadIdx.x + 1] = 0;
    out[threadIdx.x] = 0;
}
static __global__ void own_overrun(float *out)
{
    volatile float a[N] = {};
    int i = (int)threadIdx.x + 1;
    out[threadIdx.x] = a[i] * 0;
    out[threadIdx.x] = 0;
}
static __global__ void misaligned(float *out)
{
    out[threadIdx.x] = 0;
    *(packed<float> *)(out + 1) = packed<float>{{0, 0, 0, 0}};
}
static __global__ void neighbour(float *out, bool barrier)
{
    SHARED(float, s, [N]);
    int t = threadIdx.x;
    s[t] = 0;
    if (barrier) __syncthreads();
    out[t] = t ? s[t - 1] : 0;
}
/* A shuffle does not order memory. */
static __global__ void warp_neighbour(float *out)
{
    SHARED(float, s, [N]);
    int t = threadIdx.x;
    s[t] = 0;
    float v = __shfl_xor_sync(ALL_LANES, 0.0f, 1);
    out[t] = v + s[t ^ 31];
}
/* The next round writes what slow warps still read. */
static __global__ void rounds(float *out)
{
    SHARED(float, s, [N]);
    int t = threadIdx.x;
    float v = 0;
    for (int r = 0; r < 3; r++) {
        s[t] = 0;
        __syncthreads();
        v += s[(t + 32) % N];
    }
    out[t] = v;
}
static __global__ void never_written(float *out)
{
    SHARED(float, s, [N]);
    if (threadIdx.x) s[threadIdx.x] = 0;
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x];
}
static __global__ void divergent(float *out)
{
    if (threadIdx.x < 16)
        __syncthreads();
    else
        __syncthreads();
    out[threadIdx.x] = 0;
}
static __global__ void partial(float *out)
{
    out[threadIdx.x] = 0;
    if (threadIdx.x < 16) return;
    __syncthreads();
}
static __global__ void exited(float *out)
{
    out[threadIdx.x] = 0;
    if (threadIdx.x < 16) return;
    out[threadIdx.x] = 0 * __shfl_xor_sync(ALL_LANES, 1.0f, 1);
}
static __global__ void outside(float *out)
{
    out[threadIdx.x] = threadIdx.x < 16 ? 0 * __shfl_xor_sync(0xffffu, 1.0f, 16) : 0;
}
static __global__ void block_race(float *out)
{
    out[threadIdx.x] = (float)(blockIdx.x + 1 - gridDim.x);
}
/* The last block to come adds up what the others have left: out[0] = sum, out[1] counts. */
static __global__ void last_adds(float *out, bool fences)
{
    if (threadIdx.x) return;
    out[2 + blockIdx.x] = 0;
    if (fences) __threadfence();
    if (atomicAdd((int *)out + 1, 1) != (int)gridDim.x - 1) return;
    if (fences) __threadfence();
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; i++)
        sum += out[2 + i];
    out[0] = sum;
    out[1] = 0;
}
static __global__ void plain_sum(float *out)
{
    if (threadIdx.x == 0) out[0] += 0.0f;
}
static __global__ void copy_struct(packed<float> *out)
{
    if (threadIdx.x == 0) out[0] = out[1 + blockIdx.x];
}
/* Through shared memory, by cp.async. */
static __global__ void copy_through(float *out, bool commit, bool wait, int from)
{
    SHARED(packed<float>, s, [N]);
    int t = threadIdx.x;
    copy16(&s[t], out + from, true);
    if (commit) copy_commit();
    if (wait) copy_wait<0>();
    __syncthreads();
    out[t] = s[N - 1 - t].x[0];
}
static __global__ void one_thread(float *out)
{
    for (int i = 0; i < N && !threadIdx.z && !blockIdx.y; i++)
        out[i] = 0;
}
static __global__ void increment(float *x)
{
    x[threadIdx.x] += 1;
}
static __global__ void minus_three(float *out, const float *x)
{
    out[threadIdx.x] = x[threadIdx.x] - 3;
}
static __global__ void add(float *out, const float *x)
{
    out[threadIdx.x] = x[threadIdx.x];
}

/* Device memory with N floats, and a stream. */
struct bed {
    float *out, *host; /* on the device; pinned */
    cudaStream_t stream, other;
};

static bool all_zero(bed *b)
{
    float got[N];
    cudaMemcpyAsync(got, b->out, sizeof got, cudaMemcpyDeviceToHost, b->stream);
    cudaStreamSynchronize(b->stream);
    for (int i = 0; i < N; i++)
        if (!(got[i] == 0)) return false;
    return true;
}

static void missing_event(bed *b)
{
    float *x, zeros[N] = {};
    cudaMalloc((void **)&x, sizeof zeros);
    cudaMemcpyAsync(x, zeros, sizeof zeros, cudaMemcpyHostToDevice, b->other);
    LAUNCH(add, 1, N, 0, b->stream, b->out, (const float *)x);
}

static void early_reuse(bed *b)
{
    memset(b->host, 0, N * sizeof(float));
    cudaMemcpyAsync(b->out, b->host, N * sizeof(float), cudaMemcpyHostToDevice, b->stream);
    b->host[5] = 1;
}

/* Two streams in a graph, launched three times: x += 1 on one, out = x - (launches so far) on the
 * other.  Right: all 0 at the end. */
static void graph(bed *b, bool event, bool join, bool sync)
{
    float *x;
    cudaEvent_t forked, written, done;
    cudaGraph_t noted;
    cudaGraphExec_t exec;
    cudaMalloc((void **)&x, N * sizeof(float));
    cudaMemsetAsync(x, 0, N * sizeof(float), b->stream);
    cudaEventCreateWithFlags(&forked, cudaEventDisableTiming);
    cudaEventCreateWithFlags(&written, cudaEventDisableTiming);
    cudaEventCreateWithFlags(&done, cudaEventDisableTiming);
    cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal);
    cudaEventRecord(forked, b->stream);
    cudaStreamWaitEvent(b->other, forked, 0);
    LAUNCH(increment, 1, N, 0, b->stream, x);
    cudaEventRecord(written, b->stream);
    if (event) cudaStreamWaitEvent(b->other, written, 0);
    LAUNCH(minus_three, 1, N, 0, b->other, b->out, (const float *)x);
    cudaEventRecord(done, b->other);
    if (sync) cudaStreamSynchronize(b->stream);
    if (join) cudaStreamWaitEvent(b->stream, done, 0);
    if (cudaStreamEndCapture(b->stream, &noted) || cudaGraphInstantiate(&exec, noted, 0)) return;
    cudaGraphDestroy(noted);
    for (int i = 0; i < 3; i++)
        cudaGraphLaunch(exec, b->stream);
    cudaGraphExecDestroy(exec);
}

static void host_access(bed *b)
{
    LAUNCH(block_race, 1, N, 0, b->stream, b->out);
    cudaStreamSynchronize(b->stream);
    *(volatile float *)b->out = 0;
}

/* Between the threads of a grid, and what a launch may ask for. */
static void run_threads(fault which, bed *b)
{
    cudaStream_t s = b->stream;
    switch (which) {
    case FAULT_MISSING_BARRIER:
        return LAUNCH(neighbour, 1, N, 0, s, b->out, false);
    case FAULT_MISSING_WARP_BARRIER:
        return LAUNCH(warp_neighbour, 1, N, 0, s, b->out);
    case FAULT_LOOP_BARRIER:
        return LAUNCH(rounds, 1, N, 0, s, b->out);
    case FAULT_NEVER_WRITTEN:
        return LAUNCH(never_written, 1, N, 0, s, b->out);
    case FAULT_DIVERGENT_BARRIER:
        return LAUNCH(divergent, 1, N, 0, s, b->out);
    case FAULT_PARTIAL_BARRIER:
        return LAUNCH(partial, 1, N, 0, s, b->out);
    case FAULT_EXITED_LANE:
        return LAUNCH(exited, 1, N, 0, s, b->out);
    case FAULT_OUTSIDE_MASK:
        return LAUNCH(outside, 1, N, 0, s, b->out);
    case FAULT_BLOCK_RACE:
        return LAUNCH(block_race, 4, N, 0, s, b->out);
    case FAULT_PLAIN_SUM:
        cudaMemsetAsync(b->out, 0, N * sizeof(float), s);
        return LAUNCH(plain_sum, 4, N, 0, s, b->out);
    case FAULT_MISSING_FENCE:
        cudaMemsetAsync(b->out, 0, N * sizeof(float), s);
        return LAUNCH(last_adds, 4, N, 0, s, b->out, false);
    case FAULT_STRUCT_RACE:
        cudaMemsetAsync(b->out, 0, N * sizeof(float), s);
        return LAUNCH(copy_struct, 4, N, 0, s, (packed<float> *)b->out);
    case FAULT_COPY_WAIT:
    case FAULT_COPY_COMMIT:
    case FAULT_COPY_MISALIGNED:
        cudaMemsetAsync(b->out, 0, N * sizeof(float), s);
        return LAUNCH(copy_through, 1, N, 0, s, b->out, which != FAULT_COPY_COMMIT,
                      which != FAULT_COPY_WAIT, which == FAULT_COPY_MISALIGNED);
    case FAULT_SHARED_LIMIT:
        return LAUNCH(block_race, 1, N, 60000, s, b->out);
    case FAULT_THREAD_LIMIT:
        LAUNCH(one_thread, 1, dim3(1, 1, 65), 0, s, b->out);
        return;
    case FAULT_GRID_LIMIT:
        LAUNCH(one_thread, dim3(1, 65536), 1, 0, s, b->out);
        return;
    default:
        return;
    }
}

static void run(fault which, bed *b)
{
    cudaStream_t s = b->stream;
    switch (which) {
    case FAULT_NONE:
        return LAUNCH(none, 1, N, 0, s, b->out);
    case FAULT_NONE_BLOCKS:
        cudaMemsetAsync(b->out, 0, N * sizeof(float), s);
        return LAUNCH(last_adds, 4, N, 0, s, b->out, true);
    case FAULT_NONE_GRAPH:
        return graph(b, true, true, false);
    case FAULT_GRAPH_EVENT:
        return graph(b, false, true, false);
    case FAULT_GRAPH_JOIN:
        return graph(b, true, false, false);
    case FAULT_GRAPH_SYNC:
        return graph(b, true, true, true);
    case FAULT_GLOBAL:
        LAUNCH(block_race, 1, N, 0, s, b->out);
        return LAUNCH(global_overrun, 1, N, 0, s, b->out);
    case FAULT_STATIC_SHARED:
        return LAUNCH(static_overrun, 1, N, 0, s, b->out);
    case FAULT_DYNAMIC_SHARED:
        return LAUNCH(dynamic_overrun, 1, N, N * sizeof(float), s, b->out);
    case FAULT_OWN_ARRAY:
        return LAUNCH(own_overrun, 1, N, 0, s, b->out);
    case FAULT_MISALIGNED:
        return LAUNCH(misaligned, 1, N, 0, s, b->out);
    case FAULT_FORBIDDEN:
        emu_forbid(b->out + 8, 2 * sizeof(float));
        LAUNCH(block_race, 1, N, 0, s, b->out);
        cudaStreamSynchronize(s);
        return emu_allow(b->out + 8, 2 * sizeof(float));
    case FAULT_HOST_ACCESS:
        return host_access(b);
    case FAULT_MISSING_EVENT:
        return missing_event(b);
    case FAULT_EARLY_REUSE:
        return early_reuse(b);
    default:
        return run_threads(which, b);
    }
}

extern "C" int FAULTS_NAME(fault which)
{
    bed b = {};
    if (cudaStreamCreateWithFlags(&b.stream, cudaStreamNonBlocking) ||
        cudaStreamCreateWithFlags(&b.other, cudaStreamNonBlocking) ||
        cudaMalloc((void **)&b.out, N * sizeof(float)) ||
        cudaMallocHost((void **)&b.host, N * sizeof(float)))
        return 0;
    run(which, &b);
    return all_zero(&b);
}

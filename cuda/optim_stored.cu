/* optim_stored.cu - the fused optimizer step where not everything is f32 in memory: bf16
 * weights with or without the rest of a master, bf16 and 8-bit states (core/stored_numbers.h,
 * which the CPU compiles, too).
 *
 * A lane has 8 elements side by side: 16 bytes of bf16, and one draw of noise.  A block of states
 * is 64 elements, so 8 lanes have one, and its largest, its scale, is found by three shuffles:
 *
 *     lane    0 1 ... 7 | 8 9 ... 15 | ...        load -> 8 lanes of f32 -> rule -> shuffle: scale -> store
 *     block       0     |     1      | ...
 *
 * What form a tensor has is the same for all threads of a block, so no warp diverges.  Compiled
 * like optim.cu: without contraction, IEEE roots and divisions.
 * bytes: AdamW with split8 and 8-bit states 12 for each element: 2 + 1 + 1 + 1
 * read and written, g 2 */
#include "cuda/gpu.h"
#include "cuda/optim.h"

#include "core/stored_numbers.h"

static constexpr int AT_ONCE = 32, THREADS = 256, MINE = NOISE_ELEMENTS;
static constexpr int SHARERS = STATE_BLOCK / MINE, AT_A_TIME = WARP * MINE,
                     CHUNK = THREADS * 2 * MINE;
static_assert(CHUNK % AT_A_TIME == 0 && STATE_BLOCK % MINE == 0, "no block of states is cut");

struct stored_item {
    void *p, *g, *master, *s[MAX_STATES];
    float *scale[MAX_STATES];
    int64_t n, first;
    uint32_t id;
    float lr_scale;
    uint8_t p_type, g_type, master_type, s_type[MAX_STATES];
    bool aligned; /* all of them begin on 16 bytes */
};

struct stored_table {
    stored_item of[AT_ONCE];
    unsigned first_block[AT_ONCE + 1];
    uint32_t decays; /* a bit for each */
    const hyper *h;
};
static_assert(sizeof(stored_table) < 4096, "the arguments of a kernel are 4 KiB at most");

/* ---- between memory and a lane ---- */

template <class T> struct alignas(MINE * sizeof(T) < 16 ? MINE * sizeof(T) : 16) some {
    T x[MINE];
};

/* A lane's elements: [i, i + n) of a tensor; with all MINE at once, or fewer at its end. */
struct span {
    int64_t i;
    int n;
    bool aligned;
};

template <class T> static __device__ __forceinline__ some<T> load_some(const void *from, span at)
{
    const T *x = (const T *)from + at.i;
    if (at.aligned && at.n == MINE) return *(const some<T> *)x;
    some<T> v = {};
#pragma unroll
    for (int j = 0; j < MINE; j++)
        if (j < at.n) v.x[j] = x[j];
    return v;
}

template <class T>
static __device__ __forceinline__ void store_some(void *to, span at, const some<T> &v)
{
    T *x = (T *)to + at.i;
    if (at.aligned && at.n == MINE) {
        *(some<T> *)x = v;
        return;
    }
#pragma unroll
    for (int j = 0; j < MINE; j++)
        if (j < at.n) x[j] = v.x[j];
}

/* out = the elements of x, f32 or bf16 */
static __device__ __forceinline__ void load_numbers(const void *x, uint8_t type, span at,
                                                    some<float> *out)
{
    if (type == F32) {
        *out = load_some<float>(x, at);
        return;
    }
    some<uint16_t> v = load_some<uint16_t>(x, at);
#pragma unroll
    for (int j = 0; j < MINE; j++)
        out->x[j] = float_of_bf16(v.x[j]);
}

template <class REST>
static __device__ __forceinline__ void load_split(const stored_item &a, span at, some<float> *out)
{
    some<uint16_t> hi = load_some<uint16_t>(a.p, at);
    some<REST> lo = load_some<REST>(a.master, at);
#pragma unroll
    for (int j = 0; j < MINE; j++)
        out->x[j] = joined(hi.x[j], lo.x[j] * (sizeof(REST) == 1 ? 256 : 1));
}

static __device__ __forceinline__ void load_weights(const stored_item &a, span at, some<float> *out)
{
    if (a.master_type == F32)
        *out = load_some<float>(a.master, at);
    else if (a.master_type == I16)
        load_split<int16_t>(a, at, out);
    else if (a.master_type == I8)
        load_split<int8_t>(a, at, out);
    else
        load_numbers(a.p, a.p_type, at, out);
}

static __device__ __forceinline__ void store_weights(const stored_item &a, span at,
                                                     const some<float> &x, const hyper &h)
{
    if (a.p_type == F32) {
        store_some(a.p, at, x);
        return;
    }
    some<uint16_t> hi;
    some<int16_t> lo;
    some<int8_t> upper;
    noise eight = {};
    if (a.master_type == DT_NONE) eight = noise_at(&h, a.id, NOISE_WEIGHT, a.first + at.i);
#pragma unroll
    for (int j = 0; j < MINE; j++) {
        split s = split_float(a.master_type == I8 ? with_24_bits(x.x[j]) : x.x[j]);
        hi.x[j] = a.master_type == DT_NONE ? bf16_at_random(x.x[j], noise_of(&eight, j)) : s.hi;
        lo.x[j] = s.lo;
        upper.x[j] = (int8_t)(s.lo / 256);
    }
    if (a.master_type == F32) store_some(a.master, at, x);
    if (a.master_type == I16) store_some(a.master, at, lo);
    if (a.master_type == I8) store_some(a.master, at, upper);
    store_some(a.p, at, hi);
}

static __device__ __forceinline__ void load_state(const stored_item &a, int k, span at,
                                                  some<float> *out)
{
    uint8_t type = a.s_type[k];
    if (type != I8 && type != U8) {
        if (type != DT_NONE) load_numbers(a.s[k], type, at, out);
        return;
    }
    float scale = at.n > 0 ? a.scale[k][at.i / STATE_BLOCK] : 0;
    some<uint8_t> codes = load_some<uint8_t>(a.s[k], at);
#pragma unroll
    for (int j = 0; j < MINE; j++)
        out->x[j] = type == I8 ? value_i8((int8_t)codes.x[j], scale) : value_u8(codes.x[j], scale);
}

/* The largest of a block's magnitudes; x: this lane's. */
static __device__ __forceinline__ float block_scale(const some<float> &x, uint8_t type)
{
    uint32_t most = 0;
#pragma unroll
    for (int j = 0; j < MINE; j++) {
        uint32_t m = type == I8 ? magnitude_i8(x.x[j]) : magnitude_u8(x.x[j]);
        most = m > most ? m : most;
    }
    for (int d = SHARERS / 2; d; d /= 2) {
        uint32_t other = __shfl_xor_sync(ALL_LANES, most, d);
        most = other > most ? other : most;
    }
    return float_of_bits(most);
}

/* Past the tensor's end x is 0. */
static __device__ __forceinline__ void store_state(const stored_item &a, int k, span at,
                                                   const some<float> &x, const hyper &h)
{
    uint8_t type = a.s_type[k];
    float scale = type == I8 || type == U8 ? block_scale(x, type) : 0;
    if (at.n <= 0 || type == DT_NONE) return;
    if (type == F32) {
        store_some(a.s[k], at, x);
        return;
    }
    noise eight = noise_at(&h, a.id, k, a.first + at.i);
    if (type == BF16) {
        some<uint16_t> v;
#pragma unroll
        for (int j = 0; j < MINE; j++)
            v.x[j] = bf16_at_random(x.x[j], noise_of(&eight, j));
        store_some(a.s[k], at, v);
        return;
    }
    if (at.i % STATE_BLOCK == 0) a.scale[k][at.i / STATE_BLOCK] = scale;
    some<uint8_t> codes;
#pragma unroll
    for (int j = 0; j < MINE; j++)
        codes.x[j] = type == I8 ? (uint8_t)code_i8(x.x[j], scale, noise_of(&eight, j))
                                : code_u8(x.x[j], scale, noise_of(&eight, j));
    store_some(a.s[k], at, codes);
}

/* ---- the step ---- */

template <class RULE>
static __device__ void update_some(const stored_item &a, span at, float wd, const hyper &h)
{
    some<float> p, g, s[MAX_STATES] = {}; /* of which a rule has STATES */
    load_weights(a, at, &p);
    load_numbers(a.g, a.g_type, at, &g);
#pragma unroll
    for (int k = 0; k < RULE::STATES; k++)
        load_state(a, k, at, &s[k]);
#pragma unroll
    for (int j = 0; j < MINE; j++) {
        lane x = {p.x[j], g.x[j], {}, 0, wd};
#pragma unroll
        for (int k = 0; k < RULE::STATES; k++)
            x.s[k] = s[k].x[j];
#pragma unroll
        for (int pass = 0; pass < RULE::PASSES; pass++)
            RULE::pass(pass, &x, &h);
        p.x[j] = x.p;
#pragma unroll
        for (int k = 0; k < RULE::STATES; k++)
            s[k].x[j] = j < at.n ? x.s[k] : 0;
    }
    store_weights(a, at, p, h);
    __syncwarp(); /* every lane has read the old scales */
#pragma unroll
    for (int k = 0; k < RULE::STATES; k++)
        store_state(a, k, at, s[k], h);
}

template <class RULE> __global__ void optim_stored_kernel(stored_table t)
{
    hyper h = *t.h;
    if (!h.ok) return;
    int item = 0;
    while (t.first_block[item + 1] <= blockIdx.x)
        item++;
    const stored_item &a = t.of[item];
    h = hyper_scaled(h, a.lr_scale);
    int64_t first = (int64_t)(blockIdx.x - t.first_block[item]) * CHUNK;
    int64_t end = first + CHUNK < a.n ? first + CHUNK : a.n;
    float wd = t.decays >> item & 1 ? h.lr_wd : 0;
    for (first += (int64_t)(threadIdx.x / WARP) * AT_A_TIME; first < end;
         first += THREADS / WARP * AT_A_TIME) {
        int64_t i = first + threadIdx.x % WARP * MINE, left = a.n - i;
        span at = {i, left <= 0 ? 0 : left < MINE ? (int)left : MINE, a.aligned};
        update_some<RULE>(a, at, wd, h);
    }
}

typedef void stored_kernel(stored_table);
static stored_kernel *const kernels[] = {
#define STORED_KERNEL(name) optim_stored_kernel<name##_rule>,
    OPTIM_RULES(STORED_KERNEL)
#undef STORED_KERNEL
};

/* ---- launching ---- */

static bool on_16_bytes(tensor t)
{
    return !present(t) || (uintptr_t)t.data % 16 == 0;
}

static void fill_item(const optim_item *it, stored_item *a)
{
    a->aligned = on_16_bytes(it->p) && on_16_bytes(it->g) && on_16_bytes(it->master);
    a->p = it->p.data;
    a->g = it->g.data;
    a->master = it->master.data;
    a->p_type = (uint8_t)it->p.type;
    a->g_type = (uint8_t)it->g.type;
    a->master_type = (uint8_t)it->master.type;
    for (int k = 0; k < MAX_STATES; k++) {
        a->aligned = a->aligned && on_16_bytes(it->state[k]);
        a->s[k] = it->state[k].data;
        a->s_type[k] = (uint8_t)it->state[k].type;
        a->scale[k] = (float *)it->scale[k].data;
    }
    a->n = tensor_count(it->p);
    a->id = it->id;
    a->lr_scale = it->lr_scale;
    a->first = it->first;
}

extern "C" void cuda_optim_stored(device *dev, int stream, const optim_op *o, int rule)
{
    for (int64_t first = 0; first < o->n; first += AT_ONCE) {
        stored_table t = {};
        t.h = (const hyper *)o->hyper.data;
        for (int n = 0; n < AT_ONCE; n++) {
            t.first_block[n + 1] = t.first_block[n];
            if (first + n >= o->n) continue;
            const optim_item *it = &o->items[first + n];
            fill_item(it, &t.of[n]);
            t.decays |= (uint32_t)it->decay << n;
            t.first_block[n + 1] += groups(t.of[n].n, CHUNK);
        }
        RUN(dev, stream, kernels[rule], t.first_block[AT_ONCE], THREADS, 0, t);
    }
}

/* optim_stored.cu - the fused optimizer step where not everything is f32 in memory: bf16 weights with
 * or without the rest of a master, bf16 and 8-bit states (core/storage.h, which the CPU compiles,
 * too).
 *
 * A block of states is 64 elements: a warp has one at a time, two elements in each lane, so that the
 * largest of a block, its scale, is the largest over a warp:
 *
 *     lane    0 1 2 ... 31 | 0 1 2 ... 31         load -> lanes of f32 -> rule -> shuffle: scale -> store
 *
 * What form a tensor has is the same for all threads of a block, so no warp diverges.  Compiled like
 * optim.cu: without contraction, IEEE roots and divisions.
 * bytes: AdamW with split8 and 8-bit states 12 for each element: 2 + 1 + 1 + 1 read and written, g 2 */
#include "cuda/gpu.h"
#include "cuda/optim.h"

#include "core/storage.h"

static constexpr int AT_ONCE = 32, THREADS = 256, MINE = STATE_BLOCK / WARP, CHUNK = THREADS * 16;

struct stored_item {
    void *p, *g, *master, *s[MAX_STATES];
    float *scale[MAX_STATES];
    int64_t n;
    uint32_t id;
    uint8_t p_type, g_type, master_type, s_type[MAX_STATES];
};

struct stored_table {
    stored_item of[AT_ONCE];
    unsigned first_block[AT_ONCE + 1];
    uint32_t decays; /* a bit for each */
    const hyper *h;
};
static_assert(sizeof(stored_table) < 4096, "the arguments of a kernel are 4 KiB at most");

/* ---- between memory and a lane ---- */

static __device__ __forceinline__ float number(const void *x, uint8_t type, int64_t i)
{
    return type == F32 ? ((const float *)x)[i] : float_of_bf16(((const uint16_t *)x)[i]);
}

static __device__ __forceinline__ float load_weight(const stored_item &a, int64_t i)
{
    if (a.master_type == F32) return ((const float *)a.master)[i];
    if (a.master_type == I16)
        return joined(((const uint16_t *)a.p)[i], ((const int16_t *)a.master)[i]);
    if (a.master_type == I8)
        return joined(((const uint16_t *)a.p)[i], 256 * ((const int8_t *)a.master)[i]);
    return number(a.p, a.p_type, i);
}

static __device__ __forceinline__ void store_weight(const stored_item &a, int64_t i, float x,
                                                    const hyper &h)
{
    if (a.p_type == F32) {
        ((float *)a.p)[i] = x;
        return;
    }
    split s = split_float(a.master_type == I8 ? with_24_bits(x) : x);
    if (a.master_type == F32)
        ((float *)a.master)[i] = x;
    else if (a.master_type == I16)
        ((int16_t *)a.master)[i] = s.lo;
    else if (a.master_type == I8)
        ((int8_t *)a.master)[i] = (int8_t)(s.lo / 256);
    else {
        noise eight = noise_at(&h, a.id, NOISE_WEIGHT, i);
        s.hi = bf16_at_random(x, noise_of(&eight, i));
    }
    ((uint16_t *)a.p)[i] = s.hi;
}

static __device__ __forceinline__ float load_state(const stored_item &a, int k, int64_t i)
{
    if (a.s_type[k] == DT_NONE) return 0;
    if (a.s_type[k] == I8)
        return value_i8(((const int8_t *)a.s[k])[i], a.scale[k][i / STATE_BLOCK]);
    if (a.s_type[k] == U8)
        return value_u8(((const uint8_t *)a.s[k])[i], a.scale[k][i / STATE_BLOCK]);
    return number(a.s[k], a.s_type[k], i);
}

/* The largest of a block's magnitudes; x: this lane's. */
static __device__ __forceinline__ float block_scale(const float *x, uint8_t type)
{
    uint32_t most = 0;
    for (int j = 0; j < MINE; j++) {
        uint32_t m = type == I8 ? magnitude_i8(x[j]) : magnitude_u8(x[j]);
        most = m > most ? m : most;
    }
    for (int d = WARP / 2; d; d /= 2) {
        uint32_t other = __shfl_xor_sync(ALL_LANES, most, d);
        most = other > most ? other : most;
    }
    return float_of_bits(most);
}

/* Elements first + lane, first + WARP + lane of state k; behind the tensor's end x is 0. */
static __device__ __forceinline__ void store_state(const stored_item &a, int k, int64_t first,
                                                   const float *x, const hyper &h)
{
    uint8_t type = a.s_type[k];
    float scale = type == I8 || type == U8 ? block_scale(x, type) : 0;
    int lane_id = threadIdx.x % WARP;
    if (lane_id == 0 && (type == I8 || type == U8)) a.scale[k][first / STATE_BLOCK] = scale;
    for (int j = 0; j < MINE; j++) {
        int64_t i = first + j * WARP + lane_id;
        if (i >= a.n || type == DT_NONE) continue;
        if (type == F32) {
            ((float *)a.s[k])[i] = x[j];
            continue;
        }
        noise eight = noise_at(&h, a.id, k, i);
        uint32_t bits = noise_of(&eight, i);
        if (type == I8)
            ((int8_t *)a.s[k])[i] = code_i8(x[j], scale, bits);
        else if (type == U8)
            ((uint8_t *)a.s[k])[i] = code_u8(x[j], scale, bits);
        else
            ((uint16_t *)a.s[k])[i] = bf16_at_random(x[j], bits);
    }
}

/* ---- the step ---- */

template <class RULE>
static __device__ void update_block(const stored_item &a, int64_t first, float wd, const hyper &h)
{
    float s[MAX_STATES][MINE] = {};
#pragma unroll
    for (int j = 0; j < MINE; j++) {
        int64_t i = first + j * WARP + threadIdx.x % WARP;
        if (i >= a.n) continue;
        lane x = {load_weight(a, i), number(a.g, a.g_type, i), {}, 0, wd};
#pragma unroll
        for (int k = 0; k < MAX_STATES; k++)
            x.s[k] = load_state(a, k, i);
#pragma unroll
        for (int pass = 0; pass < MOST_PASSES; pass++)
            RULE::pass(pass, &x, &h);
        store_weight(a, i, x.p, h);
#pragma unroll
        for (int k = 0; k < MAX_STATES; k++)
            s[k][j] = x.s[k];
    }
    __syncwarp(); /* every lane has read the old scales */
#pragma unroll
    for (int k = 0; k < MAX_STATES; k++)
        store_state(a, k, first, s[k], h);
}

template <class RULE> __global__ void optim_stored_kernel(stored_table t)
{
    const hyper h = *t.h;
    if (!h.ok) return;
    int item = 0;
    while (t.first_block[item + 1] <= blockIdx.x)
        item++;
    const stored_item &a = t.of[item];
    int64_t first = (int64_t)(blockIdx.x - t.first_block[item]) * CHUNK;
    int64_t end = first + CHUNK < a.n ? first + CHUNK : a.n;
    float wd = t.decays >> item & 1 ? h.lr_wd : 0;
    for (first += (int64_t)(threadIdx.x / WARP) * STATE_BLOCK; first < end;
         first += THREADS / WARP * STATE_BLOCK)
        update_block<RULE>(a, first, wd, h);
}

typedef void stored_kernel(stored_table);
static stored_kernel *const kernels[] = {
#define STORED_KERNEL(name) optim_stored_kernel<name##_rule>,
    OPTIM_RULES(STORED_KERNEL)
#undef STORED_KERNEL
};

/* ---- launching ---- */

static void fill_item(const optim_item *it, stored_item *a)
{
    a->p = it->p.data;
    a->g = it->g.data;
    a->master = it->master.data;
    a->p_type = (uint8_t)it->p.type;
    a->g_type = (uint8_t)it->g.type;
    a->master_type = (uint8_t)it->master.type;
    for (int k = 0; k < MAX_STATES; k++) {
        a->s[k] = it->state[k].data;
        a->s_type[k] = (uint8_t)it->state[k].type;
        a->scale[k] = (float *)it->scale[k].data;
    }
    a->n = tensor_count(it->p);
    a->id = it->id;
}

extern "C" void cuda_optim_stored(device *dev, int stream, const optim_op *o)
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
        RUN(dev, stream, kernels[o->rule], t.first_block[AT_ONCE], THREADS, 0, t);
    }
}

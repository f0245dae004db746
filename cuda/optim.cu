/* optim.cu - the optimizer step: each rule of optim/rules/all.h, over many tensors in one launch.
 *
 *     fused     all passes in registers      load p g s0 s1 ...   store p s0 s1 ...
 *     passes    a launch for each pass       loads and stores what that pass touches
 *
 * A launch handles up to AT_ONCE tensors; a block has CHUNK elements of one of them, found by its
 * number.  This file is compiled without contraction (--fmad=false) and with IEEE roots and
 * divisions, so results have the CPU's bits.  What is not all f32 in memory: optim_stored.cu.
 * bytes: AdamW 28 for each element (p, m, v read and written, g read), Lion 20, Adan 44 */
#include "cuda/gpu.h"
#include "cuda/optim.h"

static constexpr int AT_ONCE = 40, THREADS = 256, CHUNK = THREADS * 16;

/* Arrays of n elements; an absent one points to p, and is never written. */
struct optim_arrays {
    float *p, *g, *s[MAX_STATES], *t;
    int64_t n;
};

struct optim_table {
    optim_arrays of[AT_ONCE];
    unsigned first_block[AT_ONCE + 1];
    float lr_scale[AT_ONCE];
    uint64_t decays, aligned; /* a bit for each: weight decay; all arrays begin on 16 bytes */
    const hyper *h;
};
static_assert(sizeof(optim_table) < 4096, "the arguments of a kernel are 4 KiB at most");
static_assert(AT_ONCE <= 64, "decays and whole have a bit for each");
static_assert(MAX_STATES == 4, "run_passes names them");

/* Elements [first, end) of a tensor are this block's. */
struct optim_part {
    optim_arrays a;
    int64_t first, end;
    float wd;
    bool aligned; /* all arrays begin on 16 bytes */
};

/* And scales the learning rate of h to it. */
static __device__ optim_part part_of_block(const optim_table &t, hyper &h)
{
    int item = 0;
    while (t.first_block[item + 1] <= blockIdx.x)
        item++;
    optim_part part;
    part.a = t.of[item];
    part.first = (int64_t)(blockIdx.x - t.first_block[item]) * CHUNK;
    part.end = part.first + CHUNK < part.a.n ? part.first + CHUNK : part.a.n;
    h = hyper_scaled(h, t.lr_scale[item]);
    part.wd = t.decays >> item & 1 ? h.lr_wd : 0;
    part.aligned = t.aligned >> item & 1;
    return part;
}

/* A thread has FOUR elements side by side. */
static constexpr int FOUR = WIDTH<float>;
struct lanes {
    unpacked<float> p, g, s[MAX_STATES], t;
};

static __device__ __forceinline__ lanes load_lanes(const optim_part &part, int64_t i)
{
    const optim_arrays &a = part.a;
    int64_t left = part.end - i;
    lanes v = {load(a.p + i, left, part.aligned), load(a.g + i, left, part.aligned)};
    for (int k = 0; k < MAX_STATES; k++)
        v.s[k] = load(a.s[k] + i, left, part.aligned);
    v.t = load(a.t + i, left, part.aligned);
    return v;
}

static __device__ __forceinline__ void store_lanes(const optim_part &part, int64_t i,
                                                   const lanes &v, int written)
{
    const optim_arrays &a = part.a;
    int64_t left = part.end - i;
    if (written & LANE_P) store(a.p + i, left, part.aligned, v.p);
    if (written & LANE_G) store(a.g + i, left, part.aligned, v.g);
    if (written & LANE_T) store(a.t + i, left, part.aligned, v.t);
    if (written & LANE_S0) store(a.s[0] + i, left, part.aligned, v.s[0]);
    if (written & LANE_S1) store(a.s[1] + i, left, part.aligned, v.s[1]);
    if (written & LANE_S2) store(a.s[2] + i, left, part.aligned, v.s[2]);
    if (written & LANE_S3) store(a.s[3] + i, left, part.aligned, v.s[3]);
}

/* Passes [FIRST, END) of a rule over this block's elements.  The number of a pass is a compile-time
 * constant: what it does not read is not loaded, what it does not write is not stored. */
template <class RULE, int FIRST, int END, bool FUSED>
static __device__ __forceinline__ void run_passes(const optim_part &part, const hyper &h)
{
    for (int64_t i = part.first + threadIdx.x * FOUR; i < part.end; i += THREADS * FOUR) {
        lanes v = load_lanes(part, i);
        int written = 0;
#pragma unroll
        for (int j = 0; j < FOUR; j++) {
            lane x = {v.p.x[j],
                      v.g.x[j],
                      {v.s[0].x[j], v.s[1].x[j], v.s[2].x[j], v.s[3].x[j]},
                      v.t.x[j],
                      part.wd};
#pragma unroll
            for (int pass = FIRST; pass < END; pass++)
                written |= RULE::pass(pass, &x, &h);
            v.p.x[j] = x.p, v.g.x[j] = x.g, v.t.x[j] = x.t;
#pragma unroll
            for (int k = 0; k < MAX_STATES; k++)
                v.s[k].x[j] = x.s[k];
        }
        if (FUSED) written &= ~(LANE_G | (written & LANE_RESULT ? 0 : LANE_T));
        store_lanes(part, i, v, written);
    }
}

template <class RULE> __global__ void optim_fused_kernel(optim_table t)
{
    hyper h = *t.h;
    if (!h.ok) return;
    const optim_part part = part_of_block(t, h);
    run_passes<RULE, 0, RULE::PASSES, true>(part, h);
}

template <class RULE, int PASS = 0>
__device__ void run_pass_number(int pass, const optim_part &part, const hyper &h)
{
    if (pass == PASS)
        run_passes<RULE, PASS, PASS + 1, false>(part, h);
    else if constexpr (PASS + 1 < RULE::PASSES)
        run_pass_number<RULE, PASS + 1>(pass, part, h);
}

template <class RULE> __global__ void optim_pass_kernel(optim_table t, int pass)
{
    hyper h = *t.h;
    if (!h.ok) return;
    const optim_part part = part_of_block(t, h);
    run_pass_number<RULE>(pass, part, h);
}

/* ---- the rules by number ---- */

typedef void fused_kernel(optim_table);
typedef void pass_kernel(optim_table, int);

static const struct {
    fused_kernel *fused;
    pass_kernel *pass;
} kernels[] = {
#define RULE_ENTRY(name) {optim_fused_kernel<name##_rule>, optim_pass_kernel<name##_rule>},
    OPTIM_RULES(RULE_ENTRY)
#undef RULE_ENTRY
};

/* ---- launching ---- */

static float *array_of(tensor t, const optim_item *it)
{
    return (float *)(present(t) ? t.data : it->p.data);
}

/* The next tensors from items[first] on; how many. */
static int fill_table(const optim_op *o, int64_t first, optim_table *t)
{
    int n = 0;
    *t = {};
    t->h = (const hyper *)o->hyper.data;
    for (; n < AT_ONCE && first + n < o->n; n++) {
        const optim_item *it = &o->items[first + n];
        optim_arrays *a = &t->of[n];
        a->p = (float *)it->p.data;
        a->g = (float *)it->g.data;
        a->t = array_of(it->temp, it);
        uintptr_t address = (uintptr_t)a->p | (uintptr_t)a->g | (uintptr_t)a->t;
        for (int k = 0; k < MAX_STATES; k++) {
            a->s[k] = array_of(it->state[k], it);
            address |= (uintptr_t)a->s[k];
        }
        t->aligned |= (uint64_t)(address % 16 == 0) << n;
        a->n = tensor_count(it->p);
        t->decays |= (uint64_t)it->decay << n;
        t->lr_scale[n] = it->lr_scale;
        t->first_block[n + 1] = t->first_block[n] + groups(a->n, CHUNK);
    }
    for (int k = n; k < AT_ONCE; k++)
        t->first_block[k + 1] = t->first_block[n];
    return n;
}

/* The slots of up to AT_ONCE items. */
static void sum_slots(device *dev, int stream, const optim_op *o, int64_t first, int n)
{
    square_sum sums[AT_ONCE];
    int64_t count = 0;
    for (int64_t i = first; i < first + n; i++) {
        const optim_item *it = &o->items[i];
        if (present(it->slot))
            sums[count++] = {it->g.data, it->g.type, tensor_count(it->g), (double *)it->slot.data};
    }
    cuda_square_sums(dev, stream, sums, count, (const hyper *)o->hyper.data);
}

/* Is any part of it in a format of core/stored_numbers.h? */
static bool stored(const optim_item *it)
{
    bool is = it->p.type != F32;
    for (int k = 0; k < MAX_STATES; k++)
        is = is || (present(it->state[k]) && it->state[k].type != F32);
    return is;
}

static bool any_stored(const optim_op *o)
{
    bool any = false;
    for (int64_t i = 0; i < o->n; i++)
        any = any || stored(&o->items[i]);
    return any;
}

extern "C" void cuda_optim(device *dev, int stream, const optim_op *o)
{
    int rule = rule_named(o->rule->name);
    if (rule == RULE_COUNT) {
        device_fail(dev, internal_error("optim: no rule is called %s", o->rule->name));
        return;
    }
    if (any_stored(o)) {
        for (int64_t first = 0; first < o->n; first += AT_ONCE)
            sum_slots(dev, stream, o, first,
                      (int)(o->n - first < AT_ONCE ? o->n - first : AT_ONCE));
        cuda_optim_stored(dev, stream, o, rule);
        return;
    }
    int passes = o->fused ? 1 : o->rule->n_passes;
    for (int pass = 0; pass < passes; pass++) {
        optim_table t;
        int n;
        for (int64_t first = 0; (n = fill_table(o, first, &t)) > 0; first += n) {
            if (o->fused) {
                sum_slots(dev, stream, o, first, n);
                RUN(dev, stream, kernels[rule].fused, t.first_block[n], THREADS, 0, t);
            } else {
                RUN(dev, stream, kernels[rule].pass, t.first_block[n], THREADS, 0, t, pass);
            }
        }
    }
}

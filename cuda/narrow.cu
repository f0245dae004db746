/* narrow.cu - the operands of a product rounded to 8 bits, for cublasLt (core/narrow.h).
 *
 *     1  amax     a block has some rows of an operand and finds their largest magnitude, as bits:
 *                 the largest bits are also those of an infinity or a NaN
 *     2  round    a block finds the largest of these, makes the scale of it, and rounds tiles of
 *                 SIDE x SIDE
 *
 * The library wants both operands of an 8-bit product in one layout, with the numbers that are
 * summed over side by side. So where these are down the rows, a tile is transposed on its way,
 * through shared memory; what two products read gets both forms in one pass:
 *
 *        x (rows,cols)  bf16  --+-->  plain  (rows,cols)       as it lies
 *                               +-->  turned (cols,rows')      transposed
 *
 * rows' is rows rounded up to a multiple of 16, with zeros there.
 *
 *     3  sums     of operation narrow, if wanted: a tile's column sums are made by round; a thread
 *                 adds those of its column, in order
 *
 * Both make what they round of x, if that is not x itself: the value of an activation function, or
 * its slope times x.  So each has its kernels.
 *
 * bytes: 2 for each number that is read, by amax and by round; 1 for each form by round */
#include "cuda/activation.h"
#include "cuda/gpu.h"

static constexpr int SIDE = NARROW_TILE, THREADS = 256, AT_ONCE = 8 /* numbers of a thread */,
                     LINE = 16;
static constexpr int MOST_BLOCKS = NARROW_GROUPS; /* for each operand, that look for the largest */

static_assert(NARROW_HEAD >= 2 * (MOST_BLOCKS + 64) * sizeof(uint32_t),
              "the largest of each block, and two factors");
static_assert(AT_ONCE == WIDTH<bf16>, "16 bytes");
static_assert(SIDE * SIDE / LINE == THREADS, "a line of a transposed tile is a thread's");

struct narrow_operand {
    const void *x;           /* bf16 (rows,cols), ld */
    uint8_t *plain, *turned; /* (rows,cols), (cols,side); one may be NULL */
    int64_t rows, cols, ld, side;
    const void *pre; /* ? bf16 (rows,cols), ld_pre */
    int64_t ld_pre;
    float *parts;      /* ? (tiles of rows,cols): their column sums */
    uint32_t *largest; /* (MOST_BLOCKS) */
    float *back;       /* what the codes must be multiplied by; NaN if x is not finite */
    fp8_format format;
    bool aligned;
};

struct narrowing {
    narrow_operand of[2];
    int blocks; /* of amax, for each */
};

struct eight {
    uint8_t x[AT_ONCE];
};

/* A group of numbers as they are rounded; 0 from `left` on. */
template <activation ACT, bool SLOPE>
static __device__ __forceinline__ unpacked<bf16> values(const narrow_operand &o, int64_t r,
                                                        int64_t c, int64_t left)
{
    unpacked<bf16> v = load((const bf16 *)o.x + r * o.ld + c, left, o.aligned);
    if (ACT == ACT_NONE) return v;
    unpacked<bf16> pre = {};
    if (SLOPE) pre = load((const bf16 *)o.pre + r * o.ld_pre + c, left, o.aligned);
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++) {
        bf16 b;
        narrowed(&b, SLOPE ? v.x[k] * act_grad_of<bf16>(ACT, pre.x[k]) : act_of<bf16>(ACT, v.x[k]));
        v.x[k] = widened(b);
    }
    return v;
}

template <activation ACT, bool SLOPE> static __global__ void amax_kernel(narrowing two)
{
    SHARED(uint32_t, of_warp, [THREADS / WARP]);
    const narrow_operand o = two.of[blockIdx.y];
    int64_t groups = (o.cols + AT_ONCE - 1) / AT_ONCE;
    uint32_t most = 0;
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < o.rows * groups;
         i += (int64_t)gridDim.x * THREADS) {
        int64_t r = i / groups, c = i % groups * AT_ONCE;
        unpacked<bf16> v = values<ACT, SLOPE>(o, r, c, o.cols - c);
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            uint32_t size = float_bits(v.x[k]) & 0x7fffffffu;
            most = size > most ? size : most;
        }
    }
    for (int d = WARP / 2; d; d /= 2) {
        uint32_t other = __shfl_xor_sync(ALL_LANES, most, d);
        most = other > most ? other : most;
    }
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = most;
    __syncthreads();
    if (threadIdx.x) return;
    for (int w = 1; w < THREADS / WARP; w++)
        most = of_warp[w] > most ? of_warp[w] : most;
    o.largest[blockIdx.x] = most >> 16;
}

/* The code of x, which is scaled. */
static __device__ __forceinline__ uint8_t code_of(fp8_format format, float x)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    uint16_t codes;
    if (format == E4M3)
        asm("cvt.rn.satfinite.e4m3x2.f32 %0,%1,%2;" : "=h"(codes) : "f"(0.0f), "f"(x));
    else
        asm("cvt.rn.satfinite.e5m2x2.f32 %0,%1,%2;" : "=h"(codes) : "f"(0.0f), "f"(x));
    return (uint8_t)codes;
#else
    return fp8_of_float(format, x);
#endif
}

/* The largest magnitude of an operand, in every thread. */
static __device__ uint32_t largest_of(const narrow_operand &o, int blocks)
{
    SHARED(uint32_t, of_warp, [THREADS / WARP]);
    uint32_t most = 0;
    for (int i = threadIdx.x; i < blocks; i += THREADS)
        most = o.largest[i] > most ? o.largest[i] : most;
    for (int d = WARP / 2; d; d /= 2) {
        uint32_t other = __shfl_xor_sync(ALL_LANES, most, d);
        most = other > most ? other : most;
    }
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = most;
    __syncthreads();
    for (int w = 0; w < THREADS / WARP; w++)
        most = of_warp[w] > most ? of_warp[w] : most;
    return most;
}

/* Where the byte of (row,col) of a transposed tile lies: lines of 16 bytes stay whole, and the
 * same line of rows that a warp writes at a time is in other banks. */
static __device__ __forceinline__ int spot(int row, int col)
{
    return row * SIDE + ((col / LINE ^ row / AT_ONCE % (SIDE / LINE)) * LINE | col % LINE);
}

/* The column sums of a tile, of which a thread has those of its rows: v, of columns c .. */
static __device__ __forceinline__ void put_sums(const narrow_operand &o, int64_t row0, int64_t col0,
                                                unpacked<bf16> v)
{
    SHARED(float, of_warp, [THREADS / WARP][SIDE]);
    constexpr int GROUPS = SIDE / AT_ONCE; /* of columns, side by side in a warp */
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++)
        for (int d = GROUPS; d < WARP; d *= 2)
            v.x[k] += __shfl_xor_sync(ALL_LANES, v.x[k], d);
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++)
        if (lane < GROUPS) of_warp[threadIdx.x / WARP][lane * AT_ONCE + k] = v.x[k];
    __syncthreads();
    int c = threadIdx.x;
    if (c >= SIDE || col0 + c >= o.cols) return;
    float sum = 0;
    for (int w = 0; w < THREADS / WARP; w++)
        sum += of_warp[w][c];
    o.parts[row0 / SIDE * o.cols + col0 + c] = sum;
}

template <activation ACT, bool SLOPE> static __global__ void round_kernel(narrowing two)
{
    SHARED(packed<float>, lines, [SIDE * SIDE / LINE]);
    uint8_t *tile = (uint8_t *)lines;
    const narrow_operand o = two.of[blockIdx.y];
    int64_t across = (o.cols + SIDE - 1) / SIDE;
    uint32_t amax = largest_of(o, two.blocks);
    int k = amax < 0x7f80 ? narrow_exponent(o.format, amax) : 0;
    float scale = power_of_2(k);
    if (!blockIdx.x && !threadIdx.x) *o.back = amax < 0x7f80 ? power_of_2(-k) : NAN;
    int64_t row0 = blockIdx.x / across * SIDE, col0 = blockIdx.x % across * SIDE;
    if (row0 >= o.rows) return; /* the other operand has more tiles */
    unpacked<bf16> sum = {};
#pragma unroll
    for (int part = 0; part < SIDE * SIDE / AT_ONCE / THREADS; part++) {
        int i = part * THREADS + (int)threadIdx.x, r = i / (SIDE / AT_ONCE),
            c = i % (SIDE / AT_ONCE) * AT_ONCE;
        int64_t left = row0 + r < o.rows ? o.cols - col0 - c : 0;
        unpacked<bf16> v = values<ACT, SLOPE>(o, row0 + r, col0 + c, left);
        eight codes;
#pragma unroll
        for (int n = 0; n < AT_ONCE; n++)
            codes.x[n] = code_of(o.format, v.x[n] * scale), sum.x[n] += v.x[n];
        if (o.turned)
            for (int n = 0; n < AT_ONCE; n++)
                tile[spot(c + n, r)] = codes.x[n];
        if (o.plain && left > 0) /* cols is a multiple of NARROW_UNIT */
            memcpy(o.plain + (row0 + r) * o.cols + col0 + c, &codes, AT_ONCE);
    }
    if (o.parts) put_sums(o, row0, col0, sum);
    if (!o.turned) return;
    __syncthreads();
    int r = threadIdx.x / (SIDE / LINE), c = threadIdx.x % (SIDE / LINE) * LINE;
    if (col0 + r < o.cols && row0 + c < o.side)
        *(packed<float> *)(o.turned + (col0 + r) * o.side + row0 + c) = lines[spot(r, c) / LINE];
}

/* db (cols) (+)= the sums of n tiles */
static __global__ void sums_kernel(const float *parts, int64_t n, int64_t cols, bf16 *db,
                                   bool accumulate)
{
    int64_t c = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (c >= cols) return;
    float sum = accumulate ? widened(db[c]) : 0.0f, all = 0;
#pragma unroll 8
    for (int64_t t = 0; t < n; t++)
        all += parts[t * cols + c];
    narrowed(&db[c], sum + all);
}

/* x (rows,cols), rounded; `largest` is scratch of NARROW_GROUPS. */
static narrow_operand operand_for(const void *x, int64_t rows, int64_t cols, int64_t ld,
                                  fp8_format format, uint32_t *largest, float *back)
{
    return {.x = x,
            .plain = NULL,
            .turned = NULL,
            .rows = rows,
            .cols = cols,
            .ld = ld,
            .side = narrow_side(rows),
            .pre = NULL,
            .ld_pre = 0,
            .parts = NULL,
            .largest = largest,
            .back = back,
            .format = format,
            .aligned = (uintptr_t)x % 16 == 0 && ld % AT_ONCE == 0};
}

/* The first n of two operands. */
template <activation ACT, bool SLOPE>
static void round_all(device *dev, int stream, narrowing *two, int n)
{
    int64_t work = 1, tiles = 1;
    for (int i = 0; i < n; i++) {
        const narrow_operand *o = &two->of[i];
        int64_t loads = o->rows * ((o->cols + AT_ONCE - 1) / AT_ONCE);
        int64_t all = (o->rows + SIDE - 1) / SIDE * ((o->cols + SIDE - 1) / SIDE);
        if (loads > work) work = loads;
        if (all > tiles) tiles = all;
    }
    two->blocks = groups(work, THREADS) < MOST_BLOCKS ? (int)groups(work, THREADS) : MOST_BLOCKS;
    if (!n) return;
    RUN(dev, stream, (amax_kernel<ACT, SLOPE>), dim3((unsigned)two->blocks, (unsigned)n), THREADS,
        0, *two);
    RUN(dev, stream, (round_kernel<ACT, SLOPE>), dim3((unsigned)tiles, (unsigned)n), THREADS, 0,
        *two);
}

extern "C" void cuda_narrow(device *dev, int stream, const narrow_op *o)
{
    narrowing one;
    one.of[0] = one.of[1] =
        operand_for(o->x.data, tensor_rows(o->x), tensor_cols(o->x), o->x.ld, o->format,
                    (uint32_t *)o->scratch.data, (float *)o->scale.data);
    if (present(o->codes)) one.of[0].plain = (uint8_t *)o->codes.data;
    if (present(o->turned)) one.of[0].turned = (uint8_t *)o->turned.data;
    one.of[0].pre = present(o->pre) ? o->pre.data : NULL;
    one.of[0].ld_pre = o->pre.ld;
    one.of[0].aligned = wide(o->x) && wide(o->pre);
    if (present(o->sums.t)) one.of[0].parts = (float *)o->parts.data;
    if (o->act == ACT_NONE)
        round_all<ACT_NONE, false>(dev, stream, &one, 1);
    else if (present(o->pre))
        BY_ACTIVATION(o->act, round_all<ACT, true>(dev, stream, &one, 1));
    else
        BY_ACTIVATION(o->act, round_all<ACT, false>(dev, stream, &one, 1));
    if (!present(o->sums.t)) return;
    int64_t cols = tensor_cols(o->x);
    RUN(dev, stream, sums_kernel, groups(cols, THREADS), THREADS, 0, (const float *)o->parts.data,
        narrow_tiles(tensor_rows(o->x)), cols, (bf16 *)o->sums.t.data, o->sums.accumulate);
}

/* ---- operands of products ---- */

/* One operand of a product, (rows,inner) or turned (inner,rows), and where its codes are. */
typedef struct {
    const void *x;
    int64_t ld, rows, inner;
    bool turned;
    const uint8_t *codes; /* (rows,padded) */
    const float *back;
} product_side;

static int64_t padded(const product_side *s)
{
    return narrow_side(s->inner);
}

/* Uses the codes there are, or adds the operand to those that are rounded: in `to`. Returns the
 * end of what is used of that. */
static uint8_t *find_codes(product_side *s, narrow_form form, uint32_t *head, uint8_t *to,
                           narrowing *two, int *n)
{
    if (present(form.codes)) {
        s->codes = (const uint8_t *)form.codes.data;
        s->back = (const float *)form.scale.data;
        return to;
    }
    narrow_operand *o = &two->of[*n];
    float *back = (float *)head + 4 * *n; /* each on 16 bytes */
    *o = operand_for(s->x, s->turned ? s->inner : s->rows, s->turned ? s->rows : s->inner, s->ld,
                     form.format, head + 64 + (*n)++ * MOST_BLOCKS, back);
    (s->turned ? o->turned : o->plain) = to;
    s->codes = to;
    s->back = back;
    return to + s->rows * padded(s);
}

extern "C" void cuda_product_narrow(device *dev, int stream, product *p, narrow_form of_x,
                                    narrow_form of_y)
{
    tensor room = cuda_state_of(dev)->narrow;
    bool any = present(of_x.codes) || present(of_y.codes);
    if (dev->failure || (!any && (!present(room) || p->type != BF16))) return;
    if (!present(room)) {
        device_fail(dev, internal_error("a product in 8 bits before memory was lent for it"));
        return;
    }
    narrowing two;
    int n = 0;
    uint32_t *head = (uint32_t *)room.data;
    product_side x = {p->x, p->ldx, p->rows, p->inner, p->x_transposed, NULL, NULL},
                 y = {p->y, p->ldy, p->cols, p->inner, !p->y_transposed, NULL, NULL};
    uint8_t *to = (uint8_t *)room.data + NARROW_HEAD;
    to = find_codes(&x, of_x, head, to, &two, &n);
    to = find_codes(&y, of_y, head, to, &two, &n);
    if (to > (uint8_t *)room.data + tensor_bytes(room) || stream != STREAM_COMPUTE) {
        device_fail(dev,
                    internal_error("a product of %lld x %lld x %lld in 8 bits: lent were %zu bytes",
                                   (long long)p->rows, (long long)p->cols, (long long)p->inner,
                                   tensor_bytes(room)));
        return;
    }
    round_all<ACT_NONE, false>(dev, stream, &two, n);
    p->narrow = true;
    p->x = x.codes, p->y = y.codes;
    p->inner = p->ldx = p->ldy = padded(&x);
    p->x_transposed = false, p->y_transposed = true;
    p->format_x = of_x.format, p->format_y = of_y.format;
    p->back_x = x.back, p->back_y = y.back;
}

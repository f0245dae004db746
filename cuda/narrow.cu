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
 * bytes: 2 for each number by amax, 2 and 1 for each form by round */
#include "cuda/gpu.h"

static constexpr int SIDE = 64, THREADS = 256, AT_ONCE = 8 /* numbers of a thread */, LINE = 16;
static constexpr int MOST_BLOCKS = NARROW_GROUPS; /* for each operand, that look for the largest */

static_assert(NARROW_HEAD >= 2 * (MOST_BLOCKS + 64) * sizeof(uint32_t),
              "the largest of each block, and two factors");
static_assert(AT_ONCE == WIDTH<bf16>, "16 bytes");
static_assert(SIDE * SIDE / LINE == THREADS, "a line of a transposed tile is a thread's");

struct narrow_operand {
    const void *x;           /* bf16 (rows,cols), ld */
    uint8_t *plain, *turned; /* (rows,cols), (cols,side); one may be NULL */
    int64_t rows, cols, ld, side;
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

static __global__ void amax_kernel(narrowing two)
{
    SHARED(uint32_t, of_warp, [THREADS / WARP]);
    const narrow_operand o = two.of[blockIdx.y];
    const bf16 *x = (const bf16 *)o.x;
    int64_t groups = (o.cols + AT_ONCE - 1) / AT_ONCE;
    uint32_t most = 0;
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < o.rows * groups;
         i += (int64_t)gridDim.x * THREADS) {
        int64_t r = i / groups, c = i % groups * AT_ONCE;
        unpacked<bf16> v = load(x + r * o.ld + c, o.cols - c, o.aligned);
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

static __global__ void round_kernel(narrowing two)
{
    SHARED(packed<float>, lines, [SIDE * SIDE / LINE]);
    uint8_t *tile = (uint8_t *)lines;
    const narrow_operand o = two.of[blockIdx.y];
    int64_t across = (o.cols + SIDE - 1) / SIDE, tiles = (o.rows + SIDE - 1) / SIDE * across;
    uint32_t amax = largest_of(o, two.blocks);
    int k = amax < 0x7f80 ? narrow_exponent(o.format, amax) : 0;
    float scale = power_of_2(k);
    if (!blockIdx.x && !threadIdx.x) *o.back = amax < 0x7f80 ? power_of_2(-k) : NAN;
    for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
        int64_t row0 = t / across * SIDE, col0 = t % across * SIDE;
        if (o.turned) __syncthreads(); /* the last tile is stored */
#pragma unroll
        for (int part = 0; part < SIDE * SIDE / AT_ONCE / THREADS; part++) {
            int i = part * THREADS + (int)threadIdx.x, r = i / (SIDE / AT_ONCE),
                c = i % (SIDE / AT_ONCE) * AT_ONCE;
            int64_t left = row0 + r < o.rows ? o.cols - col0 - c : 0;
            const bf16 *from = (const bf16 *)o.x + (row0 + r) * o.ld + col0 + c;
            unpacked<bf16> v = load(from, left, o.aligned);
            eight codes;
#pragma unroll
            for (int n = 0; n < AT_ONCE; n++)
                codes.x[n] = code_of(o.format, v.x[n] * scale);
            if (o.turned)
                for (int n = 0; n < AT_ONCE; n++)
                    tile[spot(c + n, r)] = codes.x[n];
            if (o.plain && left > 0) /* cols is a multiple of NARROW_UNIT */
                memcpy(o.plain + (row0 + r) * o.cols + col0 + c, &codes, AT_ONCE);
        }
        if (!o.turned) continue;
        __syncthreads();
        int r = threadIdx.x / (SIDE / LINE), c = threadIdx.x % (SIDE / LINE) * LINE;
        if (col0 + r < o.cols && row0 + c < o.side)
            *(packed<float> *)(o.turned + (col0 + r) * o.side + row0 + c) =
                lines[spot(r, c) / LINE];
    }
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
            .largest = largest,
            .back = back,
            .format = format,
            .aligned = (uintptr_t)x % 16 == 0 && ld % AT_ONCE == 0};
}

/* The first n of two operands. */
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
    RUN(dev, stream, amax_kernel, dim3((unsigned)two->blocks, (unsigned)n), THREADS, 0, *two);
    RUN(dev, stream, round_kernel, dim3((unsigned)tiles, (unsigned)n), THREADS, 0, *two);
}

extern "C" void cuda_narrow(device *dev, int stream, const narrow_op *o)
{
    narrowing one;
    one.of[0] = one.of[1] =
        operand_for(o->x.data, tensor_rows(o->x), tensor_cols(o->x), o->x.ld, o->format,
                    (uint32_t *)o->scratch.data, (float *)o->scale.data);
    if (present(o->codes)) one.of[0].plain = (uint8_t *)o->codes.data;
    if (present(o->turned)) one.of[0].turned = (uint8_t *)o->turned.data;
    round_all(dev, stream, &one, 1);
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
    round_all(dev, stream, &two, n);
    p->narrow = true;
    p->x = x.codes, p->y = y.codes;
    p->inner = p->ldx = p->ldy = padded(&x);
    p->x_transposed = false, p->y_transposed = true;
    p->format_x = of_x.format, p->format_y = of_y.format;
    p->back_x = x.back, p->back_y = y.back;
}

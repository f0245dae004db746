/* depthwise.c - depthwise convolution, channels last, and its gradients.
 *
 * A vector is LANES channels of one pixel.  An image's channels, LANES at a time, are copied into a
 * plane with a border of zeros: then no tap has to check for the image's edge, and reads are
 * contiguous vectors.  The copy costs a load and a store for each K K products.
 *
 *     x (H, W, C)        plane (H + K - 1, W + K - 1 + SPAN, LANES)
 *
 * A pass over a row keeps the sums of SPAN pixels and the K weights of a line in registers: each
 * loaded vector is used up to K times (7 for ConvNeXt).
 *
 *     SPAN sums  +=  w[i][0..K) x  plane[y + i][x .. x + SPAN + K - 1)
 */
#include "cpu/cpu_internal.h"
#include "cpu/lanes.h"

#include <stdlib.h>
#include <string.h>

enum { SEVEN = 7, SPAN = LANES == 16 ? 8 : 6 };

/* The vectors of one image in memory. */
typedef struct {
    int64_t height, width; /* of the image */
    int64_t side, across;  /* K; vectors per row of the plane */
    float *plane;
} padded;

static size_t plane_floats(int64_t height, int64_t width, int64_t side)
{
    return (size_t)(height + side - 1) * (size_t)(width + side - 1 + SPAN) * LANES;
}

static padded padded_of(tensor x, int64_t side)
{
    return (padded){
        .height = x.dim[1], .width = x.dim[2], .side = side, .across = x.dim[2] + side - 1 + SPAN};
}

/* n <= LANES numbers between memory and a vector. */
ROW_FN void take_channels(float *to, const void *from, int64_t n, int type)
{
    if (n == LANES)
        for (int i = 0; i < LANES; i++)
            to[i] = load(type, from, i);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = load(type, from, i);
}

ROW_FN void give(void *to, const float *from, int64_t n, int type)
{
    if (n == LANES)
        for (int i = 0; i < LANES; i++)
            store(type, to, i, from[i]);
    else
        for (int64_t i = 0; i < n; i++)
            store(type, to, i, from[i]);
}

/* Copies channels [c, c + n) of image b; the border, and missing channels, stay zero. */
ROW_FN void fill_plane(const padded *p, tensor x, int64_t b, int64_t c, int64_t n, int type)
{
    int64_t half = p->side / 2;
    for (int64_t y = 0; y < p->height; y++)
        for (int64_t k = 0; k < p->width; k++)
            take_channels(p->plane + ((y + half) * p->across + k + half) * LANES,
                          element_at(x, (b * p->height + y) * p->width + k, c), n, type);
}

/* The weights of channels [c, c + n) as (K K, LANES). */
ROW_FN void fill_weights(float *to, tensor w, int64_t c, int64_t n, int64_t taps, bool flipped,
                         int type)
{
    memset(to, 0, (size_t)(taps * LANES) * sizeof *to);
    for (int64_t i = 0; i < n; i++)
        for (int64_t t = 0; t < taps; t++)
            to[t * LANES + i] = load(type, element_at(w, c + i, 0), flipped ? taps - 1 - t : t);
}

/* SPAN pixels' sums: for a line of seven taps. */
ROW_FN void add_line(lanes sum[SPAN], const float *in, const float *w)
{
    lanes weight[SEVEN];
    for (int j = 0; j < SEVEN; j++)
        weight[j] = lanes_load(w + j * LANES);
#pragma GCC unroll 16
    for (int k = 0; k < SPAN + SEVEN - 1; k++) {
        lanes x = lanes_load(in + k * LANES);
#pragma GCC unroll 16
        for (int j = 0; j < SEVEN; j++)
            if (k - j >= 0 && k - j < SPAN) sum[k - j] = lanes_fma(x, weight[j], sum[k - j]);
    }
}

/* The same for any K. */
ROW_FN void add_any_line(lanes sum[SPAN], const float *in, const float *w, int64_t side)
{
    for (int64_t j = 0; j < side; j++) {
        lanes weight = lanes_load(w + j * LANES);
        for (int k = 0; k < SPAN; k++)
            sum[k] = lanes_fma(lanes_load(in + (k + j) * LANES), weight, sum[k]);
    }
}

/* Row y of the image in the plane. */
ROW_FN void convolve_row(const padded *p, const float *w, lanes bias, const depthwise_op *o,
                         int64_t row, int64_t y, int64_t c, int64_t n, int type)
{
    for (int64_t x = 0; x < p->width; x += SPAN) {
        lanes sum[SPAN];
        for (int k = 0; k < SPAN; k++)
            sum[k] = bias;
        for (int64_t i = 0; i < p->side; i++) {
            const float *in = p->plane + ((y + i) * p->across + x) * LANES,
                        *line = w + i * p->side * LANES;
            if (p->side == SEVEN)
                add_line(sum, in, line);
            else
                add_any_line(sum, in, line, p->side);
        }
        for (int k = 0; k < SPAN && x + k < p->width; k++) {
            float out[LANES];
            lanes_store(out, sum[k]);
            give(element_at(o->out, row + x + k, c), out, n, type);
        }
    }
}

ROW_FN void convolve(padded *p, float *w, const depthwise_op *o, int64_t b, int64_t c, int64_t n,
                     int type)
{
    float bias[LANES] = {0};
    fill_plane(p, o->x, b, c, n, type);
    fill_weights(w, o->w, c, n, p->side * p->side, o->flipped, type);
    if (present(o->bias)) take_channels(bias, element_at(o->bias, 0, c), n, type);
    for (int64_t y = 0; y < p->height; y++)
        convolve_row(p, w, lanes_load(bias), o, (b * p->height + y) * p->width, y, c, n, type);
}

/* Shared by the parts of an operation; each part has its own buffers. */
typedef struct {
    device *dev;
    const void *op;
} job;

/* Zeroed.  NULL: the device has failed. */
static float *room_for(device *dev, size_t floats)
{
    float *room = calloc(floats, sizeof *room);
    if (!room) device_fail(dev, user_error("out of memory for a convolution"));
    return room;
}

static int64_t strips_of(tensor x)
{
    return (x.dim[3] + LANES - 1) / LANES;
}

/* Images, LANES channels of each at a time. */
static void depthwise_range(const void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const depthwise_op *o = j->op;
    int64_t strips = strips_of(o->x), taps = o->side * o->side;
    size_t plane = plane_floats(o->x.dim[1], o->x.dim[2], o->side);
    padded p = padded_of(o->x, o->side);
    p.plane = room_for(j->dev, plane + (size_t)(taps * LANES));
    for (int64_t k = first; k < end && p.plane; k++) {
        int64_t c = k % strips * LANES, n = min64(LANES, o->x.dim[3] - c);
        if (n < LANES) memset(p.plane, 0, plane * sizeof(float));
        FOR_WORKING_TYPE(o->x.type, convolve(&p, p.plane + plane, o, k / strips, c, n, TYPE));
    }
    free(p.plane);
}

void cpu_depthwise(device *dev, int stream, const depthwise_op *o)
{
    (void)stream;
    job j = {dev, o};
    pool_for(cpu_threads(dev), o->x.dim[0] * strips_of(o->x), 1, depthwise_range, &j);
}

/* ---- gradients ---- */

/* sum[j] += sum_k d[k] x[k + j] over SPAN pixels */
ROW_FN void correlate_line(lanes sum[SEVEN], const float *d, const float *x)
{
    lanes dout[SPAN];
#pragma GCC unroll 16
    for (int k = 0; k < SPAN; k++)
        dout[k] = lanes_load(d + k * LANES);
#pragma GCC unroll 16
    for (int k = 0; k < SPAN + SEVEN - 1; k++) {
        lanes v = lanes_load(x + k * LANES);
#pragma GCC unroll 16
        for (int j = 0; j < SEVEN; j++)
            if (k - j >= 0 && k - j < SPAN) sum[j] = lanes_fma(dout[k - j], v, sum[j]);
    }
}

ROW_FN void correlate_any_line(float *sums, const float *d, const float *x, int64_t side)
{
    for (int64_t j = 0; j < side; j++) {
        lanes sum = lanes_load(sums + j * LANES);
        for (int k = 0; k < SPAN; k++)
            sum = lanes_fma(lanes_load(d + k * LANES), lanes_load(x + (k + j) * LANES), sum);
        lanes_store(sums + j * LANES, sum);
    }
}

/* Line i of taps over row y of the image.  d: like the plane, but the image
 * begins at its corner. */
static void correlate_row(const padded *p, const float *d, const float *in, float *sums)
{
    lanes sum[SEVEN];
    if (p->side != SEVEN) {
        for (int64_t x = 0; x < p->width; x += SPAN)
            correlate_any_line(sums, d + x * LANES, in + x * LANES, p->side);
        return;
    }
    for (int j = 0; j < SEVEN; j++)
        sum[j] = lanes_load(sums + j * LANES);
    for (int64_t x = 0; x < p->width; x += SPAN)
        correlate_line(sum, d + x * LANES, in + x * LANES);
    for (int j = 0; j < SEVEN; j++)
        lanes_store(sums + j * LANES, sum[j]);
}

static void correlate(const padded *p, const float *d, int64_t i, float *sums)
{
    for (int64_t y = 0; y < p->height; y++)
        correlate_row(p, d + y * p->across * LANES, p->plane + (y + i) * p->across * LANES, sums);
}

/* Fills d and adds its contents to the bias's sum. */
ROW_FN void fill_dout(const padded *p, float *d, tensor dout, int64_t b, int64_t c, int64_t n,
                      float *bias, int type)
{
    for (int64_t y = 0; y < p->height; y++)
        for (int64_t k = 0; k < p->width; k++) {
            float *to = d + (y * p->across + k) * LANES;
            take_channels(to, element_at(dout, (b * p->height + y) * p->width + k, c), n, type);
            for (int i = 0; i < LANES; i++)
                bias[i] += to[i];
        }
}

/* A channel's numbers: every LANES-th of `sums`. */
ROW_FN void give_grad(grad g, int64_t row, int64_t count, const float *sums, int type)
{
    void *to = element_at(g.t, row, 0);
    for (int64_t t = 0; t < count; t++)
        store(type, to, t, sums[t * LANES] + (g.accumulate ? load(type, to, t) : 0));
}

/* Channels [c, c + n): all images in order, whatever the threads. */
ROW_FN void strip_grad(padded *p, float *d, float *sums, const depthwise_grad_op *o, int64_t c,
                       int64_t n, int type)
{
    int64_t taps = p->side * p->side;
    float *bias = sums + taps * LANES;
    memset(sums, 0, (size_t)((taps + 1) * LANES) * sizeof *sums);
    for (int64_t b = 0; b < o->x.dim[0]; b++) {
        fill_plane(p, o->x, b, c, n, type);
        fill_dout(p, d, o->dout, b, c, n, bias, type);
        for (int64_t i = 0; i < p->side && present(o->dw.t); i++)
            correlate(p, d, i, sums + i * p->side * LANES);
    }
    for (int64_t i = 0; i < n; i++) {
        if (present(o->dw.t)) give_grad(o->dw, c + i, taps, sums + i, type);
        if (!present(o->db.t)) continue;
        void *to = element_at(o->db.t, 0, c + i);
        store(type, to, 0, bias[i] + (o->db.accumulate ? load(type, to, 0) : 0));
    }
}

/* LANES channels at a time, of all images. */
static void depthwise_grad_range(const void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const depthwise_grad_op *o = j->op;
    size_t plane = plane_floats(o->x.dim[1], o->x.dim[2], o->side);
    padded p = padded_of(o->x, o->side);
    p.plane = room_for(j->dev, 2 * plane + (size_t)((o->side * o->side + 1) * LANES));
    for (int64_t s = first; s < end && p.plane; s++) {
        int64_t c = s * LANES, n = min64(LANES, o->x.dim[3] - c);
        if (n < LANES) memset(p.plane, 0, 2 * plane * sizeof(float));
        FOR_WORKING_TYPE(o->x.type,
                         strip_grad(&p, p.plane + plane, p.plane + 2 * plane, o, c, n, TYPE));
    }
    free(p.plane);
}

void cpu_depthwise_grad(device *dev, int stream, const depthwise_grad_op *o)
{
    (void)stream;
    job j = {dev, o};
    pool_for(cpu_threads(dev), strips_of(o->x), 1, depthwise_grad_range, &j);
}

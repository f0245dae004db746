/* windows.c - what a convolution reads, a row for each pixel of its output, so that the convolution
 * is a product; and the way back, by which each pixel's gradient is the sum of what its windows
 * have.
 *
 *     x (H, W, C)         a row: C channels of K x K taps
 *     . . . . .
 *     . a b c .           a_0 b_0 c_0 d_0 .. i_0 | a_1 b_1 ... | ...
 *     . d e f .    ->
 *     . g h i .
 */
#include "cpu/cpu_internal.h"

/* Both ways. */
typedef struct {
    tensor x, rows; /* (B,H,W,C), (N,w,C K K) */
    int64_t side, stride, first;
} windows;

/* Lines and pixels of an image of the output. */
static int64_t stepped(int64_t n, int64_t stride)
{
    return (n - 1) / stride + 1;
}

/* Tap i of output line y reads this line of x. */
static int64_t line_of(const windows *w, int64_t y, int64_t i)
{
    return y * w->stride + i - w->side / 2;
}

ROW_FN void take_tap(void *to, const void *from, int64_t channels, int64_t taps, int type)
{
    for (int64_t c = 0; c < channels; c++)
        store(type, to, c * taps, from ? load(type, from, c) : 0);
}

/* One pixel's row. */
ROW_FN void take_window(const windows *w, int64_t l, int64_t x, int type)
{
    int64_t height = w->x.dim[1], width = w->x.dim[2], h = stepped(height, w->stride),
            taps = w->side * w->side;
    int64_t b = (w->first + l) / h, y = (w->first + l) % h;
    for (int64_t t = 0; t < taps; t++) {
        int64_t row = line_of(w, y, t / w->side), column = line_of(w, x, t % w->side);
        bool inside = row >= 0 && row < height && column >= 0 && column < width;
        take_tap(element_at(w->rows, l * w->rows.dim[1] + x, t),
                 inside ? element_at(w->x, (b * height + row) * width + column, 0) : NULL,
                 w->x.dim[3], taps, type);
    }
}

static void take_range(const void *context, int64_t first, int64_t end)
{
    const windows *w = context;
    int64_t across = w->rows.dim[1];
    for (int64_t p = first; p < end; p++)
        FOR_WORKING_TYPE(w->x.type, take_window(w, p / across, p % across, TYPE));
}

void cpu_windows(device *dev, int stream, const windows_op *o)
{
    (void)stream;
    windows w = {o->x, o->out, o->side, o->stride, o->first};
    pool_for(cpu_threads(dev), tensor_rows(o->out), rows_at_once(tensor_cols(o->out)), take_range,
             &w);
}

/* ---- gradients ---- */

enum { CHANNELS = 64 };

/* The output's line or pixel whose tap i reads `at` of x; -1: none. */
static int64_t reader(const windows *w, int64_t at, int64_t i, int64_t n)
{
    int64_t from = at + w->side / 2 - i;
    return from < 0 || from % w->stride || from / w->stride >= n ? -1 : from / w->stride;
}

ROW_FN void add_tap(float *sum, const void *from, int64_t n, int64_t taps, int type)
{
    for (int64_t c = 0; c < n; c++)
        sum[c] += load(type, from, c * taps);
}

/* n channels from c on of pixel (row, column) of image b: taps in order. */
ROW_FN void add_windows(const windows *w, int64_t b, int64_t row, int64_t column, int64_t c,
                        int64_t n, int type)
{
    int64_t height = w->x.dim[1], width = w->x.dim[2], h = stepped(height, w->stride),
            across = w->rows.dim[1], taps = w->side * w->side;
    float sum[CHANNELS] = {0};
    for (int64_t t = 0; t < taps; t++) {
        int64_t y = reader(w, row, t / w->side, h), x = reader(w, column, t % w->side, across),
                l = b * h + y - w->first;
        if (y < 0 || x < 0 || l < 0 || l >= w->rows.dim[0]) continue;
        add_tap(sum, element_at(w->rows, l * across + x, c * taps + t), n, taps, type);
    }
    void *to = element_at(w->x, (b * height + row) * width + column, c);
    for (int64_t k = 0; k < n; k++)
        store(type, to, k, load(type, to, k) + sum[k]);
}

/* Where the lines of x that line l of the output reads begin and end, of all images' lines. */
static int64_t lines_begin(const windows *w, int64_t l)
{
    int64_t h = stepped(w->x.dim[1], w->stride), top = line_of(w, l % h, 0);
    return l / h * w->x.dim[1] + (top > 0 ? top : 0);
}

static int64_t lines_end(const windows *w, int64_t l)
{
    int64_t h = stepped(w->x.dim[1], w->stride), bottom = line_of(w, l % h, w->side - 1) + 1;
    return l / h * w->x.dim[1] + min64(bottom, w->x.dim[1]);
}

/* Lines of x from the first on that is read. */
static void add_range(const void *context, int64_t first, int64_t end)
{
    const windows *w = context;
    int64_t height = w->x.dim[1], channels = w->x.dim[3], begin = lines_begin(w, w->first);
    for (int64_t k = begin + first; k < begin + end; k++)
        for (int64_t column = 0; column < w->x.dim[2]; column++)
            for (int64_t c = 0; c < channels; c += CHANNELS)
                FOR_WORKING_TYPE(w->x.type, add_windows(w, k / height, k % height, column, c,
                                                        min64(CHANNELS, channels - c), TYPE));
}

void cpu_windows_grad(device *dev, int stream, const windows_grad_op *o)
{
    (void)stream;
    windows w = {o->dx, o->dout, o->side, o->stride, o->first};
    int64_t n = o->dout.dim[0];
    if (!n) return;
    pool_for(cpu_threads(dev), lines_end(&w, o->first + n - 1) - lines_begin(&w, o->first), 1,
             add_range, &w);
}

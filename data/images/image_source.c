/* image_source.c - see image_source.h */
#include "data/images/image_source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/images/rand_augment.h"
#include "data/images/resize.h"

typedef struct {
    source base;
    image_options o;
    image_set *set;
    float value[3][256]; /* what a byte of each channel becomes */
} image_source;

static double unit(uint32_t bits)
{
    return (double)bits * 0x1p-32;
}

/* What of an image is added, and how much of it: `part` of all, but for a rectangle that it has to
 * itself (cut, inside) or that another has. */
typedef struct {
    double part;
    box cut; /* height 0: none */
    bool inside;
} share;

static bool in_box(const box *b, int64_t y, int64_t x)
{
    return y >= b->top && y < b->top + b->height && x >= b->left && x < b->left + b->width;
}

/* An image of the wanted size, flipped and shifted as `draw` says, as far as it is
 * shared, added to out. */
static void add_image(const image_source *s, view v, const uint32_t draw[4], const share *of,
                      const box *erased, float *out)
{
    const image_options *o = &s->o;
    int64_t h = o->height, w = o->width, span = 2 * o->crop + 1;
    int64_t down = 0, right = 0;
    bool flip = o->training && o->flip && draw[0] >> 31;
    float part = (float)of->part;
    if (o->training && o->crop) {
        down = (int64_t)(unit(draw[1]) * (double)span) - o->crop;
        right = (int64_t)(unit(draw[2]) * (double)span) - o->crop;
    }
    for (int64_t c = 0; c < v.channels; c++)
        for (int64_t i = 0; i < h; i++)
            for (int64_t j = 0; j < w; j++) {
                if (of->cut.height && in_box(&of->cut, i, j) != of->inside) continue;
                if (erased->height && in_box(erased, i, j)) continue; /* 0 */
                int64_t y = i + down, x = (flip ? w - 1 - j : j) + right;
                bool inside = y >= 0 && y < h && x >= 0 && x < w;
                uint8_t value = inside ? v.pixels[y * v.stride + x * v.channels + c] : 0;
                out[(c * h + i) * w + j] += part * s->value[c][value];
            }
}

static draws drawn_by(const image_source *s, uint64_t stream, uint64_t sample)
{
    return (draws){s->o.seed, stream, sample};
}

/* Changes what lies in `pixels`, h w bytes per channel; `spare`: as many. */
static void change_colours(const image_source *s, uint64_t sample, int64_t channels,
                           uint8_t *pixels, uint8_t *spare)
{
    const image_options *o = &s->o;
    rand_step step[RAND_AT_ONCE];
    if (o->jitter > 0)
        augment_jitter(drawn_by(s, RNG_JITTER, sample), o->jitter, pixels, o->height * o->width,
                       channels);
    if (!o->rand_magnitude) return;
    rand_augment_draw(drawn_by(s, RNG_RAND, sample), (int)o->rand_magnitude, o->height, o->width,
                      step);
    for (int k = 0; k < RAND_AT_ONCE; k++)
        rand_augment_apply(&step[k], pixels, o->height, o->width, channels, spare);
}

/* The picture in the wanted size: itself, or in `room`. */
static error *fit(const image_source *s, view *v, uint64_t sample, uint8_t *room)
{
    const image_options *o = &s->o;
    bool part = o->crop_part > 0 && o->crop_part < 1, crop = o->training && o->crop_least > 0;
    window w = {o->height, o->width, 0, 0, o->height, o->width};
    if (crop) {
        box b = augment_crop(drawn_by(s, RNG_CROP, sample), v->height, v->width, o->crop_least);
        *v = view_part(*v, b.top, b.left, b.height, b.width);
    } else if (part || v->height != o->height || v->width != o->width)
        w = window_covering(v->height, v->width, o->height, o->width, part ? o->crop_part : 1);
    bool change = o->training && (o->jitter > 0 || o->rand_magnitude);
    if (v->height == o->height && v->width == o->width && !part && !change) return NULL;
    TRY(picture_resize(*v, &w, o->kernel, room));
    *v = (view){room, o->height, o->width, v->channels, o->width * v->channels};
    if (change)
        change_colours(s, sample, v->channels, room, room + o->height * o->width * v->channels);
    return NULL;
}

/* X ~ Beta(alpha, alpha), by Johnk's rejection: U^(1/a) / (U^(1/a) + V^(1/a)) when the sum is at
 * most 1.  Draw k of sample s has a number of its own. */
static double draw_beta(uint64_t seed, int64_t s, double alpha)
{
    enum { TRIES = 256 };
    for (uint64_t k = 0; k < TRIES; k++) {
        uint32_t bits[4];
        rng_bits(seed, RNG_MIX, (uint64_t)s * TRIES + k, bits);
        double u = pow(unit(bits[0]) + 0x1p-33, 1 / alpha),
               v = pow(unit(bits[1]) + 0x1p-33, 1 / alpha);
        if (u + v <= 1 && u + v > 0) return u / (u + v);
    }
    return 0.5;
}

static void add_target(const image_source *s, int64_t label, double part, float *target)
{
    int64_t classes = s->o.wish.classes;
    double spread = s->o.training ? s->o.smoothing : 0;
    for (int64_t c = 0; c < classes; c++)
        target[c] += (float)(part * ((c == label ? 1 - spread : 0) + spread / (double)classes));
}

/* Adds what is shared of image i and of its label. */
static error *add_sample(image_source *s, int64_t i, uint64_t draw, const share *of, uint8_t *room,
                         float *input, float *target)
{
    labelled got;
    uint32_t bits[4];
    box erased = {0};
    TRY(images_read(s->set, i, s->o.training, &got));
    if (got.label < 0) {
        s->base.left_out++;
        return NULL;
    }
    error *e = fit(s, &got.view, draw, room);
    if (!e) {
        rng_bits(s->o.seed, RNG_AUGMENT, draw, bits);
        if (s->o.training && s->o.erase > 0)
            erased =
                augment_erase(drawn_by(s, RNG_ERASE, draw), s->o.height, s->o.width, s->o.erase);
        share all = *of;
        if (of->cut.height) all.part = 1;
        add_image(s, got.view, bits, &all, &erased, input);
        add_target(s, got.label, of->part, target);
    }
    free(got.owned);
    return e;
}

/* How much of a sample is its own image, and which part of it: mixup or cutmix. */
static share draw_share(const image_source *s, int64_t number)
{
    const image_options *o = &s->o;
    uint32_t bits[4];
    rng_bits(o->seed, RNG_CUT, (uint64_t)number << 20, bits);
    bool cut = o->cutmix > 0 && (o->mixup == 0 || bits[3] >> 31);
    share own = {.part = draw_beta(o->seed, number, cut ? o->cutmix : o->mixup)};
    if (!cut) return own;
    own.cut = augment_cut(drawn_by(s, RNG_CUT, ((uint64_t)number << 16) + 1), o->height, o->width,
                          own.part);
    own.part = 1 - (double)(own.cut.height * own.cut.width) / (double)(o->height * o->width);
    if (own.part == 1) own.cut = (box){0};
    return own;
}

/* inputs and targets are zero. */
static error *read_one(image_source *s, int64_t number, uint8_t *room, float *input, float *target)
{
    static const share alone = {.part = 1};
    int64_t n = s->base.count;
    uint64_t index = (uint64_t)number;
    if (!s->o.training)
        return number < n ? add_sample(s, number, 0, &alone, room, input, target) : NULL;
    uint64_t own =
        rng_permute(s->o.seed, RNG_ORDER, index / (uint64_t)n, index % (uint64_t)n, (uint64_t)n);
    if (s->o.mixup == 0 && s->o.cutmix == 0)
        return add_sample(s, (int64_t)own, 2 * index, &alone, room, input, target);
    uint32_t bits[4];
    share first = draw_share(s, number), second = first;
    second.part = 1 - first.part;
    second.inside = true;
    rng_bits(s->o.seed, RNG_AUGMENT, 2 * index + 1, bits);
    int64_t other = (int64_t)(unit(bits[3]) * (double)n);
    TRY(add_sample(s, (int64_t)own, 2 * index, &first, room, input, target));
    return add_sample(s, other, 2 * index + 1, &second, room, input, target);
}

static error *image_read(source *base, int64_t first, int64_t count, void *inputs, void *targets)
{
    image_source *s = (image_source *)base;
    int64_t size = s->o.wish.channels * s->o.height * s->o.width, classes = s->o.wish.classes;
    uint8_t *room;
    TRY(alloc_array(&room, (size_t)size, 2)); /* a picture, and what it was */
    memset(inputs, 0, (size_t)(count * size) * sizeof(float));
    memset(targets, 0, (size_t)(count * classes) * sizeof(float));
    error *e = NULL;
    for (int64_t i = 0; i < count && !e; i++)
        e = read_one(s, first + i, room, (float *)inputs + i * size,
                     (float *)targets + i * classes);
    free(room);
    return e;
}

static error *image_fingerprint(const source *base, const fingerprint *known, fingerprint *out)
{
    return images_fingerprint(((const image_source *)base)->set, known, out);
}

static int64_t image_bad(source *base, char *why, size_t size)
{
    return images_bad(((image_source *)base)->set, why, size);
}

static int64_t image_warned(source *base, char *why, size_t size)
{
    return images_warned(((image_source *)base)->set, why, size);
}

image_set *image_source_set(source *s)
{
    return ((image_source *)s)->set;
}

static void image_close(source *base)
{
    images_close(((image_source *)base)->set);
    free(base);
}

/* In floats, in the order of torchvision's ToTensor and Normalize. */
static void set_values(image_source *s)
{
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            float mean = (float)s->o.mean[c], std = (float)s->o.std[c];
            s->value[c][v] = std > 0 ? ((float)v / 255 - mean) / std : (float)v / 127.5f - 1;
        }
}

error *image_source_open(const char *const *paths, int n, const image_options *options,
                         source **out)
{
    static const source_ops ops = {.read = image_read,
                                   .fingerprint = image_fingerprint,
                                   .close = image_close,
                                   .bad = image_bad,
                                   .warned = image_warned};
    image_source *s;
    TRY(alloc_array(&s, 1, sizeof *s));
    s->o = *options;
    set_values(s);
    error *e = images_open(paths, n, &options->wish, &s->set);
    if (!e && options->split > 0)
        e = images_split(s->set, options->split, options->seed, options->training);
    if (e) {
        images_close(s->set);
        free(s);
        return e;
    }
    s->base.ops = &ops;
    s->base.count = images_count(s->set);
    s->base.ends = !options->training;
    *out = &s->base;
    return NULL;
}

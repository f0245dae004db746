/* images.c - see images.h: the set, and how one image becomes the size that is wanted.
 *
 * Scaling is bilinear over the source pixels that a target pixel covers (a triangle as wide as the
 * scale when it shrinks), separately down and across; an image of another shape is scaled to cover the
 * target, and what sticks out is cut off on both sides.
 */
#include "data/images/images_internal.h"
#include "base/hash.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "data/source.h"

int64_t images_count(const image_set *s)
{
    return (int64_t)s->n;
}

int64_t images_label(const image_set *s, int64_t i)
{
    return s->items[i].label;
}

error *images_spoilt(image_set *s, error *e)
{
    if (!s->wish.skip_bad || error_kind_of(e) != ERR_USER) return e;
    pthread_mutex_lock(&s->lock);
    s->bad++;
    snprintf(s->why, sizeof s->why, "%s", error_text(e));
    pthread_mutex_unlock(&s->lock);
    error_free(e);
    return NULL;
}

int64_t images_bad(image_set *s, char *why, size_t size)
{
    pthread_mutex_lock(&s->lock);
    int64_t n = s->bad;
    snprintf(why, size, "%s", s->why);
    pthread_mutex_unlock(&s->lock);
    return n;
}

error *images_room(image_set *s, size_t n)
{
    return grow_array(&s->bytes, &s->room, s->used + n, 1);
}

error *images_add(image_set *s, const image_item *item, const char *from, int64_t number)
{
    if (item->label < 0 || item->label >= s->wish.classes)
        return images_spoilt(s, user_error("%s: image %lld has label %d, but there are %lld "
                                           "classes, from 0: give --classes, or --bad-images skip",
                                           from, (long long)number, item->label,
                                           (long long)s->wish.classes));
    TRY(grow_array(&s->items, &s->capacity, s->n + 1, sizeof *s->items));
    s->items[s->n++] = *item;
    return NULL;
}

void images_close(image_set *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n; i++)
        free(s->items[i].path);
    pthread_mutex_destroy(&s->lock);
    free(s->items);
    free(s->bytes);
    free(s);
}

uint64_t images_fingerprint(const image_set *s)
{
    enum { SOME = 1 << 16 };
    uint64_t hash = HASH_BEGIN;
    for (size_t i = 0; i < s->n; i++) {
        const image_item *item = &s->items[i];
        int32_t what[] = {item->label, item->height, item->width, item->channels};
        const char *name = item->path ? strrchr(item->path, '/') : "";
        hash = hash_add(hash, what, sizeof what);
        if (name) hash = hash_add(hash, name, strlen(name));
    }
    size_t n = s->used < SOME ? s->used : SOME;
    hash = hash_add(hash, s->bytes, n);
    return hash_add(hash, s->bytes + (s->used - n), n);
}

/* ---- one image ---- */

/* The value of channel c of the target at a source pixel: grey to colours, colours to grey (the luma
 * of ITU-R BT.601), no alpha. */
static double sample(const uint8_t *p, int64_t step, int64_t has, int64_t wants, int64_t c)
{
    if (has < 3) return p[0];
    if (wants < 3) return 0.299 * p[0] + 0.587 * p[step] + 0.114 * p[2 * step];
    return p[c * step];
}

/* A source: value (c, y, x) at data[y * row + x * column + c * plane]. */
typedef struct {
    const uint8_t *data;
    int64_t height, width, channels, row, column, plane;
} view;

/* The source pixels [from, to) that target pixel i covers, by weight 1 - |distance| / reach. */
typedef struct {
    int64_t from, to;
    double centre, reach;
} cover;

static cover cover_of(int64_t i, int64_t target, int64_t length, double scale)
{
    cover c;
    c.centre = ((double)i + 0.5 - (double)target / 2) * scale + (double)length / 2 - 0.5;
    c.reach = scale > 1 ? scale : 1;
    c.from = (int64_t)fmax(0, ceil(c.centre - c.reach));
    c.to = (int64_t)fmin((double)length, floor(c.centre + c.reach) + 1);
    if (c.from >= length) c.from = length - 1;
    if (c.to <= c.from) c.to = c.from + 1;
    return c;
}

static double weight(const cover *c, int64_t at)
{
    double w = 1 - fabs((double)at - c->centre) / c->reach;
    return w > 1e-6 ? w : 1e-6; /* at the edge of the image it may be alone */
}

static uint8_t covered(const view *v, const cover *y, const cover *x, int64_t wants, int64_t c)
{
    double sum = 0, weights = 0;
    for (int64_t i = y->from; i < y->to; i++)
        for (int64_t j = x->from; j < x->to; j++) {
            double w = weight(y, i) * weight(x, j);
            sum +=
                w * sample(v->data + i * v->row + j * v->column, v->plane, v->channels, wants, c);
            weights += w;
        }
    return (uint8_t)lrint(fmin(255, fmax(0, sum / weights)));
}

static void fit(const image_wish *w, const view *v, uint8_t *out)
{
    double down = (double)v->height / (double)w->height,
           across = (double)v->width / (double)w->width, scale = down < across ? down : across;
    for (int64_t c = 0; c < w->channels; c++)
        for (int64_t i = 0; i < w->height; i++) {
            cover y = cover_of(i, w->height, v->height, scale);
            for (int64_t j = 0; j < w->width; j++) {
                cover x = cover_of(j, w->width, v->width, scale);
                *out++ = covered(v, &y, &x, w->channels, c);
            }
        }
}

static error *read_item(const image_set *s, const image_item *item, uint8_t *pixels)
{
    const image_wish *w = &s->wish;
    if (!item->path) {
        const uint8_t *bytes = s->bytes + item->offset;
        int64_t h = item->height, across = item->width;
        view v = {bytes, h, across, item->channels, across, 1, h * across};
        if (h == w->height && across == w->width && item->channels == w->channels)
            memcpy(pixels, bytes, (size_t)(h * across * item->channels));
        else
            fit(w, &v, pixels);
        return NULL;
    }
    picture p;
    TRY(error_context(picture_decode(item->path, &p), "image '%s'", item->path));
    view v = {p.pixels, p.height, p.width, p.channels, p.width * p.channels, p.channels, 1};
    fit(w, &v, pixels);
    free(p.pixels);
    return NULL;
}

error *images_read(image_set *s, int64_t i, uint8_t *pixels, int64_t *label)
{
    for (size_t tries = 0; tries < s->n; tries++, i = (i + 1) % (int64_t)s->n) {
        image_item *item = &s->items[i];
        error *e = read_item(s, item, pixels);
        *label = item->label;
        if (!e) return NULL;
        pthread_mutex_lock(&s->lock);
        bool told = item->told;
        item->told = true;
        pthread_mutex_unlock(&s->lock);
        if (told && s->wish.skip_bad)
            error_free(e);
        else
            TRY(images_spoilt(s, e));
    }
    return user_error("not one of %zu images can be decoded: %s", s->n, s->why);
}

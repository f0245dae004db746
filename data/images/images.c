/* images.c - see images.h: the set. */
#include "data/images/images_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/grow.h"
#include "base/rng.h"

int64_t images_count(const image_set *s)
{
    return (int64_t)s->n;
}

void images_describe(const image_set *s, int64_t i, char *text, size_t size)
{
    const image_item *item = &s->items[i];
    if (!item->path)
        snprintf(text, size, "%lld", (long long)i);
    else if (!item->size)
        snprintf(text, size, "%s", item->path);
    else
        snprintf(text, size, "%s, byte %lld", item->path, (long long)item->at);
}

const char *images_passed_over(const image_set *s)
{
    return s->passed_over;
}

/* ---- what is bad ---- */

static void count_left_out(image_set *s, int64_t *n, char why[400], const char *text)
{
    pthread_mutex_lock(&s->lock);
    ++*n;
    snprintf(why, 400, "%s", text);
    pthread_mutex_unlock(&s->lock);
}

error *images_spoilt(image_set *s, bad_policy least, error *e)
{
    if (s->wish.bad < least || error_kind_of(e) != ERR_USER) return e;
    count_left_out(s, &s->bad, s->why, error_text(e));
    error_free(e);
    return NULL;
}

static int64_t told(image_set *s, const int64_t *n, const char *text, char *why, size_t size)
{
    pthread_mutex_lock(&s->lock);
    int64_t now = *n;
    snprintf(why, size, "%s", text);
    pthread_mutex_unlock(&s->lock);
    return now;
}

int64_t images_bad(image_set *s, char *why, size_t size)
{
    return told(s, &s->bad, s->why, why, size);
}

int64_t images_warned(image_set *s, char *why, size_t size)
{
    return told(s, &s->warned, s->warning, why, size);
}

/* Sets an item's flag; was it set before? */
static bool set_flag(image_set *s, bool *flag)
{
    pthread_mutex_lock(&s->lock);
    bool before = *flag;
    *flag = true;
    pthread_mutex_unlock(&s->lock);
    return before;
}

/* ---- what is in it ---- */

error *images_room(image_set *s, size_t n)
{
    return grow_array(&s->bytes, &s->room, s->used + n, 1);
}

error *images_add(image_set *s, const image_item *item, const char *from, int64_t number)
{
    if (item->label < 0 || item->label >= s->wish.classes)
        return images_spoilt(s, BAD_ANY,
                             user_error("%s: image %lld has label %d, but there are %lld "
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

error *images_fingerprint(const image_set *s, const fingerprint *known, fingerprint *out)
{
    fingerprint_file *files;
    int64_t n = 0;
    uint64_t held = fingerprint_add(0, s->bytes, s->used);
    TRY(alloc_array(&files, s->n + 1, sizeof *files));
    for (size_t i = 0; i < s->n; i++) {
        const image_item *item = &s->items[i];
        int32_t what[] = {item->label, item->height, item->width, item->channels};
        held = fingerprint_add(held, what, sizeof what);
        bool same =
            item->size && n && !strcmp(files[n - 1].path, item->path); /* as the one before */
        if (item->size) held = fingerprint_add(held, &item->at, sizeof item->at);
        if (item->path && !same)
            files[n++] = (fingerprint_file){item->path, item->path + item->name, -1};
    }
    error *e = fingerprint_files(files, n, held, known, out);
    free(files);
    return e;
}

/* ---- a part of it ---- */

error *images_split(image_set *s, double part, uint64_t seed, bool rest)
{
    uint64_t n = s->n, taken = (uint64_t)llround(part * (double)n);
    size_t kept = 0;
    if (!taken || taken == n)
        return user_error("of %llu images a part of %g is %s: there is nothing to %s",
                          (unsigned long long)n, part, taken ? "all" : "none",
                          taken ? "train on" : "evaluate on");
    for (size_t i = 0; i < s->n; i++) {
        image_item item = s->items[i];
        if ((rng_permute(seed, RNG_SPLIT, 0, i, n) < taken) != rest)
            s->items[kept++] = item;
        else
            free(item.path);
    }
    s->n = kept;
    return NULL;
}

/* ---- one image ---- */

static error *read_file(image_set *s, image_item *item, labelled *out)
{
    char name[PATH_LENGTH];
    uint8_t *bytes;
    size_t n;
    picture p;
    images_describe(s, item - s->items, name, sizeof name);
    error *e = item->size ? images_read_part(item->path, item->at, item->size, &bytes, &n)
                          : images_read_file(item->path, &bytes, &n);
    TRY(error_context(e, "image '%s'", name));
    e = picture_decode(bytes, n, s->wish.channels, s->wish.upright, &p);
    free(bytes);
    if (e) return error_context(e, "image '%s'", name);
    if (p.warnings && !set_flag(s, &item->warned)) {
        char text[400];
        snprintf(text, sizeof text, "image '%.160s': %s", name, p.warning);
        count_left_out(s, &s->warned, s->warning, text);
    }
    out->owned = p.pixels;
    out->view = picture_view(&p);
    return NULL;
}

static error *read_item(image_set *s, image_item *item, labelled *out)
{
    *out = (labelled){.label = item->label};
    if (item->path) return read_file(s, item, out);
    out->view = (view){s->bytes + item->offset, item->height, item->width, item->channels,
                       (int64_t)item->width * item->channels};
    return NULL;
}

error *images_read(image_set *s, int64_t i, bool instead, labelled *out)
{
    for (size_t tries = 0; tries < s->n; tries++, i = (i + 1) % (int64_t)s->n) {
        image_item *item = &s->items[i];
        error *e = read_item(s, item, out);
        if (!e) return NULL;
        if (s->wish.bad == BAD_FAIL) return e;
        if (set_flag(s, &item->bad))
            error_free(e);
        else
            TRY(images_spoilt(s, BAD_UNREADABLE, e));
        *out = (labelled){.label = -1};
        if (!instead) return NULL;
    }
    return user_error("not one of %zu images can be decoded: %s", s->n, s->why);
}

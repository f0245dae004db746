/* images_files.c - files of many images: idx (MNIST's) and CIFAR's binary format; and recognizing
 * them.
 *
 *   idx      00 00 08 RANK | RANK sizes, 32 bits, big endian | bytes        images: rank 3 or 4
 *   CIFAR    label [label] 3 x 32 x 32 bytes, repeated                      3073 or 3074 bytes each
 */
#include "data/images/images_internal.h"

#include "base/files.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    HEAD = 300 /* bytes by which a file is known */,
    SIDE = 32,
    PLANES = 3,
    CIFAR_PIXELS = PLANES * SIDE * SIDE
};

/* ---- reading, plain or gz ---- */

typedef struct {
    gzFile file;
    const char *path;
} stream;

static error *stream_open(const char *path, stream *s)
{
    s->path = path;
    TRY(file_check_regular(path));
    errno = 0;
    s->file = gzopen(path, "rb");
    if (!s->file)
        return user_error("'%s' cannot be opened: %s: check the name and its permissions", path,
                          errno ? strerror(errno) : "out of memory");
    return NULL;
}

static error *unreadable(const stream *s)
{
    int code = Z_OK;
    const char *why = gzerror(s->file, &code);
    size_t n = strlen(s->path);
    if (!strncmp(why, s->path, n) && !strncmp(why + n, ": ", 2)) why += n + 2;
    return user_error("'%s' cannot be read: %s: get it again", s->path, why);
}

/* Exactly n bytes. */
static error *stream_read(stream *s, void *to, size_t n)
{
    for (uint8_t *p = to; n > 0;) {
        unsigned part = n < 1 << 30 ? (unsigned)n : 1u << 30;
        int got = gzread(s->file, p, part);
        if (got < 0) return unreadable(s);
        if (got == 0) return user_error("'%s' ends too early: it was cut, get it again", s->path);
        p += got;
        n -= (size_t)got;
    }
    return NULL;
}

/* ---- idx ---- */

static int64_t big_endian(const uint8_t *p)
{
    return (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* The header: `rank` sizes; images may have one more, the channels. */
static error *idx_header(stream *s, int least, int most, int64_t *dim, int *rank)
{
    uint8_t head[4 + 4 * 4];
    TRY(stream_read(s, head, 4));
    *rank = head[3];
    if (head[0] || head[1] || head[2] != 8 || *rank < least || *rank > most)
        return user_error("'%s' is not an idx file of %s (it begins with %02x %02x %02x %02x)",
                          s->path, least == 1 ? "labels" : "images", head[0], head[1], head[2],
                          head[3]);
    TRY(stream_read(s, head + 4, 4 * (size_t)*rank));
    for (int i = 0; i < *rank; i++) {
        dim[i] = big_endian(head + 4 + 4 * i);
        if (dim[i] < 1 || (i > 0 && dim[i] > 1 << 14))
            return user_error("'%s': size %d is %lld: the file is damaged, or holds nothing",
                              s->path, i, (long long)dim[i]);
    }
    return NULL;
}

/* The labels' file that belongs to an images' file. */
static error *labels_path(const char *images, char *path, size_t size)
{
    const char *name = strrchr(images, '/');
    name = name ? name + 1 : images;
    const char *word = strstr(name, "images");
    if (!word || strlen(images) + 1 > size)
        return user_error(
            "'%s': its name has no \"images\", so the name of the labels' file is not "
            "known: call the two X-images... and X-labels...",
            images);
    memcpy(path, images, strlen(images) + 1);
    memcpy(path + (word - images), "labels", 6);
    char *rank = strstr(path + (name - images), "idx3");
    if (!rank) rank = strstr(path + (name - images), "idx4");
    if (rank) rank[3] = '1';
    return NULL;
}

/* n more bytes for the set, which grows as they come: a header's claim allocates nothing. */
static error *stream_append(stream *s, image_set *set, size_t n)
{
    enum { CHUNK = 1 << 16 };
    size_t before = set->used;
    error *e = NULL;
    for (size_t part; n > 0 && !e; n -= part) {
        part = n < CHUNK ? n : CHUNK;
        e = images_room(set, part);
        if (!e) e = stream_read(s, set->bytes + set->used, part);
        set->used += part;
    }
    if (e) set->used = before;
    return e;
}

/* The bytes from `at` on: planes of `size` pixels become pixels of `channels` bytes. */
static error *interleave(image_set *set, size_t at, int64_t channels, int64_t size)
{
    uint8_t *planes, *to = set->bytes + at;
    if (channels == 1) return NULL;
    TRY(alloc_array(&planes, (size_t)channels, (size_t)size));
    memcpy(planes, to, (size_t)(channels * size));
    for (int64_t i = 0; i < size; i++)
        for (int64_t c = 0; c < channels; c++)
            *to++ = planes[c * size + i];
    free(planes);
    return NULL;
}

/* SIZE_MAX where it does not fit. */
static size_t size_product(size_t a, size_t b)
{
    size_t c;
    return __builtin_mul_overflow(a, b, &c) ? SIZE_MAX : c;
}

/* All room at once, as far as a file of this size can have so much in it: growing might copy it. */
static error *reserve_pixels(image_set *set, const char *path, size_t bytes)
{
    enum { DEFLATES = 1032 }; /* bytes that one can stand for (zlib's technical details) */
    struct stat st;
    if (stat(path, &st) || bytes / DEFLATES > (size_t)st.st_size) return NULL;
    return images_room(set, bytes);
}

static error *idx_pairs(image_set *set, stream *s, stream *labels)
{
    int64_t dim[4], n_labels[4];
    int rank, one;
    TRY(idx_header(s, 3, 4, dim, &rank));
    TRY(idx_header(labels, 1, 1, n_labels, &one));
    if (dim[0] != n_labels[0])
        return user_error("'%s' has %lld labels, but '%s' %lld images: they do not belong together",
                          labels->path, (long long)n_labels[0], s->path, (long long)dim[0]);
    int64_t channels = rank == 4 ? dim[1] : 1, h = dim[rank - 2], w = dim[rank - 1];
    TRY(reserve_pixels(
        set, s->path,
        size_product(size_product((size_t)dim[0], (size_t)channels), (size_t)(h * w))));
    for (int64_t i = 0; i < dim[0]; i++) {
        uint8_t label;
        size_t before = set->used, n = set->n;
        TRY(stream_read(labels, &label, 1));
        TRY(stream_append(s, set, (size_t)(channels * h * w)));
        TRY(interleave(set, before, channels, h * w));
        image_item item = {.label = label,
                           .height = (int32_t)h,
                           .width = (int32_t)w,
                           .channels = (int32_t)channels,
                           .offset = before};
        TRY(images_add(set, &item, s->path, i));
        if (set->n == n) set->used = before; /* left out */
    }
    return NULL;
}

static error *idx_images(image_set *set, stream *s)
{
    char path[PATH_MAX];
    stream labels;
    TRY(labels_path(s->path, path, sizeof path));
    TRY(stream_open(path, &labels));
    error *e = idx_pairs(set, s, &labels);
    gzclose(labels.file);
    return e;
}

/* ---- CIFAR ---- */

static error *cifar_images(image_set *set, const char *path, int64_t size)
{
    int64_t ten = CIFAR_PIXELS + 1, hundred = CIFAR_PIXELS + 2;
    bool fine = size % hundred == 0 && (size % ten || set->wish.classes > 10);
    size_t labels = fine ? 2 : 1;
    int64_t n = size / (fine ? hundred : ten);
    stream s;
    TRY(reserve_pixels(set, path, (size_t)n * CIFAR_PIXELS));
    TRY(stream_open(path, &s));
    error *e = NULL;
    for (int64_t i = 0; i < n && !e; i++) {
        uint8_t label[2];
        e = stream_read(&s, label, labels);
        if (!e) e = images_room(set, CIFAR_PIXELS);
        if (!e) e = stream_read(&s, set->bytes + set->used, CIFAR_PIXELS);
        if (!e) e = interleave(set, set->used, PLANES, SIDE * SIDE);
        image_item item = {.label = label[labels - 1],
                           .height = SIDE,
                           .width = SIDE,
                           .channels = PLANES,
                           .offset = set->used};
        if (!e) e = images_add(set, &item, path, i);
        if (!e) set->used += CIFAR_PIXELS;
    }
    gzclose(s.file);
    return e;
}

/* ---- recognizing the format ---- */

static error *add_file(image_set *set, const char *path, int64_t size)
{
    stream s;
    uint8_t head[HEAD];
    TRY(stream_open(path, &s));
    int got = gzread(s.file, head, HEAD);
    bool idx = got >= 4 && !head[0] && !head[1] && head[2] == 8 && head[3] < 5;
    bool plain = gzdirect(s.file);
    error *e = got < 0 ? unreadable(&s) : NULL;
    if (idx && gzrewind(s.file) == 0) e = idx_images(set, &s);
    gzclose(s.file);
    if (idx || e) return e;
    if (images_is_tar(head, (size_t)got))
        return plain ? images_add_tar(set, path)
                     : user_error("'%s' is a compressed tar file, in which no picture can be read "
                                  "in place: decompress it (gunzip)",
                                  path);
    if (plain && size > 0 && (size % (CIFAR_PIXELS + 1) == 0 || size % (CIFAR_PIXELS + 2) == 0))
        return cifar_images(set, path, size);
    return user_error(
        "'%s' (%lld bytes) is not a known image file: give an idx file, CIFAR's .bin (a "
        "multiple of %d or %d bytes), a WebDataset's .tar, or a directory with a "
        "directory for each class",
        path, (long long)size, CIFAR_PIXELS + 1, CIFAR_PIXELS + 2);
}

/* The memory that a file will need, from its header; nothing if it cannot be read: opening reports
 * why. */
static size_t held_of(const char *path, int64_t size)
{
    int64_t dim[4] = {0};
    size_t pixels = 1, n = (size_t)size / CIFAR_PIXELS;
    int rank = 0;
    stream s;
    error *e = stream_open(path, &s);
    if (e) {
        error_free(e);
        return 0;
    }
    uint8_t head[HEAD];
    int got = gzread(s.file, head, HEAD);
    bool tar = got > 0 && images_is_tar(head, (size_t)got); /* its pictures stay where they are */
    gzrewind(s.file);
    e = idx_header(&s, 3, 4, dim, &rank);
    gzclose(s.file);
    if (tar) {
        error_free(e);
        return 0;
    }
    for (int i = 1; !e && i < rank; i++)
        pixels *= (size_t)dim[i];
    if (!e) n = (size_t)dim[0];
    if (e) pixels = CIFAR_PIXELS;
    error_free(e);
    return size_product(n, pixels + sizeof(image_item));
}

static error *add_held(void *context, const char *path)
{
    struct stat st;
    size_t *sum = context, more = 0;
    if (!stat(path, &st) && S_ISREG(st.st_mode)) more = held_of(path, st.st_size);
    *sum = *sum > SIZE_MAX - more ? SIZE_MAX : *sum + more;
    return NULL;
}

error *images_held(const char *const *paths, int n, size_t *bytes)
{
    for (int i = 0; i < n; i++)
        TRY(images_each_path(paths[i], add_held, bytes));
    return NULL;
}

static error *add_path(void *context, const char *path)
{
    image_set *set = context;
    struct stat st;
    if (stat(path, &st))
        return user_error("'%s' cannot be opened: %s: check the name and its permissions", path,
                          strerror(errno));
    if (set->wish.unlabelled) return images_add_unlabelled(set, path);
    if (S_ISDIR(st.st_mode)) return images_add_directory(set, path);
    if (!S_ISREG(st.st_mode)) return user_error("'%s' is neither a file nor a directory", path);
    return add_file(set, path, st.st_size);
}

error *images_each_path(const char *pattern, error *(*each)(void *, const char *), void *context)
{
    if (access(pattern, F_OK) == 0 || !strpbrk(pattern, "*?[")) return each(context, pattern);
    glob_t found;
    int status = glob(pattern, 0, NULL, &found);
    if (status) return user_error("no file matches '%s': check the path", pattern);
    error *e = NULL;
    for (size_t i = 0; i < found.gl_pathc && !e; i++)
        e = each(context, found.gl_pathv[i]);
    globfree(&found);
    return e;
}

/* A grayscale file must not silently be trained as color: what is in memory must have the right
 * channels. */
static error *check_channels(const image_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (!s->items[i].path && s->items[i].channels != s->wish.channels)
            return user_error("the images have %d channel%s, the model takes %lld: give --channels "
                              "%d",
                              s->items[i].channels, s->items[i].channels > 1 ? "s" : "",
                              (long long)s->wish.channels, s->items[i].channels);
    return NULL;
}

error *images_open(const char *const *paths, int n, const image_wish *wish, image_set **out)
{
    image_set *s;
    TRY(alloc_array(&s, 1, sizeof *s));
    s->wish = *wish;
    pthread_mutex_init(&s->lock, NULL);
    error *e = n < 1 ? user_error("no images are named: give --train-data PATH") : NULL;
    for (int i = 0; i < n && !e; i++)
        e = images_each_path(paths[i], add_path, s);
    if (!e) e = check_channels(s);
    if (!e && !s->n)
        e = user_error("'%s'%s: no image is left%s%s", paths[0], n > 1 ? " and the others" : "",
                       *s->why ? ": " : "", s->why);
    if (e) {
        images_close(s);
        return e;
    }
    *out = s;
    return NULL;
}

/* images_internal.h - what the formats of images share. */
#ifndef REGRAD_IMAGES_INTERNAL_H
#define REGRAD_IMAGES_INTERNAL_H

#include "data/images/images.h"

#include <pthread.h>

/* One image: in memory, or a file. */
typedef struct {
    int32_t label;
    int32_t height, width, channels; /* of the bytes */
    size_t offset;                   /* in `bytes`: (channels, height, width) */
    char *path;                      /* of a file, else NULL */
    bool told;                       /* it is counted as bad */
} image_item;

struct image_set {
    image_wish wish;
    image_item *items; /* (n) */
    size_t n, capacity;
    uint8_t *bytes; /* (used) */
    size_t used, room;
    pthread_mutex_t lock; /* of the rest */
    int64_t bad;
    char why[400];
};

/* Adds an item; a label outside of the classes is bad: an error, or counted. */
error *images_add(image_set *s, const image_item *item, const char *from, int64_t number) NODISCARD;
/* Makes room for n more bytes. */
error *images_room(image_set *s, size_t n) NODISCARD;
/* A bad image: the error itself, or NULL when it is counted instead (and e freed). */
error *images_spoilt(image_set *s, error *e) NODISCARD;

error *images_add_directory(image_set *s, const char *path) NODISCARD;

/* A picture as it was decoded: rows of pixels of `channels` bytes. */
typedef struct {
    int64_t height, width, channels;
    uint8_t *pixels; /* (height, width, channels); free it */
} picture;

/* Is that many bytes of pixels too much for a file of n bytes?  A header may claim anything. */
static inline bool picture_absurd(size_t pixels, size_t n)
{
    return pixels > ((size_t)1 << 20) + n * 2048;
}

/* Decode a file by its first bytes.  User errors do not name the path. */
error *picture_decode(const char *path, picture *out) NODISCARD;
error *picture_jpeg(const uint8_t *file, size_t n, picture *out) NODISCARD;
error *picture_png(const uint8_t *file, size_t n, picture *out) NODISCARD;

#endif

/* images_internal.h - shared by the formats of images. */
#ifndef REGRAD_IMAGES_INTERNAL_H
#define REGRAD_IMAGES_INTERNAL_H

#include "data/images/images.h"

#include <pthread.h>

/* One image: in memory, or a file. */
typedef struct {
    int32_t label;
    int32_t height, width, channels; /* of the bytes */
    size_t offset;                   /* in `bytes`: (height, width, channels) */
    char *path;                      /* of a file, else NULL */
    int64_t at, size; /* where in that file, if it holds several; size 0: all of it */
    int32_t name;     /* where the part of `path` below the directory begins */
    bool bad, warned; /* it is counted as such */
} image_item;

struct image_set {
    image_wish wish;
    image_item *items; /* (n) */
    size_t n, capacity;
    uint8_t *bytes; /* (used) */
    size_t used, room;
    char passed_over[600];
    pthread_mutex_t lock; /* of the rest, and of the items' flags */
    int64_t bad, warned;
    char why[400], warning[400];
};

/* Adds an item; a label outside of the classes is bad: an error, or counted. */
error *images_add(image_set *s, const image_item *item, const char *from, int64_t number) NODISCARD;
/* Makes room for n more bytes. */
error *images_room(image_set *s, size_t n) NODISCARD;
/* Something bad that `least` allows to be counted: the error itself, or NULL if it is counted
 * instead (and e freed). */
error *images_spoilt(image_set *s, bad_policy least, error *e) NODISCARD;

error *images_add_directory(image_set *s, const char *path) NODISCARD;
/* Pictures without labels: a file, or all below a directory. */
error *images_add_unlabelled(image_set *s, const char *path) NODISCARD;

/* A shard of WebDataset, by its first bytes. */
bool images_is_tar(const uint8_t *head, size_t n);
error *images_add_tar(image_set *s, const char *path) NODISCARD;

/* Calls `each` with every path that matches a pattern (*, ?, [); with the pattern itself, if there
 * is such a file or nothing to expand. */
error *images_each_path(const char *pattern, error *(*each)(void *, const char *),
                        void *context) NODISCARD;

enum { MOST_PICTURE = 1 << 30 }; /* bytes of a file */

/* The bytes of a whole file; those from `at` on. */
error *images_read_file(const char *path, uint8_t **bytes, size_t *n) NODISCARD;
error *images_read_part(const char *path, int64_t at, int64_t size, uint8_t **bytes,
                        size_t *n) NODISCARD;

#endif

/* images.h - labelled images, whatever they are stored as.
 *
 *   idx           MNIST's format, plain or gz: PATH is the images' file; the labels' is beside it, by
 *                 its name: train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte.gz
 *   CIFAR binary  a label (CIFAR-100: a coarse one, then the one that counts), then 3 x 32 x 32
 *   a directory   of directories, one a class, with JPEG and PNG files at any depth: decoded when
 *                 they are read (images_folder.c)
 *
 * Which it is is seen from the contents.  The first two are held in memory.  All come out as pictures
 * (height, width, channels) of the size that they are stored in.
 */
#ifndef REGRAD_IMAGES_H
#define REGRAD_IMAGES_H

#include "base/fingerprint.h"
#include "data/images/picture.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names of classes; class k is name[k]. */
typedef struct {
    char **name; /* (n) */
    int64_t n;
} image_names;

/* What happens to an image that cannot be decoded, and to a label that cannot be. */
typedef enum {
    BAD_FAIL,       /* an error */
    BAD_UNREADABLE, /* an image that cannot be decoded is left out and counted */
    BAD_ANY         /* also a label out of range, and a class without images */
} bad_policy;

/* What the model takes. */
typedef struct {
    int64_t channels, classes;
    const image_names *names; /* ? class directories are numbered by these */
    bad_policy bad;
    bool upright; /* turned as EXIF says */
    bool
        unlabelled; /* paths are pictures, and directories of them at any depth; all are of class 0 */
} image_wish;

typedef struct image_set image_set;

/* User errors name the file, the image and what is wrong. */
error *images_open(const char *const *paths /* (n) */, int n, const image_wish *wish,
                   image_set **out) NODISCARD;
void images_close(image_set *s); /* NULL is fine */

/* Adds what the files among the paths will occupy in memory when they are open; by what their headers say, which is
 * not read on. */
error *images_held(const char *const *paths /* (n) */, int n, size_t *bytes) NODISCARD;

/* The class directories of all directories among the paths, in the order of their names; none, n = 0,
 * where no path is a directory. */
error *image_names_find(const char *const *paths /* (n) */, int n, image_names *out) NODISCARD;
void image_names_free(image_names *names);

int64_t images_count(const image_set *s); /* at least 1 */
/* Where image i is, for people: its path, or its number. */
void images_describe(const image_set *s, int64_t i, char *text, size_t size);

/* One image; `owned` must be freed. */
typedef struct {
    view view;
    uint8_t *owned;
    int64_t label; /* -1: it is left out */
} labelled;

/* Image i.  One that cannot be decoded is counted, if it may be, and then left out; or, with `instead`,
 * the next one that can is given in its place.  Any number of threads may read. */
error *images_read(image_set *s, int64_t i, bool instead, labelled *out) NODISCARD;

/* How many images were left out so far, and what was wrong with the last; "" if none. */
int64_t images_bad(image_set *s, char *why, size_t size);
/* How many were decoded with a warning, and which. */
int64_t images_warned(image_set *s, char *why, size_t size);
/* What was passed over on opening, as text; "" if nothing. */
const char *images_passed_over(const image_set *s);

/* Of labels, names, sizes and contents; known: ? see fingerprint_files. */
error *images_fingerprint(const image_set *s, const fingerprint *known, fingerprint *out) NODISCARD;

#endif

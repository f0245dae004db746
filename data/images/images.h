/* images.h - labelled images, whatever they are stored as.
 *
 *   idx           MNIST's format, plain or gz: PATH is the images' file; the labels' is beside it, by
 *                 its name: train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte.gz
 *   CIFAR binary  a label (CIFAR-100: a coarse one, then the one that counts), then 3 x 32 x 32
 *   a directory   of directories, one a class (numbered in the order of their names), with JPEG and
 *                 PNG files: decoded when they are read, scaled so that they cover the wanted size,
 *                 the middle cut out
 *
 * Which it is is seen from the contents.  The first two are held in memory as they are, a byte a
 * value.  All come out as bytes (channels, height, width) of the size that was asked for.
 */
#ifndef REGRAD_IMAGES_H
#define REGRAD_IMAGES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the model takes. */
typedef struct {
    int64_t height, width, channels, classes;
    bool skip_bad; /* leave bad images out and count them, instead of failing */
} image_wish;

typedef struct image_set image_set;

/* User errors name the file, the image and what is wrong. */
error *images_open(const char *const *paths /* (n) */, int n, const image_wish *wish,
                   image_set **out) NODISCARD;
void images_close(image_set *s); /* NULL is fine */

int64_t images_count(const image_set *s); /* at least 1 */
int64_t images_label(const image_set *s, int64_t i);

/* Image i as (channels, height, width).  With skip_bad one that cannot be decoded is counted, and the
 * next one that can is given in its place, with its label.  Any number of threads may read. */
error *images_read(image_set *s, int64_t i, uint8_t *pixels, int64_t *label) NODISCARD;

/* How many images were left out so far, and what was wrong with the last; "" if none. */
int64_t images_bad(image_set *s, char *why, size_t size);

/* A hash over labels, sizes and names. */
uint64_t images_fingerprint(const image_set *s);

#endif

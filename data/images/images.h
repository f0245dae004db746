/* images.h - labelled images, in any of the supported formats.
 *
 *   idx           MNIST's format, plain or gz: PATH is the images' file; the labels' is beside it, by
 *                 name: train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte.gz
 *   CIFAR binary  a label (CIFAR-100: a coarse one, then the one that counts), then 3 x 32 x 32
 *   a tar file    WebDataset's: NAME.jpg or NAME.png beside NAME.cls, read in place (images_tar.c)
 *   a directory   of directories, one per class, with JPEG, PNG and WebP files at any depth: decoded when
 *                 they are read (images_folder.c)
 *
 * The format is recognized by the contents.  The first two are held in memory.  All give pictures
 * (height, width, channels) in their original size.
 */
#ifndef REGRAD_IMAGES_H
#define REGRAD_IMAGES_H

#include "base/fingerprint.h"
#include "data/images/image_options.h"
#include "data/images/picture.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct image_set image_set;

/* User errors name the file, the image and the problem. */
error *images_open(const char *const *paths /* (n) */, int n, const image_wish *wish,
                   image_set **out) NODISCARD;
void images_close(image_set *s); /* NULL is ignored */

/* Adds the memory that the files among the paths will need once open; from their headers only. */
error *images_held(const char *const *paths /* (n) */, int n, size_t *bytes) NODISCARD;

/* The class directories of all directories among the paths, sorted by name; none, n = 0, if no path
 * is a directory. */
error *image_names_find(const char *const *paths /* (n) */, int n, image_names *out) NODISCARD;
void image_names_free(image_names *names);

/* Keeps `part` of the images, drawn by the seed, or (rest) all others: the two sides of a split.
 * User error where one of them would have none. */
error *images_split(image_set *s, double part, uint64_t seed, bool rest) NODISCARD;

int64_t images_count(const image_set *s); /* at least 1 */
/* The origin of image i, for messages: its path, with the place in a shard, or its number. */
void images_describe(const image_set *s, int64_t i, char *text, size_t size);

/* One image; `owned` must be freed. */
typedef struct {
    view view;
    uint8_t *owned;
    int64_t label; /* -1: it is skipped */
} labelled;

/* Image i.  One that cannot be decoded is counted, if that is allowed, and skipped; or, with
 * `instead`, replaced by the next one that can.  Any number of threads may read. */
error *images_read(image_set *s, int64_t i, bool instead, labelled *out) NODISCARD;

/* How many images were skipped so far, and what was wrong with the last; "" if none. */
int64_t images_bad(image_set *s, char *why, size_t size);
/* How many were decoded with a warning, and which. */
int64_t images_warned(image_set *s, char *why, size_t size);
/* What was skipped on opening, as text; "" if nothing. */
const char *images_passed_over(const image_set *s);

/* Of labels, names, sizes and contents; known: ? see fingerprint_files. */
error *images_fingerprint(const image_set *s, const fingerprint *known, fingerprint *out) NODISCARD;

#endif

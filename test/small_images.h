/* small_images.h - idx files of made-up images, that a model can learn to tell apart. */
#ifndef REGRAD_TEST_SMALL_IMAGES_H
#define REGRAD_TEST_SMALL_IMAGES_H

#include <stdint.h>
#include <stdio.h>

/* The byte of image i at (c, y, x): noise, and a bright line where its label says. */
uint8_t small_pixel(int64_t i, int64_t label, int64_t c, int64_t y, int64_t x);
int64_t small_label(int64_t i, int64_t classes);

/* Begins DIR/NAME-images-idx3-ubyte for n images (channels, height, width), and the file of their
 * labels; rank 4 when there are channels.  Fails the test when it cannot. */
void small_images_create(const char *directory, const char *name, int64_t n, int64_t channels,
                         int64_t height, int64_t width, FILE **images, FILE **labels);
/* These files with what was made up. */
void small_images_write(const char *directory, const char *name, int64_t n, int64_t channels,
                        int64_t height, int64_t width, int64_t classes);

/* A grey PNG of one level. */
void small_png_write(const char *path, int height, int width, uint8_t grey);

#endif

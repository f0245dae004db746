/* resize.h - resizes pictures like PIL's Image.resize, to the bit: horizontally, then vertically,
 * each with 22-bit weights and an 8-bit result.  (Pillow 13 starts vertically if the height shrinks
 * by more than the width: some bytes differ then, findings/pillow_resize_order.sh.  This is the
 * order of all versions before it, with which models' weights were trained.) */
#ifndef REGRAD_RESIZE_H
#define REGRAD_RESIZE_H

#include "base/resample.h"
#include "data/images/picture.h"

/* The part (height, width) at (top, left) of `from` resized to (rows, columns).  out: (height,
 * width, channels). */
typedef struct {
    int64_t rows, columns, top, left, height, width;
} window;

error *picture_resize(view from, const window *w, resample_kernel kernel, uint8_t *out) NODISCARD;

/* A view's part of (height, width) at (top, left), which must be in it. */
view view_part(view v, int64_t top, int64_t left, int64_t height, int64_t width);

/* The center (height, width) of a picture (h, w) that is scaled so that `part` of it is covered:
 * torchvision's Resize and CenterCrop; timm's with crop_pct = part. */
window window_covering(int64_t h, int64_t w, int64_t height, int64_t width, double part);

#endif

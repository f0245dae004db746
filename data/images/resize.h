/* resize.h - pictures of another size, as PIL's Image.resize makes them, to the bit: across, then down,
 * each with weights of 22 bits and a result of 8.  (Pillow 13 goes down first where a picture becomes less
 * high by more than it becomes narrower: some bytes differ then, findings/pillow_resize_order.sh.  This is
 * the order of all before it, whose weights models were trained with.) */
#ifndef REGRAD_RESIZE_H
#define REGRAD_RESIZE_H

#include "base/resample.h"
#include "data/images/picture.h"

/* The part (height, width) at (top, left) of what `from` would be as (rows, columns).  out: (height,
 * width, channels). */
typedef struct {
    int64_t rows, columns, top, left, height, width;
} window;

error *picture_resize(view from, const window *w, resample_kernel kernel, uint8_t *out) NODISCARD;

/* A view's part of (height, width) at (top, left), which must be in it. */
view view_part(view v, int64_t top, int64_t left, int64_t height, int64_t width);

/* The middle (height, width) of a picture (h, w) that is scaled to cover `part` of it: torchvision's
 * Resize and CenterCrop; timm's with crop_pct = part. */
window window_covering(int64_t h, int64_t w, int64_t height, int64_t width, double part);

#endif

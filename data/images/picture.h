/* picture.h - one picture: decoded from a file's bytes, rotated, converted to the wanted channels.
 *
 * The result equals PIL's Image.open(...).convert("RGB"), or "L", to the bit, since that is how
 * images are loaded elsewhere (torchvision's ImageFolder):
 *
 *   PNG    gamma is not applied, of 16 bits the upper 8 are used, transparency is dropped; also for
 *          16-bit grayscale, which PIL clips at 255, so that nearly all of it is white
 *   JPEG   four components are CMYK as Adobe writes it (inverted)
 *   WebP   transparency is dropped; of an animation the first frame
 *   gray   (19595 R + 38470 G + 7471 B) / 2^16, rounded: the luma of ITU-R BT.601
 *
 * A truncated file is refused; libjpeg's warnings are counted (warnings).
 */
#ifndef REGRAD_PICTURE_H
#define REGRAD_PICTURE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of pixels of `channels` bytes; rows begin `stride` bytes apart. */
typedef struct {
    const uint8_t *pixels;
    int64_t height, width, channels, stride;
} view;

typedef struct {
    int64_t height, width, channels;
    uint8_t *pixels;   /* (height, width, channels); free it */
    int warnings;      /* of the decoder, which went on */
    char warning[200]; /* the first of them */
    int orientation;   /* EXIF's: 1 (unchanged) to 8; 0: unknown */
} picture;

/* Decodes a file's bytes to 1 or 3 channels.  `upright`: rotated as EXIF says.  User errors do not
 * name the file. */
error *picture_decode(const uint8_t *bytes, size_t n, int64_t channels, bool upright,
                      picture *out) NODISCARD;

/* Do these first bytes belong to a supported picture format? */
bool picture_known(const uint8_t *head, size_t n);

view picture_view(const picture *p);

/* ---- of one format: as they are stored, 1 (grey), 3 or 4 (CMYK) channels ---- */

error *picture_jpeg(const uint8_t *file, size_t n, picture *out) NODISCARD;
error *picture_png(const uint8_t *file, size_t n, picture *out) NODISCARD;
error *picture_webp(const uint8_t *file, size_t n, picture *out) NODISCARD;

/* The orientation in EXIF data (a TIFF header and its first directory); 0: none. */
int exif_orientation(const uint8_t *tiff, size_t n);

/* Is that many bytes of pixels implausible for a file of n bytes?  A header may claim anything. */
static inline bool picture_absurd(size_t pixels, size_t n)
{
    return pixels > ((size_t)1 << 20) + n * 2048;
}

#endif

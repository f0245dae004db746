/* picture_webp.c - decodes WebP with libwebp, if the build has it; of an animation the first frame.
 *
 * A file is given to the decoder of animations, still or not, as Pillow does: the canvas begins
 * transparent black, and a frame may leave out part of it.  Transparency is dropped.
 */
#include "data/images/picture.h"

#ifdef WITH_WEBP

#include <stdlib.h>
#include <string.h>

#include <webp/demux.h>

enum { FLAT_PIXELS = 4 << 20 };

/* What a header claims is allocated before anything is decoded.  A flat picture takes hardly any
 * bytes (2000 x 2000 pixels 212, Pillow 13), hence so many for nothing; what shows something takes
 * more than a byte for 1024. */
static error *check_head(const WebPData *file, int64_t *height, int64_t *width)
{
    WebPBitstreamFeatures head;
    VP8StatusCode status = WebPGetFeatures(file->bytes, file->size, &head);
    if (status == VP8_STATUS_NOT_ENOUGH_DATA) return user_error("the file ends too early");
    if (status != VP8_STATUS_OK) return user_error("its header is damaged");
    size_t pixels = (size_t)head.height * (size_t)head.width;
    if (pixels > FLAT_PIXELS + file->size * 1024)
        return user_error("%d x %d pixels in %zu bytes: it is damaged", head.width, head.height,
                          file->size);
    *height = head.height;
    *width = head.width;
    return NULL;
}

/* Some writers put "Exif\0\0" in front, as in a JPEG. */
static int webp_orientation(const WebPAnimDecoder *decoder)
{
    WebPChunkIterator chunk;
    int found = 0;
    if (!WebPDemuxGetChunk(WebPAnimDecoderGetDemuxer(decoder), "EXIF", 1, &chunk)) return 0;
    const uint8_t *tiff = chunk.chunk.bytes;
    size_t n = chunk.chunk.size, front = n > 6 && !memcmp(tiff, "Exif\0\0", 6) ? 6 : 0;
    found = exif_orientation(tiff + front, n - front);
    WebPDemuxReleaseChunkIterator(&chunk);
    return found;
}

static error *decode(WebPAnimDecoder *decoder, int64_t height, int64_t width, picture *out)
{
    uint8_t *canvas, *pixels;
    int timestamp;
    if (!WebPAnimDecoderGetNext(decoder, &canvas, &timestamp))
        return user_error("it is damaged, or out of memory for libwebp");
    TRY(alloc_array(&pixels, (size_t)(height * width), 3));
    for (int64_t i = 0; i < height * width; i++)
        memcpy(pixels + 3 * i, canvas + 4 * i, 3);
    *out = (picture){.height = height,
                     .width = width,
                     .channels = 3,
                     .pixels = pixels,
                     .orientation = webp_orientation(decoder)};
    return NULL;
}

error *picture_webp(const uint8_t *file, size_t n, picture *out)
{
    const WebPData data = {file, n};
    WebPAnimDecoderOptions how;
    int64_t height = 0, width = 0;
    TRY(check_head(&data, &height, &width));
    if (!WebPAnimDecoderOptionsInit(&how)) return user_error("libwebp is of another version");
    how.color_mode = MODE_RGBA;
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &how);
    if (!decoder) return user_error("the file ends too early, or is damaged");
    error *e = decode(decoder, height, width, out);
    WebPAnimDecoderDelete(decoder);
    return e;
}

#else

error *picture_webp(const uint8_t *file, size_t n, picture *out)
{
    (void)file, (void)n, (void)out;
    return user_error("this build has no WebP: install libwebp-dev and build again");
}

#endif

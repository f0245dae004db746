/* picture_png.c - decoding PNG by libpng's simplified interface, if the build has it.  Transparency is
 * laid over black; 16 bits become 8. */
#include "data/images/images_internal.h"

#ifdef WITH_PNG

#include <stdlib.h>

#include <png.h>

error *picture_png(const uint8_t *file, size_t n, picture *out)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    static const png_color black = {0, 0, 0};
    if (!png_image_begin_read_from_memory(&image, file, n)) return user_error("%s", image.message);
    bool colour = image.format & PNG_FORMAT_FLAG_COLOR;
    image.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    uint8_t *pixels = NULL;
    size_t size = (size_t)image.width * image.height * (colour ? 3 : 1);
    error *e = picture_absurd(size, n) ? user_error("%u x %u pixels in %zu bytes: it is damaged",
                                                    image.width, image.height, n)
                                       : alloc_array(&pixels, size, 1);
    if (!e && !png_image_finish_read(&image, &black, pixels, 0, NULL))
        e = user_error("%s", image.message);
    png_image_free(&image);
    if (e) {
        free(pixels);
        return e;
    }
    *out = (picture){image.height, image.width, colour ? 3 : 1, pixels};
    return NULL;
}

#else

error *picture_png(const uint8_t *file, size_t n, picture *out)
{
    (void)file, (void)n, (void)out;
    return user_error("this build has no PNG: install libpng-dev and build again");
}

#endif

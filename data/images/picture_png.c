/* picture_png.c - decodes PNG with libpng, if the build has it.
 *
 * libpng's simplified interface would apply gAMA, treat 16 bits as linear light and blend
 * transparency; so rows are read one by one, with only the transforms that drop bits and alpha.
 */
#include "data/images/picture.h"

#ifdef WITH_PNG

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

typedef struct {
    const uint8_t *bytes;
    size_t left;
    char text[200];
} stream;

static void png_give_up(png_structp png, png_const_charp text)
{
    stream *s = png_get_error_ptr(png);
    snprintf(s->text, sizeof s->text, "%s", text);
    png_longjmp(png, 1);
}

/* They are about colour profiles and the like, which nothing here reads. */
static void ignore(png_structp png, png_const_charp text)
{
    (void)png, (void)text;
}

static void png_give(png_structp png, png_bytep to, size_t n)
{
    stream *s = png_get_io_ptr(png);
    if (n > s->left) png_error(png, "the file ends too early");
    memcpy(to, s->bytes, n);
    s->bytes += n;
    s->left -= n;
}

/* Reads the header; asks for 8-bit gray or color. */
static void png_begin(png_structp png, png_infop info)
{
    png_read_info(png, info);
    png_set_strip_16(png);
    png_set_expand_gray_1_2_4_to_8(png);
    if (png_get_color_type(png, info) & PNG_COLOR_MASK_PALETTE) png_set_palette_to_rgb(png);
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

static int orientation_of(png_structp png, png_infop info)
{
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 n = 0;
    png_bytep exif = NULL;
    if (png_get_eXIf_1(png, info, &n, &exif)) return exif_orientation(exif, n);
#endif
    (void)png, (void)info;
    return 0;
}

static error *read_png(png_structp png, png_infop info, stream *s, size_t n, picture *out)
{
    uint8_t *volatile pixels = NULL;
    png_bytep *volatile rows = NULL;
    if (setjmp(png_jmpbuf(png))) {
        free(pixels);
        free(rows);
        return user_error("%s", s->text);
    }
    png_begin(png, info);
    size_t h = png_get_image_height(png, info), row = png_get_rowbytes(png, info);
    uint8_t *made = NULL;
    png_bytep *starts = NULL;
    if (picture_absurd(h * row, n))
        return user_error("%u x %zu pixels in %zu bytes: it is damaged",
                          png_get_image_width(png, info), h, n);
    TRY(alloc_array(&made, h, row));
    pixels = made;
    error *e = alloc_array(&starts, h, sizeof *starts);
    rows = starts;
    if (e) {
        free(made);
        return e;
    }
    for (size_t i = 0; i < h; i++)
        starts[i] = made + i * row;
    png_read_image(png, starts);
    free(starts);
    *out = (picture){.height = (int64_t)h,
                     .width = png_get_image_width(png, info),
                     .channels = png_get_channels(png, info),
                     .pixels = made,
                     .orientation = orientation_of(png, info)};
    return NULL;
}

error *picture_png(const uint8_t *file, size_t n, picture *out)
{
    stream s = {file, n, ""};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &s, png_give_up, ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    error *e = info ? NULL : user_error("out of memory for libpng");
    if (!e) {
        png_set_read_fn(png, &s, png_give);
        e = read_png(png, info, &s, n, out);
    }
    png_destroy_read_struct(&png, &info, NULL);
    return e;
}

#else

error *picture_png(const uint8_t *file, size_t n, picture *out)
{
    (void)file, (void)n, (void)out;
    return user_error("this build has no PNG: install libpng-dev and build again");
}

#endif

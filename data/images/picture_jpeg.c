/* picture_jpeg.c - decoding JPEG by libjpeg(-turbo), if the build has it.
 *
 * The library reports errors through a callback that must not return: it jumps back here.  Warnings
 * (a cut file, whose rest it would paint grey) count as errors, too.
 */
#include "data/images/images_internal.h"

#ifdef WITH_JPEG

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

typedef struct {
    struct jpeg_error_mgr manager;
    jmp_buf back;
    char text[JMSG_LENGTH_MAX];
} trouble;

static void give_up(j_common_ptr info)
{
    trouble *t = (trouble *)info->err;
    t->manager.format_message(info, t->text);
    longjmp(t->back, 1);
}

static void on_message(j_common_ptr info, int level)
{
    if (level < 0) give_up(info);
}

static void start(struct jpeg_decompress_struct *d, const uint8_t *file, size_t n)
{
    jpeg_create_decompress(d);
    jpeg_mem_src(d, file, (unsigned long)n);
    jpeg_read_header(d, TRUE);
    bool grey = d->jpeg_color_space == JCS_GRAYSCALE;
    d->out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(d);
}

error *picture_jpeg(const uint8_t *file, size_t n, picture *out)
{
    struct jpeg_decompress_struct d = {0};
    trouble t = {0};
    uint8_t *volatile pixels = NULL;
    d.err = jpeg_std_error(&t.manager);
    t.manager.error_exit = give_up;
    t.manager.emit_message = on_message;
    if (setjmp(t.back)) {
        jpeg_destroy_decompress(&d);
        free(pixels);
        return user_error("%s", t.text);
    }
    start(&d, file, n);
    size_t row = (size_t)d.output_width * (size_t)d.output_components;
    error *e = picture_absurd(row * d.output_height, n)
                   ? user_error("%u x %u pixels in %zu bytes: it is damaged", d.output_width,
                                d.output_height, n)
                   : NULL;
    uint8_t *made = NULL;
    if (!e) e = alloc_array(&made, row * d.output_height, 1);
    pixels = made;
    while (!e && d.output_scanline < d.output_height) {
        JSAMPROW line = pixels + row * d.output_scanline;
        jpeg_read_scanlines(&d, &line, 1);
    }
    if (!e) {
        jpeg_finish_decompress(&d);
        *out = (picture){d.output_height, d.output_width, d.output_components, pixels};
    }
    jpeg_destroy_decompress(&d);
    return e;
}

#else

error *picture_jpeg(const uint8_t *file, size_t n, picture *out)
{
    (void)file, (void)n, (void)out;
    return user_error("this build has no JPEG: install libjpeg-dev and build again");
}

#endif

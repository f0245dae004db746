/* picture_jpeg.c - decodes JPEG with libjpeg(-turbo), if the build has it.
 *
 * The library reports errors through a callback that must not return: it longjmps back here.  A
 * warning (extra bytes before a marker, an odd revision of JFIF) leaves the pixels intact and is
 * counted; except that of a premature end, where the rest would be gray.
 */
#include "data/images/picture.h"

#ifdef WITH_JPEG

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

enum { EXIF = JPEG_APP0 + 1 };

typedef struct {
    struct jpeg_error_mgr manager;
    jmp_buf back;
    char text[JMSG_LENGTH_MAX];
    int warnings;
    char warning[JMSG_LENGTH_MAX]; /* the first */
} trouble;

static void give_up(j_common_ptr info)
{
    trouble *t = (trouble *)info->err;
    t->manager.format_message(info, t->text);
    longjmp(t->back, 1);
}

static void on_message(j_common_ptr info, int level)
{
    trouble *t = (trouble *)info->err;
    if (level >= 0) return;
    if (t->manager.msg_code == JWRN_JPEG_EOF) give_up(info);
    if (!t->warnings++) t->manager.format_message(info, t->warning);
}

static int orientation_of(const struct jpeg_decompress_struct *d)
{
    static const uint8_t head[] = {'E', 'x', 'i', 'f', 0, 0};
    for (const struct jpeg_marker_struct *m = d->marker_list; m; m = m->next)
        if (m->marker == EXIF && m->data_length > sizeof head &&
            !memcmp(m->data, head, sizeof head))
            return exif_orientation(m->data + sizeof head, m->data_length - sizeof head);
    return 0;
}

/* Its head alone: decoding takes memory for what the head says, of a progressive file at once for
 * all of it. */
static error *jpeg_head(struct jpeg_decompress_struct *d, const uint8_t *file, size_t n)
{
    jpeg_create_decompress(d);
    jpeg_mem_src(d, file, (unsigned long)n);
    jpeg_save_markers(d, EXIF, 0xffff);
    jpeg_read_header(d, TRUE);
    d->out_color_space = d->num_components == 1   ? JCS_GRAYSCALE
                         : d->num_components == 4 ? JCS_CMYK
                                                  : JCS_RGB;
    if (!picture_absurd((size_t)d->image_width * d->image_height * (size_t)d->num_components, n))
        return NULL;
    return user_error("%u x %u pixels in %zu bytes: it is damaged", d->image_width, d->image_height,
                      n);
}

/* Adobe stores how much of the paper stays white, and so do others after it. */
static void invert(uint8_t *pixels, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pixels[i] = (uint8_t)~pixels[i];
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
    uint8_t *made = NULL;
    size_t row = 0;
    error *e = jpeg_head(&d, file, n);
    if (!e) {
        jpeg_start_decompress(&d);
        row = (size_t)d.output_width * (size_t)d.output_components;
        e = alloc_array(&made, row * d.output_height, 1);
    }
    pixels = made;
    while (!e && d.output_scanline < d.output_height) {
        JSAMPROW line = pixels + row * d.output_scanline;
        jpeg_read_scanlines(&d, &line, 1);
    }
    if (!e) {
        int orientation = orientation_of(&d); /* finishing forgets it */
        jpeg_finish_decompress(&d);
        if (d.output_components == 4) invert(pixels, row * d.output_height);
        *out = (picture){.height = d.output_height,
                         .width = d.output_width,
                         .channels = d.output_components,
                         .pixels = pixels,
                         .warnings = t.warnings,
                         .orientation = orientation};
        snprintf(out->warning, sizeof out->warning, "%s", t.warning);
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

/* picture.c - see picture.h: recognizing formats, orientation, colors. */
#include "data/images/picture.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static bool is_jpeg(const uint8_t *head, size_t n)
{
    return n > 2 && head[0] == 0xff && head[1] == 0xd8 && head[2] == 0xff;
}

static bool is_png(const uint8_t *head, size_t n)
{
    return n >= sizeof png && !memcmp(head, png, sizeof png);
}

static bool is_webp(const uint8_t *head, size_t n)
{
    return n >= 12 && !memcmp(head, "RIFF", 4) && !memcmp(head + 8, "WEBP", 4);
}

bool picture_known(const uint8_t *head, size_t n)
{
    return is_jpeg(head, n) || is_png(head, n) || is_webp(head, n);
}

view picture_view(const picture *p)
{
    return (view){p->pixels, p->height, p->width, p->channels, p->width * p->channels};
}

/* ---- orientation ---- */

static uint32_t number(const uint8_t *p, int bytes, bool big)
{
    uint32_t x = 0;
    for (int i = 0; i < bytes; i++)
        x |= (uint32_t)p[big ? bytes - 1 - i : i] << (8 * i);
    return x;
}

/* A TIFF header: "II" or "MM", 42, offset of the first directory: a count of entries of 12 bytes:
 * tag, type, count, value. */
int exif_orientation(const uint8_t *tiff, size_t n)
{
    enum { ORIENTATION = 0x0112, SHORT = 3, ENTRY = 12 };
    if (n < 8 || (memcmp(tiff, "II*\0", 4) && memcmp(tiff, "MM\0*", 4))) return 0;
    bool big = tiff[0] == 'M';
    size_t at = number(tiff + 4, 4, big);
    if (at > n - 2) return 0;
    size_t entries = number(tiff + at, 2, big);
    for (at += 2; entries > 0 && n - at >= ENTRY; entries--, at += ENTRY) {
        const uint8_t *e = tiff + at;
        if (number(e, 2, big) != ORIENTATION || number(e + 2, 2, big) != SHORT) continue;
        uint32_t o = number(e + 8, 2, big);
        return o >= 1 && o <= 8 ? (int)o : 0;
    }
    return 0;
}

/* Rotated and mirrored by the orientation, which says where row 0 and column 0 of the file belong:
 * 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left top, 6 right top, 7 right bottom,
 * 8 left bottom. */
static error *turn(picture *p)
{
    int o = p->orientation;
    bool across = o >= 5;
    int64_t h = p->height, w = p->width, c = p->channels, rows = across ? w : h,
            columns = across ? h : w;
    uint8_t *out;
    if (o < 2) return NULL;
    TRY(alloc_array(&out, (size_t)(h * w), (size_t)c));
    bool from_bottom = across ? o == 6 || o == 7 : o == 3 || o == 4,
         from_right = across ? o == 7 || o == 8 : o == 2 || o == 3;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            int64_t y = across ? j : i, x = across ? i : j;
            if (from_bottom) y = h - 1 - y;
            if (from_right) x = w - 1 - x;
            memcpy(out + (i * columns + j) * c, p->pixels + (y * w + x) * c, (size_t)c);
        }
    free(p->pixels);
    p->pixels = out;
    p->height = rows;
    p->width = columns;
    return NULL;
}

/* ---- colours ---- */

/* a b / 255, rounded, for bytes. */
static uint32_t times(uint32_t a, uint32_t b)
{
    uint32_t x = a * b + 128;
    return ((x >> 8) + x) >> 8;
}

/* CMYK to RGB: each is what its own ink and black leave. */
static void from_cmyk(const uint8_t *in, uint8_t *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) {
            uint32_t white = 255u - in[4 * i + 3];
            out[3 * i + k] = (uint8_t)(white - times(in[4 * i + k], white));
        }
}

static void to_grey(const uint8_t *in, uint8_t *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (uint8_t)((in[3 * i] * 19595u + in[3 * i + 1] * 38470u + in[3 * i + 2] * 7471u +
                            0x8000u) >>
                           16);
}

static void from_grey(const uint8_t *in, uint8_t *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[i];
}

static error *recolour(picture *p, int64_t channels,
                       void (*by)(const uint8_t *, uint8_t *, int64_t))
{
    uint8_t *out;
    TRY(alloc_array(&out, (size_t)(p->height * p->width), (size_t)channels));
    by(p->pixels, out, p->height * p->width);
    free(p->pixels);
    p->pixels = out;
    p->channels = channels;
    return NULL;
}

static error *picture_finish(picture *p, int64_t channels, bool upright)
{
    if (upright) TRY(turn(p));
    if (p->channels == 4) TRY(recolour(p, 3, from_cmyk));
    if (p->channels == channels) return NULL;
    return recolour(p, channels, channels == 1 ? to_grey : from_grey);
}

error *picture_decode(const uint8_t *bytes, size_t n, int64_t channels, bool upright, picture *out)
{
    *out = (picture){0};
    if (is_jpeg(bytes, n))
        TRY(picture_jpeg(bytes, n, out));
    else if (is_png(bytes, n))
        TRY(picture_png(bytes, n, out));
    else if (is_webp(bytes, n))
        TRY(picture_webp(bytes, n, out));
    else
        return user_error("neither JPEG, PNG nor WebP, whatever its name says");
    error *e = picture_finish(out, channels, upright);
    if (e) free(out->pixels);
    return e;
}

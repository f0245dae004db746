/* nfc_utf8proc.c - NFC with utf8proc, some kilobytes at a time.
 *
 * A text can be split before an ASCII character: none composes with what precedes it. */
#include "data/bpe/normal.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/grow.h"
#include "base/utf8.h"

enum { PART = 1 << 12, MOST_PART = 1 << 28 };

bool nfc_available(void)
{
    return true;
}

typedef struct {
    uint8_t *bytes;
    size_t n, capacity;
} buffer;

static error *append(buffer *b, const uint8_t *bytes, size_t n)
{
    TRY(grow_array(&b->bytes, &b->capacity, b->n + n + 1, 1));
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
    return NULL;
}

static error *compose(buffer *b, const uint8_t *text, size_t n)
{
    utf8proc_uint8_t *out = NULL;
    if (n > MOST_PART)
        return user_error("%zu bytes of the text in a row are not ASCII: too many for NFC", n);
    utf8proc_ssize_t length =
        utf8proc_map(text, (utf8proc_ssize_t)n, &out, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (length < 0) return user_error("NFC of a text fails: %s", utf8proc_errmsg(length));
    error *e = append(b, out, (size_t)length);
    free(out);
    return e;
}

/* Characters that are composed, and compose with nothing before them: most text. */
static bool is_settled(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0x400, 0x482},   {0x48A, 0x590},   {0x1E00, 0x1EFF},  {0x2010, 0x2027}, {0x2030, 0x205F},
        {0x20A0, 0x20CF}, {0x2500, 0x2ADB}, {0x3000, 0x3029},  {0x3030, 0x3098}, {0x309B, 0x9FFF},
        {0xAC00, 0xD7A3}, {0xFF01, 0xFFFF}, {0x1F000, 0x1FAFF}};
    if (c < 0x300) return true;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

/* From `at`: valid characters, about PART bytes of them, up to an ASCII one. */
static size_t part_end(const uint8_t *text, size_t n, size_t at, bool *settled)
{
    *settled = true;
    for (size_t from = at, k; at < n; at += k) {
        k = utf8_length(text + at, n - at);
        if (!k || (at - from > PART && text[at] < 0x80)) break;
        *settled = *settled && (k == 1 || is_settled(utf8_decode(text + at, k)));
    }
    return at;
}

error *nfc_text(const uint8_t *text, size_t n, uint8_t **out, size_t *n_out)
{
    buffer b = {0};
    error *e = append(&b, text, 0);
    for (size_t at = 0, end; at < n && !e; at = end) {
        bool settled;
        end = part_end(text, n, at, &settled);
        if (end > at) {
            e = settled ? append(&b, text + at, end - at) : compose(&b, text + at, end - at);
            continue;
        }
        while (end < n && !utf8_length(text + end, n - end))
            end++;
        e = append(&b, text + at, end - at);
    }
    if (e) {
        free(b.bytes);
        return e;
    }
    *out = b.bytes;
    *n_out = b.n;
    return NULL;
}

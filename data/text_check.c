/* text_check.c - see text_check.h */
#include "data/text_check.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"
#include "data/tokens_format.h"

typedef struct {
    size_t at, n;
    const char *bytes, *is, *mend;
} signature;

#define UNPACK(program) "unpack it first (" program ")"

/* From the specifications of the formats. */
static const signature signatures[] = {
    {0, 2, "\x1f\x8b", "compressed by gzip", UNPACK("gzip -dc")},
    {0, 4, "\x28\xb5\x2f\xfd", "compressed by zstd", UNPACK("zstd -dc")},
    {0, 6,
     "\xfd"
     "7zXZ",
     "compressed by xz", UNPACK("xz -dc")},
    {0, 3, "BZh", "compressed by bzip2", UNPACK("bzip2 -dc")},
    {0, 4, "\x04\x22\x4d\x18", "compressed by lz4", UNPACK("lz4 -dc")},
    {0, 4, "PK\3\4", "a zip archive, as .npz, .docx and PyTorch's .pt are", UNPACK("unzip -p")},
    {257, 5, "ustar", "a tar archive", UNPACK("tar -xf")},
    {0, 4, "PAR1", "a Parquet table", "write its column of text to a file"},
    {0, 6, "ARROW1", "an Arrow table", "write its column of text to a file"},
    {0, 6, "\x93NUMPY", "an array of NumPy's", "make token shards of it, or give the text"},
    {0, 5, "%PDF-", "a PDF file", "give its text (pdftotext)"},
    {0, 4, "GGUF", "a GGUF model", "give a text"},
    {0, 4, "\xff\xfe\0\0", "UTF-32", "convert it (iconv -f UTF-32 -t UTF-8)"},
    {0, 2, "\xff\xfe", "UTF-16", "convert it (iconv -f UTF-16 -t UTF-8)"},
    {0, 2, "\xfe\xff", "UTF-16", "convert it (iconv -f UTF-16 -t UTF-8)"},
};

static error *refused(const char *name, const char *is, const char *mend)
{
    return user_error("'%s' is not text: it is %s: %s", name, is, mend);
}

static bool is_shard(const uint8_t *bytes, size_t n)
{
    tokens_header h;
    if (n < sizeof h) return false;
    memcpy(&h, bytes, sizeof h);
    const tokens_kind *kind = tokens_kind_of(h.magic);
    return kind && kind->version == h.version;
}

error *text_refuse_other(const char *name, const uint8_t *bytes, size_t n)
{
    if (is_shard(bytes, n))
        return refused(name, "a shard of tokens",
                       "give the text that it was made of (./tokenize --decode gives it back)");
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const signature *s = &signatures[i];
        if (n >= s->at + s->n && !memcmp(bytes + s->at, s->bytes, s->n))
            return refused(name, s->is, s->mend);
    }
    return NULL;
}

size_t text_first_bad(const uint8_t *bytes, size_t n)
{
    size_t at = 0;
    for (size_t length; at < n; at += length) {
        length = bytes[at] < 0x80 ? 1 : utf8_length(bytes + at, n - at);
        if (!length) return at;
    }
    return n;
}

error *text_check(const char *name, const uint8_t *bytes, size_t n)
{
    TRY(text_refuse_other(name, bytes, n));
    size_t bad = text_first_bad(bytes, n);
    if (bad < n)
        error_warn(user_error("'%s' is not UTF-8 from byte %zu on (0x%02x): its bytes are taken as "
                              "they are",
                              name, bad, bytes[bad]));
    const uint8_t *zero = n ? memchr(bytes, 0, n) : NULL;
    if (zero)
        error_warn(user_error("'%s' has a byte of zero (byte %zu), which no text has: is it one?",
                              name, (size_t)(zero - bytes)));
    return NULL;
}

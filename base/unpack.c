/* unpack.c - see unpack.h */
#include "base/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#ifdef WITH_ZSTD
#include <zstd.h>
#endif

#include "base/files.h"
#include "base/grow.h"

typedef struct {
    const char *name;
    const uint8_t *from; /* (n) */
    size_t n, at;
    uint8_t *to; /* (made) */
    size_t made, capacity, most;
} unpacking;

static error *make_room(unpacking *u)
{
    enum { STEP = 1 << 20 };
    size_t wanted = u->made + (u->n < STEP ? 4 * u->n + 4096 : STEP);
    if (u->made < u->capacity) return NULL;
    if (u->most && u->made >= u->most)
        return user_error("%s holds more than %zu bytes when it is unpacked", u->name, u->most);
    return grow_array(&u->to, &u->capacity, wanted, 1);
}

static error *broken(const unpacking *u, const char *kind)
{
    return user_error("%s is no whole %s file: it was cut or changed; fetch it again", u->name,
                      kind);
}

/* One step of inflate; *status as it says. */
static error *inflate_some(unpacking *u, z_stream *z, int *status)
{
    enum { AT_ONCE = 1 << 30 };
    TRY(make_room(u));
    size_t in = u->n - u->at, out = u->capacity - u->made;
    z->next_in = (Bytef *)(size_t)(u->from + u->at);
    z->avail_in = (uInt)(in < AT_ONCE ? in : AT_ONCE);
    z->next_out = u->to + u->made;
    z->avail_out = (uInt)(out < AT_ONCE ? out : AT_ONCE);
    *status = inflate(z, Z_NO_FLUSH);
    size_t used = (size_t)(z->next_in - (u->from + u->at)),
           got = (size_t)(z->next_out - (u->to + u->made));
    u->at += used;
    u->made += got;
    if (*status == Z_STREAM_END || (*status == Z_OK && (used || got))) return NULL;
    return broken(u, "gzip");
}

static error *unpack_gzip(unpacking *u)
{
    z_stream z = {0};
    error *e = NULL;
    if (inflateInit2(&z, 15 + 16) != Z_OK) return user_error("out of memory unpacking %s", u->name);
    while (u->at < u->n && !e) { /* members */
        int status = Z_OK;
        if (inflateReset(&z) != Z_OK) e = broken(u, "gzip");
        while (status != Z_STREAM_END && !e)
            e = inflate_some(u, &z, &status);
    }
    inflateEnd(&z);
    return e;
}

#ifdef WITH_ZSTD
/* A frame of today's format, or one to be skipped.  The library may know forms from before version 0.8, too, which
 * do not heed the limit of memory. */
static bool is_frame(const uint8_t *p, size_t n)
{
    static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd}, skipped[] = {0x2a, 0x4d, 0x18};
    if (n < sizeof frame) return false;
    return !memcmp(p, frame, sizeof frame) ||
           ((p[0] & 0xf0) == 0x50 && !memcmp(p + 1, skipped, sizeof skipped));
}

static error *unpack_zstd(unpacking *u)
{
    ZSTD_DStream *z = ZSTD_createDStream();
    if (!z) return user_error("out of memory unpacking %s", u->name);
    if (u->most)
        ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 24); /* little may be taken for it */
    ZSTD_inBuffer in = {u->from, u->n, 0};
    size_t left = 0; /* 0 at the end of a frame */
    error *e = NULL;
    while (!e && (in.pos < in.size || left)) {
        e = left || is_frame(u->from + in.pos, in.size - in.pos) ? make_room(u)
                                                                 : broken(u, "Zstandard");
        if (e) break;
        ZSTD_outBuffer out = {u->to, u->capacity, u->made};
        size_t before = in.pos;
        left = ZSTD_decompressStream(z, &out, &in);
        bool stands = out.pos == u->made && in.pos == before;
        u->made = out.pos;
        if (ZSTD_isError(left) || (stands && left)) e = broken(u, "Zstandard");
    }
    ZSTD_freeDStream(z);
    return e;
}
#else
static error *unpack_zstd(unpacking *u)
{
    return user_error("%s is compressed by Zstandard, and this program was built without libzstd: "
                      "unpack it (zstd -d), or build with libzstd-dev",
                      u->name);
}
#endif

error *unpack(const char *name, uint8_t **bytes, size_t *n, size_t *capacity, size_t begin,
              size_t most)
{
    static const uint8_t gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    unpacking u = {.name = name, .from = *bytes + begin, .n = *n - begin, .most = most};
    bool is_gzip = u.n > sizeof gzip && !memcmp(u.from, gzip, sizeof gzip);
    bool is_zstd = u.n > sizeof zstd && !memcmp(u.from, zstd, sizeof zstd);
    if (!is_gzip && !is_zstd) return NULL;
    error *e = is_gzip ? unpack_gzip(&u) : unpack_zstd(&u);
    if (!e) e = grow_array(bytes, capacity, begin + u.made, 1);
    if (!e && u.made) memcpy(*bytes + begin, u.to, u.made);
    if (!e) *n = begin + u.made;
    free(u.to);
    return e;
}

error *read_unpacked(const char *name, uint8_t **bytes, size_t *n, size_t *capacity)
{
    size_t begin = *n;
    bool standard = strcmp(name, "-") == 0;
    if (standard) name = "standard input";
    if (!standard) TRY(file_check_stream(name));
    FILE *f = standard ? stdin : fopen(name, "rbe");
    if (!f)
        return user_error("cannot open '%s': %s: name a readable text file", name, strerror(errno));
    error *e = stream_read_all(f, name, bytes, n, capacity);
    if (!standard) fclose(f);
    return e ? e : unpack(name, bytes, n, capacity, begin, 0);
}

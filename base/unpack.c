/* unpack.c - see unpack.h */
#include "base/unpack.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
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
    if (u->made >= u->most)
        return user_error("%s holds more than %zu bytes when it is unpacked, too many for this "
                          "machine's memory: give it in parts",
                          u->name, u->most);
    return grow_array(&u->to, &u->capacity, wanted, 1);
}

static error *broken(const unpacking *u, const char *kind)
{
    return user_error("%s is not a complete %s file: it was cut or changed; fetch it again",
                      u->name, kind);
}

/* One call of inflate; *status receives its result. */
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

static bool all_zeros(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i]) return false;
    return true;
}

static error *unpack_gzip(unpacking *u)
{
    z_stream z = {0};
    error *e = NULL;
    if (inflateInit2(&z, 15 + 16) != Z_OK) return user_error("out of memory unpacking %s", u->name);
    while (u->at < u->n && !e) { /* members */
        int status = Z_OK;
        if (all_zeros(u->from + u->at, u->n - u->at)) break; /* padding, as tapes, tar and dd add */
        if (inflateReset(&z) != Z_OK) e = broken(u, "gzip");
        while (status != Z_STREAM_END && !e)
            e = inflate_some(u, &z, &status);
    }
    inflateEnd(&z);
    return e;
}

/* A Zstandard frame of the current format, or a skippable one, with which pzstd starts.  The
 * library may also decode formats from before version 0.8, which ignore the memory limit. */
static bool is_frame(const uint8_t *p, size_t n)
{
    static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd}, skipped[] = {0x2a, 0x4d, 0x18};
    if (n < sizeof frame) return false;
    return !memcmp(p, frame, sizeof frame) ||
           ((p[0] & 0xf0) == 0x50 && !memcmp(p + 1, skipped, sizeof skipped));
}

#ifdef WITH_ZSTD
/* Windows larger than the default maximum (zstd --long=31) are fine within the memory limit. */
static int window_log(size_t most)
{
    enum { LEAST = 24 };
    int log = LEAST, limit = sizeof(size_t) == 4 ? 30 : 31;
    while (log < limit && most >> (log + 1))
        log++;
    return log;
}

static error *unpack_zstd(unpacking *u)
{
    ZSTD_DStream *z = ZSTD_createDStream();
    if (!z) return user_error("out of memory unpacking %s", u->name);
    ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, window_log(u->most));
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
        if (ZSTD_isError(left))
            e = user_error("%s cannot be unpacked as Zstandard: %s", u->name,
                           ZSTD_getErrorName(left));
        else if (stands && left)
            e = broken(u, "Zstandard");
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
    static const uint8_t gzip[] = {0x1f, 0x8b};
    unpacking u = {.name = name, .from = *bytes + begin, .n = *n - begin, .most = most};
    bool is_gzip = u.n > sizeof gzip && !memcmp(u.from, gzip, sizeof gzip);
    bool is_zstd = is_frame(u.from, u.n);
    if (!is_gzip && !is_zstd) return NULL;
    error *e = is_gzip ? unpack_gzip(&u) : unpack_zstd(&u);
    if (!e) e = grow_array(bytes, capacity, begin + u.made, 1);
    if (!e && u.made) memcpy(*bytes + begin, u.to, u.made);
    if (!e) *n = begin + u.made;
    free(u.to);
    return e;
}

/* The machine's memory: a larger file would only get the process killed. */
static size_t memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages < 1 || size < 1 || (size_t)pages > SIZE_MAX / (size_t)size
               ? SIZE_MAX
               : (size_t)pages * (size_t)size;
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
    return e ? e : unpack(name, bytes, n, capacity, begin, memory_bytes());
}

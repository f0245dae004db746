/* tensorboard.c - see tensorboard.h */
#include "run/tensorboard.h"
#include "base/files.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVENT = 2048, TAG = 64 };

struct tensorboard {
    FILE *f;
    char path[PATH_LENGTH];
};

/* ---- checksums ---- */

uint32_t crc32c(const void *bytes, size_t n)
{
    uint32_t crc = ~UINT32_C(0);
    for (const uint8_t *at = bytes; n; n--) {
        crc ^= *at++;
        for (int bit = 0; bit < 8; bit++) /* a few hundred bytes a step: no table is worth it */
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

static uint32_t masked(const void *bytes, size_t n)
{
    uint32_t crc = crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + UINT32_C(0xa282ead8);
}

/* ---- protobuf ---- */

typedef struct {
    uint8_t bytes[EVENT];
    size_t n;
} message;

/* How a field's value is written. */
typedef enum { VARINT = 0, FIXED_64 = 1, BYTES = 2, FIXED_32 = 5 } wire;

static void put_varint(message *m, uint64_t value)
{
    for (; value > 127; value >>= 7)
        m->bytes[m->n++] = (uint8_t)(value | 128);
    m->bytes[m->n++] = (uint8_t)value;
}

static void put_key(message *m, int field, wire how)
{
    put_varint(m, (uint64_t)field << 3 | (uint64_t)how);
}

static void put_fixed(message *m, int field, wire how, const void *value, size_t n)
{
    put_key(m, field, how);
    memcpy(m->bytes + m->n, value, n);
    m->n += n;
}

static void put_bytes(message *m, int field, const void *bytes, size_t n)
{
    put_key(m, field, BYTES);
    put_varint(m, n);
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
}

static void begin_event(message *m, int64_t step)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    m->n = 0;
    put_fixed(m, 1, FIXED_64, &seconds, sizeof seconds);
    put_key(m, 2, VARINT);
    put_varint(m, (uint64_t)step);
}

/* ---- records ---- */

static error *failed_event(const tensorboard *t)
{
    return user_error("--tensorboard: %s cannot be written: %s", t->path, strerror(errno));
}

static error *write_record(tensorboard *t, const message *m)
{
    uint64_t length = m->n;
    uint32_t of_length = masked(&length, sizeof length), of_bytes = masked(m->bytes, m->n);
    bool ok = fwrite(&length, sizeof length, 1, t->f) == 1 &&
              fwrite(&of_length, sizeof of_length, 1, t->f) == 1 &&
              fwrite(m->bytes, 1, m->n, t->f) == m->n &&
              fwrite(&of_bytes, sizeof of_bytes, 1, t->f) == 1 && !fflush(t->f);
    return ok ? NULL : failed_event(t);
}

error *tensorboard_add(tensorboard *t, int64_t step, const tensorboard_scalar *scalar, int n)
{
    message all, summary = {.n = 0}, value;
    if (!t) return NULL;
    for (int i = 0; i < n; i++) {
        float number = (float)scalar[i].value;
        size_t length = strlen(scalar[i].tag);
        if (isnan(scalar[i].value)) continue;
        if (length > TAG || summary.n > EVENT - 2 * TAG - 64)
            return internal_error("too much for an event: %s", scalar[i].tag);
        value.n = 0;
        put_bytes(&value, 1, scalar[i].tag, length);
        put_fixed(&value, 2, FIXED_32, &number, sizeof number);
        put_bytes(&summary, 1, value.bytes, value.n);
    }
    begin_event(&all, step);
    put_bytes(&all, 5, summary.bytes, summary.n);
    return write_record(t, &all);
}

/* ---- the file ---- */

static error *name_file(const char *directory, char *path)
{
    char host[100] = "", name[200];
    if (gethostname(host, sizeof host - 1)) host[0] = 0;
    snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%lld", (long long)time(NULL),
             *host ? host : "host", (long long)getpid());
    TRY(make_directory(directory, "--tensorboard"));
    return path_join(path, directory, name);
}

static error *begin_file(tensorboard *t, int64_t first_step)
{
    static const char version[] = "brain.Event:2";
    message m;
    begin_event(&m, 0);
    put_bytes(&m, 3, version, sizeof version - 1);
    TRY(write_record(t, &m));
    if (first_step <= 1) return NULL;
    static const uint8_t start[] = {1 << 3 | VARINT, 1};
    begin_event(&m, first_step);
    put_bytes(&m, 7, start, sizeof start);
    return write_record(t, &m);
}

error *tensorboard_open(const char *directory, int64_t first_step, tensorboard **out)
{
    tensorboard *t;
    TRY(alloc_array(&t, 1, sizeof *t));
    error *e = name_file(directory, t->path);
    if (!e) {
        t->f = fopen(t->path, "wbe");
        if (!t->f) e = failed_event(t);
    }
    if (!e) e = begin_file(t, first_step);
    if (e) {
        tensorboard_close(t);
        return e;
    }
    *out = t;
    return NULL;
}

void tensorboard_close(tensorboard *t)
{
    if (t && t->f) fclose(t->f);
    free(t);
}

/* log.c - see log.h */
#include "run/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAITING = 1 << 19, LINE = 1 << 9, CHUNK = 1 << 16 };

#define FLAGS (O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC)

struct run_log {
    int fd;
    char *path;
    int64_t bytes;   /* on disk, or queued */
    int64_t lines;   /* of this run, on disk */
    int64_t dropped; /* lines that were lost */
    size_t used;     /* of text: what has not been written */
    char text[WAITING];
};

/* ---- lines ---- */

static error *cannot_write(const run_log *log)
{
    int number = errno;
    return error_numbered(
        user_error("%s cannot be written: %s%s", log->path, strerror(number),
                   number == ENOSPC || number == EDQUOT ? ": make room on the disk" : ""),
        number);
}

static error *write_waiting(run_log *log)
{
    size_t done = 0;
    error *e = NULL;
    while (done < log->used && !e) {
        ssize_t n = write(log->fd, log->text + done, log->used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            e = cannot_write(log);
        else
            done += (size_t)n;
    }
    log->used -= done;
    log->bytes += (int64_t)done;
    memmove(log->text, log->text + done, log->used);
    return e;
}

/* Part of a line, at the end of `text`. */
static size_t add_number(char *line, const char *name, double value)
{
    bool intact = value == floor(value) && fabs(value) < 9e15; /* bytes, to the last of them */
    int n = !isfinite(value) ? snprintf(line, LINE, ",\"%s\":null", name)
            : intact         ? snprintf(line, LINE, ",\"%s\":%.0f", name, value)
                             : snprintf(line, LINE, ",\"%s\":%.9g", name, value);
    return (size_t)n;
}

/* Lines that fit neither on the disk nor in the buffer are dropped, and counted. */
static error *take_line(run_log *log, const char *line, size_t n)
{
    error *e = n <= WAITING - log->used ? NULL : write_waiting(log);
    if (n > WAITING - log->used) {
        log->dropped++;
        return e;
    }
    memcpy(log->text + log->used, line, n);
    log->used += n;
    TRY(e);
    TRY(write_waiting(log));
    log->lines++;
    return NULL;
}

error *log_step(run_log *log, const step_record *s)
{
    if (!log) return NULL;
    char line[8 * LINE];
    size_t n = (size_t)snprintf(line, LINE, "{\"step\":%lld", (long long)s->step);
    n += add_number(line + n, "loss", s->loss);
    n += add_number(line + n, "lr", s->lr);
    n += add_number(line + n, "grad_norm", s->grad_norm);
    n += add_number(line + n, "ms", s->ms);
    n += add_number(line + n, "forward_ms", s->forward_ms);
    n += add_number(line + n, "backward_ms", s->backward_ms);
    n += add_number(line + n, "optimizer_ms", s->optimizer_ms);
    n += add_number(line + n, "data_ms", s->data_ms);
    if (!isnan(s->mfu_llmc)) n += add_number(line + n, "mfu_llmc", s->mfu_llmc);
    if (!isnan(s->mfu_palm)) n += add_number(line + n, "mfu_palm", s->mfu_palm);
    if (!isnan(s->accuracy)) n += add_number(line + n, "accuracy", s->accuracy);
    char speed[LINE / 2];
    snprintf(speed, sizeof speed, "%s_per_s", s->unit);
    n += add_number(line + n, speed, s->units_per_s);
    if (s->ranks) {
        n += add_number(line + n, "comm_ms", s->comm_ms);
        n += (size_t)snprintf(line + n, LINE, ",\"comm_bytes\":%lld,\"ranks\":%d",
                              (long long)s->comm_bytes, s->ranks);
    }
    if (s->between_bytes)
        n += (size_t)snprintf(line + n, LINE, ",\"between_bytes\":%lld",
                              (long long)s->between_bytes);
    if (s->offload_bytes) {
        n += add_number(line + n, "offload_ms", s->offload_ms);
        n += (size_t)snprintf(line + n, LINE, ",\"offload_bytes\":%lld",
                              (long long)s->offload_bytes);
    }
    if (s->checkpoint_ms > 0) n += add_number(line + n, "checkpoint_ms", s->checkpoint_ms);
    n += (size_t)snprintf(line + n, LINE, ",\"peak_bytes\":%zu}\n", s->peak_bytes);
    return take_line(log, line, n);
}

error *log_value(run_log *log, int64_t step, const char *name, double value)
{
    if (!log) return NULL;
    char line[3 * LINE];
    size_t n = (size_t)snprintf(line, LINE, "{\"step\":%lld", (long long)step);
    n += add_number(line + n, name, value);
    n += (size_t)snprintf(line + n, LINE, "}\n");
    return take_line(log, line, n);
}

/* If nothing could be written at all, retrying is useless. */
bool log_waits(const run_log *log)
{
    return log->lines > 0;
}

int64_t log_dropped(const run_log *log)
{
    return log ? log->dropped : 0;
}

/* A removed file accepts lines as if nothing had happened. */
static error *check_there(run_log *log)
{
    struct stat st;
    if (fstat(log->fd, &st) || st.st_nlink > 0) return NULL;
    int fd = open(log->path, FLAGS | O_TRUNC, 0666);
    if (fd < 0) return cannot_write(log);
    close(log->fd);
    log->fd = fd;
    log->bytes = 0;
    return user_error("%s was removed: it starts again here", log->path);
}

error *log_sync(run_log *log, int64_t *bytes)
{
    *bytes = 0;
    if (!log) return NULL;
    TRY(check_there(log));
    TRY(write_waiting(log));
    if (fsync(log->fd) && errno != EINVAL && errno != EROFS) return cannot_write(log);
    *bytes = log->bytes;
    return NULL;
}

/* ---- beginning, and resuming ---- */

static error *log_open(const char *path, int flags, run_log **out)
{
    run_log *log;
    TRY(alloc_array(&log, 1, sizeof *log));
    log->fd = -1;
    log->path = strdup(path);
    error *e = log->path ? NULL : user_error("out of memory for the log");
    if (!e) {
        log->fd = open(path, FLAGS | flags, 0666);
        if (log->fd < 0) e = cannot_write(log);
    }
    if (e) {
        log_close(log);
        return e;
    }
    *out = log;
    return NULL;
}

error *log_start(const char *path, run_log **out)
{
    return log_open(path, O_TRUNC, out);
}

/* Reads a file line by line: the beginning of each is enough. */
typedef struct {
    int64_t step, limit; /* lines of steps up to this one, and not beyond this byte */
    int64_t at, cut;     /* bytes read; end of the last line to keep */
    char head[LINE];     /* of the current line */
    size_t used;
    bool over; /* a later step has begun */
} cutter;

static void take_byte(cutter *c, char byte)
{
    c->at++;
    if (byte != '\n') {
        if (c->used + 1 < sizeof c->head) c->head[c->used++] = byte;
        return;
    }
    long long step;
    c->head[c->used] = 0;
    c->used = 0;
    c->over = c->over || c->at > c->limit ||
              (sscanf(c->head, "{\"step\":%lld", &step) == 1 && step > c->step);
    if (!c->over) c->cut = c->at;
}

static error *find_cut(run_log *log, cutter *c)
{
    char *chunk;
    error *e = NULL;
    TRY(alloc_array(&chunk, CHUNK, 1));
    while (!e && !c->over) {
        ssize_t n = read(log->fd, chunk, CHUNK);
        if (n == 0) break;
        if (n < 0 && errno != EINTR)
            e = user_error("%s cannot be read: %s", log->path, strerror(errno));
        for (ssize_t i = 0; i < n && !c->over; i++)
            take_byte(c, chunk[i]);
    }
    free(chunk);
    return e;
}

error *log_continue(const char *path, int64_t step, int64_t bytes, run_log **out, bool *intact)
{
    run_log *log;
    cutter c = {.step = step, .limit = bytes};
    TRY(log_open(path, 0, &log));
    error *e = find_cut(log, &c);
    if (!e && ftruncate(log->fd, (off_t)c.cut)) e = cannot_write(log);
    if (e) {
        log_close(log);
        return e;
    }
    log->bytes = c.cut;
    *intact = c.cut == bytes;
    *out = log;
    return NULL;
}

void log_close(run_log *log)
{
    if (!log) return;
    if (log->fd >= 0) close(log->fd);
    free(log->path);
    free(log);
}

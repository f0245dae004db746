/* outfile.c - see outfile.h */
#include "base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Uses open, write and fsync directly, not a stream: this file promises the order in which bytes
 * reach the disk, and a test checks these calls. */
enum { BUFFER = 1 << 16 };

struct outfile {
    int fd; /* -1 once sealed */
    char *path, *temporary;
    size_t used; /* bytes in the buffer */
    unsigned char buffer[BUFFER];
};

static error *failed(const outfile *f, const char *what)
{
    int number = errno;
    const char *mend = number == ENOSPC || number == EDQUOT || number == EFBIG
                           ? "make room, or write to another disk"
                           : "check that the directory exists and can be written";
    return error_numbered(
        user_error("cannot %s '%s': %s: %s", what, f->path, strerror(number), mend), number);
}

static error *open_temporary(outfile *f, const char *path)
{
    f->path = strdup(path);
    if (!f->path || asprintf(&f->temporary, "%s.tmp.%ld", path, (long)getpid()) < 0) {
        f->temporary = NULL;
        return user_error("out of memory: no room for the name '%s'", path);
    }
    f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return f->fd >= 0 ? NULL : failed(f, "create");
}

error *outfile_create(const char *path, outfile **out)
{
    outfile *f;
    TRY(alloc_array(&f, 1, sizeof *f));
    f->fd = -1;
    error *e = open_temporary(f, path);
    if (e) {
        outfile_discard(f);
        return e;
    }
    *out = f;
    return NULL;
}

/* Writes n bytes, in as many calls as it takes. */
static error *put_bytes(outfile *f, const unsigned char *data, size_t n)
{
    while (n > 0) {
        ssize_t done = write(f->fd, data, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return failed(f, "write");
        data += done;
        n -= (size_t)done;
    }
    return NULL;
}

static error *flush(outfile *f)
{
    size_t n = f->used;
    f->used = 0;
    return put_bytes(f, f->buffer, n);
}

error *outfile_write(outfile *f, const void *data, size_t n_bytes)
{
    if (f->fd < 0) return internal_error("'%s' is written to after it was sealed", f->path);
    if (n_bytes == 0) return NULL;
    if (n_bytes > BUFFER - f->used) TRY(flush(f));
    if (n_bytes >= BUFFER) return put_bytes(f, data, n_bytes);
    memcpy(f->buffer + f->used, data, n_bytes);
    f->used += n_bytes;
    return NULL;
}

error *outfile_rewind(outfile *f)
{
    TRY(flush(f));
    return lseek(f->fd, 0, SEEK_SET) == 0 ? NULL : failed(f, "write");
}

error *outfile_seal(outfile *f)
{
    if (f->fd < 0) return NULL;
    TRY(flush(f));
    if (fsync(f->fd) != 0) return failed(f, "write");
    int closed = close(f->fd);
    f->fd = -1;
    return closed == 0 ? NULL : failed(f, "write");
}

error *outfile_commit(outfile *f)
{
    error *e = outfile_seal(f);
    if (!e && rename(f->temporary, f->path) != 0) e = failed(f, "create");
    if (e) {
        outfile_discard(f);
        return e;
    }
    free(f->path);
    free(f->temporary);
    free(f);
    return NULL;
}

void outfile_discard(outfile *f)
{
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    if (f->temporary) unlink(f->temporary);
    free(f->path);
    free(f->temporary);
    free(f);
}

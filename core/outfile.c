/* outfile.c - see outfile.h */
#include "core/outfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct outfile {
    FILE *stream; /* NULL once sealed */
    char *path, *temporary;
};

static error *failed(const outfile *f, const char *what)
{
    int number = errno;
    const char *mend = number == ENOSPC || number == EDQUOT || number == EFBIG
                           ? "make room, or write to another disk"
                           : "check that the directory exists and can be written";
    return user_error("cannot %s '%s': %s: %s", what, f->path, strerror(number), mend);
}

static error *open_temporary(outfile *f, const char *path)
{
    f->path = strdup(path);
    if (!f->path || asprintf(&f->temporary, "%s.tmp.%ld", path, (long)getpid()) < 0) {
        f->temporary = NULL;
        return user_error("out of memory: no room for the name '%s'", path);
    }
    f->stream = fopen(f->temporary, "wbe");
    return f->stream ? NULL : failed(f, "create");
}

error *outfile_create(const char *path, outfile **out)
{
    outfile *f;
    TRY(alloc_array(&f, 1, sizeof *f));
    error *e = open_temporary(f, path);
    if (e) {
        outfile_discard(f);
        return e;
    }
    *out = f;
    return NULL;
}

error *outfile_write(outfile *f, const void *data, size_t n_bytes)
{
    return fwrite(data, 1, n_bytes, f->stream) == n_bytes ? NULL : failed(f, "write");
}

FILE *outfile_stream(outfile *f)
{
    return f->stream;
}

error *outfile_rewind(outfile *f)
{
    return fseeko(f->stream, 0, SEEK_SET) == 0 ? NULL : failed(f, "write");
}

error *outfile_seal(outfile *f)
{
    if (!f->stream) return NULL;
    if (fflush(f->stream) != 0 || ferror(f->stream) || fsync(fileno(f->stream)) != 0)
        return failed(f, "write");
    int closed = fclose(f->stream);
    f->stream = NULL;
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
    if (f->stream) fclose(f->stream);
    if (f->temporary) unlink(f->temporary);
    free(f->path);
    free(f->temporary);
    free(f);
}

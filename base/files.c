/* files.c - see files.h */
#include "base/files.h"
#include "base/grow.h"
#include "base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 16, STREAM_BYTES = 1 << 20 };

/* ---- paths ---- */

static error *path_too_long(const char *path)
{
    return user_error("%.60s...: the path is too long, give a shorter one (most: %d bytes)", path,
                      PATH_LENGTH - 1);
}

error *path_join(char *buffer, const char *directory, const char *name)
{
    int n = snprintf(buffer, PATH_LENGTH, "%s/%s", directory, name);
    return n < PATH_LENGTH ? NULL : path_too_long(directory);
}

error *path_parent(char *buffer, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    if (n >= PATH_LENGTH) return path_too_long(path);
    snprintf(buffer, PATH_LENGTH, "%.*s", slash ? (int)n : 1, slash ? path : ".");
    return NULL;
}

/* ---- reading ---- */

static error *file_unreadable(const char *path)
{
    return user_error("%s cannot be read: %s", path, strerror(errno));
}

static error *not_regular(const char *path)
{
    return user_error("%s is not a regular file: give the path of one", path);
}

error *is_directory(const char *path, bool *is)
{
    struct stat s;
    if (stat(path, &s)) return file_unreadable(path);
    *is = S_ISDIR(s.st_mode);
    return NULL;
}

error *path_directory(char *buffer, const char *path, bool *is)
{
    bool itself = false;
    TRY(is_directory(path, &itself));
    if (is) *is = itself;
    if (!itself) return path_parent(buffer, path);
    return snprintf(buffer, PATH_LENGTH, "%s", path) < PATH_LENGTH ? NULL : path_too_long(path);
}

error *file_check_regular(const char *path)
{
    struct stat s;
    return stat(path, &s) || S_ISREG(s.st_mode) ? NULL : not_regular(path);
}

error *file_check_stream(const char *path)
{
    struct stat s, in;
    bool typed = !fstat(STDIN_FILENO, &in) && isatty(STDIN_FILENO);
    if (stat(path, &s) || S_ISREG(s.st_mode) || S_ISFIFO(s.st_mode) || S_ISDIR(s.st_mode))
        return NULL;
    if (S_ISCHR(s.st_mode) && typed && s.st_rdev == in.st_rdev) return NULL;
    return user_error("%s is a device: give the path of a file, or a pipe", path);
}

error *file_open(const char *path, int *fd, int64_t *bytes)
{
    struct stat s;
    *fd = -1;
    TRY(file_check_regular(path));
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would block forever */
    if (*fd < 0) return user_error("%s cannot be opened: %s", path, strerror(errno));
    error *e = NULL;
    if (fstat(*fd, &s))
        e = user_error("%s cannot be opened: %s", path, strerror(errno));
    else if (!S_ISREG(s.st_mode))
        e = not_regular(path);
    else
        *bytes = s.st_size;
    if (e) {
        close(*fd);
        *fd = -1;
    }
    return e;
}

error *file_pread(int fd, const char *path, void *to, size_t n, int64_t offset)
{
    for (size_t got = 0; got < n;) {
        ssize_t part = pread(fd, (char *)to + got, n - got, offset + (int64_t)got);
        if (part < 0 && errno == EINTR) continue;
        if (part < 0) return file_unreadable(path);
        if (part == 0)
            return user_error("%s ends too early, at byte %lld: fetch or write it again", path,
                              (long long)offset + (long long)got);
        got += (size_t)part;
    }
    return NULL;
}

error *file_read_some(int fd, const char *path, void *to, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        ssize_t part = read(fd, (char *)to + *got, n - *got);
        if (part < 0 && errno == EINTR) continue;
        if (part < 0) return file_unreadable(path);
        if (part == 0) break;
        *got += (size_t)part;
    }
    return NULL;
}

static error *read_opened(int fd, const char *path, int64_t most, int64_t size, uint8_t **bytes)
{
    if (size > most)
        return user_error("%s has %lld bytes, too many for such a file (most: %lld)", path,
                          (long long)size, (long long)most);
    TRY(alloc_array(bytes, (size_t)size + 1, 1));
    error *e = file_pread(fd, path, *bytes, (size_t)size, 0);
    if (!e) return NULL;
    free(*bytes);
    *bytes = NULL;
    return e;
}

error *file_read_all(const char *path, int64_t most, uint8_t **bytes, size_t *n)
{
    int fd;
    int64_t size = 0;
    *bytes = NULL;
    TRY(file_open(path, &fd, &size));
    error *e = read_opened(fd, path, most, size, bytes);
    close(fd);
    *n = e ? 0 : (size_t)size;
    return e;
}

error *stream_read_all(FILE *f, const char *name, uint8_t **bytes, size_t *n, size_t *capacity)
{
    for (size_t got = 1; got;) {
        TRY(grow_array(bytes, capacity, *n + STREAM_BYTES, 1));
        got = fread(*bytes + *n, 1, STREAM_BYTES, f);
        *n += got;
    }
    return ferror(f) ? file_unreadable(name) : NULL;
}

/* ---- writing ---- */

static error *write_both(const char *path, const void *bytes, size_t n, const char *tail)
{
    outfile *f;
    TRY(outfile_create(path, &f));
    error *e = outfile_write(f, bytes, n);
    if (!e) e = outfile_write(f, tail, strlen(tail));
    if (!e) return outfile_commit(f);
    outfile_discard(f);
    return e;
}

error *file_write_all(const char *path, const void *bytes, size_t n)
{
    return write_both(path, bytes, n, "");
}

error *file_write_text(const char *path, const char *text)
{
    return write_both(path, text, strlen(text), "\n");
}

static error *copy_bytes(int fd, const char *name, outfile *to)
{
    char block[COPY_BYTES];
    size_t got;
    do {
        TRY(file_read_some(fd, name, block, sizeof block, &got));
        TRY(outfile_write(to, block, got));
    } while (got == sizeof block);
    return NULL;
}

error *file_copy(const char *from, const char *to)
{
    int fd;
    int64_t bytes;
    outfile *f = NULL;
    TRY(file_open(from, &fd, &bytes));
    error *e = outfile_create(to, &f);
    if (!e) e = copy_bytes(fd, from, f);
    close(fd);
    if (!e) return outfile_commit(f);
    outfile_discard(f);
    return e;
}

error *stdout_check(void)
{
    if (!ferror(stdout)) return NULL;
    return user_error("cannot write to the standard output: %s: make room, or write to another "
                      "disk",
                      strerror(errno));
}

/* ---- text in memory ---- */

static error *no_memory_for(const memory_stream *m)
{
    return user_error("out of memory for %s", m->what);
}

error *memory_stream_open(memory_stream *m, const char *what)
{
    *m = (memory_stream){.what = what};
    m->to = open_memstream(&m->text, &m->n);
    return m->to ? NULL : no_memory_for(m);
}

error *memory_stream_close(memory_stream *m)
{
    int failed = ferror(m->to); /* fclose does not report an earlier failure */
    failed |= fclose(m->to);
    if (!failed && m->text)
        return NULL; /* glibc's fclose does not tell that the last realloc failed */
    free(m->text);
    m->text = NULL;
    return no_memory_for(m);
}

error *memory_stream_save(memory_stream *m, const char *path)
{
    TRY(memory_stream_close(m));
    error *e = file_write_all(path, m->text, m->n);
    free(m->text);
    return e;
}

/* ---- directories ---- */

error *directory_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return user_error("cannot open %s: %s", path, strerror(errno));
    error *e = NULL;
    if (fsync(fd) && errno != EINVAL) e = user_error("cannot sync %s: %s", path, strerror(errno));
    close(fd);
    return e;
}

/* A new directory's name is on disk only once its parent directory is synced. */
static error *make_one(const char *path, const char *option)
{
    char parent[PATH_LENGTH];
    if (mkdir(path, 0777) == 0) {
        TRY(path_parent(parent, path));
        error_free(directory_sync(parent)); /* only a power cut would show the difference */
        return NULL;
    }
    if (errno == EEXIST) return NULL;
    return user_error("directory %s cannot be made: %s; give %s another", path, strerror(errno),
                      option);
}

error *make_directory(const char *path, const char *option)
{
    char part[PATH_LENGTH];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return user_error("\"%.200s\" is not a valid name for a directory: give %s a shorter one",
                          path, option);
    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        TRY(make_one(part, option));
    }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode) || access(path, W_OK))
        return user_error("%s is not a directory that can be written to: give %s another", path,
                          option);
    return NULL;
}

/* strike.h - what the wrappers of memory and of files share. */
#ifndef REGRAD_TEST_FAULT_STRIKE_H
#define REGRAD_TEST_FAULT_STRIKE_H

#include <dirent.h>
#include <glob.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

typedef enum { FAULT_MEMORY, FAULT_INPUT, FAULT_OUTPUT } fault_class;

/* Counts a call; true, with errno set, if it has to fail. */
bool fault_strikes(const char *what, fault_class class);
bool fault_armed(void);

/* How many of n bytes to read or write: fewer where every transfer is a part. */
size_t fault_part(size_t n);

/* Notes an allocation and who asked for it; gives the block back. */
void *fault_track(void *block, void *owner);
void fault_untrack(void *block);

/* f(result, name, parameters): everything that is wrapped */
#define WRAPPED(f)                                                                                 \
    f(void *, malloc, (size_t));                                                                   \
    f(void *, calloc, (size_t, size_t));                                                           \
    f(void *, realloc, (void *, size_t));                                                          \
    f(void *, aligned_alloc, (size_t, size_t));                                                    \
    f(char *, strdup, (const char *));                                                             \
    f(char *, strndup, (const char *, size_t));                                                    \
    f(int, asprintf, (char **, const char *, ...));                                                \
    f(void, free, (void *));                                                                       \
    f(int, open, (const char *, int, ...));                                                        \
    f(ssize_t, read, (int, void *, size_t));                                                       \
    f(ssize_t, pread, (int, void *, size_t, off_t));                                               \
    f(ssize_t, write, (int, const void *, size_t));                                                \
    f(ssize_t, pwrite, (int, const void *, size_t, off_t));                                        \
    f(int, fsync, (int));                                                                          \
    f(int, close, (int));                                                                          \
    f(int, rename, (const char *, const char *));                                                  \
    f(int, mkdir, (const char *, mode_t));                                                         \
    f(int, fstat, (int, struct stat *));                                                           \
    f(int, stat, (const char *, struct stat *));                                                   \
    f(DIR *, opendir, (const char *));                                                             \
    f(struct dirent *, readdir, (DIR *));                                                          \
    f(int, ftruncate, (int, off_t));                                                               \
    f(off_t, lseek, (int, off_t, int));                                                            \
    f(int, flock, (int, int));                                                                     \
    f(int, glob, (const char *, int, int (*)(const char *, int), glob_t *));                       \
    f(FILE *, fopen, (const char *, const char *));                                                \
    f(FILE *, fdopen, (int, const char *));                                                        \
    f(FILE *, open_memstream, (char **, size_t *));                                                \
    f(int, fileno, (FILE *))

#define DECLARE(result, name, parameters)                                                          \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters

WRAPPED(DECLARE);

#endif

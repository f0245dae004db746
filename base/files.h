/* files.h - paths, and files that are read or written in one piece.
 *
 *     path_join, path_parent     one limit on the length of a path, one error when it is exceeded
 *     file_read_all              a regular file of bounded size, into memory
 *     file_write_all, file_copy  a file that appears complete or not at all (base/outfile.h)
 *     stream_read_all            a pipe or a file of unknown size, into a growing array
 *     file_pread                 bytes at an offset, in as many calls as it takes
 *     memory_stream              fprintf into memory, with one place that notices a failure
 *
 * Every error names the file and gives the system's reason.
 */
#ifndef REGRAD_FILES_H
#define REGRAD_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum { PATH_LENGTH = 4096 }; /* of a path, with its terminating zero */

/* "DIRECTORY/NAME" into a buffer of PATH_LENGTH. */
error *path_join(char *buffer, const char *directory, const char *name) NODISCARD;

/* The directory that holds a file, "." for a bare name, into a buffer of PATH_LENGTH; and that of
 * what is named as DIR|FILE: path itself, if it is a directory, which *is says (?). */
error *path_parent(char *buffer, const char *path) NODISCARD;
error *path_directory(char *buffer, const char *path, bool *is) NODISCARD;

/* *is: path is a directory. An error if nothing is there. */
error *is_directory(const char *path, bool *is) NODISCARD;

/* Refuses a pipe or a device before it is opened, since opening some devices has side effects. NULL
 * if nothing exists there: opening will report that. */
error *file_check_regular(const char *path) NODISCARD;

/* The same for a file that is read sequentially: pipes and terminals are fine. */
error *file_check_stream(const char *path) NODISCARD;

/* Opens a regular file for reading and returns its size.  Refuses a pipe or a device instead of
 * blocking on it. */
error *file_open(const char *path, int *fd, int64_t *bytes) NODISCARD;

/* All of a regular file of at most `most` bytes, with a terminating zero that *n does not count;
 * free(*bytes). */
error *file_read_all(const char *path, int64_t most, uint8_t **bytes, size_t *n) NODISCARD;

/* n bytes at an offset.  If the file ends before them, the error says where. */
error *file_pread(int fd, const char *path, void *to, size_t n, int64_t offset) NODISCARD;

/* Up to n bytes from the current position; *got < n only at the end of the file. */
error *file_read_some(int fd, const char *path, void *to, size_t n, size_t *got) NODISCARD;

/* Appends the rest of a stream to the *n bytes of an array (base/grow.h). */
error *stream_read_all(FILE *f, const char *name, uint8_t **bytes, size_t *n,
                       size_t *capacity) NODISCARD;

/* Replaces the file in one step, or leaves it as it was. */
error *file_write_all(const char *path, const void *bytes, size_t n) NODISCARD;
error *file_write_text(const char *path, const char *text) NODISCARD; /* and a newline */
error *file_copy(const char *from, const char *to) NODISCARD;

/* User error if something could not be written to standard output (checked after fflush). */
error *stdout_check(void) NODISCARD;

/* Text printed into memory:
 *
 *     TRY(memory_stream_open(&m, "plan.txt"));      print to m.to
 *     TRY(memory_stream_close(&m));                 m.text, m.n; free(m.text)
 *
 * After an error m.text is NULL.  `what` is for messages. */
typedef struct {
    FILE *to;
    char *text; /* NULL until closed; ends with a zero */
    size_t n;
    const char *what;
} memory_stream;

error *memory_stream_open(memory_stream *m, const char *what) NODISCARD;
error *memory_stream_close(memory_stream *m) NODISCARD;
/* Closes it, and writes the text to a file as file_write_all does. */
error *memory_stream_save(memory_stream *m, const char *path) NODISCARD;

/* Creates a directory and its parents; an existing one must be writable.  `option` is the option
 * that named it, for messages. */
error *make_directory(const char *path, const char *option) NODISCARD;

/* Syncs a directory: files created or renamed in it before survive a power cut. */
error *directory_sync(const char *path) NODISCARD;

#endif

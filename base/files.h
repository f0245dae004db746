/* files.h - paths, and files that are read or written as a whole.
 *
 *     path_join, path_parent     one limit for a path's length, one error when it is passed
 *     file_read_all              a regular file of bounded size, into memory
 *     file_write_all, file_copy  a file that appears whole or not at all (base/outfile.h)
 *     stream_read_all            a pipe or a file of unknown size, into an array that grows
 *     file_pread                 bytes at an offset, however many calls that takes
 *     memory_stream              fprintf into memory, with one place that notices a failure
 *
 * Every error names the file and the system's reason.
 */
#ifndef REGRAD_FILES_H
#define REGRAD_FILES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum { PATH_LENGTH = 4096 }; /* of a path, with the zero at its end */

/* "DIRECTORY/NAME" into a buffer of PATH_LENGTH. */
error *path_join(char *buffer, const char *directory, const char *name) NODISCARD;

/* The directory that holds a file, "." for a bare name, into a buffer of PATH_LENGTH. */
error *path_parent(char *buffer, const char *path) NODISCARD;

/* A pipe or a device is refused before it is opened, which for some does something.  NULL, too,
 * where nothing is there: opening will tell. */
error *file_check_regular(const char *path) NODISCARD;

/* The same for what is read to its end, which a pipe has, too, and what is typed. */
error *file_check_stream(const char *path) NODISCARD;

/* Opens a regular file for reading and says its size.  A pipe or a device is refused, not waited
 * for. */
error *file_open(const char *path, int *fd, int64_t *bytes) NODISCARD;

/* All of a regular file of at most `most` bytes, followed by a zero that *n does not count;
 * free(*bytes). */
error *file_read_all(const char *path, int64_t most, uint8_t **bytes, size_t *n) NODISCARD;

/* n bytes from an offset.  A file that ends before them is an error that says where. */
error *file_pread(int fd, const char *path, void *to, size_t n, int64_t offset) NODISCARD;

/* From where the descriptor stands, up to n bytes; *got < n only at the end of the file. */
error *file_read_some(int fd, const char *path, void *to, size_t n, size_t *got) NODISCARD;

/* Appends what is left of a stream to the *n bytes of an array (base/grow.h). */
error *stream_read_all(FILE *f, const char *name, uint8_t **bytes, size_t *n,
                       size_t *capacity) NODISCARD;

/* The file is replaced in one step, or stays as it was. */
error *file_write_all(const char *path, const void *bytes, size_t n) NODISCARD;
error *file_write_text(const char *path, const char *text) NODISCARD; /* and a line break */
error *file_copy(const char *from, const char *to) NODISCARD;

/* User error: something could not be written to the standard output, as its
 * flag says after fflush. */
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

/* Makes a directory and those above it; one that is there must be writable.  `option` is what named
 * it, for messages. */
error *make_directory(const char *path, const char *option) NODISCARD;

/* Puts the names of a directory on the disk: a new or renamed file is safe after this. */
error *directory_sync(const char *path) NODISCARD;

#endif

/* calls.h - the calls by which our objects change a disk, seen one by one.
 *
 * The linker sends them through wrappers (--wrap, see the Makefile).  They can be written down,
 * with what was written, to set up again what a power cut would have left (power.h); and somebody
 * can be asked before each, who may let it fail or end the process.
 */
#ifndef REGRAD_TEST_DISK_CALLS_H
#define REGRAD_TEST_DISK_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    CALL_OPEN, /* a: the path; file: a number for what was opened; truncate */
    CALL_WRITE,
    CALL_FSYNC,
    CALL_RENAME, /* a to b */
    CALL_UNLINK,
    CALL_RMDIR,
    CALL_MKDIR,
    CALL_MARK, /* calls_mark: n says which */
} call_kind;

typedef struct {
    call_kind kind;
    char *a, *b;
    int64_t file;
    bool create, truncate;
    uint8_t *bytes; /* (n), written at the end of the file */
    size_t n;
} call;

typedef struct {
    call *list;
    int64_t n, room;
    int64_t files;      /* numbers given so far */
    int64_t open[1024]; /* by descriptor: its number */
} call_log;

/* From here on calls are added to the log; NULL ends that. */
void calls_record(call_log *log);
void calls_mark(int64_t n);
void calls_free(call_log *log);

/* Asked before each call that changes something or syncs: errno to fail with, 0 to go on. */
typedef int (*calls_hook)(void *context, call_kind kind, const char *path);
void calls_ask(calls_hook hook, void *context);

#endif

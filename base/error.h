/* error.h - errors are values.
 *
 * A function that can fail returns `error *`: NULL on success, else an object that says what went
 * wrong, where, and how to fix it.  Nothing below train.c and the tools exits or prints an error:
 *
 *     error *load(const char *path)              int main(...)
 *     {                                          {
 *         TRY(open_file(path, &f));     --->         error *e = load(path);
 *         ...                                        return e ? error_report("tool", e) : 0;
 *         return NULL;                           }
 *     }
 *
 * There are two kinds.  A user error is a mistake in the input (an option, a file, a full disk):
 * one line, exit status 1.  An internal error is a mistake in this program: it carries file:line
 * and exits with status 2.  If there is no memory for the message itself, a fixed object is
 * returned.
 */
#ifndef REGRAD_ERROR_H
#define REGRAD_ERROR_H

#include <stdbool.h>

typedef struct error error;
typedef enum { ERR_USER = 1, ERR_INTERNAL = 2 } error_kind; /* also the exit status */

#define NODISCARD              __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

error *user_error(const char *fmt, ...) PRINTF_LIKE(1, 2) NODISCARD;
error *internal_error_at(const char *file, int line, const char *fmt, ...)
    PRINTF_LIKE(3, 4) NODISCARD;
#define internal_error(...) internal_error_at(__FILE__, __LINE__, __VA_ARGS__)

/* Puts "context: " before the text; consumes e.  NULL stays NULL. */
error *error_context(error *e, const char *fmt, ...) PRINTF_LIKE(2, 3) NODISCARD;

/* Changes the kind; for an error of another process that is reported here. */
error *error_as(error *e, error_kind kind) NODISCARD;

/* The first of two failures, which may be NULL; if there are both, the second is freed. */
error *error_first(error *first, error *second) NODISCARD;

/* Attaches an errno value; and tells whether it means that a disk is full. */
error *error_numbered(error *e, int number) NODISCARD;
bool error_is_full_disk(const error *e); /* NULL: false */

/* The message, without newline; internal errors with file:line. */
const char *error_text(const error *e);
error_kind error_kind_of(const error *e);
void error_free(error *e);

/* Prints "program: text" on stderr, frees e, returns the exit status. */
int error_report(const char *program, error *e) NODISCARD;

/* For failures that a run survives: prints "warning: text" on stderr and frees e. */
void error_warn(error *e);

/* malloc(count * size) zeroed; overflow and failure become an error. */
error *alloc_array(void *out_pointer, unsigned long count, unsigned long size) NODISCARD;

#define TRY(expression)                                                                            \
    do {                                                                                           \
        error *try_error_ = (expression);                                                          \
        if (try_error_) return try_error_;                                                         \
    } while (0)

#endif

/* fault_files.h - a directory's content, remembered: to set it up again, and to
 * see what became of it. */
#ifndef REGRAD_TEST_FAULT_FILES_H
#define REGRAD_TEST_FAULT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FILES_MOST = 128 };

typedef struct {
    char name[200]; /* below the directory */
    uint8_t *bytes; /* (n); NULL for a directory */
    size_t n;
} saved_file;

typedef struct {
    saved_file file[FILES_MOST]; /* directories before what is in them */
    int n;
} files;

/* Everything below a directory; fails the test if that cannot be read. */
void files_read(files *f, const char *directory);
void files_free(files *f);
const saved_file *files_find(const files *f, const char *name);

/* Makes the directory's content this, and nothing else. */
void files_restore(const files *f, const char *directory);

bool files_same(const saved_file *a, const saved_file *b);

#endif

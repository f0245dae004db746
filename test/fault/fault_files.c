/* files.c - see files.h */
#include "test/fault/fault_files.h"
#include "test/scratch.h"

#include <errno.h>
#include <fts.h>
#include <sys/stat.h>

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void add(files *f, const FTSENT *at, size_t skip)
{
    if (f->n == FILES_MOST) fail_msg("more than %d files in a scenario", FILES_MOST);
    saved_file *k = &f->file[f->n++];
    snprintf(k->name, sizeof k->name, "%s", at->fts_path + skip);
    k->bytes = at->fts_info == FTS_D ? NULL : file_read(at->fts_path, &k->n);
}

void files_read(files *f, const char *directory)
{
    char *const paths[] = {(char *)(size_t)directory, NULL};
    *f = (files){0};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    for (FTSENT *at; walk && (at = fts_read(walk));)
        if (at->fts_level > 0 && at->fts_info != FTS_DP) add(f, at, strlen(directory) + 1);
    if (!walk || fts_close(walk) != 0) fail_msg("cannot read %s", directory);
}

void files_free(files *f)
{
    for (int i = 0; i < f->n; i++)
        free(f->file[i].bytes);
    f->n = 0;
}

const saved_file *files_find(const files *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (strcmp(f->file[i].name, name) == 0) return &f->file[i];
    return NULL;
}

void files_restore(const files *f, const char *directory)
{
    if (access(directory, F_OK) == 0 &&
        nftw(directory, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fail_msg("cannot remove %s", directory);
    if (mkdir(directory, 0777) != 0) fail_msg("cannot make %s", directory);
    for (int i = 0; i < f->n; i++) {
        char path[500];
        snprintf(path, sizeof path, "%s/%s", directory, f->file[i].name);
        if (f->file[i].bytes)
            file_write(path, f->file[i].bytes, f->file[i].n);
        else if (mkdir(path, 0777) != 0)
            fail_msg("cannot make %s: %s", path, strerror(errno));
    }
}

bool files_same(const saved_file *a, const saved_file *b)
{
    if (!a || !b || !a->bytes != !b->bytes) return !a == !b && a && !a->bytes == !b->bytes;
    return a->n == b->n && (a->n == 0 || !a->bytes || memcmp(a->bytes, b->bytes, a->n) == 0);
}

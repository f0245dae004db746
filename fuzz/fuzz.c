/* fuzz.c - see fuzz.h */
#include "fuzz/fuzz.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

static char corpus[4096]; /* a directory, or nothing */
static int n_seeds;

static void give_up(const char *why)
{
    fprintf(stderr, "fuzz: %s\n", why);
    abort();
}

const char *fuzz_file(const uint8_t *bytes, size_t n)
{
    static int fd = -1;
    static char path[40];
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || (n && pwrite(fd, bytes, n, 0) != (ssize_t)n))
        give_up("no file in memory");
    return path;
}

/* ---- a directory ---- */

enum { MOST_BESIDE = 8 };

static char directory[] = "/tmp/regrad-fuzz-XXXXXX", beside[MOST_BESIDE][64];
static int n_beside;

static void remove_directory(void)
{
    for (int i = 0; i < n_beside; i++)
        unlink(beside[i]);
    rmdir(directory);
}

const char *fuzz_directory(void)
{
    static bool made;
    if (!made && (!mkdtemp(directory) || atexit(remove_directory))) give_up("no directory");
    made = true;
    return directory;
}

const char *fuzz_beside(const char *name, const void *bytes, size_t n)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", fuzz_directory(), name);
    for (int i = 0; i < n_beside; i++)
        if (!strcmp(beside[i], path)) return beside[i]; /* a link to the same file still */
    if (n_beside == MOST_BESIDE) give_up("too many files");
    memcpy(beside[n_beside], path, sizeof path);
    if (bytes) {
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) give_up("cannot write beside");
    } else if (symlink(fuzz_file(NULL, 0), path))
        give_up("cannot make a link");
    return beside[n_beside++];
}

int fuzz_fine(error *e)
{
    if (!e) return 1;
    if (error_kind_of(e) != ERR_USER || strchr(error_text(e), '\n')) give_up(error_text(e));
    error_free(e);
    return 0;
}

void fuzz_keep(const void *bytes, size_t n)
{
    char path[sizeof corpus + 20];
    snprintf(path, sizeof path, "%s/seed%d", corpus, n_seeds++);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) give_up("cannot write a seed");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct stat s;
    for (int i = 1; i < *argc && !*corpus; i++)
        if ((*argv)[i][0] != '-' && stat((*argv)[i], &s) == 0 && S_ISDIR(s.st_mode))
            snprintf(corpus, sizeof corpus, "%s", (*argv)[i]);
    if (*corpus) fuzz_seed();
    return 0;
}

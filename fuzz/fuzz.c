/* fuzz.c - see fuzz.h */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

static char corpus[4096]; /* a directory, or nothing */
static int n_seeds;

static void give_up(const char *why)
{
    fprintf(stderr, "fuzz: %s\n", why);
    abort();
}

int fuzz_fine(error *e)
{
    if (!e) return 1;
    if (error_kind_of(e) != ERR_USER || strchr(error_text(e), '\n')) give_up(error_text(e));
    error_free(e);
    return 0;
}

static void copy(device *dev, int stream, void *to, const void *from, size_t n)
{
    (void)dev, (void)stream;
    memcpy(to, from, n);
}

device fuzz_device(void)
{
    static const device_ops ops = {.name = "fuzz", .working_types = 1u << F32, .put = copy};
    return (device){.ops = &ops, .threads = 1};
}

void fuzz_keep(const void *bytes, size_t n)
{
    char path[sizeof corpus + 20];
    snprintf(path, sizeof path, "%s/seed%d", corpus, n_seeds++);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) give_up("cannot write a seed");
}

void fuzz_keep_texts(const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fuzz_keep(texts[i], strlen(texts[i]));
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

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

fuzz_model fuzz_model_make(const model_kind *kind, const model_config *c,
                           const training_policy *how)
{
    fuzz_model m = {.kind = kind, .params.type = F32};
    if (!fuzz_fine(kind->create(c, how, &m.params, &m.model))) give_up("a model is not made");
    for (int i = 0; i < m.params.n; i++) {
        param *row = &m.params.row[i];
        void *data = malloc((size_t)row->count * sizeof(float));
        if (!data) give_up("out of memory");
        row->value = tensor_of(data, F32, row->spec.shape);
    }
    return m;
}

void fuzz_model_free(fuzz_model *m)
{
    for (int i = 0; i < m->params.n; i++)
        free(m->params.row[i].value.data);
    m->kind->destroy(m->model);
    params_free(&m->params);
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

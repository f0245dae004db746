/* library.c - see library.h */
#include "cuda/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the toolkit was when this was built, should the loader not know it. */
#ifndef CUDA_LIBRARIES
#define CUDA_LIBRARIES ""
#endif

/* The directories of Python's packages under a prefix, in which pip puts NVIDIA's libraries, a
 * directory for each or one for all of a toolkit: nvidia/cu13/lib, nvidia/cudnn/lib. */
static const char *const pip_paths[] = {
    "lib/python3*/site-packages/nvidia/*/lib",
    "lib/python3*/dist-packages/nvidia/*/lib",
    "lib/python3/dist-packages/nvidia/*/lib",
    "lib",
};

typedef struct {
    const char *file;
    void *library;
    char looked_at[1500]; /* the places, for an error */
} library_search;

/* NODELETE: NVIDIA's libraries are not made to be unloaded, and cublasLt
 * takes long to load again. */
static bool load_from(library_search *s, const char *path)
{
    s->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    return s->library;
}

static void note_path(library_search *s, const char *looked)
{
    size_t used = strlen(s->looked_at);
    snprintf(s->looked_at + used, sizeof s->looked_at - used, "%s%s", used ? ", " : "", looked);
}

static bool load_from_pattern(library_search *s, const char *prefix, const char *pattern)
{
    char path[1200];
    glob_t found = {0};
    snprintf(path, sizeof path, "%s/%s/%s", prefix, pattern, s->file);
    if (glob(path, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && !s->library; i++)
            load_from(s, found.gl_pathv[i]);
    globfree(&found);
    return s->library;
}

static bool load_from_prefix(library_search *s, const char *prefix)
{
    if (!prefix || !*prefix) return false;
    for (size_t i = 0; i < sizeof pip_paths / sizeof *pip_paths; i++)
        if (load_from_pattern(s, prefix, pip_paths[i])) return true;
    note_path(s, prefix);
    return false;
}

/* The prefix of the Python that is called python3 here: of /opt/x/bin/python3, /opt/x. */
static const char *prefix_of_python(char *prefix, size_t size)
{
    const char *path = getenv("PATH");
    char name[1000];
    for (; path && *path; path += *path == ':') {
        int n = (int)strcspn(path, ":");
        snprintf(name, sizeof name, "%.*s/python3", n, path);
        path += n;
        if (access(name, X_OK)) continue;
        snprintf(prefix, size, "%.*s", n > 4 ? n - 4 : 0, name); /* without /bin */
        return prefix;
    }
    return NULL;
}

error *library_open(const char *file, const char *product, void **out)
{
    library_search s = {.file = file, .looked_at = "the loader's directories"};
    char path[1000], python[1000], home[1000];
    snprintf(path, sizeof path, "%s%s", CUDA_LIBRARIES, file);
    snprintf(home, sizeof home, "%s/.local", getenv("HOME") ? getenv("HOME") : "");
    bool found = load_from(&s, file) || (*CUDA_LIBRARIES && load_from(&s, path));
    if (*CUDA_LIBRARIES) note_path(&s, CUDA_LIBRARIES);
    const char *prefixes[] = {getenv("VIRTUAL_ENV"),
                              getenv("CONDA_PREFIX"),
                              prefix_of_python(python, sizeof python),
                              home,
                              "/usr/local",
                              "/usr",
                              getenv("CUDA_HOME"),
                              "/usr/local/cuda"};
    for (size_t i = 0; !found && i < sizeof prefixes / sizeof *prefixes; i++)
        found = load_from_prefix(&s, prefixes[i]);
    found = found || load_from_pattern(&s, "/usr/local/cuda", "lib64");
    *out = s.library;
    if (found) return NULL;
    return user_error("%s cannot be loaded; looked at: %s, and under these where pip puts it "
                      "(lib/python3*/*-packages/nvidia/*/lib): install %s, or add its directory to "
                      "LD_LIBRARY_PATH",
                      file, s.looked_at, product);
}

error *library_take(void *library, const char *file, const char *function, void *into)
{
    void *symbol = dlsym(library, function);
    if (!symbol)
        return user_error("%s has no %s: install the version that this was built for", file,
                          function);
    memcpy(into, &symbol, sizeof symbol);
    return NULL;
}

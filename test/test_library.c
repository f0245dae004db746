/* test_library.c - where NVIDIA's libraries are looked for (cuda/library.h): a copy of zlib, under
 * a name of its own, lies where pip would put it. */
#include "test/scratch.h"

#include "cuda/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <zlib.h>

#define LIBRARY "libregrad_of_a_test.so.7"

/* PREFIX/BELOW/LIBRARY */
static void put_library(const char *prefix, const char *below)
{
    Dl_info zlib;
    char command[3000];
    assert_true(dladdr((void *)(size_t)zlibVersion, &zlib));
    snprintf(command, sizeof command, "mkdir -p '%s/%s' && cp -L '%s' '%s/%s/%s'", prefix, below,
             zlib.dli_fname, prefix, below, LIBRARY);
    if (system(command)) fail_msg("%s", command);
}

static void test_found(void **state)
{
    static const struct {
        const char *variable, *below, *path;
    } places[] = {
        {"VIRTUAL_ENV", "lib/python3.12/site-packages/nvidia/cu13/lib", "venv"},
        {"CONDA_PREFIX", "lib", "conda"},
        {"HOME", ".local/lib/python3.11/site-packages/nvidia/cudnn/lib", "home"},
        {"CUDA_HOME", "lib", "toolkit"},
        {"PATH", "lib/python3.12/site-packages/nvidia/nccl/lib", "python"},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char prefix[1000], value[1100], command[2200];
        const char *was = getenv(places[i].variable);
        char *saved = was ? strdup(was) : NULL;
        bool path = !strcmp(places[i].variable, "PATH");
        void *library;
        snprintf(prefix, sizeof prefix, "%s/%s", (const char *)*state, places[i].path);
        put_library(prefix, places[i].below);
        snprintf(command, sizeof command, "mkdir -p '%s/bin' && ln -s /bin/true '%s/bin/python3'",
                 prefix, prefix);
        if (path && system(command)) fail_msg("%s", command);
        snprintf(value, sizeof value, path ? "/nowhere:%s/bin:/usr/bin" : "%s", prefix);
        setenv(places[i].variable, value, 1);
        ok(library_open(LIBRARY, "a library", &library));
        const char *(*version)(void) = NULL;
        ok(library_take(library, LIBRARY, "zlibVersion", &version));
        assert_string_equal(version(), zlibVersion());
        fails(library_take(library, LIBRARY, "no_such_function", &version), LIBRARY,
              "no_such_function");
        Dl_info from;
        assert_true(dladdr((void *)(size_t)version, &from));
        if (!strstr(from.dli_fname, places[i].path)) fail_msg("from %s", from.dli_fname);
        dlclose(library); /* it stays where it is */
        assert_non_null(dlopen(from.dli_fname, RTLD_NOW | RTLD_NOLOAD));
        saved ? setenv(places[i].variable, saved, 1) : unsetenv(places[i].variable);
        free(saved);
    }
}

static void test_not_found(void **state)
{
    void *library;
    char venv[1000];
    snprintf(venv, sizeof venv, "%s/empty", (const char *)*state);
    setenv("VIRTUAL_ENV", venv, 1);
    fails(library_open("libregrad_nowhere.so.1", "a product", &library), venv, "a product");
    fails(library_open("libregrad_nowhere.so.1", "a product", &library), "/usr/local",
          "LD_LIBRARY_PATH");
    unsetenv("VIRTUAL_ENV");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_found),
                                       cmocka_unit_test(test_not_found)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

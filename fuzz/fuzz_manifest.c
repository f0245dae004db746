/* fuzz_manifest.c - a checkpoint's manifest.json: run/manifest.h.  Only the text that is rebuilt
 * from the files is whole; so all that is taken says the same. */
#include "fuzz/fuzz.h"
#include "run/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 7 };

static const char *const names[] = {"x", "state.json"}, *const texts[] = {"some bytes", "{}"};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    error *damage = NULL;
    for (int i = 0; i < 2; i++)
        memory_file(names[i], texts[i], strlen(texts[i]));
    memory_file("manifest.json", bytes, n);
    if (fuzz_fine(manifest_verdict(memory_directory, STEP, &damage)) && fuzz_fine(damage) &&
        !memmem(bytes, n, "\"step\":7,", 9))
        abort();
    return 0;
}

/* As it is written beside the first n files, in a directory that exists. */
static void seed(const char *directory, int n)
{
    char path[2][PATH_LENGTH], manifest[PATH_LENGTH];
    uint8_t *made;
    size_t size;
    for (int i = 0; i < n; i++)
        if (!fuzz_fine(path_join(path[i], directory, names[i])) ||
            !fuzz_fine(file_write_all(path[i], texts[i], strlen(texts[i]))))
            abort();
    if (!fuzz_fine(manifest_write(directory, STEP, names, n)) ||
        !fuzz_fine(path_join(manifest, directory, "manifest.json")) ||
        !fuzz_fine(file_read_all(manifest, 1 << 16, &made, &size)) || remove(manifest))
        abort();
    for (int i = 0; i < n; i++)
        if (remove(path[i])) abort();
    fuzz_keep(made, size);
    free(made);
}

void fuzz_seed(void)
{
    static const char text[] =
        "{\"format\":\"regrad-checkpoint\",\"version\":1,\"step\":7,\"files\":[\n"
        "{\"name\":\"state.json\",\"bytes\":2,\"xxh64\":\"0000000000000000\"}\n]}\n";
    char directory[] = "/tmp/regrad-fuzz-XXXXXX";
    fuzz_keep(text, sizeof text - 1);
    if (!mkdtemp(directory)) abort();
    for (int n = 1; n <= 2; n++)
        seed(directory, n);
    if (remove(directory)) abort();
}

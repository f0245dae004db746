/* fuzz_manifest.c - a checkpoint's manifest.json: run/manifest.h.  Only the text that is rebuilt from the files is
 * whole; so all that is taken says the same. */
#include "fuzz/fuzz.h"
#include "run/manifest.h"

#include <stdlib.h>
#include <string.h>

enum { STEP = 7 };

static const char *const names[] = {"x", "state.json"};

static void files(void)
{
    fuzz_beside("x", "some bytes", 10);
    fuzz_beside("state.json", "{}", 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    error *damage = NULL;
    files();
    fuzz_beside("manifest.json", NULL, 0);
    fuzz_file(bytes, n);
    if (fuzz_fine(manifest_verdict(fuzz_directory(), STEP, &damage)) && fuzz_fine(damage) &&
        !memmem(bytes, n, "\"step\":7,", 9))
        abort();
    return 0;
}

void fuzz_seed(void)
{
    static const char text[] =
        "{\"format\":\"regrad-checkpoint\",\"version\":1,\"step\":7,\"files\":[\n"
        "{\"name\":\"state.json\",\"bytes\":2,\"xxh64\":\"0000000000000000\"}\n]}\n";
    fuzz_keep(text, sizeof text - 1);
    files();
    for (int n = 1; n <= 2; n++) {
        char path[PATH_LENGTH];
        uint8_t *made;
        size_t size;
        if (!fuzz_fine(manifest_write(fuzz_directory(), STEP, names, n)) ||
            !fuzz_fine(path_join(path, fuzz_directory(), "manifest.json")) ||
            !fuzz_fine(file_read_all(path, 1 << 16, &made, &size)) || remove(path))
            abort();
        fuzz_keep(made, size);
        free(made);
    }
}

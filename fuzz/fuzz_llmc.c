/* fuzz_llmc.c - model files of llm.c's: io/llmc.h */
#include "io/llmc.h"
#include "fuzz/fuzz.h"

#include <stdbool.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *path = memory_file("file", bytes, n);
    llmc *f;
    bool yes;
    if (fuzz_fine(llmc_is(path, &yes)) && fuzz_fine(llmc_open(path, &f))) llmc_close(f);
    return 0;
}

/* context 1, V tokens of 128, one layer, one head, width 1: 1024 + (128 + 1 + 26) values */
static void keep_model(int32_t version, int32_t vocab, int32_t layers, int32_t width)
{
    struct {
        int32_t header[256];
        float values[160];
    } file = {.header = {20240326, version, 1, vocab, layers, 1, width, 128}};
    size_t count = 128 + 1 + 26;
    fuzz_keep(&file, sizeof file.header + count * (version == 5 ? 2 : 4));
}

void fuzz_seed(void)
{
    keep_model(3, 100, 1, 1);
    keep_model(5, 100, 1, 1);
    keep_model(3, INT32_MAX, INT32_MAX, INT32_MAX);
}

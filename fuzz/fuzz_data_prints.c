/* fuzz_data_prints.c - the fingerprints of a run's data: run/data_prints.h. */
#include "fuzz/fuzz.h"
#include "run/data_prints.h"

#include <stdlib.h>

static void check(const fingerprint *p)
{
    if (p->bytes < 0 || p->read < 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    data_prints known;
    memory_file("data.json", bytes, n);
    data_prints_read(memory_directory, &known);
    check(&known.train);
    check(&known.val);
    return 0;
}

void fuzz_seed(void)
{
    static const char *const texts[] = {
        "{\"train\":{\"files\":\"00000000deadbeef\",\"xxh3\":\"0123456789abcdef\",\"bytes\":2500,"
        "\"read\":2500},\n\"val\":{\"files\":\"0\",\"xxh3\":\"f\",\"bytes\":0,\"read\":0}}",
        "{\"train\":{\"bytes\":1e300,\"read\":-1},\"val\":[]}"};
    fuzz_keep_texts(texts, sizeof texts / sizeof *texts);
}

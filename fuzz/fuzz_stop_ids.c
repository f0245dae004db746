/* fuzz_stop_ids.c - generation_config.json: data/chat/stop_ids.h */
#include "data/chat/stop_ids.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    stop_ids ids;
    if (!fuzz_fine(stop_ids_read(memory_file("file", bytes, n), &ids))) return 0;
    for (int i = 0; i < ids.n; i++)
        if (ids.id[i] < 0) abort();
    return 0;
}

void fuzz_seed(void)
{
    static const char *const seeds[] = {"{\"eos_token_id\": 5}", "{\"eos_token_id\": [1, 2e3]}",
                                        "{\"eos_token_id\": null}", "{\"bos_token_id\": 1}"};
    fuzz_keep_texts(seeds, sizeof seeds / sizeof *seeds);
}

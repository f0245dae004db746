/* fuzz_index.c - a model in several files: model.safetensors.index.json beside two of them
 * (io/safetensors.h), through io/model_file.h, which reads config.json, too. */
#include "fuzz/fuzz.h"
#include "io/model_file.h"
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

#define ENTRY(name, from, to)                                                                      \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" #to "],\"data_offsets\":[" #from "," #to "]}"

static void shard(const char *name, const char *header)
{
    char bytes[300] = {0};
    uint64_t length = strlen(header);
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + 8, header, length);
    memory_file(name, bytes, 8 + length + 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char config[] = "{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_head\":1,\"n_embd\":2,"
                                 "\"n_positions\":2,\"vocab_size\":2}";
    safetensors *s;
    weights *w;
    shard("a.safetensors", "{" ENTRY("wte.weight", 0, 4) "}");
    shard("b.safetensors", "{" ENTRY("wpe.weight", 0, 4) "}");
    memory_file("config.json", config, sizeof config - 1);
    const char *index = memory_file("model.safetensors.index.json", bytes, n);
    if (fuzz_fine(safetensors_open(index, &s))) {
        if (safetensors_count(s) < 1 || safetensors_count(s) > 2) abort();
        for (int64_t i = 0; i < safetensors_count(s); i++) {
            char data[4];
            if (!fuzz_fine(safetensors_read(s, i, 0, 4, data))) abort();
        }
        safetensors_close(s);
    }
    if (fuzz_fine(weights_open(memory_directory, NULL, &w))) weights_close(w);
    return 0;
}

void fuzz_seed(void)
{
    static const char *const texts[] = {
        "{\"weight_map\":{\"wte.weight\":\"a.safetensors\",\"wpe.weight\":\"b.safetensors\"}}",
        "{\"metadata\":{\"total_size\":4},\"weight_map\":{\"wte.weight\":\"a.safetensors\"}}",
        "{\"weight_map\":{\"wpe.weight\":\"a.safetensors\",\"x\":\"../b.safetensors\",\"y\":3}}"};
    fuzz_keep_texts(texts, sizeof texts / sizeof *texts);
}

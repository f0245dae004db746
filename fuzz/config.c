/* config.c - Hugging Face's config.json: io/json.h, model/hf.h */
#include "fuzz/fuzz.h"
#include "io/json.h"
#include "model/hf.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *path = fuzz_file(bytes, n);
    cJSON *json;
    model_config c;
    char *text;
    if (!fuzz_fine(json_read(path, MOST, &json))) return 0;
    if (fuzz_fine(hf_config_read(path, json, &c)) && fuzz_fine(hf_config_text(&c, F32, &text)))
        free(text);
    cJSON_Delete(json);
    return 0;
}

void fuzz_seed(void)
{
    static const char *const texts[] = {
        "{}",
        "{\"model_type\":\"gpt2\",\"n_layer\":2,\"n_head\":2,\"n_embd\":8,\"n_positions\":16,"
        "\"n_ctx\":16,\"vocab_size\":300,\"n_inner\":null,\"activation_function\":\"gelu_new\","
        "\"layer_norm_epsilon\":1e-05,\"tie_word_embeddings\":true,\"attn_pdrop\":0.1,"
        "\"scale_attn_weights\":true,\"architectures\":[\"GPT2LMHeadModel\"]}",
        "{\"n_layer\":1e18,\"n_embd\":-1,\"a\":[[[[[[\"\\u0041\\n\"]]]]]]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        fuzz_keep(texts[i], strlen(texts[i]));
}

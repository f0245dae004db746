/* fuzz_config.c - Hugging Face's config.json: base/json.h, model/hf/hf.h.  What is taken can be
 * written, and what is written says the same when it is read. */
#include "fuzz/fuzz.h"
#include "base/json.h"
#include "model/hf/hf.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 20 };

/* The text of c, which must exist; free it. */
static char *text_of(const model_config *c)
{
    char *text;
    if (!fuzz_fine(hf_config_text(c, "float32", &text))) abort();
    return text;
}

static void there_and_back(const model_config *c)
{
    char *text = text_of(c);
    cJSON *json = cJSON_Parse(text);
    model_config back;
    if (!json || !fuzz_fine(hf_config_read("config.json", json, NULL, &back))) abort();
    char *again = text_of(&back);
    if (strcmp(text, again)) abort();
    cJSON_Delete(json);
    free(text);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *path = memory_file("file", bytes, n);
    cJSON *json;
    model_config c;
    if (!fuzz_fine(json_read(path, MOST, &json))) return 0;
    if (fuzz_fine(hf_config_read(path, json, NULL, &c))) there_and_back(&c);
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
        "{\"model_type\":\"falcon\",\"n_layer\":2,\"n_head\":4,\"hidden_size\":64,"
        "\"new_decoder_architecture\":true,\"num_kv_heads\":2,\"num_ln_in_parallel_attn\":1,"
        "\"rope_scaling\":{\"type\":\"default\"}}",
        "{\"model_type\":\"llama\",\"head_dim\":6,\"hidden_size\":64,\"attention_bias\":true,"
        "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":1e4},"
        "\"layer_types\":[\"full_attention\"],\"mlp_bias\":false,\"sliding_window\":null}",
        "{\"n_layer\":1e18,\"n_embd\":-1,\"a\":[[[[[[\"\\u0041\\n\"]]]]]]}",
    };
    fuzz_keep_texts(texts, sizeof texts / sizeof *texts);
    for (int i = 0; i < text_presets.n; i++) { /* of every family, with all of its fields */
        char *text;
        error *e = hf_config_text(&text_presets.row[i], "float32", &text);
        if (!fuzz_fine(e)) continue;
        fuzz_keep(text, strlen(text));
        free(text);
    }
}

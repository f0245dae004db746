/* fuzz_weights.c - a model's tensors by name: io/model_file.h, io/params_file.h over
 * io/safetensors.h.  With parts of one parameter in several tensors; rows lie in memory of their
 * own, so that a value too many is seen. */
#include "fuzz/fuzz.h"
#include "io/model_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char config[] =
    "{\"model_type\":\"llama\",\"hidden_size\":4,\"intermediate_size\":4,\"num_hidden_layers\":1,"
    "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"vocab_size\":3,\"max_position_"
    "embeddings\":4}";

static void read_all(const weights *w, bool widen)
{
    device dev = fuzz_device();
    training_policy policy = {0};
    fuzz_model m = fuzz_model_make(&gpt_kind, weights_model(w), &policy);
    fuzz_fine(weights_read(w, &m.params, widen, &dev));
    fuzz_model_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    weights *w;
    memory_file("config.json", config, sizeof config - 1);
    memory_file("model.safetensors", bytes, n);
    if (!fuzz_fine(weights_open(memory_directory, NULL, &w))) return 0;
    read_all(w, n % 2);
    weights_close(w);
    return 0;
}

void fuzz_seed(void)
{
    static const struct {
        const char *name, *shape;
        int count;
    } tensors[] = {{"model.embed_tokens.weight", "3,4", 12},
                   {"model.layers.0.self_attn.q_proj.weight", "4,4", 16},
                   {"model.layers.0.self_attn.k_proj.weight", "2,4", 8},
                   {"model.layers.0.self_attn.v_proj.weight", "2,4", 8},
                   {"model.layers.0.self_attn.o_proj.weight", "4,4", 16},
                   {"model.layers.0.mlp.gate_proj.weight", "4,4", 16},
                   {"model.layers.0.mlp.up_proj.weight", "4,4", 16},
                   {"model.layers.0.mlp.down_proj.weight", "4,4", 16},
                   {"model.layers.0.input_layernorm.weight", "4", 4},
                   {"model.layers.0.post_attention_layernorm.weight", "4", 4},
                   {"model.norm.weight", "4", 4},
                   {"lm_head.weight", "3,4", 12}};
    for (int half = 0; half < 2; half++) {
        static uint8_t file[8000];
        char *header = (char *)file + 8;
        size_t used = (size_t)sprintf(header, "{"), at = 0;
        for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
            size_t size = (size_t)tensors[i].count * (half ? 2 : 4);
            used += (size_t)sprintf(
                header + used,
                "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                i ? "," : "", tensors[i].name, half ? "BF16" : "F32", tensors[i].shape, at,
                at + size);
            at += size;
        }
        used += (size_t)sprintf(header + used, "}");
        uint64_t length = used;
        memcpy(file, &length, sizeof length);
        memset(file + 8 + used, 0, at);
        fuzz_keep(file, 8 + used + at);
    }
}

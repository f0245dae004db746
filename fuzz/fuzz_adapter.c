/* fuzz_adapter.c - peft's adapters: io/adapter_file.h.  The first bytes are adapter_config.json, up
 * to a line end that is doubled; the rest is adapter_model.safetensors.  What is taken has a plan
 * that can be used, and is read beside a small GPT-2. */
#include "fuzz/fuzz.h"
#include "io/adapter_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void read_all(const adapter_file *f, bool widen)
{
    device dev = fuzz_device();
    training_policy policy = {.lora = *adapter_plan(f)};
    model_config c = gpt_config("fuzz", 1, 1, 2, 2, 3);
    if (policy.lora.rank > 8) return;
    fuzz_model m = fuzz_model_make(&gpt_kind, &c, &policy);
    fuzz_fine(adapter_read(f, &m.params, widen, &dev));
    fuzz_model_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *end = n ? memmem(bytes, n, "\n\n", 2) : NULL;
    size_t first = end ? (size_t)(end - bytes) : n, rest = end ? first + 2 : n;
    adapter_file *f;
    memory_file("adapter_config.json", bytes, first);
    memory_file("adapter_model.safetensors", bytes + rest, n - rest);
    if (!fuzz_fine(adapter_open(memory_directory, &f))) return 0;
    const lora_plan *plan = adapter_plan(f);
    if (plan->rank < 1 || !(lora_scale(plan) > 0) || plan->n_on < 1) abort();
    for (int i = 0; i < plan->n_on; i++)
        if (!plan->on[i] || !lora_fits(plan->on[i], plan->on[i])) {
            if (plan->on[i] && strpbrk(plan->on[i], "*?[\\")) continue; /* read as a pattern */
            abort();
        }
    read_all(f, n % 2);
    adapter_close(f);
    return 0;
}

static void seed(const char *config, const char *header, size_t data)
{
    char bytes[2000] = {0};
    size_t n = (size_t)sprintf(bytes, "%s\n\n", config);
    uint64_t length = strlen(header);
    memcpy(bytes + n, &length, sizeof length);
    memcpy(bytes + n + 8, header, length);
    fuzz_keep(bytes, n + 8 + length + data);
}

void fuzz_seed(void)
{
    static const char tensors[] =
        "{\"base_model.model.h.0.attn.c_attn.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],"
        "\"data_offsets\":[0,8]},\"base_model.model.h.0.attn.c_attn.lora_B.weight\":{\"dtype\":"
        "\"F32\",\"shape\":[6,1],\"data_offsets\":[8,32]}}";
    seed("{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":2,\"use_rslora\":true,\"bias\":\"none\","
         "\"task_type\":\"CAUSAL_LM\",\"init_lora_weights\":\"gaussian\",\"modules_to_save\":null}",
         tensors, 32);
    seed("{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":16,\"use_dora\":true,\"rank_pattern\":{},"
         "\"target_modules\":[\"q_proj\"],\"alpha_pattern\":{\"a\":1}}",
         tensors, 32);
    seed("{\"peft_type\":\"LORA\",\"r\":1e9,\"lora_alpha\":-1}", "{}", 0);
    seed("{\"r\":1}", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
}

/* fuzz_state.c - a checkpoint's state.json, with the options and the model
 * in it: run/run_values.h, as run/run_state.h reads it. */
#include "fuzz/fuzz.h"
#include "base/json.h"
#include "optim/rules/adamw.h"
#include "run/run_state.h"
#include "run/run_values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS                                                                                    \
    "{\"layers\":2,\"lr\":0.01,\"optim\":\"adamw\",\"load\":null,\"flip\":false,\"freeze\":[]}"

static run_option list[] = {{"layers", RESUME_FIXED}, {"lr", RESUME_TOLD},
                            {"optim", RESUME_SILENT}, {"load", RESUME_FIXED},
                            {"flip", RESUME_TOLD},    {"freeze", RESUME_FIXED}};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    params p = {.type = F32};
    runtime r = {.params = &p};
    optimizer o = {.info = &adamw_info};
    run_contents c = {.tensors = {.r = &r, .optimizer = &o},
                      .model = &text_presets.row[0],
                      .program = "train_gpt",
                      .option = list,
                      .n_options = sizeof list / sizeof *list,
                      .options = (char[]){OPTIONS},
                      .unset = (char[]){OPTIONS},
                      .samples_per_step = 4,
                      .data = 0x1234};
    memory_file("state.json", bytes, n);
    if (fuzz_fine(run_state_resume(memory_directory, &c))) abort(); /* there are no tensors */
    if (c.step < 0 || c.log_bytes < 0) abort();
    return 0;
}

/* As it is written, of two steps. */
void fuzz_seed(void)
{
    char *model = NULL, text[4000];
    cJSON *json = config_json(&text_presets.row[0]);
    if (!json || !(model = cJSON_PrintUnformatted(json)) || !freopen("/dev/null", "w", stdout))
        abort();
    for (int step = 0; step < 2; step++) {
        int n = snprintf(
            text, sizeof text,
            "{\"options\":%s,\"model\":%s,\"format\":\"regrad-state 1\",\"program\":\"train_gpt\","
            "\"step\":%d,\"log_bytes\":100,\"samples_per_step\":4,\"samples\":%d,\"random\":"
            "\"philox of (seed, purpose, index)\",\"dtype\":\"fp32\",\"optimizer\":\"adamw\","
            "\"previous_gradient\":false,\"data\":\"0000000000001234\"}",
            step ? OPTIONS : "{\"lr\":1}", model, step, 4 * step);
        fuzz_keep(text, (size_t)n);
    }
    free(model);
    cJSON_Delete(json);
}

/* fuzz_card.c - what is known of a trained model of images: config.json in timm's form, ours or
 * Hugging Face's, and preprocessor_config.json: io/image_card.h, model/hf/hf_image.c.  A first byte
 * of 'P' is of the latter. */
#include "base/json.h"
#include "fuzz/fuzz.h"
#include "io/image_card.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    image_card card = {0};
    bool found;
    memory_file("config.json", bytes, n);
    memory_file("preprocessor_config.json", bytes, n);
    if (!fuzz_fine(image_card_read(memory_directory, &found, &card))) return 0;
    size_t sum = 0;
    for (int64_t i = 0; i < card.n_names; i++)
        sum += strlen(card.names[i]);
    if (sum > n || (found && !fuzz_fine(config_check(&card.model)))) abort();
    image_card_free(&card);
    return 0;
}

void fuzz_seed(void)
{
    static const char *const texts[] = {
        "{\"architecture\":\"vit_small_patch32_224\",\"num_classes\":3,\"label_names\":[\"a\","
        "\"b\",\"\\u00e9\"],"
        "\"pretrained_cfg\":{\"input_size\":[3,32,32],\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],"
        "\"crop_pct\":0.9,\"interpolation\":\"bicubic\"},\"model_args\":{\"img_size\":32,\"patch_"
        "size\":8,"
        "\"depth\":2,\"num_heads\":3,\"embed_dim\":48},\"regrad\":{}}",
        "{\"architectures\":[\"ViTForImageClassification\"],\"model_type\":\"vit\",\"hidden_size\":"
        "48,"
        "\"num_hidden_layers\":2,\"num_attention_heads\":3,\"intermediate_size\":192,\"image_"
        "size\":32,"
        "\"patch_size\":8,\"num_channels\":3,\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-12,"
        "\"qkv_bias\":true,\"id2label\":{\"0\":\"a\",\"1\":\"b\"},\"image_mean\":[0.5,0.5,0.5],"
        "\"image_std\":[0.5,0.25,1]}",
        "{\"model_type\":\"convnext\",\"num_stages\":4,\"image_size\":32,\"hidden_act\":\"silu\","
        "\"layer_norm_eps\":1e-6,\"hidden_sizes\":[8,16,32,64],\"depths\":[2,1,2,1],"
        "\"layer_scale_init_value\":1e-6,\"id2label\":{\"0\":\"a\",\"1\":\"b\"}}",
        "{\"id2label\":{\"1000000000\":\"a\",\"x\":1}}"};
    fuzz_keep_texts(texts, sizeof texts / sizeof *texts);
    for (int i = 0; i < image_presets.n; i += 7) { /* ours */
        cJSON *json = cJSON_CreateObject();
        if (!json || !json_add(json, "regrad", config_json(&image_presets.row[i])) ||
            !json_add(json, "label_names", cJSON_CreateStringArray((const char *[]){"a", "b"}, 2)))
            abort();
        char *text = cJSON_PrintUnformatted(json);
        fuzz_keep(text, strlen(text));
        free(text);
        cJSON_Delete(json);
    }
}

/* fuzz_vit.c - trained ViTs, timm's and Hugging Face's: io/vit_file.h.  The table that is filled
 * lies in memory of its own, row by row, so that a value too many is seen. */
#include "io/vit_file.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* Four patches of two pixels, one layer, one head, width 2, three classes. */
static error *small_vit(model_config *c)
{
    TRY(preset_find(&image_presets, "vit-nano/4", c));
    c->layers = c->heads = c->kv_heads = 1;
    c->width = c->inner = c->head_size = c->patch = 2;
    c->image_height = c->image_width = 4;
    c->vocab = 3;
    return vit_config(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    device dev = fuzz_device();
    model_config c;
    training_policy policy = {0};
    bool head;
    if (!fuzz_fine(small_vit(&c))) abort();
    fuzz_model m = fuzz_model_make(&image_kind, &c, &policy);
    fuzz_fine(vit_read(memory_file("file", bytes, n), &c, &m.params, n % 2, &dev, &head));
    fuzz_model_free(&m);
    return 0;
}

typedef struct {
    char text[4000];
    size_t used, data;
} header;

static void tensor_row(header *h, const char *name, const char *shape, size_t count)
{
    h->used +=
        (size_t)snprintf(h->text + h->used, sizeof h->text - h->used,
                         "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                         h->used > 1 ? "," : "", name, shape, h->data, h->data + 4 * count);
    h->data += 4 * count;
}

/* timm's names, or Hugging Face's; `positions` is the shape of pos_embed, of so many numbers. */
static void model_of(bool timm, const char *positions, size_t count)
{
    static const char *const hf[] = {"query", "key", "value"};
    header h = {.text = "{", .used = 1};
    char name[200], file[8000] = {0};
    const char *layer = timm ? "blocks.0." : "vit.encoder.layer.0.";
    tensor_row(&h, timm ? "cls_token" : "vit.embeddings.cls_token", "1,1,2", 2);
    tensor_row(&h, timm ? "pos_embed" : "vit.embeddings.position_embeddings", positions, count);
    tensor_row(
        &h, timm ? "patch_embed.proj.weight" : "vit.embeddings.patch_embeddings.projection.weight",
        "2,1,2,2", 8);
    tensor_row(&h,
               timm ? "patch_embed.proj.bias" : "vit.embeddings.patch_embeddings.projection.bias",
               "2", 2);
    const char *const vectors[] = {timm ? "norm1" : "layernorm_before",
                                   timm ? "norm2" : "layernorm_after"};
    const char *const matrices[] = {timm ? "attn.proj" : "attention.output.dense",
                                    timm ? "mlp.fc1" : "intermediate.dense",
                                    timm ? "mlp.fc2" : "output.dense"};
    for (int i = 0; i < 5; i++)
        for (int bias = 0; bias < 2; bias++) {
            snprintf(name, sizeof name, "%s%s.%s", layer, i < 2 ? vectors[i] : matrices[i - 2],
                     bias ? "bias" : "weight");
            tensor_row(&h, name, i < 2 || bias ? "2" : "2,2", i < 2 || bias ? 2 : 4);
        }
    for (int bias = 0; bias < 2; bias++)
        for (int part = 0; part < (timm ? 1 : 3); part++) {
            snprintf(name, sizeof name, timm ? "%sattn.qkv%s.%s" : "%sattention.attention.%s.%s",
                     layer, timm ? "" : hf[part], bias ? "bias" : "weight");
            tensor_row(&h, name, timm ? (bias ? "6" : "6,2") : (bias ? "2" : "2,2"),
                       (timm ? 6u : 2u) * (bias ? 1u : 2u));
        }
    for (int bias = 0; bias < 2; bias++) {
        snprintf(name, sizeof name, "%s.%s", timm ? "norm" : "vit.layernorm",
                 bias ? "bias" : "weight");
        tensor_row(&h, name, "2", 2);
        snprintf(name, sizeof name, "%s.%s", timm ? "head" : "classifier",
                 bias ? "bias" : "weight");
        tensor_row(&h, name, bias ? "3" : "3,2", bias ? 3 : 6);
    }
    uint64_t length = h.used + 1;
    memcpy(file, &length, sizeof length);
    memcpy(file + 8, h.text, h.used);
    file[8 + h.used] = '}';
    fuzz_keep(file, 8 + length + h.data);
}

void fuzz_seed(void)
{
    for (int timm = 0; timm < 2; timm++) {
        model_of(timm, "1,5,2", 10);
        model_of(timm, "1,10,2", 20); /* another grid */
        model_of(timm, "2,10,2", 40);
        model_of(timm, "1,11,2", 22);
    }
}

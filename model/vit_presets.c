/* vit_presets.c - the ViTs by name, as the papers and timm have them (images of 224 x 224, 1000
 * classes; epsilon 1e-6, exact gelu), and two for small images (28 x 28, grey, 10 classes). */
#include "base/nearest.h"
#include "model/config.h"

#include <stdio.h>
#include <string.h>

#define VIT(name_, layers_, heads_, width_, inner_, patch_, size_, channels_, classes_)            \
    {                                                                                              \
        .name = name_, .layers = layers_, .heads = heads_, .width = width_, .inner = inner_,       \
        .patch = patch_, .image_height = size_, .image_width = size_, .channels = channels_,       \
        .vocab = classes_, .kv_heads = heads_, .head_size = (width_) / (heads_),                   \
        .context = ((size_) / (patch_)) * ((size_) / (patch_)) + 1, .norm_eps = 1e-6,              \
        .act = ACT_GELU_ERF, .bias = BLOCK_BIASES, .embedding_scale = 1, .names = &vit_names       \
    }

static const model_config presets[] = {
    /*  name        layers heads width inner patch size channels classes */
    VIT("vit-nano/4", 4, 4, 64, 128, 4, 28, 1, 10),
    VIT("vit-micro/4", 6, 4, 128, 256, 4, 28, 1, 10),
    VIT("vit-tiny/16", 12, 3, 192, 768, 16, 224, 3, 1000),
    VIT("vit-s/32", 12, 6, 384, 1536, 32, 224, 3, 1000),
    VIT("vit-s/16", 12, 6, 384, 1536, 16, 224, 3, 1000),
    VIT("vit-b/32", 12, 12, 768, 3072, 32, 224, 3, 1000),
    VIT("vit-b/16", 12, 12, 768, 3072, 16, 224, 3, 1000),
    VIT("vit-l/32", 24, 16, 1024, 4096, 32, 224, 3, 1000),
    VIT("vit-l/16", 24, 16, 1024, 4096, 16, 224, 3, 1000),
    VIT("vit-h/14", 32, 16, 1280, 5120, 14, 224, 3, 1000),
    VIT("vit-g/14", 40, 16, 1408, 6144, 14, 224, 3, 1000),
};

enum { PRESETS = sizeof presets / sizeof *presets };

const model_config *vit_preset_at(int i)
{
    return i < PRESETS ? &presets[i] : NULL;
}

error *vit_preset_find(const char *name, model_config *out)
{
    const char *names[PRESETS];
    for (int i = 0; i < PRESETS; i++) {
        names[i] = presets[i].name;
        if (!strcmp(name, presets[i].name)) {
            *out = presets[i];
            return NULL;
        }
    }
    return user_error(
        "--model %s: there is no such model; the nearest is %s (--help lists them all)", name,
        nearest_name(name, names, PRESETS));
}

error *vit_config(model_config *c)
{
    enum { MOST = 1 << 14 };
    if (c->patch < 1 || c->image_height < 1 || c->image_width < 1 || c->image_height > MOST ||
        c->image_width > MOST)
        return user_error("--image-size %lldx%lld, --patch %lld: each must be from 1 to %d",
                          (long long)c->image_height, (long long)c->image_width,
                          (long long)c->patch, MOST);
    if (c->image_height % c->patch || c->image_width % c->patch)
        return user_error("--patch %lld does not divide the images' %lld x %lld pixels: choose "
                          "another --patch or --image-size",
                          (long long)c->patch, (long long)c->image_height,
                          (long long)c->image_width);
    c->context =
        (c->image_height / c->patch) * (c->image_width / c->patch) + (c->mean_pool ? 0 : 1);
    c->kv_heads = c->heads;
    c->head_size = c->heads > 0 ? c->width / c->heads : 0;
    if (!c->inner) c->inner = 4 * c->width;
    c->norm_eps = 1e-6;
    c->act = ACT_GELU_ERF;
    c->bias = (biases)BLOCK_BIASES;
    c->embedding_scale = 1;
    c->names = &vit_names;
    c->tied = c->causal = false;
    return config_check(c);
}

/* image_card.c - see image_card.h */
#include "io/image_card.h"
#include "base/files.h"
#include "base/json.h"
#include "model/hf/hf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CONFIG = 1 << 24 };

/* How pictures are resized: timm's word, and Pillow's number, which is transformers'. */
static const struct {
    const char *word;
    int pillow;
} kernels[] = {{"bilinear", 2}, {"bicubic", 3}};

void image_card_free(image_card *card)
{
    for (int64_t i = 0; i < card->n_names; i++)
        free(card->names[i]);
    free(card->names);
    card->names = NULL;
    card->n_names = 0;
}

/* ---- writing ---- */

static error *no_memory(void)
{
    return user_error("out of memory for config.json");
}

static cJSON *sizes(const int64_t *x, int n)
{
    double values[4];
    for (int i = 0; i < n; i++)
        values[i] = (double)x[i];
    return cJSON_CreateDoubleArray(values, n);
}

static const char *act_word(activation act)
{
    return act == ACT_GELU_TANH ? "gelu_tanh" : act == ACT_SILU ? "silu" : "gelu";
}

/* The arguments of timm's VisionTransformer. */
static bool add_vit(cJSON *json, const model_config *c)
{
    cJSON *a = cJSON_AddObjectToObject(json, "model_args");
    const int64_t size[] = {c->image_height, c->image_width};
    return cJSON_AddStringToObject(json, "architecture", "vit_base_patch16_224") && a &&
           json_add(a, "img_size", sizes(size, 2)) &&
           cJSON_AddNumberToObject(a, "patch_size", (double)c->patch) &&
           cJSON_AddNumberToObject(a, "in_chans", (double)c->channels) &&
           cJSON_AddNumberToObject(a, "embed_dim", (double)c->width) &&
           cJSON_AddNumberToObject(a, "depth", (double)c->layers) &&
           cJSON_AddNumberToObject(a, "num_heads", (double)c->heads) &&
           cJSON_AddNumberToObject(a, "mlp_ratio", (double)c->inner / (double)c->width) &&
           cJSON_AddBoolToObject(a, "qkv_bias", c->bias.qkv) &&
           cJSON_AddStringToObject(a, "act_layer", act_word(c->act)) &&
           cJSON_AddBoolToObject(a, "class_token", !c->mean_pool) &&
           cJSON_AddStringToObject(a, "global_pool", c->mean_pool ? "avg" : "token");
}

/* The arguments of timm's ConvNeXt; it would halve the first stage, too, after a stem of 2. */
static bool add_convnext(cJSON *json, const model_config *c)
{
    int64_t widths[CONV_STAGES];
    /* timm has no WRN for small images, and one epsilon for all norms */
    if (c->patch != 4 || is_residual_network(c) || c->norm_eps > 1e-6) return true;
    cJSON *a = cJSON_AddObjectToObject(json, "model_args");
    for (int i = 0; i < CONV_STAGES; i++)
        widths[i] = c->width << i;
    return cJSON_AddStringToObject(json, "architecture", "convnext_tiny") && a &&
           cJSON_AddNumberToObject(a, "in_chans", (double)c->channels) &&
           json_add(a, "depths", sizes(c->stage, CONV_STAGES)) &&
           cJSON_AddStringToObject(a, "act_layer", act_word(c->act)) &&
           json_add(a, "dims", sizes(widths, CONV_STAGES));
}

/* The names of the first layer and of the last. */
static const char *const *ends_of(const model_config *c)
{
    static const char *const ends[][2] = {
        {"patch_embed.proj", "head"}, {"stem.0", "head.fc"}, {"conv1", "fc"}};
    return ends[is_residual_network(c) ? 2 : c->stage[0] ? 1 : 0];
}

/* What timm's data loaders read. */
static bool add_data(cJSON *json, const image_card *card)
{
    const model_config *c = &card->model;
    const int64_t input[] = {c->channels, c->image_height, c->image_width};
    int channels = (int)c->channels;
    cJSON *p = cJSON_AddObjectToObject(json, "pretrained_cfg");
    return p && json_add(p, "input_size", sizes(input, 3)) &&
           json_add(p, "mean", cJSON_CreateDoubleArray(card->mean, channels)) &&
           json_add(p, "std", cJSON_CreateDoubleArray(card->std, channels)) &&
           cJSON_AddStringToObject(p, "interpolation", kernels[card->bicubic].word) &&
           (!(card->crop_part > 0) || cJSON_AddNumberToObject(p, "crop_pct", card->crop_part)) &&
           cJSON_AddBoolToObject(p, "fixed_input_size", true) &&
           cJSON_AddNumberToObject(p, "num_classes", (double)c->vocab) &&
           cJSON_AddStringToObject(p, "first_conv", ends_of(c)[0]) &&
           cJSON_AddStringToObject(p, "classifier", ends_of(c)[1]);
}

static bool add_names(cJSON *json, const image_card *card)
{
    cJSON *list = cJSON_AddArrayToObject(json, "label_names");
    bool ok = list;
    for (int64_t i = 0; ok && i < card->n_names; i++) {
        cJSON *name = cJSON_CreateString(card->names[i]);
        ok = name && cJSON_AddItemToArray(list, name);
    }
    return ok;
}

/* Channels of the last stage. */
static int64_t features_of(const model_config *c)
{
    return c->width << (is_residual_network(c) ? CONV_STAGES - 2
                        : c->stage[0]          ? CONV_STAGES - 1
                                               : 0);
}

static error *write_card(const char *path, const image_card *card)
{
    const model_config *c = &card->model;
    cJSON *json = cJSON_CreateObject();
    bool ok = json && (c->stage[0] ? add_convnext : add_vit)(json, c) &&
              cJSON_AddNumberToObject(json, "num_classes", (double)c->vocab) &&
              cJSON_AddNumberToObject(json, "num_features", (double)features_of(c)) &&
              (!card->n_names || add_names(json, card)) && add_data(json, card) &&
              json_add(json, "regrad", config_json(c));
    return json_save(json, ok, "a model's config.json", path);
}

static error *write_names(const char *directory, const image_card *card)
{
    char path[PATH_LENGTH];
    memory_stream m;
    TRY(path_join(path, directory, "classes.txt"));
    TRY(memory_stream_open(&m, "classes.txt"));
    for (int64_t i = 0; i < card->n_names; i++)
        fprintf(m.to, "%s\n", card->names[i]);
    return memory_stream_save(&m, path);
}

error *image_card_write(const char *directory, const image_card *card)
{
    char path[PATH_LENGTH];
    TRY(path_join(path, directory, "config.json"));
    TRY(write_card(path, card));
    return card->n_names ? write_names(directory, card) : NULL;
}

/* transformers' way to our pixels: the shorter side to where a part of it is the size, then the
 * middle. */
static bool add_processor(cJSON *json, const image_card *card)
{
    const model_config *c = &card->model;
    int channels = (int)c->channels;
    double part = card->crop_part > 0 ? card->crop_part : 1;
    cJSON *size = cJSON_AddObjectToObject(json, "size");
    cJSON *crop = cJSON_AddObjectToObject(json, "crop_size");
    return size && crop &&
           cJSON_AddStringToObject(json, "image_processor_type", "CLIPImageProcessor") &&
           cJSON_AddNumberToObject(size, "shortest_edge", floor((double)c->image_height / part)) &&
           cJSON_AddNumberToObject(crop, "height", (double)c->image_height) &&
           cJSON_AddNumberToObject(crop, "width", (double)c->image_width) &&
           cJSON_AddBoolToObject(json, "do_resize", true) &&
           cJSON_AddNumberToObject(json, "resample", kernels[card->bicubic].pillow) &&
           cJSON_AddBoolToObject(json, "do_center_crop", true) &&
           cJSON_AddBoolToObject(json, "do_rescale", true) &&
           cJSON_AddRawToObject(json, "rescale_factor", "0.00392156862745098") &&
           cJSON_AddBoolToObject(json, "do_normalize", true) &&
           cJSON_AddBoolToObject(json, "do_convert_rgb", channels == 3) &&
           json_add(json, "image_mean", cJSON_CreateDoubleArray(card->mean, channels)) &&
           json_add(json, "image_std", cJSON_CreateDoubleArray(card->std, channels));
}

static error *write_processor(const char *directory, const image_card *card)
{
    char path[PATH_LENGTH];
    if (!(card->std[0] > 0)) return NULL;
    TRY(path_join(path, directory, "preprocessor_config.json"));
    cJSON *json = cJSON_CreateObject();
    return json_save(json, json && add_processor(json, card), "preprocessor_config.json", path);
}

error *image_card_write_hf(const char *directory, const image_card *card, const char *type)
{
    char path[PATH_LENGTH], *text;
    TRY(path_join(path, directory, "config.json"));
    TRY(hf_image_text(&card->model, card->n_names == card->model.vocab ? card->names : NULL, type,
                      &text));
    error *e = file_write_text(path, text);
    free(text);
    return e ? e : write_processor(directory, card);
}

/* ---- reading ---- */

/* Three numbers, or one for a single channel; anything else is ignored. */
static void read_three(const cJSON *list, double out[3])
{
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    for (int i = 0; i < 3 && n > 0; i++) {
        const cJSON *x = cJSON_GetArrayItem(list, i < n ? i : n - 1);
        if (cJSON_IsNumber(x) && x->valuedouble >= 0 && x->valuedouble <= 1)
            out[i] = x->valuedouble;
    }
}

/* The number of an item: its index in a list, its key in an object; -1 for any other key. */
static int64_t number_of(const cJSON *item, bool object, int64_t place, int64_t n)
{
    char *end;
    if (!object) return place;
    long number = strtol(item->string, &end, 10);
    return *end || end == item->string || number < 0 || number >= n ? -1 : number;
}

/* A list of names (timm's label_names), or an object {"0": name, ...} (id2label); a missing name
 * becomes ''. */
static error *read_names(const cJSON *list, image_card *card)
{
    bool object = cJSON_IsObject(list);
    int64_t n = object || cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0, place = 0;
    if (!n) return NULL;
    TRY(alloc_array(&card->names, (size_t)n, sizeof *card->names));
    card->n_names = n;
    for (const cJSON *item = list->child; item; item = item->next, place++) {
        int64_t i = number_of(item, object, place, n);
        const char *name = cJSON_GetStringValue(item);
        if (i < 0 || card->names[i]) continue;
        if (!(card->names[i] = strdup(name ? name : ""))) return no_memory();
    }
    for (int64_t i = 0; i < n; i++)
        if (!card->names[i] && !(card->names[i] = strdup(""))) return no_memory();
    return NULL;
}

/* A kernel by its word or its number.  One that we do not have is no error yet: a model may be
 * loaded to be trained on other pictures. */
static void read_kernel(const char *file, const cJSON *item, image_card *card)
{
    const char *word = cJSON_GetStringValue(item);
    char shown[50] = "is no number";
    if (!item || cJSON_IsNull(item)) return;
    *card->unknown = 0;
    for (int k = 0; k < 2; k++)
        if (word ? !strcmp(word, kernels[k].word) : item->valuedouble == kernels[k].pillow) {
            card->bicubic = k;
            return;
        }
    if (word) snprintf(shown, sizeof shown, "\"%.40s\"", word);
    if (cJSON_IsNumber(item)) snprintf(shown, sizeof shown, "%g", item->valuedouble);
    snprintf(card->unknown, sizeof card->unknown, "%s: %s %s", file, item->string, shown);
}

error *image_card_resizes(const image_card *card, const char *path, const char *mend)
{
    if (!*card->unknown) return NULL;
    return user_error("%s: %s: pictures are resized \"bilinear\" (the number 2) or \"bicubic\" (3) "
                      "here; %s",
                      path, card->unknown, mend);
}

static error *read_crop(const char *path, const cJSON *item, double *part)
{
    if (!item || cJSON_IsNull(item)) return NULL;
    *part = cJSON_IsNumber(item) ? item->valuedouble : 0;
    if (*part > 0 && *part <= 1) return NULL;
    return user_error("%s: crop_pct is the part of a picture that is left: it must be more than 0 "
                      "and at most 1",
                      path);
}

static error *read_data(const char *path, const cJSON *p, image_card *card)
{
    read_three(json_get(p, "mean"), card->mean);
    read_three(json_get(p, "std"), card->std);
    TRY(read_crop(path, json_get(p, "crop_pct"), &card->crop_part));
    read_kernel("config.json", json_get(p, "interpolation"), card);
    return NULL;
}

static error *read_config(const char *path, const cJSON *json, bool *found, image_card *card)
{
    const char *type = json_string(json, "model_type");
    const cJSON *own = json_get(json, "regrad");
    TRY(read_data(path, json_get(json, "pretrained_cfg"), card));
    TRY(read_names(json_get(json, own ? "label_names" : "id2label"), card));
    *found = own;
    if (own) {
        TRY(config_from_json(path, own, &card->model));
        return error_context(image_config(&card->model), "%s", path);
    }
    TRY(hf_image_read(path, json, found, &card->model));
    if (!*found && type && json_get(json, "vocab_size"))
        return user_error("%s is of a model of text (%s): train_gpt, generate and export take it, "
                          "for images give a model of images",
                          path, type);
    return NULL;
}

static double number_at(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_IsNumber(object) ? object : json_get(object, name);
    return cJSON_IsNumber(item) && item->valuedouble >= 1 ? item->valuedouble : 0;
}

/* The part that a crop from the middle leaves, as transformers' image processors know it;
 * 0: nothing is cut off.  ConvNeXt's has crop_pct and does without from 384 pixels on; the
 * others scale the shorter side to one size and cut out another. */
static double crop_of(const cJSON *json, double fraction)
{
    enum { WHOLE_FROM = 384 };
    double shorter = number_at(json_get(json, "size"), "shortest_edge"),
           cut = number_at(json_get(json, "crop_size"), "height");
    if (fraction > 0) return shorter > 0 && shorter < WHOLE_FROM ? fraction : 0;
    if (!cJSON_IsTrue(json_get(json, "do_center_crop")) || !(cut > 0 && shorter >= cut)) return 0;
    double part = cut / shorter;
    /* floor(cut / part) is to be the shorter side again (data/images/resize.c) */
    return floor(cut / part) < shorter ? nextafter(part, 0) : part;
}

/* Hugging Face's preprocessing file. */
static error *read_processor(const char *directory, image_card *card)
{
    char path[PATH_LENGTH];
    cJSON *json;
    double fraction = 0;
    TRY(path_join(path, directory, "preprocessor_config.json"));
    if (access(path, F_OK)) return NULL;
    TRY(json_read(path, MOST_CONFIG, &json));
    read_three(json_get(json, "image_mean"), card->mean);
    read_three(json_get(json, "image_std"), card->std);
    error *e = read_crop(path, json_get(json, "crop_pct"), &fraction);
    read_kernel("preprocessor_config.json", json_get(json, "resample"), card);
    double part = crop_of(json, fraction);
    if (part > 0) card->crop_part = part;
    cJSON_Delete(json);
    return e;
}

error *image_card_is_at(const char *path, bool *is)
{
    char inside[PATH_LENGTH];
    bool within;
    cJSON *json;
    *is = false;
    TRY(is_directory(path, &within));
    if (!within) return NULL;
    TRY(path_join(inside, path, "config.json"));
    if (access(inside, F_OK)) return NULL;
    TRY(json_read(inside, MOST_CONFIG, &json));
    *is = json_get(json, "regrad") || hf_is_image(json);
    cJSON_Delete(json);
    return NULL;
}

error *image_card_read(const char *path, bool *found, image_card *out)
{
    char inside[PATH_LENGTH], directory[PATH_LENGTH];
    cJSON *json;
    *found = false;
    out->names = NULL;
    out->n_names = 0;
    *out->unknown = 0;
    TRY(path_directory(directory, path, NULL));
    TRY(path_join(inside, directory, "config.json"));
    if (access(inside, F_OK)) return NULL;
    TRY(json_read(inside, MOST_CONFIG, &json));
    error *e = read_config(inside, json, found, out);
    cJSON_Delete(json);
    if (!e) e = read_processor(directory, out);
    if (e) image_card_free(out);
    return e;
}

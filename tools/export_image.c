/* export_image.c - --to hf of a ViT or a ConvNeXt; see export.h.
 *
 *     config.json                ViTForImageClassification or ConvNextForImageClassification, with
 *                                the classes' names
 *     model.safetensors          with transformers' names; a run has timm's
 *     preprocessor_config.json   how pixels are scaled, if the source says so
 *     README.md                  a model card (export_card.c)
 *
 * The values pass through the same table as everywhere (model/vit.c, model/convnext.c), so what
 * --load of train_vit takes is what can be exported.
 */
#include "tools/export.h"

#include "io/image_card.h"
#include "io/vit_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILES = 4 };
static const char *const files_of_image[FILES] = {"config.json", "model.safetensors",
                                                  "preprocessor_config.json", "README.md"};

/* What only a model of text has. */
static error *check_words(const arguments *a)
{
    const char *const given[][2] = {
        {a->vocab, "--vocab"}, {a->merge, "--merge"}, {a->fast ? "" : NULL, "--fast-tokenizer"}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i][0])
            return user_error("%s: %s is a model of images, for which there is no such thing",
                              given[i][1], a->from);
    return NULL;
}

static error *floats_in(const arguments *a, file_floats *out)
{
    char path[PATH_LENGTH];
    safetensors *file;
    TRY(path_join(path, a->from, "model.safetensors"));
    TRY(safetensors_open(path, &file));
    error *e = floats_of(a, safetensors_floats(file), out);
    safetensors_close(file);
    return e;
}

static error *read_values(const arguments *a, const model_config *c, bool widen, holder *h)
{
    bool head;
    TRY(holder_make(h, &image_kind, c, &plain_training));
    TRY(vit_read(a->from, c, &h->params, widen, &h->dev, &head));
    if (head) return NULL;
    return user_error("%s has no head for %lld classes", a->from, (long long)c->vocab);
}

static error *write_readme(const arguments *a, const image_card *card, const char *type,
                           int64_t parameters)
{
    char path[PATH_LENGTH], sizes[300];
    const model_config *c = &card->model;
    TRY(path_directory(path, a->from, NULL));
    snprintf(
        sizes, sizeof sizes,
        "A model of images of type `%s`: %lld parameters in %s, %lld classes, images of %lld x "
        "%lld pixels in %lld channels.",
        c->stage[0] ? "convnext" : "vit", (long long)parameters, type, (long long)c->vocab,
        (long long)c->image_height, (long long)c->image_width, (long long)c->channels);
    return card_write(
        a, path,
        &(card_subject){.task = "image-classification", .loss_per = "image", .sizes = sizes});
}

static error *write_files(const arguments *a, const image_card *card, const params *p,
                          file_floats floats, device *dev)
{
    char path[PATH_LENGTH];
    TRY(make_directory(a->out, "OUT"));
    TRY(image_card_write_hf(a->out, card, weights_floats_name(floats)));
    TRY(write_readme(a, card, weights_floats_name(floats), params_count(p)));
    TRY(path_join(path, a->out, "model.safetensors"));
    TRY(vit_write_hf(path, &card->model, p, floats, dev));
    bool pixels = card->std[0] > 0;
    printf("wrote %s: config.json, model.safetensors (%lld parameters), README.md%s\n", a->out,
           (long long)params_count(p),
           pixels ? ", preprocessor_config.json"
                  : "; the source does not say how pixels are scaled");
    return NULL;
}

static error *export_card(const arguments *a, const image_card *card)
{
    file_floats floats;
    holder h = {0};
    TRY(floats_in(a, &floats));
    error *e = read_values(a, &card->model, a->widen || a->dtype || floats != FILE_AS_IS, &h);
    if (!e) {
        bool made = access(a->out, F_OK);
        e = write_files(a, card, &h.params, floats, &h.dev);
        if (e) remove_written(a->out, files_of_image, FILES, made);
    }
    holder_close(&h);
    return e;
}

error *export_image(const arguments *a)
{
    image_card card = {0};
    bool found;
    TRY(check_words(a));
    for (int i = 0; i < FILES; i++)
        TRY(must_be_new(a->out, files_of_image[i]));
    TRY(image_card_read(a->from, &found, &card));
    error *e = image_card_resizes(&card, a->from, "say one of them there");
    if (!e) e = export_card(a, &card);
    image_card_free(&card);
    return e;
}

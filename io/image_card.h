/* image_card.h - what is needed to use a trained image model: its configuration, class names, and
 * pixel normalization.
 *
 *   config.json     written in timm's form, which timm (model "local-dir:DIR") and transformers
 *                   (AutoModelForImageClassification, through timm) load; our own fields are under
 *                   "regrad".  Also read: Hugging Face's for a ViT and a ConvNeXt (model/hf/)
 *   classes.txt     the names, one per line, for scripts
 *   preprocessor_config.json     read: Hugging Face's mean, standard deviation, kernel and crop
 *
 * or, for transformers itself, the last one and its own form of the first (image_card_write_hf).
 */
#ifndef REGRAD_IMAGE_CARD_H
#define REGRAD_IMAGE_CARD_H

#include "model/config.h"

typedef struct {
    model_config model;
    char **names; /* ? (n_names) class names */
    int64_t n_names;
    double mean[3], std[3]; /* for values from 0 to 1; std 0: unknown */
    double crop_part;       /* see data/images/image_source.h; 0: unknown */
    bool bicubic;           /* by that kernel, or else by a bilinear one */
    char unknown[128];      /* the field that names another one, which we do not have; else "" */
} image_card;

/* User error if pictures cannot be resized as the card says; mend: what to do instead. */
error *image_card_resizes(const image_card *card, const char *path, const char *mend) NODISCARD;

/* Writes into an existing directory. */
error *image_card_write(const char *directory, const image_card *card) NODISCARD;

/* The forms of ViTForImageClassification or ConvNextForImageClassification, for weights that
 * vit_write_hf wrote (io/vit_file.h) in floats of that type in transformers' terms;
 * preprocessor_config.json if mean and deviation are known.  User error if transformers has no such
 * model. */
error *image_card_write_hf(const char *directory, const image_card *card,
                           const char *type) NODISCARD;

/* Is it the directory of an image model, by its config.json?  Without one, and of a file, it is
 * not. */
error *image_card_is_at(const char *path, bool *is) NODISCARD;

/* path: the model's directory, or a file in it.  *found: there is a config.json that describes a
 * model; otherwise *out keeps its configuration.  Free the names with image_card_free. */
error *image_card_read(const char *path, bool *found, image_card *out) NODISCARD;
void image_card_free(image_card *card);

#endif

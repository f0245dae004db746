/* image_card.h - what one must know to use a trained model of images: its configuration, the names
 * of its classes, how pixels become numbers.
 *
 *   config.json     written in timm's form, which timm (model "local-dir:DIR") and transformers
 *                   (AutoModelForImageClassification, by way of timm) load; our own fields are under
 *                   "regrad".  Read: this one, or Hugging Face's of a ViT (model/hf/hf_vit.c)
 *   classes.txt     the names, a line each, for scripts
 *   preprocessor_config.json     read: Hugging Face's mean and standard deviation
 */
#ifndef REGRAD_IMAGE_CARD_H
#define REGRAD_IMAGE_CARD_H

#include "model/config.h"

typedef struct {
    model_config model;
    char **names; /* ? (n_names) of the classes */
    int64_t n_names;
    double mean[3], std[3]; /* of values from 0 to 1; std 0: not known */
    double crop_part;       /* see data/images/image_source.h; 0: not known */
    bool bicubic;
} image_card;

/* Into a directory that exists. */
error *image_card_write(const char *directory, const image_card *card) NODISCARD;

/* path: the model's directory, or a file in it.  *found: there is a config.json that
 * says what model it is; else *out keeps the configuration that it had.  Free the names
 * with image_card_free. */
error *image_card_read(const char *path, bool *found, image_card *out) NODISCARD;
void image_card_free(image_card *card);

#endif

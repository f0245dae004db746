/* hf_files.h - image models as Hugging Face's transformers writes them, made up: the tensors, the
 * images that they are tried on, and the loss (test/golden/hf_vit.py, hf_convnext.py). */
#ifndef REGRAD_TEST_HF_FILES_H
#define REGRAD_TEST_HF_FILES_H

#include "io/safetensors.h"

enum { HF_TENSORS = 100 };

typedef struct {
    named_tensor list[HF_TENSORS];
    char names[HF_TENSORS][100];
    int n;
} hf_file;

/* Number k of the script's list. */
void hf_add(hf_file *f, const char *name, uint32_t k, shape s, bool about_one);
/* To hf/model.safetensors; f is empty then. */
void hf_write(hf_file *f);

/* x-images-idx3-ubyte and the labels beside. */
void hf_images_write(int64_t n, int64_t channels, int64_t side, int64_t classes);

#define HF_LOAD_OF(directory)                                                                      \
    "--patch 4 --load " directory " --val-data x-images-idx3-ubyte --threads 1 "
#define HF_LOAD HF_LOAD_OF("hf")

/* Of a model with these arguments on those images. */
double hf_loss(const char *arguments);

/* Exports hf to the directory exported with these words, as a run is, whose names are others.  In
 * floats of 32 bits each tensor is the original's, which transformers itself has taken
 * (golden/hf_loss.py), and there is no other. */
void hf_export(const char *words);

#endif

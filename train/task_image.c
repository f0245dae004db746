/* task_image.c - the task of classifying images: ViT or ConvNeXt on labelled images. */
#include "base/command_line.h"
#include "base/files.h"
#include "base/outfile.h"
#include "data/images/image_source.h"
#include "data/prefetch.h"
#include "train/task.h"
#include "io/image_card.h"
#include "io/vit_file.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEMO_DATA  "/usr/share/datasets/fashion-mnist/"
#define DEMO_TRAIN DEMO_DATA "train-images-idx3-ubyte.gz"
#define DEMO_VAL   DEMO_DATA "t10k-images-idx3-ubyte.gz"

#define BILINEAR "bilinear"
static const char *const kernels[] = {BILINEAR, "bicubic"};

static const option_row rows[] = {
    {"model", "NAME",
     "preset: {presets}; nano and micro are for 28 x 28 grey images and 10 classes, the "
     "others for 224 x 224 colour images and 1000 classes, wrn for 32 x 32 and 10",
     TEXT, MODEL, SILENT, 0, FIELD(model_name), 0, 0, NULL},
    {"load", "DIR|FILE",
     "start from this trained ViT of the same sizes: safetensors of timm or Hugging Face, "
     "or the output of a run; image size and classes may differ",
     TEXT, TUNING, SILENT, 0, FIELD(load), 0, 0, "initial values"},
    {"inner", "N", "hidden size of the MLP", INTEGER, MODEL, FIXED, 0, FIELD(images.inner), 1, 1e6,
     "the model's; four times a --width that is given"},
    {"image-size", "N|HxW", "image size in pixels; images of another size are resized and cropped",
     TEXT, MODEL, FIXED, 0, FIELD(images.image_size), 0, 0, "the model's"},
    {"channels", "N", "colour channels: 1 or 3", INTEGER, MODEL, FIXED, 0, FIELD(images.channels),
     1, 3, "the model's"},
    {"patch", "N", "side of a patch in pixels; must divide the image size", INTEGER, MODEL, FIXED,
     0, FIELD(images.patch), 1, 1e4, "the model's"},
    {"pool", "HOW", "pooling: cls (a class token) or mean (of all positions)", TEXT, MODEL, FIXED,
     0, FIELD(images.pool), 0, 0, NULL},
    {"norm", "HOW",
     "normalization of a WRN: batch (BatchNorm), or group (GroupNorm of 8 groups, which does not "
     "depend on the micro-batch)",
     TEXT, MODEL, FIXED, 0, FIELD(images.norm), 0, 0, "the model's"},
    {"classes", "N", "number of classes", INTEGER, MODEL, FIXED, 0, FIELD(images.classes), 1, 1e6,
     "as many as --train-data has directories; else the model's"},
    {"drop-path", "X",
     "stochastic depth: probability of skipping a branch in the last block, decreasing to "
     "0 at the first",
     REAL, MODEL, TOLD, 0, FIELD(images.drop_path), 0, 0.99, NULL},
    {"train-data", "PATH",
     "images to train on: an idx file, CIFAR's .bin files, WebDataset's .tar files, or a directory "
     "with one folder per class",
     LIST, DATA, SILENT, 0, FIELD(train_data), 0, 0, "Fashion-MNIST's"},
    {"val-data", "PATH", "images to evaluate on", LIST, DATA, SILENT, 0, FIELD(val_data), 0, 0,
     "Fashion-MNIST's"},
    {"split", "X", "evaluate on this fraction of the training images, and train on the others",
     REAL, DATA, FIXED, 0, FIELD(images.how.split), 0, 0.9, NULL},
    {"interpolation", "HOW", "how images are resized: bilinear or bicubic", TEXT, DATA, TOLD, 0,
     FIELD(images.interpolation), 0, 0, BILINEAR},
    {"crop-pct", "X",
     "resize images to cover 1 / X of the size, then crop the centre (timm's crop_pct)", REAL, DATA,
     TOLD, 0, FIELD(images.how.crop_part), 0.1, 1, "1"},
    {"mean", "X,X,X|NAME",
     "mean to subtract from pixels in 0 ... 1: one number, one per channel, or imagenet, "
     "inception or clip (which set --std, too)",
     TEXT, DATA, TOLD, 0, FIELD(images.mean), 0, 0, "0.5"},
    {"std", "X,X,X", "standard deviation to divide by after that", TEXT, DATA, TOLD, 0,
     FIELD(images.std), 0, 0, "0.5"},
    {"random-crop", "N", "shift images by up to N pixels", INTEGER, DATA, TOLD, 0,
     FIELD(images.how.crop), 0, 1e4, NULL},
    {"flip", NULL, "flip images horizontally with probability 1/2", FLAG, DATA, TOLD, 0,
     FIELD(images.how.flip), 0, 0, NULL},
    {"resized-crop", "X",
     "random resized crop, as small as this fraction of the area (0.08 is usual); 0 = off", REAL,
     DATA, TOLD, 0, FIELD(images.how.crop_least), 0, 1, NULL},
    {"color-jitter", "X",
     "change brightness, contrast and saturation by up to this fraction; 0 = off", REAL, DATA, TOLD,
     0, FIELD(images.how.jitter), 0, 1, NULL},
    {"rand-augment", "M", "RandAugment of this magnitude, as in torchvision (9 is usual); 0 = off",
     INTEGER, DATA, TOLD, 0, FIELD(images.how.rand_magnitude), 0, 30, NULL},
    {"random-erasing", "P", "probability of erasing a rectangle", REAL, DATA, TOLD, 0,
     FIELD(images.how.erase), 0, 1, NULL},
    {"cutmix", "ALPHA",
     "CutMix with a rectangle sized by Beta(ALPHA, ALPHA); 0 = off. With --mixup, each batch uses "
     "one or the other",
     REAL, DATA, TOLD, 0, FIELD(images.how.cutmix), 0, 2, NULL},
    {"mixup", "ALPHA", "mixup: blend pairs of images by Beta(ALPHA, ALPHA); 0 = off", REAL, DATA,
     TOLD, 0, FIELD(images.how.mixup), 0, 2, NULL},
    {"label-smoothing", "X", "spread this fraction of each target over all classes", REAL, DATA,
     TOLD, 0, FIELD(images.how.smoothing), 0, 0.999, NULL},
    {"bad-images", "HOW",
     "what to do with images that cannot be decoded: fail; a fraction such as 0.05: skip "
     "and count them, and stop with a checkpoint when they exceed it; or skip: skip all of "
     "them, and labels out of range and empty classes, too",
     TEXT, DATA, TOLD, 0, FIELD(images.bad_images), 0, 0, NULL},
    {"upright", NULL, "rotate images as their EXIF orientation says", FLAG, DATA, TOLD, 0,
     FIELD(images.how.wish.upright), 0, 0, NULL},
    {"workers", "N", "threads that prepare images ahead of the training; 0 = none", INTEGER, DATA,
     SILENT, 0, FIELD(images.workers), 0, 64, NULL},
    {"predict", "N",
     "after the last step, write the predictions for N evaluation images, chosen by the "
     "seed, and the images to predictions.txt (scripts/plot-vit draws them)",
     INTEGER, OUTPUT, SILENT, 0, FIELD(images.predict), 0, 1e5, NULL},
    {"eval-batches", "N", "batches per evaluation; 0 = all images", INTEGER, OUTPUT, SILENT, 0,
     FIELD(eval_batches), 0, 1e6, NULL},
};

static void image_defaults(options *o)
{
    o->images.pool = "cls";
    o->images.bad_images = "0.05";
    o->images.workers = 1;
    o->batch = 64;
}

static error *image_size(const options *o, model_config *c)
{
    char rest;
    long long h, w;
    if (!o->images.image_size) return NULL;
    int n = sscanf(o->images.image_size, "%lldx%lld%c", &h, &w, &rest);
    if (n == 1 && !strpbrk(o->images.image_size, "xX")) w = h, n = 2;
    if (n != 2 || strspn(o->images.image_size, "0123456789x") != strlen(o->images.image_size))
        return user_error("--image-size %s: must be pixels, as in 224, or height and width, as in "
                          "224x160",
                          o->images.image_size);
    c->image_height = h;
    c->image_width = w;
    return NULL;
}

/* A fraction in (0, 1), or one of two words. */
static error *resolve_bad(options *o)
{
    char *end;
    if (!strcmp(o->images.bad_images, "fail") || !strcmp(o->images.bad_images, "skip")) {
        o->images.bad_share = *o->images.bad_images == 's';
        return NULL;
    }
    o->images.bad_share = strtod(o->images.bad_images, &end);
    if (end != o->images.bad_images && !*end && o->images.bad_share > 0 && o->images.bad_share < 1)
        return NULL;
    return user_error("--bad-images %s: must be fail, skip or a part, as in 0.05",
                      o->images.bad_images);
}

/* One number for all channels, or three separated by commas. */
static error *three_numbers(const char *name, const char *text, double least, double out[3])
{
    int n = 0, used = 0;
    const char *at = text;
    while (n < 3 && sscanf(at, "%lf%n", &out[n], &used) == 1 && out[n] >= least && out[n] <= 1) {
        n++;
        at += used;
        if (*at != ',') break;
        at++;
    }
    if (*at || (n != 1 && n != 3))
        return user_error("--%s %s: must be a number from %g to 1, or three separated by commas",
                          name, text, least);
    if (n == 1) out[1] = out[2] = out[0];
    return NULL;
}

static error *resolve_pixels(options *o)
{
    static const struct {
        const char *name;
        double mean[3], std[3];
    } known[] = {
        {"imagenet", {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
        {"inception", {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}},
        {"clip", {0.48145466, 0.4578275, 0.40821073}, {0.26862954, 0.26130258, 0.27577711}}};
    int kernel;
    if (o->images.interpolation)
        TRY(command_line_word("interpolation", o->images.interpolation, kernels, 2, &kernel));
    for (size_t i = 0; o->images.mean && i < sizeof known / sizeof *known; i++)
        if (!strcmp(o->images.mean, known[i].name)) {
            memcpy(o->images.how.mean, known[i].mean, sizeof o->images.how.mean);
            memcpy(o->images.how.std, known[i].std, sizeof o->images.how.std);
            if (!o->images.std) return NULL;
            return user_error("--std %s with --mean %s, which sets it: leave one out",
                              o->images.std, o->images.mean);
        }
    if (!o->images.mean && !o->images.std) return NULL;
    TRY(three_numbers("mean", o->images.mean ? o->images.mean : "0.5", 0, o->images.how.mean));
    return three_numbers("std", o->images.std ? o->images.std : "0.5", 1e-3, o->images.how.std);
}

/* The number of classes is the number of the training data's directories. */
static error *count_classes(const options *o, model_config *c)
{
    image_names names;
    TRY(image_names_find(o->train_data.pattern, o->train_data.n, &names));
    if (names.n) c->vocab = names.n;
    image_names_free(&names);
    return NULL;
}

/* Sizes that were given override the preset's. */
static void apply_sizes(const options *o, model_config *c)
{
    if (o->layers) c->layers = o->layers;
    if (o->heads) c->heads = o->heads;
    if (o->width && c->stage[0]) c->width = o->width;
    if (o->width && !c->stage[0]) c->width = o->width, c->inner = 4 * o->width;
    if (o->images.inner) c->inner = o->images.inner;
    if (o->images.channels) c->channels = o->images.channels;
    if (o->images.patch) c->patch = o->images.patch;
}

/* What only some models have; loaded: it is the model of a file, which has its norm. */
static error *apply_norm_option(const options *o, bool loaded, model_config *c)
{
    static const char *const norms[] = {"batch", "group"};
    bool wide = is_residual_network(c);
    int group;
    if (o->images.drop_path > 0 && wide)
        return user_error("--drop-path %g: model %s has no such branches: leave it out",
                          o->images.drop_path, c->name);
    if (!o->images.norm) return NULL;
    if (!wide)
        return user_error("--norm %s: model %s has LayerNorms only", o->images.norm, c->name);
    TRY(command_line_word("norm", o->images.norm, norms, 2, &group));
    if (loaded && group != (c->norm == NORM_GROUP))
        return user_error("--norm %s: the model of --load %s has the other one; leave it out",
                          o->images.norm, o->load);
    c->norm = group ? NORM_GROUP : NORM_BATCH;
    return NULL;
}

/* What a file's model is called: a preset of these sizes, or its family. */
static const char *name_of_sizes(const model_config *c)
{
    for (int i = 0; i < image_presets.n; i++) {
        const model_config *row = &image_presets.row[i];
        if (row->layers == c->layers && row->heads == c->heads && row->width == c->width &&
            row->inner == c->inner && row->patch == c->patch &&
            !memcmp(row->stage, c->stage, sizeof c->stage))
            return row->name;
    }
    return is_residual_network(c) ? "wrn" : c->stage[0] ? "convnext" : "vit";
}

/* A config.json beside the weights defines the model; options that were given must agree. */
static error *apply_file(const options *o, bool named, bool *found, model_config *c)
{
    image_card card = {.model = *c};
    TRY(image_card_read(o->load, found, &card));
    image_card_free(&card);
    if (!*found) return NULL;
    model_config theirs = card.model;
    const loaded_size sizes[] = {
        {"layers", named || o->layers ? c->layers : 0, theirs.layers},
        {"heads", named || o->heads ? c->heads : 0, theirs.heads},
        {"width", named || o->width ? c->width : 0, theirs.width},
        {"inner", named || o->images.inner ? c->inner : 0, theirs.inner},
        {"channels", named || o->images.channels ? c->channels : 0, theirs.channels},
        {"patch", named || o->images.patch ? c->patch : 0, theirs.patch}};
    TRY(options_sizes_agree(o, sizes, sizeof sizes / sizeof *sizes, named));
    snprintf(theirs.name, sizeof theirs.name, "%s", named ? c->name : name_of_sizes(&theirs));
    if (!theirs.stage[0] && theirs.mean_pool != c->mean_pool) /* only a ViT has the choice */
        return user_error("--pool %s: the model of --load %s has the other one", o->images.pool,
                          o->load);
    *c = theirs;
    return NULL;
}

/* To be evaluated, pictures are prepared as the loaded model's card says, where nothing was
 * given. */
static error *take_pixels(options *o)
{
    bool found;
    image_card card = {0};
    TRY(image_card_read(o->load, &found, &card));
    image_card_free(&card);
    if (!o->images.mean && !o->images.std && card.std[0] > 0) {
        memcpy(o->images.how.mean, card.mean, sizeof o->images.how.mean);
        memcpy(o->images.how.std, card.std, sizeof o->images.how.std);
    }
    if (!(o->images.how.crop_part > 0)) o->images.how.crop_part = card.crop_part;
    if (o->images.interpolation) return NULL;
    o->images.interpolation = kernels[card.bicubic];
    return image_card_resizes(&card, o->load, "give --interpolation");
}

static error *image_resolve(options *o)
{
    static const char *const pools[] = {"cls", "mean"};
    bool named = o->model_name, loaded = false;
    int pool;
    if (!o->model_name) o->model_name = image_kind.default_model;
    model_config *c = &o->model;
    TRY(preset_find(&image_presets, o->model_name, c));
    TRY(command_line_word("pool", o->images.pool, pools, 2, &pool));
    c->mean_pool = pool;
    TRY(resolve_bad(o));
    TRY(resolve_pixels(o));
    bool given = o->eval_only && o->load && !o->resume; /* a checkpoint has its run's options */
    if (given) TRY(take_pixels(o));
    if (!o->images.interpolation) o->images.interpolation = BILINEAR;
    if (!(o->images.how.crop_part > 0)) o->images.how.crop_part = 1;
    apply_sizes(o, c);
    if (o->load) TRY(apply_file(o, named, &loaded, c));
    if (given && loaded && o->images.classes && o->images.classes != c->vocab)
        return user_error("--classes %lld: the model of --load %s has %lld, and --eval-only trains "
                          "no head for others; leave --classes out",
                          (long long)o->images.classes, o->load, (long long)c->vocab);
    TRY(apply_norm_option(o, loaded, c));
    TRY(image_size(o, c));
    if (o->images.classes)
        c->vocab = o->images.classes;
    else
        TRY(count_classes(o, c));
    if (c->channels == 2) return user_error("--channels 2: must be 1 or 3");
    o->training.drop_path = o->images.drop_path;
    TRY(image_config(c));
    o->seq = c->context;
    return NULL;
}

static void image_resolved(options *o)
{
    static _Thread_local char size[48];
    const model_config *c = &o->model;
    snprintf(size, sizeof size, "%lldx%lld", (long long)c->image_height, (long long)c->image_width);
    o->images.image_size = size;
    if (is_residual_network(c)) o->images.norm = c->norm == NORM_GROUP ? "group" : "batch";
    o->layers = c->layers;
    o->heads = c->heads;
    o->width = c->width;
    o->images.inner = c->inner;
    o->images.channels = c->channels;
    o->images.patch = c->patch;
    o->images.classes = c->vocab;
}

static int64_t image_units(const options *o)
{
    (void)o;
    return 1;
}

static int64_t image_positions(const options *o)
{
    return o->model.context;
}

static error *image_default_data(options *o)
{
    static const char *const train[] = {DEMO_TRAIN}, *const val[] = {DEMO_VAL};
    if (access(DEMO_TRAIN, R_OK))
        return user_error("no --train-data, and Fashion-MNIST is not there: install "
                          "dataset-fashion-mnist (`scripts/deps demo-vit`), or give --train-data "
                          "PATH");
    o->train_data = (pattern_list){train, 1};
    if (!o->val_data.n && !(o->images.how.split > 0)) o->val_data = (pattern_list){val, 1};
    return NULL;
}

/* What evaluation reads; with --split the part of the training images that is held out. */
static const pattern_list *validation(const options *o)
{
    return o->images.how.split > 0 ? &o->train_data : &o->val_data;
}

/* Samples that were skipped on opening, reported once for all ranks. */
static void tell_passed_over(const options *o, source *s)
{
    const char *text = images_passed_over(image_source_set(s));
    if (*text && comm_rank(o->comm) == 0) printf("%s\n", text);
}

static bool bicubic(const options *o)
{
    return !strcmp(o->images.interpolation, kernels[1]);
}

static error *open_named(const options *o, bool training, const image_names *names, source **out)
{
    const model_config *c = &o->model;
    const pattern_list *list = training ? &o->train_data : validation(o);
    image_options how = o->images.how;
    how.wish.channels = c->channels;
    how.wish.classes = c->vocab;
    how.wish.names = names;
    how.wish.bad = o->images.bad_share == 0   ? BAD_FAIL
                   : o->images.bad_share == 1 ? BAD_ANY
                                              : BAD_UNREADABLE;
    how.height = c->image_height;
    how.width = c->image_width;
    how.kernel = bicubic(o) ? RESAMPLE_BICUBIC : RESAMPLE_BILINEAR;
    if (training) how.crop_part = 1;
    how.training = training;
    how.seed = (uint64_t)o->seed;
    return image_source_open(list->pattern, list->n, &how, out);
}

/* Of the training data; where there is none, of the loaded model. */
static error *class_names(const options *o, image_names *out)
{
    bool found;
    image_card card = {0};
    if (o->train_data.n || !o->load)
        return image_names_find(o->train_data.pattern, o->train_data.n, out);
    TRY(image_card_read(o->load, &found, &card));
    *out = (image_names){card.names, card.n_names};
    return NULL;
}

/* Classes have the training data's names, also if images are only evaluated. */
static error *image_open(const options *o, bool training, source **out)
{
    const model_config *c = &o->model;
    size_t input = (size_t)(c->channels * c->image_height * c->image_width) * sizeof(float);
    source *s;
    image_names names;
    TRY(class_names(o, &names));
    error *e = open_named(o, training, &names, &s);
    image_names_free(&names);
    TRY(e);
    tell_passed_over(o, s);
    if (o->images.workers && training)
        return prefetch_open(s, (int)o->images.workers, o->batch, o->batch * comm_size(o->comm),
                             input, (size_t)c->vocab * sizeof(float), out);
    *out = s;
    return NULL;
}

/* The data sets, and batches that are prefetched. */
static error *image_held(const options *o, size_t *bytes)
{
    const model_config *c = &o->model;
    size_t sample = (size_t)(c->channels * c->image_height * c->image_width + c->vocab),
           batches = 1 + (o->images.workers ? prefetch_blocks((int)o->images.workers) : 0);
    *bytes = batches * (size_t)o->batch * sample * sizeof(float);
    TRY(images_held(o->train_data.pattern, o->train_data.n, bytes));
    const pattern_list *val = validation(o);
    return o->eval_every > 0 ? images_held(val->pattern, val->n, bytes) : NULL;
}

/* Says if the model of --load was trained on pictures that were resized by another kernel than this
 * run's. */
static error *tell_kernel(const options *o)
{
    bool found;
    image_card card = {.bicubic = bicubic(o)};
    TRY(image_card_read(o->load, &found, &card));
    image_card_free(&card);
    const char *here = o->images.interpolation;
    if (*card.unknown)
        printf("%s: %s, and images are resized %s here\n", o->load, card.unknown, here);
    else if (card.bicubic != bicubic(o))
        printf("%s: its images were resized %s, and are resized %s here (--interpolation)\n",
               o->load, kernels[card.bicubic], here);
    return NULL;
}

static error *image_load(trainer *t, device *dev)
{
    const options *o = t->o;
    bool head;
    TRY(tell_kernel(o));
    TRY(params_initialize(&t->params, dev, (uint64_t)o->seed)); /* that the file lacks */
    TRY(vit_read(o->load, &o->model, &t->params, o->widen, dev, &head));
    if (!head)
        printf("%s has no head for %lld classes: this one begins with initial values\n", o->load,
               (long long)o->model.vocab);
    return NULL;
}

/* ---- predictions.txt ---- */

static int64_t largest(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static int byte_of(const options *o, int64_t channel, float x)
{
    double mean = o->images.how.std[channel] > 0 ? o->images.how.mean[channel] : 0.5,
           std = o->images.how.std[channel] > 0 ? o->images.how.std[channel] : 0.5;
    return (int)lrint(fmin(255, fmax(0, ((double)x * std + mean) * 255)));
}

/* "# image label predicted probability", then a line "column row red green blue" for each pixel,
 * and two empty lines: the format for gnuplot's `index`. */
static void print_prediction(FILE *f, const options *o, int64_t number, const float *pixels,
                             const float *target, const float *logits)
{
    const model_config *c = &o->model;
    int64_t size = c->image_height * c->image_width, best = largest(logits, c->vocab);
    double sum = 0;
    for (int64_t k = 0; k < c->vocab; k++)
        sum += exp((double)(logits[k] - logits[best]));
    fprintf(f, "# %lld %lld %lld %.4f\n", (long long)number, (long long)largest(target, c->vocab),
            (long long)best, 1 / sum);
    for (int64_t i = 0; i < size; i++) {
        fprintf(f, "%lld %lld", (long long)(i % c->image_width), (long long)(i / c->image_width));
        for (int64_t k = 0; k < 3; k++)
            fprintf(f, " %d", byte_of(o, k, pixels[(c->channels == 3 ? k : 0) * size + i]));
        fputc('\n', f);
    }
    fputs("\n\n", f);
}

static error *write_prediction(outfile *f, const options *o, int64_t number, const float *pixels,
                               const float *target, const float *logits)
{
    memory_stream m;
    TRY(memory_stream_open(&m, "predictions.txt"));
    print_prediction(m.to, o, number, pixels, target, logits);
    TRY(memory_stream_close(&m));
    error *e = outfile_write(f, m.text, m.n);
    free(m.text);
    return e;
}

/* The first n evaluation images in a random order given by the seed: in a directory, classes come
 * one after another. */
typedef struct {
    source base;
    source *all;
    uint64_t seed;
    int64_t input, target; /* numbers per sample */
} drawn;

static int64_t drawn_number(const drawn *d, int64_t i)
{
    uint64_t n = (uint64_t)d->all->count, k = (uint64_t)i;
    return k < n ? (int64_t)rng_permute(d->seed, RNG_ORDER, 0, k, n) : i;
}

static error *drawn_read(source *base, int64_t first, int64_t count, void *inputs, void *targets)
{
    const drawn *d = (const drawn *)base;
    for (int64_t i = 0; i < count; i++) {
        float *input = (float *)inputs + i * d->input, *target = (float *)targets + i * d->target;
        TRY(source_read(d->all, drawn_number(d, first + i), 1, input, target));
    }
    return NULL;
}

/* f: NULL on all ranks but the first: they only compute. */
static error *write_predictions(trainer *t, source *all, outfile *f)
{
    static const source_ops ops = {.read = drawn_read};
    const options *o = t->o;
    const model_config *c = &o->model;
    drawn d = {.base = {.ops = &ops, .count = all->count, .ends = true},
               .all = all,
               .seed = (uint64_t)o->seed,
               .input = c->channels * c->image_height * c->image_width,
               .target = c->vocab};
    int64_t n = o->images.predict < all->count ? o->images.predict : all->count;
    float *logits;
    TRY(alloc_array(&logits, (size_t)(o->batch * c->vocab), sizeof *logits));
    error *e = NULL, *failed = NULL; /* a full disk does not leave the other ranks waiting */
    for (int64_t first = 0; first < n && !e; first += o->batch) {
        e = trainer_predict(t, &d.base, first, logits);
        for (int64_t i = 0; f && i < o->batch && first + i < n && !e && !failed; i++)
            failed = write_prediction(
                f, o, drawn_number(&d, first + i), (const float *)t->host_inputs + i * d.input,
                (const float *)t->host_targets + i * c->vocab, logits + i * c->vocab);
    }
    free(logits);
    return error_first(e, failed);
}

static error *predict_into(trainer *t, source *data, const char *path)
{
    if (comm_rank(t->o->comm)) return write_predictions(t, data, NULL);
    outfile *f;
    TRY(outfile_create(path, &f));
    error *e = write_predictions(t, data, f);
    if (!e) return outfile_commit(f);
    outfile_discard(f);
    return e;
}

static error *write_sheet(trainer *t)
{
    char path[PATH_LENGTH];
    source *data;
    if (!validation(t->o)->n) return user_error("--predict: there is no --val-data to predict");
    TRY(path_join(path, t->o->out, "predictions.txt"));
    TRY(image_open(t->o, false, &data));
    error *e = predict_into(t, data, path);
    source_close(data);
    return e;
}

/* config.json and classes.txt. */
static error *image_describe(const options *o, const char *directory)
{
    image_names names;
    TRY(image_names_find(o->train_data.pattern, o->train_data.n, &names));
    image_card card = {.model = o->model,
                       .names = names.name,
                       .n_names = names.n,
                       .crop_part = o->images.how.crop_part,
                       .bicubic = bicubic(o)};
    for (int i = 0; i < 3; i++) {
        bool given = o->images.how.std[i] > 0;
        card.mean[i] = given ? o->images.how.mean[i] : 0.5;
        card.std[i] = given ? o->images.how.std[i] : 0.5;
    }
    error *e = image_card_write(directory, &card);
    image_names_free(&names);
    return e;
}

static error *image_between(void *own, trainer *t, int64_t step, bool last)
{
    const options *o = t->o;
    (void)own, (void)step;
    if (!last || !o->images.predict) return NULL;
    trainer_exchange(t);
    error *e = write_sheet(t);
    trainer_exchange(t);
    return e;
}

const task image_task = {
    .kind = &image_kind,
    .samples = "images",
    .unit = "images",
    .unit_3 = "img",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .defaults = image_defaults,
    .resolve = image_resolve,
    .resolved = image_resolved,
    .units = image_units,
    .positions = image_positions,
    .default_data = image_default_data,
    .open = image_open,
    .held = image_held,
    .load = image_load,
    .between = image_between,
    .describe = image_describe,
};

/* vit_file.c - see vit_file.h */
#include "io/vit_file.h"
#include "base/files.h"
#include "base/resample.h"
#include "io/llmc.h"
#include "io/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = 200, PARTS = 3 };

typedef struct {
    const safetensors *file;
    const model_config *c;
    bool widen, hugging_face, backbone; /* backbone: names without "vit." */
    int64_t taken;
    device *dev;
} reader;

/* ---- names ---- */

static const char *const pairs[][2] = {
    {"cls_token", "vit.embeddings.cls_token"},
    {"pos_embed", "vit.embeddings.position_embeddings"},
    {"patch_embed.proj.", "vit.embeddings.patch_embeddings.projection."},
    {"norm.", "vit.layernorm."},
    {"head.", "classifier."},
    {"norm1.", "layernorm_before."},
    {"norm2.", "layernorm_after."},
    {"attn.proj.", "attention.output.dense."},
    {"mlp.fc1.", "intermediate.dense."},
    {"mlp.fc2.", "output.dense."},
};

/* Without "vit.", where the file has the backbone alone. */
static void drop_prefix(const reader *r, char name[NAME_ROOM])
{
    if (r->backbone && !strncmp(name, "vit.", 4)) memmove(name, name + 4, strlen(name + 4) + 1);
}

/* Hugging Face's name for timm's; for qkv that of part 0, 1 or 2. */
static void hugging_name(const reader *r, const char *name, int part, char out[NAME_ROOM])
{
    static const char *const parts[] = {"query", "key", "value"};
    int layer, at = 0;
    const char *rest = name;
    char front[60] = "";
    if (sscanf(name, "blocks.%d.%n", &layer, &at) == 1 && at > 0) {
        rest = name + at;
        snprintf(front, sizeof front, "vit.encoder.layer.%d.", layer);
    }
    if (!strncmp(rest, "attn.qkv.", 9)) {
        snprintf(out, NAME_ROOM, "%sattention.attention.%s.%s", front, parts[part], rest + 9);
        drop_prefix(r, out);
        return;
    }
    snprintf(out, NAME_ROOM, "%s", name);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (!strncmp(rest, pairs[i][0], strlen(pairs[i][0])))
            snprintf(out, NAME_ROOM, "%s%s%s", front, pairs[i][1], rest + strlen(pairs[i][0]));
    drop_prefix(r, out);
}

/* The same of ConvNeXt: STAGE and BLOCK are numbers in both. */
static void hugging_conv_name(const char *name, char out[NAME_ROOM])
{
    static const char *const parts[][2] = {{"conv_dw.", "dwconv."},
                                           {"norm.", "layernorm."},
                                           {"mlp.fc1.", "pwconv1."},
                                           {"mlp.fc2.", "pwconv2."},
                                           {"gamma", "layer_scale_parameter"}};
    static const char *const ends[][2] = {{"stem.0.", "convnext.embeddings.patch_embeddings."},
                                          {"stem.1.", "convnext.embeddings.layernorm."},
                                          {"head.norm.", "convnext.layernorm."},
                                          {"head.fc.", "classifier."}};
    int stage, block, at = 0;
    snprintf(out, NAME_ROOM, "%s", name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (!strncmp(name, ends[i][0], strlen(ends[i][0])))
            snprintf(out, NAME_ROOM, "%s%s", ends[i][1], name + strlen(ends[i][0]));
    if (sscanf(name, "stages.%d.downsample.%n", &stage, &at) == 1 && at)
        snprintf(out, NAME_ROOM, "convnext.encoder.stages.%d.downsampling_layer.%s", stage,
                 name + at);
    at = 0;
    if (sscanf(name, "stages.%d.blocks.%d.%n", &stage, &block, &at) != 2 || !at) return;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strncmp(name + at, parts[i][0], strlen(parts[i][0])))
            snprintf(out, NAME_ROOM, "convnext.encoder.stages.%d.layers.%d.%s%s", stage, block,
                     parts[i][1], name + at + strlen(parts[i][0]));
}

/* The file's name for timm's; of qkv, which is three tensors in Hugging Face's, for that part. */
static void name_in_file(const reader *r, const char *name, int part, char out[NAME_ROOM])
{
    if (!r->hugging_face)
        snprintf(out, NAME_ROOM, "%s", name);
    else if (r->c->stage[0])
        hugging_conv_name(name, out);
    else
        hugging_name(r, name, part, out);
}

/* How many tensors a parameter is in the file. */
static int parts_of(const reader *r, const char *name)
{
    return r->hugging_face && strstr(name, "attn.qkv.") ? PARTS : 1;
}

static int64_t find_entry(const reader *r, const char *name)
{
    return safetensors_find(r->file, name);
}

static error *missing(const reader *r, const char *name)
{
    return user_error("%s has no %s: it is not a model of timm or Hugging Face with these options",
                      safetensors_path(r->file), name);
}

/* ---- values ---- */

static error *fetch(reader *r, const char *name, tensor into)
{
    int64_t i = find_entry(r, name);
    if (i < 0) return missing(r, name);
    named_tensor t = {.name = name, .value = into};
    r->taken++;
    return safetensors_fetch_cast(r->file, i, &t, cast_widening(r->widen), r->dev);
}

/* A third of the rows of a (3 n) or (3 n, k) tensor. */
static tensor third(tensor t, int part)
{
    int64_t n = t.dim[0] / 3, size = tensor_count(t) / 3;
    char *data = (char *)t.data + (size_t)(part * size) * dtype_size(t.type);
    return t.rank == 1 ? tensor_of(data, t.type, SHAPE(n))
                       : tensor_of(data, t.type, SHAPE(n, t.dim[1]));
}

/* A row of n vectors of `width` numbers, `step` apart in `from`, as m. */
static error *resample(const float *from, int64_t n, int64_t step, float *to, int64_t m,
                       int64_t to_step, int64_t width)
{
    double *w;
    int64_t first;
    TRY(alloc_array(&w, resample_most(RESAMPLE_BICUBIC, n, m), sizeof *w));
    for (int64_t i = 0; i < m; i++) {
        int64_t count = resample_weights(RESAMPLE_BICUBIC, n, m, i, &first, w);
        for (int64_t k = 0; k < width; k++) {
            double sum = 0;
            for (int64_t j = 0; j < count; j++)
                sum += w[j] * (double)from[(first + j) * step + k];
            to[i * to_step + k] = (float)sum;
        }
    }
    free(w);
    return NULL;
}

/* Positions (n, n) of a square grid, resampled to (h, w); width numbers each.  First horizontally,
 * then vertically. */
static error *interpolate(const float *from, int64_t n, float *to, int64_t h, int64_t w,
                          int64_t width)
{
    float *rows;
    TRY(alloc_array(&rows, (size_t)(n * w), (size_t)width * sizeof *rows));
    error *e = NULL;
    for (int64_t y = 0; y < n && !e; y++)
        e = resample(from + y * n * width, n, width, rows + y * w * width, w, width, width);
    for (int64_t x = 0; x < w && !e; x++)
        e = resample(rows + x * width, n, w * width, to + x * width, h, w * width, width);
    free(rows);
    return e;
}

/* Positions for another image size: the file's are f32, (1, first + n n, width). */
static error *scale_positions(reader *r, const char *name, const safetensors_entry *e,
                              int64_t entry, tensor into)
{
    const model_config *c = r->c;
    int64_t first = !c->mean_pool, width = c->width, has = e->dim[1] - first;
    int64_t n = (int64_t)lrint(sqrt((double)has));
    int64_t h = c->image_height / c->patch, w = c->image_width / c->patch;
    if (e->type != F32 || into.type != F32 || e->dim[0] != 1 || e->dim[2] != width || n < 1 ||
        n * n != has)
        return user_error("%s: %s cannot be scaled to %lld x %lld patches: it must be F32 in the "
                          "file and in the run, of a "
                          "square grid, %lld wide",
                          safetensors_path(r->file), name, (long long)h, (long long)w,
                          (long long)width);
    float *from = NULL, *to = NULL;
    error *failed = alloc_array(&from, (size_t)(e->dim[1] * width), sizeof *from);
    if (!failed) failed = alloc_array(&to, (size_t)tensor_count(into), sizeof *to);
    if (!failed) failed = safetensors_read(r->file, entry, 0, e->bytes, from);
    if (!failed) {
        memcpy(to, from, (size_t)(first * width) * sizeof *to);
        failed = interpolate(from + first * width, n, to + first * width, h, w, width);
    }
    if (!failed) {
        op_put(r->dev, STREAM_COMPUTE, into, to);
        op_sync(r->dev, STREAM_COMPUTE);
        failed = device_status(r->dev);
        r->taken++;
    }
    free(from);
    free(to);
    return failed;
}

static error *read_row(reader *r, const char *name, tensor value, bool *head)
{
    char theirs[NAME_ROOM];
    int parts = parts_of(r, name);
    for (int part = 0; part < parts && parts > 1; part++) {
        name_in_file(r, name, part, theirs);
        TRY(fetch(r, theirs, third(value, part)));
    }
    if (parts > 1) return NULL;
    name_in_file(r, name, 0, theirs);
    int64_t i = find_entry(r, theirs);
    const safetensors_entry *e = i < 0 ? NULL : safetensors_entry_at(r->file, i);
    bool classes =
        (!strncmp(name, "head.", 5) && strncmp(name, "head.norm.", 10)) || !strncmp(name, "fc.", 3);
    if (classes && (!e || e->rank < 1 || e->dim[0] != value.dim[0])) {
        *head = false;
        r->taken += e != NULL;
        return NULL;
    }
    if (e && !strcmp(name, "pos_embed") && e->rank == 3 && e->dim[1] != value.dim[1])
        return scale_positions(r, theirs, e, i, value);
    return fetch(r, theirs, value);
}

/* PyTorch counts the batches that a BatchNorm has seen. */
static void count_batch_counts(reader *r)
{
    static const char end[] = ".num_batches_tracked";
    for (int64_t i = 0; is_residual_network(r->c) && i < safetensors_count(r->file); i++) {
        const char *name = safetensors_entry_at(r->file, i)->name;
        size_t n = strlen(name);
        r->taken += n >= sizeof end && !strcmp(name + n - (sizeof end - 1), end);
    }
}

/* Belongs to other heads than ours. */
static void count_unread(reader *r)
{
    static const char *const names[] = {"pooler.dense.weight",   "pooler.dense.bias",
                                        "embeddings.mask_token", "vit.pooler.dense.weight",
                                        "vit.pooler.dense.bias", "vit.embeddings.mask_token",
                                        "decoder.0.weight",      "decoder.0.bias"};
    for (size_t i = 0; r->hugging_face && i < sizeof names / sizeof *names; i++)
        r->taken += find_entry(r, names[i]) >= 0;
}

static error *read_all(reader *r, params *p, bool *head)
{
    char name[NAME_ROOM];
    r->backbone = find_entry(r, "embeddings.position_embeddings") >= 0;
    r->hugging_face = r->backbone || find_entry(r, "vit.embeddings.position_embeddings") >= 0 ||
                      find_entry(r, "convnext.embeddings.patch_embeddings.weight") >= 0;
    count_unread(r);
    count_batch_counts(r);
    for (int i = 0; i < p->n; i++)
        TRY(read_row(r, param_text(&p->row[i], name, sizeof name), p->row[i].value, head));
    if (r->taken < safetensors_count(r->file))
        return user_error("%s has %lld tensors that this model has no place for: give the sizes "
                          "that it was trained with",
                          safetensors_path(r->file),
                          (long long)(safetensors_count(r->file) - r->taken));
    return NULL;
}

error *vit_read(const char *path, const model_config *c, params *p, bool widen, device *dev,
                bool *head)
{
    char inside[PATH_LENGTH];
    bool within;
    TRY(is_directory(path, &within));
    if (within) {
        TRY(path_join(inside, path, "model.safetensors"));
        path = inside;
    }
    safetensors *file;
    bool is_llmc;
    TRY(llmc_is(path, &is_llmc));
    if (is_llmc)
        return user_error("%s is a GPT of llm.c's: train_gpt takes it, for images give a ViT",
                          path);
    TRY(safetensors_open(path, &file));
    reader r = {.file = file, .c = c, .widen = widen, .dev = dev};
    *head = true;
    error *e = read_all(&r, p, head);
    safetensors_close(file);
    return e;
}

/* ---- writing ---- */

typedef struct {
    char text[NAME_ROOM];
} name_text;

static error *write_list(const char *path, const reader *r, const params *p, file_floats floats,
                         named_tensor *list, name_text *names)
{
    char name[NAME_ROOM];
    int64_t n = 0;
    for (int i = 0; i < p->n; i++) {
        int parts = parts_of(r, param_text(&p->row[i], name, sizeof name));
        for (int part = 0; part < parts; part++, n++) {
            tensor value = p->row[i].value;
            name_in_file(r, name, part, names[n].text);
            list[n].name = names[n].text;
            list[n].value = parts > 1 ? third(value, part) : value;
        }
    }
    return safetensors_write_as(path, list, n, floats, r->dev, NULL);
}

error *vit_write_hf(const char *path, const model_config *c, const params *p, file_floats floats,
                    device *dev)
{
    const reader r = {.c = c, .hugging_face = true, .dev = dev};
    named_tensor *list = NULL;
    name_text *names = NULL;
    error *e = alloc_array(&list, (size_t)p->n * PARTS, sizeof *list);
    if (!e) e = alloc_array(&names, (size_t)p->n * PARTS, sizeof *names);
    if (!e) e = write_list(path, &r, p, floats, list, names);
    free(names);
    free(list);
    return e;
}

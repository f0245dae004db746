/* model_file.c - see model_file.h */
#include "io/model_file.h"
#include "base/files.h"
#include "base/fingerprint.h"
#include "base/json.h"
#include "io/llmc.h"
#include "io/params_file.h"
#include "model/hf/hf.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CONFIG = 1 << 20 };

struct weights {
    char directory[PATH_LENGTH];
    model_config model;
    const char *const *ignored; /* ? while it is opened */
    safetensors *tensors;       /* one of these two */
    llmc *llmc;
};

/* ---- opening ---- */

static error *open_llmc(weights *w, const char *path)
{
    TRY(llmc_open(path, &w->llmc));
    const llmc_sizes *z = llmc_about(w->llmc);
    if (z->width % z->heads)
        return user_error("%s: %lld heads do not divide a width of %lld: it is damaged", path,
                          (long long)z->heads, (long long)z->width);
    w->model = gpt_config("llm.c", z->layers, z->heads, z->width, z->context, z->vocab);
    return error_context(config_check(&w->model), "%s", path);
}

/* A model far larger than its file is refused here, before anyone plans memory for it. */
static error *check_bytes(const weights *w, const char *config)
{
    double matrices = config_parameters(&w->model), has = 0;
    for (int64_t i = 0; i < safetensors_count(w->tensors); i++)
        has += (double)safetensors_entry_at(w->tensors, i)->bytes;
    if (matrices <= has) return NULL; /* one byte each: types that are refused by name later */
    return user_error(
        "%s is of a model of %.4g parameters, but %s has only %.4g bytes: they do not "
        "belong together",
        config, matrices, safetensors_path(w->tensors), has);
}

error *weights_config(const char *path, const char *const *ignored, model_config *out)
{
    cJSON *json;
    TRY(json_read(path, MOST_CONFIG, &json));
    error *e = hf_config_read(path, json, ignored, out);
    cJSON_Delete(json);
    return e;
}

/* Without a config.json: does anything else identify it? */
static error *refuse_without(const weights *w, const char *config)
{
    char path[PATH_LENGTH];
    cJSON *state = NULL;
    TRY(path_join(path, w->directory, "state.json"));
    if (!access(path, F_OK)) TRY(json_read(path, MOST_CONFIG, &state));
    const char *program = json_string(state, "program");
    error *e =
        program
            ? user_error("%s is missing, which says what model it is: this is a checkpoint of %s",
                         config, program)
            : user_error("%s is missing, which says what model it is", config);
    cJSON_Delete(state);
    return e;
}

/* A file of neither kind is not reported as a damaged one of either. */
static error *check_beginning(const char *path)
{
    uint64_t header = 0;
    int64_t bytes;
    int fd;
    if (strstr(path, ".safetensors") || strstr(path, ".json")) return NULL;
    TRY(file_open(path, &fd, &bytes));
    error *e = bytes >= 8 ? file_pread(fd, path, &header, sizeof header, 0) : NULL;
    close(fd);
    if (e || (bytes >= 8 && header <= (uint64_t)bytes - 8)) return e;
    TRY(safetensors_refuse_pickle(path, header));
    return user_error("%s is not a model: it begins neither as llm.c's do (20240326) nor as "
                      "safetensors; if it was one, it is damaged: fetch or write it again",
                      path);
}

static error *open_tensors(weights *w, const char *path)
{
    char config[PATH_LENGTH];
    TRY(safetensors_open(path, &w->tensors));
    TRY(path_join(config, w->directory, "config.json"));
    if (access(config, F_OK)) return refuse_without(w, config);
    TRY(weights_config(config, w->ignored, &w->model));
    return check_bytes(w, config);
}

/* Older models exist only as pickles, which are programs. */
static error *refuse_pickles(const weights *w)
{
    static const char *const names[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    for (int i = 0; i < 2; i++) {
        char path[PATH_LENGTH];
        TRY(path_join(path, w->directory, names[i]));
        if (access(path, F_OK) == 0)
            return user_error("%s is of pickles, which cannot be read here: let transformers load "
                              "it and save_pretrained() write model.safetensors",
                              path);
    }
    return NULL;
}

static error *refuse_adapters(const weights *w)
{
    char path[PATH_LENGTH];
    TRY(path_join(path, w->directory, "adapter_config.json"));
    if (access(path, F_OK)) return NULL;
    return user_error(
        "%s has adapters alone: give the model that they are beside, and this as --adapter "
        "(./export: as --merge)",
        w->directory);
}

static int is_checkpoint(const struct dirent *d)
{
    const char *number = d->d_name + strlen("step_");
    return !strncmp(d->d_name, "step_", strlen("step_")) && *number &&
           !number[strspn(number, "0123456789")];
}

/* A run that has not ended has its model in checkpoints (run/checkpoint.h), named in order. */
static error *refuse_unfinished(const weights *w)
{
    struct dirent **name;
    int n = scandir(w->directory, &name, is_checkpoint, alphasort);
    error *e = n > 0 ? user_error("%s has no model.safetensors, as its run has not ended: give its "
                                  "newest checkpoint, %s/%s",
                                  w->directory, w->directory, name[n - 1]->d_name)
                     : NULL;
    for (int i = 0; i < n; i++)
        free(name[i]);
    if (n >= 0) free(name);
    return e;
}

static error *open_directory(weights *w)
{
    char path[PATH_LENGTH];
    TRY(path_join(path, w->directory, "model.safetensors.index.json"));
    if (access(path, F_OK) == 0) {
        char single[PATH_LENGTH];
        TRY(path_join(single, w->directory, "model.safetensors"));
        if (access(single, F_OK) == 0)
            return user_error("%s has both model.safetensors and an index of several: give the "
                              "path of the one that is meant",
                              w->directory);
        return open_tensors(w, path);
    }
    TRY(path_join(path, w->directory, "model.safetensors"));
    if (access(path, F_OK)) TRY(refuse_adapters(w));
    if (access(path, F_OK)) TRY(refuse_pickles(w));
    if (access(path, F_OK)) TRY(refuse_unfinished(w));
    return open_tensors(w, path);
}

static error *open_any(weights *w, const char *path)
{
    bool within, is_llmc;
    TRY(path_directory(w->directory, path, &within));
    if (within) return open_directory(w);
    TRY(llmc_is(path, &is_llmc));
    if (!is_llmc) TRY(check_beginning(path));
    return is_llmc ? open_llmc(w, path) : open_tensors(w, path);
}

error *weights_open(const char *path, const char *const *ignored, weights **out)
{
    weights *w;
    TRY(alloc_array(&w, 1, sizeof *w));
    w->ignored = ignored;
    error *e = open_any(w, path);
    if (e) {
        weights_close(w);
        return e;
    }
    *out = w;
    return NULL;
}

void weights_close(weights *w)
{
    if (!w) return;
    safetensors_close(w->tensors);
    llmc_close(w->llmc);
    free(w);
}

const model_config *weights_model(const weights *w)
{
    return &w->model;
}

const char *weights_directory(const weights *w)
{
    return w->directory;
}

file_floats weights_floats(const weights *w)
{
    return w->tensors ? safetensors_floats(w->tensors) : FILE_AS_IS;
}

const char *weights_floats_name(file_floats floats)
{
    return floats == FILE_F16 ? "float16" : hf_dtype(floats == FILE_BF16 ? BF16 : F32);
}

/* ---- identifying the model ---- */

static int is_shard(const struct dirent *d)
{
    const char *dot = strrchr(d->d_name, '.');
    return dot && !strcmp(dot, ".safetensors") && strncmp(d->d_name, "adapter_", 8) != 0;
}

/* Fingerprint of the n files of a directory, by name. */
static error *fingerprint_shards(const char *directory, struct dirent **name, int n, uint64_t *out)
{
    fingerprint_file *file = NULL;
    char(*path)[PATH_LENGTH] = NULL;
    fingerprint all = {0};
    error *e = alloc_array(&file, (size_t)n + 1, sizeof *file);
    if (!e) e = alloc_array(&path, (size_t)n + 1, sizeof *path);
    for (int i = 0; i < n && !e; i++) {
        e = path_join(path[i], directory, name[i]->d_name);
        file[i] = (fingerprint_file){.path = path[i], .name = name[i]->d_name, .fd = -1};
    }
    if (!e) e = fingerprint_files(file, n, 0, NULL, &all);
    free(path);
    free(file);
    *out = all.value;
    return e;
}

error *model_fingerprint(const char *path, uint64_t *out)
{
    char directory[PATH_LENGTH];
    struct dirent **name;
    fingerprint one = {0};
    bool within;
    TRY(path_directory(directory, path, &within));
    if (!within && !strstr(path, ".index.json")) {
        error *e = fingerprint_path(path, &one);
        *out = one.value;
        return e;
    }
    int n = scandir(directory, &name, is_shard, alphasort);
    if (n < 0) return user_error("%s cannot be read: %s", directory, strerror(errno));
    error *e = fingerprint_shards(directory, name, n, out);
    for (int i = 0; i < n; i++)
        free(name[i]);
    free(name);
    return e;
}

/* ---- values ---- */

error *weights_read(const weights *w, params *p, float_cast cast, device *dev)
{
    if (w->llmc) return llmc_read(w->llmc, p, cast != CAST_NONE, dev);
    return params_read_cast(w->tensors, p, cast, dev);
}

error *weights_read_into(const weights *w, params *p, float_cast cast, const tensor_source *into,
                         device *dev)
{
    if (w->llmc)
        return user_error(
            "%s: llm.c's files are not read in parts: ./export --to hf makes one that is",
            w->directory);
    return params_read_into(w->tensors, p, cast, into, dev);
}

/* No config.json for a model of no family that is known. */
static error *write_config(const char *directory, const model_config *c, const char *type)
{
    char path[PATH_LENGTH], *text;
    if (hf_lacks(c)) return NULL;
    TRY(path_join(path, directory, "config.json"));
    TRY(hf_config_text(c, type, &text));
    error *e = file_write_text(path, text);
    free(text);
    return e;
}

error *weights_write(const char *directory, const model_config *c, const params *p, device *dev,
                     const tensor_source *from)
{
    char path[PATH_LENGTH];
    TRY(write_config(directory, c, hf_dtype(p->type)));
    TRY(path_join(path, directory, "model.safetensors"));
    return params_write(path, p, dev, from);
}

error *weights_write_as(const char *directory, const model_config *c, const params *p,
                        file_floats floats, device *dev)
{
    char path[PATH_LENGTH];
    TRY(write_config(directory, c, weights_floats_name(floats)));
    TRY(path_join(path, directory, "model.safetensors"));
    return params_write_as(path, p, floats, dev);
}

/* model_dir.c - see model_dir.h */
#include "train/model_dir.h"
#include "io/json.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 4096, CONFIG_BYTES = 1 << 20 };

static error *path_in(const char *dir, const char *name, char *path)
{
    if (snprintf(path, PATH, "%s/%s", dir, name) >= PATH)
        return user_error("--load: the path of %s is too long: use a shorter one", name);
    return NULL;
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* ---- config.json ---- */

static error *size_of(const char *path, const cJSON *json, const char *name, int64_t *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    double x = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (!(x >= 1 && x <= 2e9 && x == floor(x)))
        return user_error("%s: \"%s\" is missing or no size: load the directory of a run or of a "
                          "checkpoint",
                          path, name);
    *out = (int64_t)x;
    return NULL;
}

/* The resolved options of a run, as train_gpt writes them beside its model. */
static error *run_config(const char *path, const cJSON *json, model_config *c)
{
    int64_t layers = 0, heads = 0, width = 0, context = 0, vocab = 0;
    TRY(size_of(path, json, "layers", &layers));
    TRY(size_of(path, json, "heads", &heads));
    TRY(size_of(path, json, "width", &width));
    TRY(size_of(path, json, "context", &context));
    TRY(size_of(path, json, "vocab", &vocab));
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(json, "model");
    *c = gpt_config(cJSON_IsString(name) ? name->valuestring : "gpt", layers, heads, width, context,
                    vocab);
    return error_context(config_check(c), "%s", path);
}

static error *read_config(const char *dir, model_config *c)
{
    char path[PATH];
    cJSON *json;
    TRY(path_in(dir, "config.json", path));
    TRY(json_read(path, CONFIG_BYTES, &json));
    error *e = run_config(path, json, c);
    cJSON_Delete(json);
    return e;
}

/* ---- the directory ---- */

error *model_dir_open(const char *dir, model_config *c, safetensors **parameters)
{
    char path[PATH], index[PATH];
    struct stat s;
    if (stat(dir, &s))
        return user_error("--load %s: %s: name the directory of a run, a checkpoint or a model",
                          dir, strerror(errno));
    if (!S_ISDIR(s.st_mode))
        return user_error("--load %s: not a directory: name the one that holds config.json and "
                          "model.safetensors",
                          dir);
    TRY(path_in(dir, "model.safetensors", path));
    TRY(path_in(dir, "model.safetensors.index.json", index));
    TRY(read_config(dir, c));
    return safetensors_open(!is_there(path) && is_there(index) ? index : path, parameters);
}

/* The tokenizer's file in dir; *path is empty if there is none. */
static error *find_vocab(const char *dir, char *path)
{
    static const char *const names[] = {"tokenizer.vocab", "tokenizer.json"};
    glob_t found;
    for (int i = 0; i < 2; i++) {
        TRY(path_in(dir, names[i], path));
        if (is_there(path)) return NULL;
    }
    TRY(path_in(dir, "*.tiktoken", path));
    int status = glob(path, 0, NULL, &found);
    *path = 0;
    if (status == 0 && strlen(found.gl_pathv[0]) < PATH) strcpy(path, found.gl_pathv[0]);
    if (status == 0) globfree(&found);
    return NULL;
}

error *model_dir_vocab(const char *dir, const char *vocab, const model_config *c, bpe **out)
{
    char path[PATH];
    if (!vocab) {
        TRY(find_vocab(dir, path));
        vocab = path;
    }
    if (!*vocab)
        return user_error("no tokenizer in %s: give --vocab FILE, the one of the model's training "
                          "data (PREFIX.vocab beside PREFIX_train.bin)",
                          dir);
    TRY(bpe_open(vocab, out));
    if (bpe_size(*out) <= c->vocab) return NULL;
    error *e = user_error("%s has %d tokens, the model in %s only %lld: give --vocab the one that "
                          "it was trained with",
                          vocab, bpe_size(*out), dir, (long long)c->vocab);
    bpe_close(*out);
    *out = NULL;
    return e;
}

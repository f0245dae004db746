/* export_card.c - OUT/README.md, the model card that goes with a model to the Hub; see export.h.
 *
 *     ---                     what the Hub's form asks for: library_name, pipeline_tag and, where they are
 *     license: apache-2.0     known, base_model and license.  One that is not known is left out, for
 *     ---                     whoever publishes the model
 *     # OUT
 *     sizes, base, options that made it, data, losses, license
 *
 * All is taken from files, nothing is supposed: of the run its options.json, data.json and log.jsonl; of the base the
 * head of its own README.md, and its name where its files tell it: _name_or_path in config.json, or the
 * directory of Hugging Face's cache (models--OWNER--NAME).
 */
#include "tools/export.h"

#include "base/json_lines.h"
#include "base/shown.h"
#include "model/hf/hf.h"

#include <ctype.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORD_ROOM = 200, MOST_OPTIONS = 1 << 20, MOST_CARD = 4 << 20, MOST_LOG = 1 << 30 };

/* What the log says. */
typedef struct {
    double end; /* no step after this one: a checkpoint is of the middle of its run */
    int64_t steps, first_step, best_step; /* 0: there is none */
    double first, last, best, best_at_end;
} losses;

typedef struct {
    char run[PATH_LENGTH];      /* of the run that made it; empty: not known */
    cJSON *options, *data;      /* ? its */
    char base[PATH_LENGTH];     /* where the base was; empty: none, or not known */
    char base_model[WORD_ROOM]; /* its name on the Hub; empty: not known */
    char license[3][WORD_ROOM]; /* license, license_name, license_link; empty: not known */
    losses losses;
} card;

static const char *const license_fields[] = {"license", "license_name", "license_link"};

/* ---- finding out ---- */

/* NAME in directory or, of a checkpoint, in the run's above it. */
static error *find_in_run(const char *directory, const char *name, char path[PATH_LENGTH])
{
    char state[PATH_LENGTH], parent[PATH_LENGTH];
    TRY(path_join(path, directory, name));
    TRY(path_join(state, directory, "state.json"));
    if (!access(path, F_OK) || access(state, F_OK)) return NULL;
    TRY(path_join(parent, directory, ".."));
    return path_join(path, parent, name);
}

static error *read_if_there(const char *directory, const char *name, cJSON **out)
{
    char path[PATH_LENGTH];
    *out = NULL;
    TRY(find_in_run(directory, name, path));
    return access(path, F_OK) ? NULL : json_read(path, MOST_OPTIONS, out);
}

static double number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static error *take_losses(void *context, const cJSON *line)
{
    losses *l = context;
    double step = number_of(line, "step"), loss = number_of(line, "loss"),
           val = number_of(line, "val_loss");
    if (!(step >= 0 && step < 1e15 && step <= l->end)) return NULL;
    if (isfinite(loss)) {
        if (!l->first_step)
            *l = (losses){.end = l->end, .first_step = (int64_t)step, .first = loss};
        l->last = loss;
        l->steps = (int64_t)step;
    }
    if (!isfinite(val)) return NULL;
    l->best_at_end = val;
    if (l->best_step && val >= l->best) return NULL;
    l->best = val;
    l->best_step = (int64_t)step;
    return NULL;
}

static error *read_log(const char *directory, losses *out)
{
    char path[PATH_LENGTH];
    uint8_t *bytes;
    size_t n;
    cJSON *state;
    TRY(read_if_there(directory, "state.json", &state));
    out->end = state ? number_of(state, "step") : HUGE_VAL;
    cJSON_Delete(state);
    TRY(find_in_run(directory, "log.jsonl", path));
    if (access(path, F_OK)) return NULL;
    TRY(file_read_all(path, MOST_LOG, &bytes, &n));
    error *e = json_lines(path, (const char *)bytes, n, take_losses, out);
    free(bytes);
    return e;
}

/* Of "name: value" in a line the value, which may be in quotes, if it is of plain words. */
static void read_entry(const char *line, const char *name, char value[WORD_ROOM])
{
    size_t n = strlen(name);
    if (strncmp(line, name, n) || line[n] != ':') return;
    line += n + 1;
    line += strspn(line, " \t");
    char end[] = "\r\n\0"; /* and the quote that it begins with */
    if (*line == '"' || *line == '\'') end[2] = *line++;
    size_t length = strcspn(line, end);
    bool whole =
        length < WORD_ROOM && (!end[2] || (line[length] == end[2] && line[length + 1] != end[2]));
    snprintf(value, WORD_ROOM, "%.*s", whole ? (int)length : 0, line);
    for (size_t at = strlen(value); at && isspace((unsigned char)value[at - 1]); at--)
        value[at - 1] = 0;
    for (const char *c = value; *c; c++)
        if (!isprint((unsigned char)*c) || strchr("#[]{}|>\\\"", *c)) value[0] = 0;
}

/* The head of a card: lines between two of "---".  name: ? to this, the model that it is made of.  A license
 * comes with its own name and link, or without. */
static void read_head(const char *text, card *c, char *name)
{
    char license[3][WORD_ROOM] = {0};
    if (strncmp(text, "---", 3)) return;
    for (const char *line = strchr(text, '\n'); line; line = strchr(line, '\n')) {
        if (!strncmp(++line, "---", 3)) break;
        for (int i = 0; i < 3; i++)
            read_entry(line, license_fields[i], license[i]);
        if (name) read_entry(line, "base_model", name);
    }
    if (*license[0]) memcpy(c->license, license, sizeof license);
}

static error *read_card(const char *directory, card *c, char *name)
{
    char path[PATH_LENGTH];
    uint8_t *bytes;
    size_t n;
    TRY(path_join(path, directory, "README.md"));
    if (access(path, F_OK)) return NULL;
    TRY(file_read_all(path, MOST_CARD, &bytes, &n));
    read_head((const char *)bytes, c, name);
    free(bytes);
    return NULL;
}

/* OWNER/NAME, as the Hub has it? */
static bool is_hub_name(const char *word)
{
    const char *slash = strchr(word, '/');
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/");
    return slash && slash > word && slash[1] && !strchr(slash + 1, '/') && !word[n] &&
           *word != '.' && strlen(word) < WORD_ROOM;
}

/* .../models--OWNER--NAME/snapshots/... */
static void name_of_cache(const char *path, char name[WORD_ROOM])
{
    char word[WORD_ROOM], *dashes;
    const char *at = strstr(path, "models--");
    if (!at) return;
    at += strlen("models--");
    snprintf(word, sizeof word, "%.*s", (int)strcspn(at, "/"), at);
    dashes = strstr(word, "--");
    if (!dashes) return;
    *dashes = '/';
    memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
    if (is_hub_name(word)) memcpy(name, word, sizeof word);
}

/* The base's name, where its files tell it and nobody has said it. */
static error *find_base_name(card *c)
{
    cJSON *config;
    TRY(read_if_there(c->base, "config.json", &config));
    const char *name =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(config, "_name_or_path"));
    if (name && is_hub_name(name) && access(name, F_OK))
        snprintf(c->base_model, WORD_ROOM, "%s", name);
    cJSON_Delete(config);
    if (!*c->base_model) name_of_cache(c->base, c->base_model);
    return NULL;
}

static void warn_of_part(error *e)
{
    if (e) error_warn(error_context(e, "the model card lacks a part"));
}

/* What a run says of itself; what cannot be read is left out, with a warning. */
static void read_run(card *c)
{
    error *e = read_if_there(c->run, "options.json", &c->options);
    if (!e) e = read_if_there(c->run, "data.json", &c->data);
    if (!e) e = read_log(c->run, &c->losses);
    warn_of_part(e);
}

static void read_base(card *c)
{
    error *e = read_card(c->base, c, NULL);
    if (!e) e = find_base_name(c);
    warn_of_part(e);
}

static void card_read(const arguments *a, const weights *w, card *c)
{
    const char *source = weights_directory(w);
    snprintf(c->run, PATH_LENGTH, "%s", a->merge ? a->merge : source);
    read_run(c);
    const char *load = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(c->options, "load"));
    if (a->merge || load) snprintf(c->base, PATH_LENGTH, "%s", a->merge ? source : load);
    if (*c->base) read_base(c);
    /* its own card says more than its base's, but with --merge it is the base */
    if (!a->merge) warn_of_part(read_card(source, c, *c->base_model ? NULL : c->base_model));
    if (a->license) snprintf(c->license[0], WORD_ROOM, "%s", a->license);
    if (a->license) *c->license[1] = *c->license[2] = 0;
    if (a->base_model) snprintf(c->base_model, WORD_ROOM, "%s", a->base_model);
}

/* ---- writing ---- */

static void put_head(FILE *to, const card *c)
{
    fputs("---\nlibrary_name: transformers\npipeline_tag: text-generation\n", to);
    if (*c->base_model) fprintf(to, "base_model: \"%s\"\n", c->base_model);
    for (int i = 0; i < 3; i++)
        if (*c->license[i]) fprintf(to, "%s: \"%s\"\n", license_fields[i], c->license[i]);
    fputs("---\n\n", to);
}

/* The last part of a path, as text. */
static void put_name(FILE *to, const char *path)
{
    char copy[PATH_LENGTH], shown[PATH_LENGTH];
    snprintf(copy, sizeof copy, "%s", path);
    fputs(text_shown(basename(copy), shown, sizeof shown), to);
}

static void put_sizes(FILE *to, const arguments *a, const model_config *m, const char *type,
                      int64_t parameters)
{
    fputs("# ", to);
    put_name(to, a->out);
    fprintf(
        to,
        "\n\nA causal language model of type `%s`: %lld parameters in %s, %lld layers, width %lld, "
        "%lld heads (%lld of keys and values), a vocabulary of %lld tokens, a context of %lld.  "
        "Exported with Regrad %s.\n",
        hf_type(m), (long long)parameters, type, (long long)m->layers, (long long)m->width,
        (long long)m->heads, (long long)m->kv_heads, (long long)m->vocab, (long long)m->context,
        REGRAD_VERSION);
}

static void put_base(FILE *to, const arguments *a, const card *c)
{
    if (!*c->base && !*c->base_model) return;
    fputs("\n## Base\n\nFine-tuned from ", to);
    if (*c->base_model)
        fprintf(to, "%s", c->base_model);
    else
        put_name(to, c->base);
    fputs(a->merge ? "; adapters (LoRA) are merged into its matrices.\n" : ".\n", to);
}

/* Text in a cell of a table: without what would end the cell or the line. */
static void put_cell(FILE *to, const char *text)
{
    char shown[PATH_LENGTH];
    for (const char *c = text_shown(text, shown, sizeof shown); *c; c++)
        fputs(*c == '|' ? "\\" : "", to), fputc(*c, to);
}

/* The options that say how a model came to be; others say where and how fast. */
static void put_options(FILE *to, const card *c)
{
    static const char *const names[] = {"steps",
                                        "batch",
                                        "accum",
                                        "ranks",
                                        "seq",
                                        "epochs",
                                        "optim",
                                        "lr",
                                        "schedule",
                                        "warmup",
                                        "final-lr-fraction",
                                        "beta1",
                                        "beta2",
                                        "eps",
                                        "weight-decay",
                                        "grad-clip",
                                        "dtype",
                                        "lora",
                                        "lora-alpha",
                                        "lora-on",
                                        "lora-dropout",
                                        "base",
                                        "dropout",
                                        "z-loss",
                                        "freeze",
                                        "train-only",
                                        "sparsity",
                                        "seed"};
    if (!c->options) return;
    fputs("\n## Training\n\n| option | value |\n|---|---|\n", to);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(c->options, names[i]), *one;
        bool none = !item || cJSON_IsNull(item) || cJSON_IsFalse(item) ||
                    (cJSON_IsNumber(item) && item->valuedouble == 0) ||
                    (cJSON_IsArray(item) && !item->child);
        if (none) continue;
        fprintf(to, "| %s |", names[i]);
        if (cJSON_IsNumber(item)) fprintf(to, " %.9g", item->valuedouble);
        if (cJSON_IsString(item)) fputc(' ', to), put_cell(to, item->valuestring);
        for (one = item->child; one; one = one->next) {
            if (!cJSON_IsString(one)) continue;
            fputs(" `", to);
            put_cell(to, one->valuestring);
            fputc('`', to);
        }
        fputs(" |\n", to);
    }
}

static void put_data(FILE *to, const card *c)
{
    static const char *const kinds[][3] = {{"train-data", "train", "training"},
                                           {"val-data", "val", "validation"}};
    fputs(c->options ? "\n## Data\n\n" : "", to);
    for (int i = 0; i < 2; i++) {
        const cJSON *files = cJSON_GetObjectItemCaseSensitive(c->options, kinds[i][0]), *one,
                    *about = cJSON_GetObjectItemCaseSensitive(c->data, kinds[i][1]);
        const char *hash = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(about, "xxh3"));
        double bytes = number_of(about, "bytes");
        if (!cJSON_IsArray(files) || !files->child) continue;
        fprintf(to, "- %s:", kinds[i][2]);
        cJSON_ArrayForEach(one, files)
        {
            fputs(one == files->child ? " " : ", ", to);
            if (cJSON_IsString(one)) put_name(to, one->valuestring);
        }
        if (bytes > 0) fprintf(to, " (%.0f bytes", bytes);
        if (bytes > 0 && hash) fprintf(to, ", XXH3 %s", hash);
        fputs(bytes > 0 ? ")\n" : "\n", to);
    }
}

static void put_losses(FILE *to, const losses *l)
{
    if (!l->steps && !l->best_step) return;
    fputs(
        "\n## Losses\n\nNats per token, from the run's log.\n\n| | loss | step |\n|---|---|---|\n",
        to);
    if (l->steps) {
        fprintf(to, "| training, first | %.4f | %lld |\n", l->first, (long long)l->first_step);
        fprintf(to, "| training, last | %.4f | %lld |\n", l->last, (long long)l->steps);
    }
    if (!l->best_step) return;
    fprintf(to, "| validation, lowest | %.4f | %lld |\n", l->best, (long long)l->best_step);
    fprintf(to, "| validation, last | %.4f | |\n", l->best_at_end);
}

static void put_license(FILE *to, const arguments *a, const card *c)
{
    fputs("\n## License\n\n", to);
    if (!*c->license[0])
        fputs("Not stated: neither the model's files nor `--license` named one.\n", to);
    else
        fprintf(to, "%s, %s.\n", c->license[0],
                a->license ? "as whoever exported the model says"
                           : "as the card of the model that this was made of says");
}

static error *put_card(const arguments *a, const weights *w, const char *type, int64_t parameters,
                       const card *c)
{
    char path[PATH_LENGTH];
    memory_stream m;
    TRY(path_join(path, a->out, "README.md"));
    TRY(memory_stream_open(&m, "README.md"));
    put_head(m.to, c);
    put_sizes(m.to, a, weights_model(w), type, parameters);
    put_base(m.to, a, c);
    put_options(m.to, c);
    put_data(m.to, c);
    put_losses(m.to, &c->losses);
    put_license(m.to, a, c);
    TRY(memory_stream_close(&m));
    error *e = file_write_all(path, m.text, m.n);
    free(m.text);
    return e;
}

error *card_write(const arguments *a, const weights *w, const char *type, int64_t parameters)
{
    card *c;
    TRY(alloc_array(&c, 1, sizeof *c));
    card_read(a, w, c);
    error *e = put_card(a, w, type, parameters, c);
    cJSON_Delete(c->options);
    cJSON_Delete(c->data);
    free(c);
    return e;
}

/* model_card.c - see model_card.h */
#include "run/model_card.h"

#include <ctype.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/json_lines.h"
#include "run/checkpoint.h"

enum { MOST_JSON = 1 << 20, MOST_CARD = 4 << 20, MOST_LOG = 1 << 30 };

const char *const card_license_fields[] = {"license", "license_name", "license_link"};

/* ---- the run ---- */

/* Is it the directory of a run's best model? */
static bool is_best(const char *directory)
{
    char copy[PATH_LENGTH];
    snprintf(copy, sizeof copy, "%s", directory);
    return !strcmp(basename(copy), RUN_BEST);
}

/* NAME in directory or, of a checkpoint and of the best model, in the run's above it. */
static error *find_in_run(const char *directory, const char *name, char path[PATH_LENGTH])
{
    char state[PATH_LENGTH], parent[PATH_LENGTH];
    TRY(path_join(path, directory, name));
    TRY(path_join(state, directory, "state.json"));
    if (!access(path, F_OK) || (access(state, F_OK) && !is_best(directory))) return NULL;
    TRY(path_join(parent, directory, ".."));
    return path_join(path, parent, name);
}

static error *read_if_there(const char *directory, const char *name, cJSON **out)
{
    char path[PATH_LENGTH];
    *out = NULL;
    TRY(find_in_run(directory, name, path));
    return access(path, F_OK) ? NULL : json_read(path, MOST_JSON, out);
}

double card_number(const cJSON *object, const char *name)
{
    const cJSON *item = json_get(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static error *take_losses(void *context, const cJSON *line)
{
    card_losses *l = context;
    double step = card_number(line, "step"), loss = card_number(line, "loss"),
           val = card_number(line, "val_loss");
    if (!(step >= 0 && step < 1e15 && step <= l->end)) return NULL;
    if (isfinite(loss)) {
        if (!l->first_step) {
            l->first = loss;
            l->first_step = (int64_t)step;
        }
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

/* Of the lines up to the step `end`. */
static error *read_losses(const char *path, const char *text, size_t n, double end,
                          card_losses *out)
{
    *out = (card_losses){.end = end};
    return json_lines(path, text, n, take_losses, out);
}

static error *read_log(const char *directory, card_losses *out)
{
    char path[PATH_LENGTH];
    uint8_t *bytes;
    size_t n;
    cJSON *state;
    TRY(read_if_there(directory, "state.json", &state));
    double end = state ? card_number(state, "step") : HUGE_VAL;
    bool best = !state && is_best(directory);
    cJSON_Delete(state);
    TRY(find_in_run(directory, "log.jsonl", path));
    if (access(path, F_OK)) return NULL;
    TRY(file_read_all(path, MOST_LOG, &bytes, &n));
    error *e = read_losses(path, (const char *)bytes, n, end, out);
    if (!e && best) /* it is of that step */
        e = read_losses(path, (const char *)bytes, n, (double)out->best_step, out);
    free(bytes);
    return e;
}

error *card_read_run(const char *directory, model_card *c)
{
    TRY(read_if_there(directory, "options.json", &c->options));
    TRY(read_if_there(directory, "data.json", &c->data));
    return read_log(directory, &c->losses);
}

/* ---- a card ---- */

/* Of "name: value" in a line the value, which may be in quotes, if it is of plain words. */
static void read_entry(const char *line, const char *name, char value[CARD_WORD])
{
    size_t n = strlen(name);
    if (strncmp(line, name, n) || line[n] != ':') return;
    line += n + 1;
    line += strspn(line, " \t");
    char end[] = "\r\n\0"; /* and the quote that it begins with */
    if (*line == '"' || *line == '\'') end[2] = *line++;
    size_t length = strcspn(line, end);
    bool whole =
        length < CARD_WORD && (!end[2] || (line[length] == end[2] && line[length + 1] != end[2]));
    snprintf(value, CARD_WORD, "%.*s", whole ? (int)length : 0, line);
    for (size_t at = strlen(value); at && isspace((unsigned char)value[at - 1]); at--)
        value[at - 1] = 0;
    for (const char *c = value; *c; c++)
        if (!isprint((unsigned char)*c) || strchr("#[]{}|>\\\"", *c)) value[0] = 0;
}

/* The head of a card: lines between two of "---".  name: ? to this, the model that it is made of.
 * A license comes with its own name and link, or without. */
static void read_head(const char *text, model_card *c, char *name)
{
    char license[CARD_LICENSE][CARD_WORD] = {0};
    if (strncmp(text, "---", 3)) return;
    for (const char *line = strchr(text, '\n'); line; line = strchr(line, '\n')) {
        if (!strncmp(++line, "---", 3)) break;
        for (int i = 0; i < CARD_LICENSE; i++)
            read_entry(line, card_license_fields[i], license[i]);
        if (name) read_entry(line, "base_model", name);
    }
    if (*license[0]) memcpy(c->license, license, sizeof license);
}

static error *read_card(const char *directory, model_card *c, char *name)
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

error *card_read_own(const char *directory, model_card *c)
{
    return read_card(directory, c, *c->base_model ? NULL : c->base_model);
}

/* ---- the base's name ---- */

/* OWNER/NAME, as the Hub has it? */
static bool is_hub_name(const char *word)
{
    const char *slash = strchr(word, '/');
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/");
    return slash && slash > word && slash[1] && !strchr(slash + 1, '/') && !word[n] &&
           *word != '.' && strlen(word) < CARD_WORD;
}

/* .../models--OWNER--NAME/snapshots/... */
static void name_of_cache(const char *path, char name[CARD_WORD])
{
    char word[CARD_WORD], *dashes;
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

error *card_read_base(const char *directory, model_card *c)
{
    cJSON *config;
    TRY(read_card(directory, c, NULL));
    TRY(read_if_there(directory, "config.json", &config));
    const char *name = json_string(config, "_name_or_path");
    if (name && is_hub_name(name) && access(name, F_OK)) /* nor is it a path */
        snprintf(c->base_model, CARD_WORD, "%s", name);
    cJSON_Delete(config);
    if (!*c->base_model) name_of_cache(directory, c->base_model);
    return NULL;
}

void card_free(model_card *c)
{
    cJSON_Delete(c->options);
    cJSON_Delete(c->data);
    *c = (model_card){0};
}

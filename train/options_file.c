/* options_file.c - see options_file.h */
#include "train/options_file.h"
#include "base/files.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/text_ends.h"
#include "run/checkpoint.h"
#include "train/task.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_FILE = 1 << 20 };

struct option_file {
    option_file *next;
    cJSON *json;
    const char **words; /* of its lists */
};

/* A file that options are read from. */
typedef struct {
    options *o;
    bool *given;
    const char *what, *path; /* for messages */
    const cJSON *all;
    const char **words; /* storage for all its lists */
    bool own;           /* of the run that is resumed */
} reader;

/* ---- which of them apply ---- */

static bool says(const option_row *row, const char *whose)
{
    return row->when_unset && strstr(row->when_unset, whose);
}

static const cJSON *item_of(const reader *r, const char *name)
{
    return json_get(r->all, name);
}

static int row_index(const task *t, const char *name)
{
    int i = 0;
    while (i < option_count(t) && strcmp(option_row_at(t, i)->name, name) != 0)
        i++;
    return i < option_count(t) ? i : -1;
}

static bool was_given(const reader *r, const char *name)
{
    int i = row_index(r->o->task, name);
    return i >= 0 && r->given[i];
}

/* Was a value given that differs from the file's?  NAME_r is the same as NAME with
 * `forms_alike`. */
static bool gives_other(const reader *r, const char *name, bool forms_alike)
{
    int i = row_index(r->o->task, name);
    if (i < 0 || !r->given[i]) return false;
    const char *now = *(const char **)option_field(r->o, option_row_at(r->o->task, i));
    const char *then = cJSON_GetStringValue(item_of(r, name));
    if (!now || !then) return now != then;
    size_t n = strlen(now), m = strlen(then);
    if (forms_alike && text_ends(now, "_r")) n -= 2;
    if (forms_alike && text_ends(then, "_r")) m -= 2;
    return n != m || strncmp(now, then, n) != 0;
}

/* Adapters of another rank, or none, were asked for. */
static bool voids_adapters(const reader *r, const char *name)
{
    const cJSON *rank = item_of(r, "lora");
    if (!was_given(r, "lora") || (cJSON_IsNumber(rank) && rank->valuedouble == (double)r->o->lora))
        return false;
    return !strcmp(name, "lora-alpha") ||
           (!r->o->lora &&
            (!strcmp(name, "lora-on") || !strcmp(name, "base") || !strcmp(name, "lora-dropout")));
}

/* Is nothing offloaded, by what was given now or else by the file? */
static bool offloads_nothing(const reader *r)
{
    const char *then = cJSON_GetStringValue(item_of(r, "offload")),
               *what = was_given(r, "offload") ? r->o->offload_name : then;
    return !what || !strcmp(what, "none");
}

/* Locations and one-time requests are not properties of a run. */
static bool of_one_call(const char *name)
{
    static const char *const all[] = {"out",  "resume", "config", "plan", "plan-beside",
                                      "json", "memory", "allow",  "gpus", "ranks"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(name, all[i])) return true;
    return false;
}

/* Does the file's value depend on one that has changed? */
static bool is_void(const reader *r, const option_row *row)
{
    /* given to a run that is resumed, it is where the same model lies now */
    bool loads = gives_other(r, "load", false) && !r->own,
         other = gives_other(r, "model", false) || loads,
         split = !strcmp(row->name, "batch") || !strcmp(row->name, "accum");
    if (other && (says(row, "the model's") || says(row, "the context"))) return true;
    if (gives_other(r, "optim", true) && (row->of || says(row, "the optimizer's"))) return true;
    if (!strcmp(row->name, "gradients"))
        return gives_other(r, "optim", false) || was_given(r, "memory");
    if (voids_adapters(r, row->name)) return true;
    if (!strcmp(row->name, "recompute")) return was_given(r, "memory");
    if (row->group == OFFLOADED && strcmp(row->name, "offload") != 0)
        return r->own && offloads_nothing(r);
    if (split && r->own) return was_given(r, "batch") || was_given(r, "accum");
    if (!strcmp(row->name, "epochs")) return was_given(r, "steps");
    const cJSON *epochs = item_of(r, "epochs");
    return !strcmp(row->name, "steps") &&
           (was_given(r, "epochs") || (cJSON_IsNumber(epochs) && epochs->valuedouble > 0));
}

/* ---- values ---- */

static error *wrong_kind(const reader *r, const option_row *row, const char *wanted)
{
    return user_error("%s %s: \"%s\" must be %s", r->what, r->path, row->name, wanted);
}

static error *take_number_item(const reader *r, const option_row *row, const cJSON *item)
{
    options unset = options_unset(r->o->task);
    double value = item->valuedouble, before = row->type == INTEGER
                                                   ? (double)*(int64_t *)option_field(&unset, row)
                                                   : *(double *)option_field(&unset, row);
    if (!cJSON_IsNumber(item)) return wrong_kind(r, row, "a number");
    if (value == before) return NULL; /* which may include values that cannot be given */
    char text[32];
    snprintf(text, sizeof text, "%.15g", value);
    return error_context(option_take_number(row, value, text, r->o), "%s %s", r->what, r->path);
}

static error *take_list(reader *r, const option_row *row, const cJSON *array)
{
    pattern_list *list = option_field(r->o, row);
    const cJSON *item;
    const char **word = r->words;
    int n = 0;
    if (!cJSON_IsArray(array)) return wrong_kind(r, row, "a list of strings");
    cJSON_ArrayForEach(item, array)
    {
        if (!cJSON_IsString(item)) return wrong_kind(r, row, "a list of strings");
        if (n == MAX_PATTERNS) return wrong_kind(r, row, "a shorter list");
        word[n++] = item->valuestring;
    }
    *list = (pattern_list){n ? word : NULL, n};
    if (n) r->words += n; /* absent if all lists are empty */
    return NULL;
}

static error *take_item(reader *r, const option_row *row, const cJSON *item)
{
    switch (row->type) {
    case INTEGER:
    case REAL:
        return take_number_item(r, row, item);
    case TEXT:
        if (!cJSON_IsString(item)) return wrong_kind(r, row, "a string");
        *(const char **)option_field(r->o, row) = item->valuestring;
        return NULL;
    case FLAG:
        if (!cJSON_IsBool(item)) return wrong_kind(r, row, "true or false");
        *(bool *)option_field(r->o, row) = cJSON_IsTrue(item);
        return NULL;
    case LIST:
        return take_list(r, row, item);
    }
    return NULL;
}

/* ---- a file ---- */

static error *unknown(const reader *r, const char *name)
{
    const char *names[MAX_ROWS];
    size_t n = 0;
    for (int i = 0; i < option_count(r->o->task); i++)
        names[n++] = option_row_at(r->o->task, i)->name;
    return user_error(
        "%s %s: \"%.80s\" is not an option; the nearest is \"%s\" (--help lists them all)", r->what,
        r->path, name, nearest_name(name, names, n));
}

/* Which rows the file fills in is decided before any of them changes. */
static error *take_all(reader *r)
{
    const task *t = r->o->task;
    bool takes[MAX_ROWS] = {false};
    const cJSON *item;
    cJSON_ArrayForEach(item, r->all)
    {
        int i = row_index(t, item->string);
        if (i < 0 && !r->own) return unknown(r, item->string);
        if (!r->own && item != item_of(r, item->string))
            return user_error("%s %s: \"%s\" is in it twice: leave one out", r->what, r->path,
                              item->string);
        if (i < 0 || cJSON_IsNull(item)) continue;
        const option_row *row = option_row_at(t, i);
        if (!strcmp(row->name, "config") && !r->own)
            return user_error("%s %s: \"config\" in it: write its options into one file", r->what,
                              r->path);
        takes[i] = !r->given[i] && !(r->own && of_one_call(row->name)) && !is_void(r, row);
    }
    for (int i = 0; i < option_count(t); i++) {
        if (!takes[i]) continue;
        TRY(take_item(r, option_row_at(t, i), item_of(r, option_row_at(t, i)->name)));
        r->given[i] = true;
    }
    return NULL;
}

/* The options take ownership of the tree and the storage of its lists. */
static error *keep_file(options *o, cJSON *json, const cJSON *all, option_file **out)
{
    option_file *f;
    size_t words = 0;
    const cJSON *item;
    error *e = alloc_array(&f, 1, sizeof *f);
    if (e) {
        cJSON_Delete(json);
        return e;
    }
    *f = (option_file){.next = o->files, .json = json};
    o->files = *out = f;
    cJSON_ArrayForEach(item, all) if (cJSON_IsArray(item)) words +=
        (size_t)cJSON_GetArraySize(item);
    return words ? alloc_array(&f->words, words, sizeof *f->words) : NULL;
}

static error *take_config(options *o, bool *given)
{
    cJSON *json;
    option_file *f;
    TRY(error_context(json_read(o->config, MOST_FILE, &json), "--config"));
    TRY(keep_file(o, json, json, &f));
    reader r = {.o = o,
                .given = given,
                .what = "--config",
                .path = o->config,
                .all = json,
                .words = f->words};
    return take_all(&r);
}

/* ---- the run that is resumed ---- */

/* A checkpoint's state.json, if it is readable and from this program. */
static cJSON *read_state(const options *o, const char *directory, const cJSON **all)
{
    char path[PATH_LENGTH];
    cJSON *json = NULL;
    error *e = path_join(path, directory, "state.json");
    if (!e) e = json_read(path, MOST_FILE, &json);
    error_free(e); /* whoever reads the checkpoint reports what is wrong with it */
    if (e) return NULL;
    const char *program = json_string(json, "program");
    *all = json_get(json, "options");
    if (program && !strcmp(program, o->task->kind->program) && cJSON_IsObject(*all)) return json;
    cJSON_Delete(json);
    return NULL;
}

static cJSON *read_newest(const options *o, char *path, const cJSON **all)
{
    cJSON *json = NULL;
    int64_t step = INT64_MAX;
    while (!json && (step = checkpoint_below(o->out ? o->out : DEFAULT_OUT, step, path)) >= 0)
        json = read_state(o, path, all);
    return json;
}

/* Reported here, before the options that it lacks are missed. */
static error *check_given(const options *o)
{
    char path[PATH_LENGTH];
    TRY(path_join(path, o->resume, "state.json"));
    if (!access(path, F_OK)) return NULL;
    return user_error("--resume %s: its state.json is missing: give a checkpoint's directory "
                      "(.../step_00001000), or auto",
                      o->resume);
}

static error *take_run(options *o, bool *given)
{
    char path[PATH_LENGTH];
    const cJSON *all = NULL;
    option_file *f;
    bool newest = !strcmp(o->resume, "auto");
    if (!newest) TRY(check_given(o));
    cJSON *json = newest ? read_newest(o, path, &all) : read_state(o, o->resume, &all);
    if (!json) return NULL;
    TRY(keep_file(o, json, all, &f));
    reader r = {.o = o,
                .given = given,
                .what = "the options of",
                .path = newest ? path : o->resume,
                .all = all,
                .words = f->words,
                .own = true};
    return take_all(&r);
}

error *options_take_files(options *o, bool *given)
{
    if (o->config) TRY(take_config(o, given));
    return o->resume && !o->plan ? take_run(o, given) : NULL;
}

void option_files_free(option_file *f)
{
    while (f) {
        option_file *next = f->next;
        cJSON_Delete(f->json);
        free(f->words);
        free(f);
        f = next;
    }
}

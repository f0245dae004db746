/* run_values.c - see run_values.h */
#include "run/run_values.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

enum { MOST_STATE = 1 << 20, WHAT_ROOM = 128 };

/* How a value that has changed is treated. */
typedef enum {
    TAKEN, /* it is what the run resumes from */
    SAME,  /* refused: the message says from what the checkpoint can be resumed */
    KNOWN  /* must match if the checkpoint has it: earlier programs did not write it */
} value_rule;

typedef struct {
    const char *name;
    value_rule rule;
    const char *mend;
} value_row;

static const value_row values[] = {
    {"format", SAME, "it was written by another version of this program: use that one"},
    {"program", TAKEN, NULL}, /* compared before all others */
    {"step", TAKEN, NULL},
    {"log_bytes", TAKEN, NULL},
    {"best_val_loss", TAKEN, NULL},
    {"best_step", TAKEN, NULL},
    {"evaluations_since_best", TAKEN, NULL},
    {"best_val_data", TAKEN, NULL},
    {"samples_per_step", SAME, "give --batch, --accum and ranks with that product"},
    {"samples", SAME, "the place in the data is not that of the step"},
    {"random", SAME, "it was written by another version of this program: use that one"},
    {"dtype", SAME, "no dtype is cast: continue with that one"},
    {"optimizer", SAME,
     "its states are made by another formula: give --optim with that name, or that name with _r"},
    {"previous_gradient", SAME, "the state prev_grad is not that of a step"},
    {"base", SAME, "its adapters are beside another model: give the --load that they began with"},
    {"adapter_scale", KNOWN,
     "its adapters have another strength: give the --adapter that they began with"},
    {"data", SAME, "give the same --train-data, in the same order"},
};

enum { VALUES = sizeof values / sizeof *values };

/* How the training data's fingerprint is computed; until 0.9.0 it was another hash, without a
 * name. */
#define DATA_HASH "xxh3:"

enum { HASH_TEXT = 32 };

static void print_data(uint64_t hash, char text[HASH_TEXT])
{
    snprintf(text, HASH_TEXT, DATA_HASH "%016llx", (unsigned long long)hash);
}

/* The best of its evaluations, if there were any; a run without evaluations keeps the previous
 * one. */
static bool add_best(cJSON *v, const run_contents *c)
{
    char data[HASH_TEXT];
    print_data(c->val_data, data);
    return c->best_step <= 0 ||
           ((!c->val_data || cJSON_AddStringToObject(v, "best_val_data", data)) &&
            cJSON_AddNumberToObject(v, "best_val_loss", c->best_loss) &&
            cJSON_AddNumberToObject(v, "best_step", (double)c->best_step) &&
            cJSON_AddNumberToObject(v, "evaluations_since_best", (double)c->since_best));
}

/* The values of a run after c->step steps; free it with cJSON_Delete. */
static error *values_of(const run_contents *c, cJSON **out)
{
    const rule_info *rule = c->tensors.optimizer->info;
    double per_step = (double)c->samples_per_step;
    char data[HASH_TEXT];
    print_data(c->data, data);
    cJSON *v = cJSON_CreateObject();
    bool ok = v && json_add(v, "options", cJSON_Parse(c->options)) &&
              json_add(v, "model", config_json(c->model)) &&
              cJSON_AddStringToObject(v, "format", "regrad-state 1") &&
              cJSON_AddStringToObject(v, "program", c->program) &&
              cJSON_AddNumberToObject(v, "step", (double)c->step) &&
              cJSON_AddNumberToObject(v, "log_bytes", (double)c->log_bytes) &&
              cJSON_AddNumberToObject(v, "samples_per_step", per_step) &&
              cJSON_AddNumberToObject(v, "samples", per_step * (double)c->step) &&
              cJSON_AddStringToObject(v, "random", "philox of (seed, purpose, index)") &&
              cJSON_AddStringToObject(v, "dtype", dtype_name(c->tensors.r->params->type)) &&
              cJSON_AddStringToObject(v, "optimizer", rule->name) &&
              cJSON_AddBoolToObject(v, "previous_gradient", rule->copies && c->step > 0) &&
              cJSON_AddStringToObject(v, "data", data);
    ok = ok && add_best(v, c);
    if (ok && c->adapted) {
        snprintf(data, sizeof data, "%016llx", (unsigned long long)c->base);
        ok = cJSON_AddNumberToObject(v, "adapter_scale", lora_scale(c->adapters.plan)) &&
             cJSON_AddStringToObject(v, "base", data);
    }
    if (ok) {
        *out = v;
        return NULL;
    }
    cJSON_Delete(v);
    return user_error("out of memory for a checkpoint's state.json");
}

error *run_values_write(const run_contents *c, const char *path)
{
    cJSON *v = NULL;
    TRY(values_of(c, &v));
    return json_save(v, true, "a checkpoint's state.json", path);
}

/* A value as it is in the file, "none" if absent. */
static const char *show(const cJSON *item, char *buffer, int size)
{
    if (!item || !cJSON_PrintPreallocated((cJSON *)(size_t)item, buffer, size, false))
        snprintf(buffer, (size_t)size, "%s", item ? "something else" : "none");
    return buffer;
}

static error *refused(const char *path, const char *what, const cJSON *then, const cJSON *now,
                      const char *mend)
{
    char was[100], is[100];
    return user_error("cannot resume from %s: %s was %s and is %s now: %s", path, what,
                      show(then, was, sizeof was), show(now, is, sizeof is), mend);
}

/* What to do if the named option has changed; unknown options of another program are reported. */
static resume_rule rule_of_option(const run_contents *c, const char *name)
{
    for (int i = 0; i < c->n_options; i++)
        if (!strcmp(c->option[i].name, name)) return c->option[i].resume;
    return RESUME_TOLD;
}

/* A checkpoint's value of `name`; if its program did not have it yet, the value that this
 * implied. */
static const cJSON *value_then(const cJSON *then, const cJSON *without, const char *name)
{
    const cJSON *old = json_get(then, name);
    return old ? old : json_get(without, name);
}

/* null is a hyperparameter with the optimizer's own default, which the optimizer compares, or that
 * it does not have; or a string that is not set. */
static bool same_option(const cJSON *then, const cJSON *now)
{
    if (then && cJSON_IsNumber(then) && cJSON_IsNull(now)) return true;
    if (!then || cJSON_IsNull(then)) return cJSON_IsNull(now) || (then && cJSON_IsNumber(now));
    return cJSON_Compare(then, now, true);
}

/* Values that must not change, or (tell) those that may and have. */
static error *compare_options(const char *path, const cJSON *then, const cJSON *without,
                              const cJSON *now, const run_contents *c, bool tell)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, now)
    {
        const cJSON *old = value_then(then, without, item->string);
        char what[WHAT_ROOM], was[100], is[100];
        resume_rule rule = rule_of_option(c, item->string);
        if (rule == RESUME_SILENT || same_option(old, item)) continue;
        snprintf(what, sizeof what, "--%s", item->string);
        if (rule == RESUME_FIXED && !tell)
            return refused(path, what, old, item, "give the old value, or start a new run");
        if (rule == RESUME_TOLD && tell)
            printf("  %s was %s, from here on %s\n", what, show(old, was, sizeof was),
                   show(item, is, sizeof is));
    }
    return NULL;
}

/* A checkpoint without an option behaves as with its default. */
static error *check_options(const char *path, const cJSON *then, const cJSON *now,
                            const run_contents *c, bool tell)
{
    cJSON *without = cJSON_Parse(c->unset);
    if (!without) return user_error("out of memory for the options");
    error *e = compare_options(path, then, without, now, c, tell);
    cJSON_Delete(without);
    return e;
}

/* A field that a checkpoint's model lacks has its value from before the field existed. */
static error *check_model(const char *path, const cJSON *then, const cJSON *now)
{
    cJSON *without = config_json_before();
    const cJSON *item;
    error *e = without ? NULL : user_error("out of memory for the model's sizes");
    cJSON_ArrayForEach(item, now)
    {
        const cJSON *old = value_then(then, without, item->string);
        if (!e && old && !cJSON_Compare(old, item, true)) {
            char what[WHAT_ROOM];
            snprintf(what, sizeof what, "the model's %s", item->string);
            e = refused(path, what, old, item, "give the old model, or start a new run");
        }
    }
    cJSON_Delete(without);
    return e;
}

static error *take_integer(const char *path, const cJSON *values_then, const char *name,
                           int64_t *out)
{
    const cJSON *item = json_get(values_then, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 9e15))
        return user_error("%s: %s is not a number that a run writes: take another checkpoint", path,
                          name);
    *out = (int64_t)item->valuedouble;
    return NULL;
}

/* Losses on different sets cannot be compared; an earlier program did not record which it was. */
static bool best_of_others(const cJSON *then, const run_contents *c)
{
    const char *text = json_string(then, "best_val_data");
    char now[HASH_TEXT];
    print_data(c->val_data, now);
    return text && c->val_data && strcmp(text, now) != 0;
}

/* A checkpoint may have none: from before its first evaluation, or of an earlier program. */
static error *take_best(const char *path, const cJSON *then, run_contents *c)
{
    const cJSON *loss = json_get(then, "best_val_loss");
    if (!loss) return NULL;
    if (best_of_others(then, c)) {
        printf("  --val-data is another set: the lowest loss is that of its own evaluations\n");
        return NULL;
    }
    if (!cJSON_IsNumber(loss))
        return user_error("%s: best_val_loss is not a number: take another checkpoint", path);
    c->best_loss = loss->valuedouble;
    TRY(take_integer(path, then, "best_step", &c->best_step));
    return take_integer(path, then, "evaluations_since_best", &c->since_best);
}

static error *check_program(const char *path, const cJSON *then, const cJSON *now)
{
    const cJSON *a = json_get(then, "program"), *b = json_get(now, "program");
    return cJSON_Compare(a, b, true) ? NULL
                                     : refused(path, "program", a, b, "resume with that program");
}

static bool is_older_hash(const char *name, const cJSON *then)
{
    const char *text = cJSON_GetStringValue(then);
    return !strcmp(name, "data") && text && strncmp(text, DATA_HASH, strlen(DATA_HASH));
}

static error *check_values(const char *path, const cJSON *then, run_contents *c)
{
    cJSON *now = NULL;
    TRY(take_integer(path, then, "step", &c->step));
    TRY(take_integer(path, then, "log_bytes", &c->log_bytes));
    TRY(take_best(path, then, c));
    TRY(values_of(c, &now));
    error *e = check_program(path, then, now);
    const cJSON *options_then = json_get(then, "options"), *options_now = json_get(now, "options");
    if (!e) e = check_options(path, options_then, options_now, c, false);
    if (!e) e = check_model(path, json_get(then, "model"), json_get(now, "model"));
    for (int i = 0; i < VALUES && !e; i++) {
        const cJSON *a = json_get(then, values[i].name), *b = json_get(now, values[i].name);
        bool same = (!a && (!b || values[i].rule == KNOWN)) || cJSON_Compare(a, b, true);
        if (is_older_hash(values[i].name, a))
            printf("  the checkpoint is of an earlier version: whether its data is the same is "
                   "unknown\n");
        else if (values[i].rule != TAKEN && !same)
            e = refused(path, values[i].name, a, b, values[i].mend);
    }
    if (!e) e = check_options(path, options_then, options_now, c, true);
    cJSON_Delete(now);
    return e;
}

error *run_values_read(const char *path, run_contents *c)
{
    cJSON *then;
    TRY(json_read(path, MOST_STATE, &then));
    error *e = check_values(path, then, c);
    cJSON_Delete(then);
    return e;
}

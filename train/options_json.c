/* options_json.c - the options as JSON, every row of their table: for options.json and checkpoints.
 * What is not set is null.
 */
#include "base/utf8.h"
#include "base/json.h"
#include "train/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that are not UTF-8, as in file names, become U+FFFD. */
static cJSON *text_item(const char *text)
{
    size_t n = strlen(text), used = 0;
    char *whole = malloc(3 * n + 1);
    if (!whole) return NULL;
    for (size_t i = 0, length; i < n; i += length ? length : 1) {
        length = utf8_length((const uint8_t *)text + i, n - i);
        size_t more = length ? length : 3;
        memcpy(whole + used, length ? text + i : "\xEF\xBF\xBD", more);
        used += more;
    }
    whole[used] = 0;
    cJSON *item = cJSON_CreateString(whole);
    free(whole);
    return item;
}

static bool add_list(cJSON *array, const pattern_list *list)
{
    bool ok = array;
    for (int i = 0; ok && i < list->n; i++) {
        cJSON *text = text_item(list->pattern[i]);
        ok = text && cJSON_AddItemToArray(array, text);
    }
    return ok;
}

/* Below its limit it has not been given, and is chosen where it is used. */
static bool add_integer(cJSON *object, const option_row *row, int64_t value)
{
    if ((double)value < row->least) return cJSON_AddNullToObject(object, row->name);
    return cJSON_AddNumberToObject(object, row->name, (double)value);
}

/* False: out of memory. */
static bool add_option(cJSON *object, const option_row *row, options *o)
{
    const char *text = row->type == TEXT ? *(const char **)option_field(o, row) : NULL;
    switch (row->type) {
    case INTEGER:
        return add_integer(object, row, *(int64_t *)option_field(o, row));
    case REAL:
        return cJSON_AddNumberToObject(object, row->name, *(double *)option_field(o, row));
    case TEXT:
        return json_add(object, row->name, text ? text_item(text) : cJSON_CreateNull());
    case LIST:
        return add_list(cJSON_AddArrayToObject(object, row->name), option_field(o, row));
    case FLAG:
        return cJSON_AddBoolToObject(object, row->name, *(bool *)option_field(o, row));
    }
    return true;
}

/* Hyperparameters that the optimizer does not have are null; so are, in a run, options that chose
 * others, or where it was resumed. */
static void leave_out(options *o)
{
    unsigned has = rule_at(o->optim.rule)->options;
    for (int i = 0; i < option_count(o->task); i++) {
        const option_row *row = option_row_at(o->task, i);
        if (!row->of || row->of & has) continue;
        if (row->type == REAL) *(double *)option_field(o, row) = NAN;
        if (row->type == INTEGER) *(int64_t *)option_field(o, row) = 0;
    }
    o->config = o->resume = NULL; /* --config with it is the whole run again */
    if (!o->plan) o->memory = o->allow = NULL;
}

static error *print_rows(options *o, char **out)
{
    cJSON *object = cJSON_CreateObject();
    bool ok = object;
    for (int i = 0; ok && i < option_count(o->task); i++)
        ok = add_option(object, option_row_at(o->task, i), o);
    return json_text(object, ok, "options.json", out);
}

error *options_json(const options *given, char **out)
{
    options o = *given; /* with the defaults filled in */
    o.task->resolved(&o);
    o.lr = o.schedule.lr;
    o.warmup = o.schedule.warmup;
    o.grad_clip = o.optim.clip;
    o.beta1 = o.optim.beta[0];
    o.beta2 = o.optim.beta[1];
    o.beta3 = o.optim.beta[2];
    o.eps = o.optim.eps;
    o.weight_decay = o.optim.weight_decay;
    o.adam_lr = o.optim.others.lr_ratio * o.schedule.lr;
    o.adam_beta1 = o.optim.others.beta[0];
    o.adam_beta2 = o.optim.others.beta[1];
    o.adam_eps = o.optim.others.eps;
    o.newton_schulz = o.optim.newton_schulz_steps;
    o.gradients = grad_policy_name(o.optim.gradients);
    if (o.type == BF16) o.master_name = master_names[o.master];
    leave_out(&o);
    return print_rows(&o, out);
}

error *options_unset_json(const task *t, char **out)
{
    options o = options_unset(t);
    return print_rows(&o, out);
}

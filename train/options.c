/* options.c - see options.h */
#include "train/options.h"
#include "train/weights.h"

#include <argp.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum { WHOLE, REAL, TEXT, FLAG, LIST } option_type;

typedef struct {
    const char *name, *arg, *help;
    option_type type;
    size_t field;
    double least, most;     /* for numbers */
    const char *when_unset; /* shown as the default when the number is 0 or NAN */
} option_row;

#define FIELD(f)  offsetof(options, f)
#define BETA_MOST 0.999999 /* 1 - beta^t is divided by */

static const option_row rows[] = {
    {"model", "NAME",
     "preset: gpt-nano, gpt-micro, gpt-mini, gpt2-124m, gpt2-350m, gpt2-774m, gpt2-1558m, "
     "gpt3-6.7b, gpt3-13b",
     TEXT, FIELD(model_name), 0, 0, NULL},
    {"load", "DIR|FILE",
     "start from this trained model, whose sizes hold: Hugging Face's GPT-2 (safetensors, with "
     "config.json), what a run left, or llm.c's .bin",
     TEXT, FIELD(load), 0, 0, "initial values"},
    {"widen", NULL, "with --load: take 16-bit floats as f32, which keeps every value", FLAG,
     FIELD(widen), 0, 0, NULL},
    {"layers", "N", "transformer blocks", WHOLE, FIELD(layers), 1, 1000, "the model's"},
    {"heads", "N", "attention heads; must divide the width", WHOLE, FIELD(heads), 1, 100000,
     "the model's"},
    {"width", "N", "channels", WHOLE, FIELD(width), 1, 1e6, "the model's"},
    {"context", "N", "longest sequence", WHOLE, FIELD(context), 1, 1e8, "the model's"},
    {"vocab", "N", "number of tokens", WHOLE, FIELD(vocab), 1, 2e9, "the model's"},
    {"train-data", "GLOB", "token shards to train on (made by ./tokenize)", LIST, FIELD(train_data),
     0, 0, "the demo's"},
    {"val-data", "GLOB", "token shards to evaluate on", LIST, FIELD(val_data), 0, 0, "the demo's"},
    {"optim", "NAME", "adamw, adan, lion, sgd; with suffix _r: memory-reduced", TEXT,
     FIELD(optim_name), 0, 0, NULL},
    {"optim-impl", "HOW",
     "fused (one pass) or passes (operation by operation over whole tensors, as published)", TEXT,
     FIELD(impl), 0, 0, NULL},
    {"gradients", "WHERE", "own, overlay, release or auto", TEXT, FIELD(gradients), 0, 0,
     "own; auto for _r"},
    {"lr", "X", "peak learning rate", REAL, FIELD(lr), 0, 1e6, "the optimizer's"},
    {"beta1", "X", "decay rate", REAL, FIELD(beta1), 0, BETA_MOST, "the optimizer's"},
    {"beta2", "X", "decay rate", REAL, FIELD(beta2), 0, BETA_MOST, "the optimizer's"},
    {"beta3", "X", "decay rate", REAL, FIELD(beta3), 0, BETA_MOST, "the optimizer's"},
    {"eps", "X", "added to the denominator", REAL, FIELD(eps), 1e-30, 1, "the optimizer's"},
    {"weight-decay", "X", "decoupled, on matrices and embeddings", REAL, FIELD(weight_decay), 0,
     1e6, "the optimizer's"},
    {"grad-clip", "X", "largest global gradient norm; 0 = off", REAL, FIELD(grad_clip), 0, 1e30,
     NULL},
    {"schedule", "NAME", "cosine, linear, constant or wsd", TEXT, FIELD(schedule_name), 0, 0, NULL},
    {"warmup", "N", "steps of linear warm-up", WHOLE, FIELD(warmup), 0, 1e9, NULL},
    {"final-lr-fraction", "X", "the schedule ends at this fraction of the learning rate", REAL,
     FIELD(final_lr_fraction), 0, 1, NULL},
    {"batch", "N", "sequences in a micro-batch", WHOLE, FIELD(batch), 1, 1e6, NULL},
    {"seq", "N", "tokens in a sequence", WHOLE, FIELD(seq), 1, 1e8, "the context"},
    {"accum", "N", "micro-batches in a step", WHOLE, FIELD(accum), 1, 1e6, NULL},
    {"steps", "N", "steps to train", WHOLE, FIELD(steps), 1, 1e9, NULL},
    {"device", "WHERE", "cpu, cuda, or auto: cuda where there is a GPU", TEXT, FIELD(device_name),
     0, 0, NULL},
    {"threads", "N", "CPU threads", WHOLE, FIELD(threads), 1, 1024, "all cores"},
    {"seed", "N", "of all randomness", WHOLE, FIELD(seed), 0, 9e15, NULL},
    {"eval-every", "N", "steps between evaluations; 0 = off", WHOLE, FIELD(eval_every), 0, 1e9,
     NULL},
    {"eval-batches", "N", "batches in an evaluation", WHOLE, FIELD(eval_batches), 1, 1e6, NULL},
    {"sample-every", "N", "steps between samples of text; 0 = off", WHOLE, FIELD(sample_every), 0,
     1e9, NULL},
    {"sample-tokens", "N", "tokens in a sample", WHOLE, FIELD(sample_tokens), 1, 1e6, NULL},
    {"prompt", "TEXT", "how samples begin", TEXT, FIELD(prompt), 0, 0, NULL},
    {"checkpoint-every", "N",
     "steps between checkpoints in --out, and one after the last; 0 = only when stopped by Ctrl-C",
     WHOLE, FIELD(checkpoint_every), 0, 1e9, NULL},
    {"keep", "K", "checkpoints to keep: the newest whole ones", WHOLE, FIELD(keep), 1, 1e6, NULL},
    {"resume", "auto|DIR",
     "go on from the newest whole checkpoint in --out (or begin, if there is none), or from DIR",
     TEXT, FIELD(resume), 0, 0, "off"},
    {"out", "DIR",
     "where log.jsonl, plan.txt, options.json, config.json and model.safetensors, and checkpoints "
     "go",
     TEXT, FIELD(out), 0, 0, NULL},
    {"plan", NULL, "print the memory plan and stop", FLAG, FIELD(plan), 0, 0, NULL},
    {"json", NULL, "with --plan: as one JSON object", FLAG, FIELD(json), 0, 0, NULL},
};

enum { ROWS = sizeof rows / sizeof *rows, KEY_BASE = 1000, KEY_HELP = '?' };

static const options defaults = {
    .model_name = NULL,
    .optim_name = "adamw",
    .impl = "fused",
    .schedule_name = "cosine",
    .device_name = "auto",
    .lr = NAN,
    .beta1 = NAN,
    .beta2 = NAN,
    .beta3 = NAN,
    .eps = NAN,
    .weight_decay = NAN,
    .warmup = 20,
    .final_lr_fraction = 0.1,
    .batch = 16,
    .accum = 1,
    .steps = 200,
    .seed = 1,
    .eval_every = 50,
    .eval_batches = 8,
    .sample_tokens = 128,
    .prompt = "",
    .keep = 2,
    .out = "runs/train",
};

static void *field(options *o, const option_row *row)
{
    return (char *)o + row->field;
}

/* ---- numbers ---- */

static error *parse_number(const option_row *row, const char *text, options *o)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    bool whole = row->type == WHOLE;
    if (end == text || *end || errno || isnan(value) || (whole && value != floor(value)))
        return user_error("--%s %s: must be a %s", row->name, text,
                          whole ? "whole number" : "number");
    if (value < row->least || value > row->most)
        return user_error("--%s %s: must be between %.10g and %.10g", row->name, text, row->least,
                          row->most);
    if (whole)
        *(int64_t *)field(o, row) = (int64_t)value;
    else
        *(double *)field(o, row) = value;
    return NULL;
}

/* ---- argp ---- */

typedef struct {
    options *o;
    pattern_list *open; /* the list that plain arguments belong to: the shell expands globs too */
    error *failure;
} parse_state;

static error *add_pattern(pattern_list *list, const char *pattern)
{
    if (list->n == MAX_PATTERNS)
        return user_error("more than %d data files: quote the pattern so that it is expanded here",
                          MAX_PATTERNS);
    list->pattern[list->n++] = pattern;
    return NULL;
}

static error *take_option(parse_state *s, const option_row *row, const char *arg)
{
    s->open = NULL;
    switch (row->type) {
    case TEXT:
        *(const char **)field(s->o, row) = arg;
        return NULL;
    case FLAG:
        *(bool *)field(s->o, row) = true;
        return NULL;
    case LIST:
        s->open = field(s->o, row);
        return add_pattern(s->open, arg);
    default:
        return parse_number(row, arg, s->o);
    }
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
    parse_state *s = state->input;
    if (key >= KEY_BASE && key < KEY_BASE + ROWS)
        s->failure = take_option(s, &rows[key - KEY_BASE], arg);
    else if (key == ARGP_KEY_ARG)
        s->failure = s->open ? add_pattern(s->open, arg)
                             : user_error("%s: not an option (--help lists them)", arg);
    else if (key == ARGP_KEY_ERROR && !s->failure)
        s->failure = user_error("%s: unknown, ambiguous or incomplete option (--help lists them)",
                                state->argv[state->next - 1]);
    else if (key == KEY_HELP) {
        state->flags &= ~(unsigned)ARGP_NO_ERRS;            /* which would silence the help, too */
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
    } else
        return ARGP_ERR_UNKNOWN;
    return s->failure ? EINVAL : 0;
}

/* Appends "[default: ...]" to an option's help. */
static char *with_default(int key, const char *text, void *input)
{
    (void)input;
    if (key < KEY_BASE || key >= KEY_BASE + ROWS || rows[key - KEY_BASE].type == FLAG)
        return (char *)(size_t)text;
    const option_row *row = &rows[key - KEY_BASE];
    options d = defaults;
    char value[64] = "", *out = NULL;
    if (row->when_unset)
        snprintf(value, sizeof value, "%s", row->when_unset);
    else if (row->type == WHOLE)
        snprintf(value, sizeof value, "%lld", (long long)*(int64_t *)field(&d, row));
    else if (row->type == REAL)
        snprintf(value, sizeof value, "%g", *(double *)field(&d, row));
    else
        snprintf(value, sizeof value, "%s",
                 *(const char **)field(&d, row) ? *(const char **)field(&d, row)
                                                : the_model_kind.default_model);
    if (asprintf(&out, "%s [default: %s]", text, *value ? value : "empty") < 0)
        return (char *)(size_t)text;
    return out;
}

static error *run_argp(int argc, char **argv, options *o)
{
    struct argp_option list[ROWS + 2] = {0};
    for (int i = 0; i < ROWS; i++)
        list[i] = (struct argp_option){.name = rows[i].name,
                                       .key = KEY_BASE + i,
                                       .arg = rows[i].arg,
                                       .doc = rows[i].help,
                                       .group = 1 + i};
    list[ROWS] =
        (struct argp_option){.name = "help", .key = KEY_HELP, .doc = "show this list", .group = -1};
    struct argp argp = {.options = list,
                        .parser = on_key,
                        .help_filter = with_default,
                        .doc = "Train a transformer inside one planned block of memory."};
    parse_state s = {.o = o};
    /* in order: a plain argument belongs to the list option before it */
    error_t status =
        argp_parse(&argp, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_IN_ORDER, NULL, &s);
    if (s.failure || !status) return s.failure;
    return user_error("the options cannot be read: %s", strerror(status));
}

/* ---- from words to settings ---- */

static error *one_of(const char *option, const char *text, const char *const *names, int n,
                     int *out)
{
    for (*out = 0; *out < n; (*out)++)
        if (!strcmp(text, names[*out])) return NULL;
    char all[200] = "";
    for (int i = 0; i < n; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", names[i]);
    return user_error("--%s %s: must be one of %s", option, text, all);
}

/* Sizes that are each allowed may still multiply to more than 64 bits, or any machine, can hold. */
static error *check_products(const options *o)
{
    const double most = 1e14; /* numbers */
    double width = (double)o->model.width, layers = (double)o->model.layers,
           vocab = (double)o->model.vocab;
    double parameters = layers * 12 * width * width + (vocab + (double)o->model.context) * width;
    double positions = (double)o->batch * (double)o->seq,
           activations = positions * (layers * 17 * width + vocab);
    if (parameters > most)
        return user_error("a model of %.2g parameters fits into no machine: lower --width, "
                          "--layers, --vocab or --context",
                          parameters);
    if (activations > most)
        return user_error("a micro-batch of %.2g numbers fits into no machine: lower --batch or "
                          "--seq, or the model's sizes",
                          activations);
    return NULL;
}

/* With --load the file says the sizes: one that is given, too, must be the same. */
static error *load_model(options *o)
{
    weights *w;
    TRY(weights_open(o->load, &w));
    o->model = *weights_model(w);
    weights_close(w);
    model_config preset = {0};
    if (o->model_name) TRY(preset_find(o->model_name, &preset));
    const struct {
        const char *name;
        int64_t given, has;
    } sizes[] = {{"layers", o->layers ? o->layers : preset.layers, o->model.layers},
                 {"heads", o->heads ? o->heads : preset.heads, o->model.heads},
                 {"width", o->width ? o->width : preset.width, o->model.width},
                 {"context", o->context ? o->context : preset.context, o->model.context},
                 {"vocab", o->vocab ? o->vocab : preset.vocab, o->model.vocab}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].given && sizes[i].given != sizes[i].has)
            return user_error("--%s %lld: the model of --load %s has %lld; leave --%s%s out",
                              sizes[i].name, (long long)sizes[i].given, o->load,
                              (long long)sizes[i].has, sizes[i].name,
                              o->model_name ? " or --model" : "");
    if (!o->model_name) o->model_name = "gpt2";
    snprintf(o->model.name, sizeof o->model.name, "%s", o->model_name);
    return NULL;
}

static error *named_model(options *o, const model_kind *kind)
{
    if (o->widen) return user_error("--widen: only with --load");
    if (!o->model_name) o->model_name = kind->default_model;
    TRY(preset_find(o->model_name, &o->model));
    model_config p = o->model;
    if (o->layers || o->heads || o->width || o->context || o->vocab)
        o->model = gpt_config(o->model_name, o->layers ? o->layers : p.layers,
                              o->heads ? o->heads : p.heads, o->width ? o->width : p.width,
                              o->context ? o->context : p.context, o->vocab ? o->vocab : p.vocab);
    return config_check(&o->model);
}

static error *resolve_model(options *o, const model_kind *kind)
{
    TRY(o->load ? load_model(o) : named_model(o, kind));
    if (!o->seq) o->seq = o->model.context;
    if (o->seq > o->model.context)
        return user_error("--seq %lld is longer than the model's context %lld: use a shorter one, "
                          "or a larger --context",
                          (long long)o->seq, (long long)o->model.context);
    return check_products(o);
}

/* A number that was given must be one that the optimizer has. */
static error *choose(const options *o, const char *name, double given, bool has, double *target)
{
    if (isnan(given)) return NULL;
    if (!has) return user_error("--%s: %s has no such number; leave it out", name, o->optim_name);
    *target = given;
    return NULL;
}

static error *resolve_optimizer(options *o)
{
    static const char *const impls[] = {"fused", "passes"};
    static const char *const policies[] = {"own", "overlay", "release", "auto"};
    optim_config *c = &o->optim;
    TRY(optim_defaults(o->optim_name, c));
    const rule_info *info = rule_at(c->rule);
    TRY(choose(o, "beta1", o->beta1, info->options & HAS_BETA1, &c->beta[0]));
    TRY(choose(o, "beta2", o->beta2, info->options & HAS_BETA2, &c->beta[1]));
    TRY(choose(o, "beta3", o->beta3, info->options & HAS_BETA3, &c->beta[2]));
    TRY(choose(o, "eps", o->eps, info->options & HAS_EPS, &c->eps));
    TRY(choose(o, "weight-decay", o->weight_decay, true, &c->weight_decay));
    c->clip = o->grad_clip;
    int which;
    TRY(one_of("optim-impl", o->impl, impls, 2, &which));
    c->fused = which == 0;
    if (o->gradients) {
        TRY(one_of("gradients", o->gradients, policies, 4, &which));
        c->gradients = (grad_policy)which;
    }
    return optim_resolve(c, o->accum, &o->policy_reason);
}

static error *resolve_schedule(options *o)
{
    TRY(schedule_find(o->schedule_name, &o->schedule.kind));
    o->schedule.lr = isnan(o->lr) ? rule_at(o->optim.rule)->lr : o->lr;
    o->schedule.warmup = o->warmup;
    o->schedule.steps = o->steps;
    o->schedule.final_fraction = o->final_lr_fraction;
    return NULL;
}

error *options_parse(const model_kind *kind, int argc, char **argv, options *out)
{
    *out = defaults;
    TRY(run_argp(argc, argv, out));
    TRY(resolve_model(out, kind));
    TRY(resolve_optimizer(out));
    TRY(resolve_schedule(out));
    int where;
    TRY(one_of("device", out->device_name, place_names, PLACE_COUNT, &where));
    out->place = (place_choice)where;
    if (out->json && !out->plan)
        return user_error("--json: only with --plan; a run writes log.jsonl by itself");
    return NULL;
}

/* ---- options.json ---- */

static void add_row(cJSON *object, const option_row *row, options *o)
{
    switch (row->type) {
    case WHOLE:
        cJSON_AddNumberToObject(object, row->name, (double)*(int64_t *)field(o, row));
        break;
    case REAL:
        cJSON_AddNumberToObject(object, row->name, *(double *)field(o, row));
        break;
    case TEXT:
        if (*(const char **)field(o, row))
            cJSON_AddStringToObject(object, row->name, *(const char **)field(o, row));
        break;
    case LIST: {
        pattern_list *list = field(o, row);
        cJSON *array = cJSON_AddArrayToObject(object, row->name);
        for (int i = 0; i < list->n; i++)
            cJSON_AddItemToArray(array, cJSON_CreateString(list->pattern[i]));
        break;
    }
    default:
        break;
    }
}

error *options_json(const options *given, char **out)
{
    options o = *given; /* with the defaults put in */
    o.layers = o.model.layers;
    o.heads = o.model.heads;
    o.width = o.model.width;
    o.context = o.model.context;
    o.vocab = o.model.vocab;
    o.lr = o.schedule.lr;
    o.beta1 = o.optim.beta[0];
    o.beta2 = o.optim.beta[1];
    o.beta3 = o.optim.beta[2];
    o.eps = o.optim.eps;
    o.weight_decay = o.optim.weight_decay;
    o.gradients = grad_policy_name(o.optim.gradients);
    cJSON *object = cJSON_CreateObject();
    for (int i = 0; object && i < ROWS; i++)
        add_row(object, &rows[i], &o);
    *out = object ? cJSON_Print(object) : NULL;
    cJSON_Delete(object);
    return *out ? NULL : user_error("out of memory for options.json");
}

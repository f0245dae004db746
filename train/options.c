/* options.c - see options.h */
#include "train/option_values.h"
#include "train/task.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BETA_MOST 0.999999 /* 1 - beta^t is divided by */

static const option_row common[] = {
    {"optim", "NAME", "adamw, adama, adan, lion, muon, sgd; with suffix _r: memory-reduced", TEXT,
     OPTIMIZER, SILENT, FIELD(optim_name), 0, 0, NULL},
    {"optim-impl", "HOW",
     "fused (one pass) or passes (operation by operation over whole tensors, as published)", TEXT,
     OPTIMIZER, SILENT, FIELD(impl), 0, 0, NULL},
    {"gradients", "WHERE", "own, overlay, release, fold or auto", TEXT, MEMORY, SILENT,
     FIELD(gradients), 0, 0, "own; auto for _r; fold for adama"},
    {"dtype", "TYPE",
     "fp32, or bf16: parameters, activations and their gradients (sums, norms' statistics, loss "
     "and "
     "optimizer stay fp32)",
     TEXT, PRECISION, FIXED, FIELD(dtype_name), 0, 0, NULL},
    {"master", "FORM",
     "with --dtype bf16, what is kept of a weight besides its bf16: fp32; split16 (the 16 bits it "
     "lacks: same training as fp32); split8 (8 of them); none (rounded at random)",
     TEXT, PRECISION, FIXED, FIELD(master_name), 0, 0, "fp32"},
    {"state", "FORM", "of the optimizer's states: fp32, bf16, or int8 (in blocks with a scale)",
     TEXT, PRECISION, FIXED, FIELD(state_name), 0, 0, NULL},
    {"state-of", "WHICH",
     "what --state is for: matrices (vectors, tensors of less than 4096 numbers and embeddings "
     "stay "
     "fp32), or all",
     TEXT, PRECISION, FIXED, FIELD(state_of), 0, 0, NULL},
    {"lr", "X", "peak learning rate", REAL, OPTIMIZER, TOLD, FIELD(lr), 0, 1e6, "the optimizer's"},
    {"beta1", "X", "decay rate", REAL, OPTIMIZER, TOLD, FIELD(beta1), 0, BETA_MOST,
     "the optimizer's"},
    {"beta2", "X", "decay rate", REAL, OPTIMIZER, TOLD, FIELD(beta2), 0, BETA_MOST,
     "the optimizer's"},
    {"beta3", "X", "decay rate", REAL, OPTIMIZER, TOLD, FIELD(beta3), 0, BETA_MOST,
     "the optimizer's"},
    {"eps", "X", "added to the denominator", REAL, OPTIMIZER, TOLD, FIELD(eps), 1e-30, 1,
     "the optimizer's"},
    {"adam-lr", "X",
     "muon: peak learning rate of AdamW, which trains embeddings, head, gains and biases", REAL,
     OPTIMIZER, TOLD, FIELD(adam_lr), 0, 1e6, "3e-4 with muon"},
    {"adam-beta1", "X", "muon: AdamW's decay rate", REAL, OPTIMIZER, TOLD, FIELD(adam_beta1), 0,
     BETA_MOST, "0.9 with muon"},
    {"adam-beta2", "X", "muon: AdamW's decay rate", REAL, OPTIMIZER, TOLD, FIELD(adam_beta2), 0,
     BETA_MOST, "0.95 with muon"},
    {"adam-eps", "X", "muon: AdamW's eps", REAL, OPTIMIZER, TOLD, FIELD(adam_eps), 1e-30, 1,
     "1e-10 with muon"},
    {"newton-schulz", "N", "muon: steps that make a matrix orthogonal", WHOLE, OPTIMIZER, TOLD,
     FIELD(newton_schulz), 1, 100, "5 with muon"},
    {"weight-decay", "X", "decoupled, on matrices and embeddings", REAL, OPTIMIZER, TOLD,
     FIELD(weight_decay), 0, 1e6, "the optimizer's"},
    {"grad-clip", "X", "largest global gradient norm; 0 = off", REAL, OPTIMIZER, TOLD,
     FIELD(grad_clip), 0, 1e30, NULL},
    {"schedule", "NAME", "cosine, linear, constant or wsd", TEXT, OPTIMIZER, TOLD,
     FIELD(schedule_name), 0, 0, NULL},
    {"warmup", "N", "steps of linear warm-up", WHOLE, OPTIMIZER, TOLD, FIELD(warmup), 0, 1e9, NULL},
    {"final-lr-fraction", "X", "the schedule ends at this fraction of the learning rate", REAL,
     OPTIMIZER, TOLD, FIELD(final_lr_fraction), 0, 1, NULL},
    {"freeze", "PATTERN",
     "parameters that stay as they are: names, with * and ?; they have no gradient and no state, "
     "and "
     "what only those would need is not kept",
     LIST, OPTIMIZER, FIXED, FIELD(freeze), 0, 0, "none"},
    {"train-only", "PATTERN", "freeze all others", LIST, OPTIMIZER, FIXED, FIELD(train_only), 0, 0,
     "all"},
    {"sparsity", "X",
     "part of the blocks' matrices that is zero: weights, gradients and states are stored for the "
     "others only, whose number is fixed and whose places change; 0 = off",
     REAL, OPTIMIZER, FIXED, FIELD(sparsity), 0, 0.9999, NULL},
    {"regrow-every", "N",
     "with --sparsity: steps between changes of places, in the first 3/4 of the steps: the "
     "smallest weights become zero, as many zeros elsewhere are trained from then on; 0 = never",
     WHOLE, OPTIMIZER, TOLD, FIELD(regrow_every), 0, 1e9, NULL},
    {"regrow-fraction", "X", "with --sparsity: of the weights, how many change places each time",
     REAL, OPTIMIZER, TOLD, FIELD(regrow_fraction), 0, 0.9, NULL},
    {"recompute", "LEVEL",
     "make again in backward instead of keeping, with the same bits: none, norms, gelu (norms and "
     "activations), attention (... and attention), block (all of a block), sqrt (... and most "
     "blocks' inputs); or by layers: block:0-5,norms:6-11",
     TEXT, MEMORY, SILENT, FIELD(recompute), 0, 0, NULL},
    {"memory", "SIZE",
     "choose --recompute, --batch, --accum and --gradients for the fastest training of this batch "
     "in "
     "so much memory (8G, or auto: what is free); with --plan 2G,4G,8G: what trains in each",
     TEXT, MEMORY, SILENT, FIELD(memory), 0, 0, "off"},
    {"allow", "LIST",
     "with --memory: forms that it may choose, too, though they change the training: master=split8 "
     "(with --dtype bf16; or fp32, split16, none), state=int8 (or bf16), with commas between",
     TEXT, MEMORY, SILENT, FIELD(allow), 0, 0, "none"},
    {"product-rate", "X", "GFLOP/s of a matrix product, for --memory; 0 = measured", REAL, MEMORY,
     SILENT, FIELD(product_rate), 0, 1e9, NULL},
    {"stream-rate", "X", "GB/s from and to memory, for --memory; 0 = measured", REAL, MEMORY,
     SILENT, FIELD(stream_rate), 0, 1e9, NULL},
    {"batch", "N", "samples in a micro-batch", WHOLE, DATA, SPLIT, FIELD(batch), 1, 1e6, NULL},
    {"accum", "N", "micro-batches in a step", WHOLE, DATA, SPLIT, FIELD(accum), 1, 1e6, NULL},
    {"steps", "N", "steps to train", WHOLE, RUN, TOLD, FIELD(steps), 1, 1e9, NULL},
    {"device", "WHERE", "cpu, cuda, or auto: cuda where there is a GPU", TEXT, RUN, TOLD,
     FIELD(device_name), 0, 0, NULL},
    {"attention", "HOW",
     "flash, or on a GPU with --dtype bf16: cudnn (NVIDIA's; not the same bits from run to run), "
     "cudnn-repeatable (the same bits, with T x T of each head in memory)",
     TEXT, MODEL, TOLD, FIELD(attention), 0, 0, NULL},
    {"logits-mib", "N",
     "most MiB of logits at a time; 0 = 32, on a GPU 512, where larger products are faster (the "
     "last bits "
     "depend on it)",
     WHOLE, MODEL, TOLD, FIELD(training.logits_mib), 0, 1 << 20, NULL},
    {"no-cuda-graph", NULL, "on CUDA: launch every operation by itself, not the step as a graph",
     FLAG, RUN, SILENT, FIELD(no_cuda_graph), 0, 0, NULL},
    {"threads", "N", "CPU threads", WHOLE, RUN, TOLD, FIELD(threads), 1, 1024, "all cores"},
    {"seed", "N", "of all randomness", WHOLE, RUN, FIXED, FIELD(seed), 0, 9e15, NULL},
    {"eval-every", "N", "steps between evaluations; 0 = off", WHOLE, OUTPUT, SILENT,
     FIELD(eval_every), 0, 1e9, NULL},
    {"checkpoint-every", "N",
     "steps between checkpoints, and one after the last; 0 = only when stopped by Ctrl-C", WHOLE,
     RUN, SILENT, FIELD(checkpoint_every), 0, 1e9, NULL},
    {"keep", "K", "checkpoints to keep: the newest whole ones", WHOLE, RUN, SILENT, FIELD(keep), 1,
     1e6, NULL},
    {"resume", "auto|DIR",
     "go on from the newest whole checkpoint of this run (begin, if there is none), or from DIR",
     TEXT, RUN, SILENT, FIELD(resume), 0, 0, "off"},
    {"out", "DIR",
     "where log.jsonl, plan.txt, options.json, config.json and model.safetensors, and checkpoints "
     "go",
     TEXT, OUTPUT, SILENT, FIELD(out), 0, 0, "runs/train; with --plan: nothing is written"},
    {"zero", "STAGE",
     "of what each rank keeps but its part: 0 nothing, 1 states, 2 and gradients, 3 and parameters",
     WHOLE, RANKS, SILENT, FIELD(zero), 0, 3, NULL},
    {"bucket", "MIB",
     "gradients that ranks add up together, beside the computation; 0 = each tensor at once", WHOLE,
     RANKS, SILENT, FIELD(bucket), 0, 1 << 20, NULL},
    {"watchdog", "SECONDS", "a rank that is missing for so long ends the run", WHOLE, RANKS, SILENT,
     FIELD(watchdog), 1, 1e6, NULL},
    {"gpus", "N", "that many ranks on this machine, each with a GPU of its own", WHOLE, RANKS,
     SILENT, FIELD(gpus), 1, 1024, NULL},
    {"ranks", "N", "with --plan: as one of N ranks; a run has as many as were started", WHOLE,
     RANKS, SILENT, FIELD(ranks), 1, 1 << 20, NULL},
    {"plan", NULL, "print the memory plan and stop", FLAG, MEMORY, SILENT, FIELD(plan), 0, 0, NULL},
    {"plan-beside", "NAME",
     "with --plan --out: plan.svg shows the plan of this optimizer, too; NAME/passes and NAME/fused "
     "name its form",
     TEXT, MEMORY, SILENT, FIELD(plan_beside), 0, 0, "none"},
    {"json", NULL, "with --plan: as one JSON object", FLAG, MEMORY, SILENT, FIELD(json), 0, 0,
     NULL},
};

enum { COMMON = sizeof common / sizeof *common, MAX_ROWS = 96, KEY_BASE = 1000, KEY_HELP = '?' };

static const options defaults = {
    .model_name = NULL,
    .optim_name = "adamw",
    .impl = "fused",
    .schedule_name = "cosine",
    .dtype_name = "fp32",
    .state_name = "fp32",
    .state_of = "matrices",
    .device_name = "auto",
    .lr = NAN,
    .beta1 = NAN,
    .beta2 = NAN,
    .beta3 = NAN,
    .eps = NAN,
    .weight_decay = NAN,
    .adam_lr = NAN,
    .adam_beta1 = NAN,
    .adam_beta2 = NAN,
    .adam_eps = NAN,
    .warmup = 20,
    .final_lr_fraction = 0.1,
    .regrow_every = 100,
    .regrow_fraction = 0.1,
    .recompute = "none",
    .attention = "flash",
    .batch = 16,
    .accum = 1,
    .steps = 200,
    .seed = 1,
    .eval_every = 50,
    .keep = 2,
    .watchdog = 25,
    .ranks = 1,
    .gpus = 1,
};

int option_count(const task *t)
{
    return t->n_rows + COMMON;
}

const option_row *option_row_at(const task *t, int i)
{
    return i < t->n_rows ? &t->rows[i] : &common[i - t->n_rows];
}

const char *option_name(const task *t, int i)
{
    return i >= 0 && i < option_count(t) ? option_row_at(t, i)->name : NULL;
}

/* The row that argp means; NULL for its own keys. */
static const option_row *row_of_key(const task *t, int key)
{
    bool ours = key >= KEY_BASE && key < KEY_BASE + option_count(t);
    return ours ? option_row_at(t, key - KEY_BASE) : NULL;
}

options options_unset(const task *t)
{
    options o = defaults;
    o.task = t;
    t->defaults(&o);
    return o;
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
        *(int64_t *)option_field(o, row) = (int64_t)value;
    else
        *(double *)option_field(o, row) = value;
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
        return user_error(
            "more than %d names in a list: quote the pattern so that it is expanded here",
            MAX_PATTERNS);
    list->pattern[list->n++] = pattern;
    return NULL;
}

static error *take_option(parse_state *s, const option_row *row, const char *arg)
{
    s->open = NULL;
    switch (row->type) {
    case TEXT:
        *(const char **)option_field(s->o, row) = arg;
        return NULL;
    case FLAG:
        *(bool *)option_field(s->o, row) = true;
        return NULL;
    case LIST:
        s->open = option_field(s->o, row);
        return add_pattern(s->open, arg);
    default:
        return parse_number(row, arg, s->o);
    }
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
    parse_state *s = state->input;
    const option_row *row = row_of_key(s->o->task, key);
    if (row)
        s->failure = take_option(s, row, arg);
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

/* The value that an option has when it is not given. */
static void default_text(const task *t, const option_row *row, char *out, size_t size)
{
    options d = options_unset(t);
    const void *at = option_field(&d, row);
    const char *word = row->type == TEXT ? *(const char *const *)at : NULL;
    if (row->when_unset)
        snprintf(out, size, "%s", row->when_unset);
    else if (row->type == WHOLE)
        snprintf(out, size, "%lld", (long long)*(const int64_t *)at);
    else if (row->type == REAL)
        snprintf(out, size, "%g", *(const double *)at);
    else
        snprintf(out, size, "%s", word ? word : t->kind->default_model);
    if (!*out) snprintf(out, size, "empty");
}

/* An option's help with "[default: ...]" after it, and with the models before that of --model. */
static char *with_default(int key, const char *text, void *input)
{
    const task *t = ((const parse_state *)input)->o->task;
    const option_row *row = row_of_key(t, key);
    char value[64], *out = NULL, *names = NULL;
    if (!row || row->type == FLAG) return (char *)(size_t)text;
    bool models = row->field == FIELD(model_name);
    if (models) names = preset_names(t->kind->presets);
    default_text(t, row, value, sizeof value);
    int n = asprintf(&out, "%s%s%s%s [default: %s]", models ? "preset: " : "", names ? names : "",
                     models ? "; " : "", text, value);
    free(names);
    return n < 0 ? (char *)(size_t)text : out;
}

static error *run_argp(int argc, char **argv, options *o)
{
    struct argp_option list[MAX_ROWS + 2] = {0};
    int n = option_count(o->task);
    if (n > MAX_ROWS) return internal_error("%d options, room for %d", n, MAX_ROWS);
    for (int i = 0; i < n; i++) {
        const option_row *row = option_row_at(o->task, i);
        list[i] = (struct argp_option){.name = row->name,
                                       .key = KEY_BASE + i,
                                       .arg = row->arg,
                                       .doc = row->help,
                                       .group = 1 + i};
    }
    list[n] =
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
    const model_config *c = &o->model;
    double heads = ((double)c->heads + 2 * (double)c->kv_heads) * (double)c->head_size;
    double layer = 17 * (double)c->width + heads + (double)c->inner;
    double parameters = config_parameters(c);
    double positions = (double)o->batch * (double)o->seq,
           activations = positions * ((double)c->layers * layer + (double)c->vocab);
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

/* A number that was given must be one that the optimizer has. */
static error *choose(const options *o, const char *name, double given, bool has, double *target)
{
    if (isnan(given)) return NULL;
    if (!has) return user_error("--%s: %s has no such number; leave it out", name, o->optim_name);
    *target = given;
    return NULL;
}

const char *const master_names[MASTER_FORMS] = {"fp32", "split16", "split8", "none"},
                  *const state_names[STATE_FORMS] = {"fp32", "bf16", "int8"};

/* In which types numbers are kept. */
static error *resolve_types(options *o)
{
    static const char *const types[] = {"fp32", "bf16"};
    static const char *const which[] = {"matrices", "all"};
    int i;
    TRY(one_of("dtype", o->dtype_name, types, 2, &i));
    o->type = i ? BF16 : F32;
    if (o->master_name && o->type == F32)
        return user_error("--master %s: only with --dtype bf16; weights in fp32 are their own "
                          "masters",
                          o->master_name);
    i = MASTER_F32;
    if (o->master_name) TRY(one_of("master", o->master_name, master_names, MASTER_FORMS, &i));
    o->master = (master_form)i;
    TRY(one_of("state", o->state_name, state_names, STATE_FORMS, &i));
    o->optim.state = (state_form)i;
    TRY(one_of("state-of", o->state_of, which, 2, &i));
    o->optim.state_all = i;
    o->optim.type = o->type;
    o->optim.seed = (uint64_t)o->seed;
    return NULL;
}

/* What the optimizer leaves to AdamW, and how it makes matrices orthogonal. */
static error *resolve_others(const options *o, optim_config *c)
{
    const rule_info *info = rule_at(c->rule);
    bool has = info->options & HAS_OTHERS;
    double lr = isnan(o->lr) ? info->lr : o->lr, adam_lr = c->others.lr_ratio * info->lr,
           steps = (double)c->newton_schulz_steps;
    TRY(choose(o, "adam-lr", o->adam_lr, has, &adam_lr));
    TRY(choose(o, "adam-beta1", o->adam_beta1, has, &c->others.beta[0]));
    TRY(choose(o, "adam-beta2", o->adam_beta2, has, &c->others.beta[1]));
    TRY(choose(o, "adam-eps", o->adam_eps, has, &c->others.eps));
    TRY(choose(o, "newton-schulz", o->newton_schulz ? (double)o->newton_schulz : (double)NAN, has,
               &steps));
    c->newton_schulz_steps = (int64_t)steps;
    if (has && lr == 0)
        return user_error("--lr 0: AdamW's learning rate of %s is a part of it in every step; give "
                          "one above 0",
                          o->optim_name);
    if (has) c->others.lr_ratio = adam_lr / lr;
    return NULL;
}

static error *resolve_optimizer(options *o)
{
    static const char *const impls[] = {"fused", "passes"};
    static const char *const policies[] = {"own", "overlay", "release", "fold", "auto"};
    optim_config *c = &o->optim;
    TRY(optim_defaults(o->optim_name, c));
    const rule_info *info = rule_at(c->rule);
    TRY(choose(o, "beta1", o->beta1, info->options & HAS_BETA1, &c->beta[0]));
    TRY(choose(o, "beta2", o->beta2, info->options & HAS_BETA2, &c->beta[1]));
    TRY(choose(o, "beta3", o->beta3, info->options & HAS_BETA3, &c->beta[2]));
    TRY(choose(o, "eps", o->eps, info->options & HAS_EPS, &c->eps));
    TRY(choose(o, "weight-decay", o->weight_decay, true, &c->weight_decay));
    TRY(resolve_others(o, c));
    c->clip = o->grad_clip;
    c->sparse = o->sparsity > 0;
    TRY(resolve_types(o));
    int which;
    TRY(one_of("optim-impl", o->impl, impls, 2, &which));
    c->fused = which == 0;
    if (o->gradients) {
        TRY(one_of("gradients", o->gradients, policies, 5, &which));
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

/* Whether cuDNN has engines for the rest of it (lengths, sizes of heads) it says on the GPU. */
static error *resolve_attention(options *o)
{
    const model_config *c = &o->model;
    int how;
    TRY(one_of("attention", o->attention, attention_method_names, ATTENTION_METHODS, &how));
    o->training.attention = (attention_method)how;
    const char *wrong = how == ATTENTION_FLASH            ? NULL
                        : o->type != BF16                 ? "is for --dtype bf16"
                        : c->positions == POSITIONS_ALIBI ? "has no ALiBi"
                        : c->kv_heads != c->heads         ? "has no shared key heads"
                        : c->head_size % ATTENTION_CUDNN_HEADS
                            ? "takes heads of 8, 16, 24 ... numbers"
                            : NULL;
    if (wrong) return user_error("--attention %s %s: leave it out", o->attention, wrong);
    return NULL;
}

void options_recompute(options *o, recompute_level level)
{
    o->recompute = recompute_name(level);
    o->training.recompute = recompute_all(level, o->model.layers);
}

/* What --memory may choose must go with the rest. */
static error *resolve_allow(options *o)
{
    optim_config c = o->optim;
    const char *reason;
    if (!o->allow) return NULL;
    if (!o->memory)
        return user_error("--allow %s: only with --memory; to have a form, give --dtype bf16 "
                          "--master FORM, --state FORM",
                          o->allow);
    TRY(option_forms(o->allow, &o->allow_masters, &o->allow_states));
    if (o->allow_masters) c.type = BF16;
    if (o->allow_states >> STATE_BF16) c.state = STATE_BF16;
    if (o->allow_states >> STATE_INT8) c.state = STATE_INT8;
    error *e = optim_resolve(&c, o->accum, &reason);
    if (e) return error_context(e, "--allow %s", o->allow);
    return NULL;
}

error *options_parse(const task *t, int argc, char **argv, options *out)
{
    *out = options_unset(t);
    TRY(run_argp(argc, argv, out));
    if (out->sparsity > 0 && out->load)
        return user_error(
            "--sparsity %g with --load: which of a trained model's weights to keep is "
            "not known; leave one out",
            out->sparsity);
    TRY(t->resolve(out));
    TRY(recompute_parse(out->recompute, out->model.layers, &out->training.recompute));
    TRY(check_products(out));
    TRY(resolve_optimizer(out));
    TRY(resolve_schedule(out));
    TRY(resolve_attention(out));
    if (out->memory) TRY(option_sizes(out->memory, out->sizes, &out->n_sizes));
    if (out->n_sizes > 1 && (!out->plan || out->json))
        return user_error(
            "--memory %s: several sizes only with --plan, which prints what trains in "
            "each; give one",
            out->memory);
    TRY(resolve_allow(out));
    if (out->memory && strcmp(out->recompute, "none"))
        return user_error("--recompute %s with --memory, which chooses it: leave one out",
                          out->recompute);
    int where;
    TRY(one_of("device", out->device_name, place_names, PLACE_COUNT, &where));
    out->place = (place_choice)where;
    if (out->ranks > 1 && !out->plan)
        return user_error("--ranks %lld: only with --plan; start that many with mpirun -np %lld",
                          (long long)out->ranks, (long long)out->ranks);
    if (out->gpus > 1 && out->plan)
        return user_error("--gpus %lld with --plan: give --ranks %lld, which plans one of them",
                          (long long)out->gpus, (long long)out->gpus);
    if (out->json && !out->plan)
        return user_error("--json: only with --plan; a run writes log.jsonl by itself");
    if (out->plan_beside && (!out->plan || !out->out))
        return user_error("--plan-beside %s: only with --plan and --out, which writes the picture",
                          out->plan_beside);
    if (!out->out && !out->plan) out->out = "runs/train";
    return NULL;
}

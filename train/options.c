/* options.c - see options.h */
#include "base/command_line.h"
#include "base/fill.h"
#include "io/adapter_file.h"
#include "train/conflicts.h"
#include "train/evaluate.h"
#include "train/option_values.h"
#include "train/options_file.h"
#include "train/task.h"
#include "train/tuning.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BETA_MOST 0.999999 /* it divides by 1 - beta^t */

static const option_row common[] = {
    {"widen", NULL, "with --load: convert 16-bit floats to f32, which preserves every value", FLAG,
     TUNING, SILENT, 0, FIELD(widen), 0, 0, NULL},
    {"layers", "N", "transformer blocks", INTEGER, MODEL, FIXED, 0, FIELD(layers), 1, 1000,
     "the model's"},
    {"heads", "N", "attention heads; must divide the width", INTEGER, MODEL, FIXED, 0, FIELD(heads),
     1, 100000, "the model's"},
    {"width", "N", "width of the model (hidden size)", INTEGER, MODEL, FIXED, 0, FIELD(width), 1,
     1e6, "the model's"},
    {"optim", "NAME", "{optimizers}; suffix _r: the memory-reduced form of each", TEXT, OPTIMIZER,
     SILENT, 0, FIELD(optim_name), 0, 0, NULL},
    {"optim-impl", "HOW",
     "fused (one pass over each tensor) or passes (operation by operation over whole "
     "tensors, as published)",
     TEXT, OPTIMIZER, SILENT, 0, FIELD(impl), 0, 0, NULL},
    {"gradients", "WHERE",
     "where gradients live: own, overlay, release, fold or auto (docs/memory.md)", TEXT, MEMORY,
     SILENT, 0, FIELD(gradients), 0, 0, "own; auto for _r; fold for adama"},
    {"dtype", "TYPE",
     "fp32, or bf16 for parameters, activations and their gradients (sums, normalization "
     "statistics, the loss and the optimizer stay in fp32)",
     TEXT, PRECISION, FIXED, 0, FIELD(dtype_name), 0, 0, NULL},
    {"master", "FORM",
     "with --dtype bf16: what is kept of each weight besides its bf16 value: fp32; split16 "
     "(the 16 bits that bf16 lacks: trains exactly like fp32); split8 (8 of them); none "
     "(stochastic rounding)",
     TEXT, PRECISION, FIXED, 0, FIELD(master_name), 0, 0, "fp32"},
    {"state", "FORM",
     "storage of the optimizer states: fp32, bf16, or int8 (in blocks, each with a scale)", TEXT,
     PRECISION, FIXED, 0, FIELD(state_name), 0, 0, NULL},
    {"state-of", "WHICH",
     "what --state applies to: matrices (vectors, tensors of fewer than 4096 elements and "
     "embeddings stay in fp32), or all",
     TEXT, PRECISION, FIXED, 0, FIELD(state_of), 0, 0, NULL},
    {"lr", "X", "peak learning rate", REAL, SCHEDULE, TOLD, 0, FIELD(lr), 0, 1e6,
     "the optimizer's"},
    {"beta1", "X", "decay rate of the momentum (lion: the share of the old momentum in the step)",
     REAL, OPTIMIZER, TOLD, HAS_BETA1, FIELD(beta1), 0, BETA_MOST, "the optimizer's"},
    {"beta2", "X",
     "adamw: decay rate of the squares; adan: of the gradient differences; lion: of the "
     "momentum",
     REAL, OPTIMIZER, TOLD, HAS_BETA2, FIELD(beta2), 0, BETA_MOST, "the optimizer's"},
    {"beta3", "X", "adan: decay rate of the squares", REAL, OPTIMIZER, TOLD, HAS_BETA3,
     FIELD(beta3), 0, BETA_MOST, "the optimizer's"},
    {"eps", "X", "added to the denominator", REAL, OPTIMIZER, TOLD, HAS_EPS, FIELD(eps), 1e-30, 1,
     "the optimizer's"},
    {"adam-lr", "X",
     "muon: peak learning rate of AdamW, which trains embeddings, head, gains and biases", REAL,
     OPTIMIZER, TOLD, HAS_OTHERS, FIELD(adam_lr), 0, 1e6, "3e-4 with muon"},
    {"adam-beta1", "X", "muon: AdamW's decay rate", REAL, OPTIMIZER, TOLD, HAS_OTHERS,
     FIELD(adam_beta1), 0, BETA_MOST, "0.9 with muon"},
    {"adam-beta2", "X", "muon: AdamW's decay rate", REAL, OPTIMIZER, TOLD, HAS_OTHERS,
     FIELD(adam_beta2), 0, BETA_MOST, "0.95 with muon"},
    {"adam-eps", "X", "muon: AdamW's eps", REAL, OPTIMIZER, TOLD, HAS_OTHERS, FIELD(adam_eps),
     1e-30, 1, "1e-10 with muon"},
    {"newton-schulz", "N", "muon: iterations that orthogonalize a matrix", INTEGER, OPTIMIZER, TOLD,
     HAS_OTHERS, FIELD(newton_schulz), 1, 100, "5 with muon"},
    {"weight-decay", "X", "decoupled weight decay, on matrices and embeddings", REAL, OPTIMIZER,
     TOLD, 0, FIELD(weight_decay), 0, 1e6, "the optimizer's"},
    {"ema", "DECAY",
     "keep an exponential moving average of the weights (0.9998 is usual); evaluations use it, and "
     "it is the model that is written; 0 = off",
     REAL, OPTIMIZER, FIXED, 0, FIELD(ema), 0, 0.9999999, NULL},
    {"ema-warmup", NULL,
     "with --ema: begin with a smaller decay, 1 - step^(-2/3), as timm's --model-ema-warmup", FLAG,
     OPTIMIZER, TOLD, 0, FIELD(ema_warmup), 0, 0, NULL},
    {"grad-clip", "X", "maximum global gradient norm; 0 = off", REAL, OPTIMIZER, TOLD, 0,
     FIELD(grad_clip), 0, 1e30, "0"},
    {"schedule", "NAME", "learning-rate schedule: cosine, linear, constant or wsd", TEXT, SCHEDULE,
     TOLD, 0, FIELD(schedule_name), 0, 0, NULL},
    {"warmup", "N", "steps of linear warm-up", INTEGER, SCHEDULE, TOLD, 0, FIELD(warmup), 0, 1e9,
     "20"},
    {"layer-decay", "X",
     "layer-wise decay of the learning rate: from the head down, each block's is this fraction of "
     "the next one's, and the embedding's the smallest; 1 = the same for all",
     REAL, SCHEDULE, TOLD, 0, FIELD(layer_decay), 0.01, 1, NULL},
    {"final-lr-fraction", "X", "the schedule ends at this fraction of the peak", REAL, SCHEDULE,
     TOLD, 0, FIELD(final_lr_fraction), 0, 1, NULL},
    {"freeze", "PATTERN",
     "do not train these parameters: names, with * and ?. They have no gradient and no "
     "optimizer state, and activations that only their gradients need are not kept",
     LIST, TUNING, FIXED, 0, FIELD(freeze), 0, 0, "none"},
    {"train-only", "PATTERN", "train these parameters and freeze all others", LIST, TUNING, FIXED,
     0, FIELD(train_only), 0, 0, "all"},
    {"sparsity", "X",
     "fraction of the blocks' matrices that is zero: weights, gradients and states are "
     "stored only for the rest, whose number is fixed and whose positions change; 0 = off",
     REAL, SPARSITY, FIXED, 0, FIELD(sparsity), 0, 0.9999, NULL},
    {"regrow-every", "N",
     "with --sparsity: steps between changes of position, during the first 3/4 of the run: "
     "the smallest weights become zero, and as many zeros elsewhere are trained from then "
     "on; 0 = never",
     INTEGER, SPARSITY, TOLD, 0, FIELD(regrow_every), 0, 1e9, NULL},
    {"regrow-fraction", "X",
     "with --sparsity: fraction of the weights that change position each time", REAL, SPARSITY,
     TOLD, 0, FIELD(regrow_fraction), 0, 0.9, NULL},
    {"recompute", "LEVEL",
     "activation (gradient) checkpointing: recompute in the backward pass instead of "
     "keeping, with the same bits: none, norms, gelu (norms and activations), attention "
     "(... and attention), block (all of a block), sqrt (... and most blocks' inputs); or "
     "by layer: block:0-5,norms:6-11",
     TEXT, MEMORY, SILENT, 0, FIELD(recompute), 0, 0, NULL},
    {"memory", "SIZE",
     "choose --recompute, --batch, --accum and --gradients: the fastest way to train this "
     "batch in this much memory (8G, or auto: whatever is free); with --plan 2G,4G,8G: "
     "what trains in each",
     TEXT, MEMORY, SILENT, 0, FIELD(memory), 0, 0, "off"},
    {"allow", "LIST",
     "with --memory: number formats that it may choose, too, although they change the "
     "training: master=split8 (with --dtype bf16; or fp32, split16, none), state=int8 (or "
     "bf16), separated by commas",
     TEXT, MEMORY, SILENT, 0, FIELD(allow), 0, 0, "none"},
    {"product-rate", "X", "with --memory: GFLOP/s of a matrix product; 0 = measure it", REAL,
     MEMORY, SILENT, 0, FIELD(product_rate), 0, 1e9, NULL},
    {"stream-rate", "X", "with --memory: GB/s of memory bandwidth; 0 = measure it", REAL, MEMORY,
     SILENT, 0, FIELD(stream_rate), 0, 1e9, NULL},
    {"offload", "WHAT",
     "what lies in a second place of the same plan, a file on a disk or a GPU's host memory, and "
     "is read and written beside the computation, with the same bits (docs/offload.md): states: "
     "the optimizer's states, and masters; params: the matrices themselves, too; activations: what "
     "blocks keep for backward (also params,activations); none",
     TEXT, OFFLOADED, SILENT, 0, FIELD(offload_name), 0, 0, "none"},
    {"offload-to", "DIR",
     "with --offload on the CPU: the directory of that file, which has no name", TEXT, OFFLOADED,
     SILENT, 0, FIELD(offload_to), 0, 0, "--out"},
    {"host-memory", "SIZE",
     "on a GPU: the most that --offload may take of the host's memory (64G); with --memory SIZE it "
     "is chosen, too, where that is faster or nothing fits without",
     TEXT, OFFLOADED, SILENT, 0, FIELD(host_memory), 0, 0, "no limit"},
    {"disk-rate", "X",
     "with --plan --offload: GB/s of that disk, as a run prints it at its end, for the predicted "
     "time; 0 = not known",
     REAL, OFFLOADED, SILENT, 0, FIELD(disk_rate), 0, 1e6, NULL},
    {"host-rate", "X",
     "on a GPU with --offload or --host-memory: GB/s between the host's memory and the GPU, in "
     "each "
     "direction, for the predicted time; 0 = measured, or not known",
     REAL, OFFLOADED, SILENT, 0, FIELD(host_rate), 0, 1e6, NULL},
    {"batch", "N", "samples in a micro-batch, for each rank", INTEGER, DATA, SPLIT, 0, FIELD(batch),
     1, 1e6, NULL},
    {"accum", "N", "gradient accumulation: micro-batches in a step", INTEGER, DATA, SPLIT, 0,
     FIELD(accum), 1, 1e6, NULL},
    {"steps", "N", "number of training steps", INTEGER, RUN, TOLD, 0, FIELD(steps), 1, 1e9, "200"},
    {"epochs", "X", "passes over the training data, instead of --steps; 0 = off", REAL, RUN, TOLD,
     0, FIELD(epochs), 0, 1e6, NULL},
    {"stop-after", "N",
     "early stopping: end the run after this many evaluations in a row without a lower "
     "loss; 0 = off",
     INTEGER, RUN, TOLD, 0, FIELD(stop_after), 0, 1e6, NULL},
    {"device", "WHERE", "cpu, cuda, or auto: cuda if there is a GPU", TEXT, RUN, TOLD, 0,
     FIELD(device_name), 0, 0, NULL},
    {"attention", "HOW",
     "flash, or on a GPU with --dtype bf16: cudnn (NVIDIA's; not the same bits from run to "
     "run), cudnn-repeatable (the same bits, but T x T per head in memory), auto (cudnn there if "
     "it starts, takes the model and has room, else flash)",
     TEXT, RUN, TOLD, 0, FIELD(attention), 0, 0, NULL},
    {"logits-mib", "N",
     "most MiB of logits at a time; 0 = 64, on a GPU 512, where larger products are faster "
     "(the last bits depend on it)",
     INTEGER, RUN, TOLD, 0, FIELD(training.logits_mib), 0, 1 << 20, NULL},
    {"no-cuda-graph", NULL,
     "on CUDA: launch operations one by one instead of the step as one graph", FLAG, RUN, SILENT, 0,
     FIELD(no_cuda_graph), 0, 0, NULL},
    {"threads", "N", "CPU threads", INTEGER, RUN, TOLD, 0, FIELD(threads), 1, 1024, "all cores"},
    {"cpu-kernel", "NAME",
     "avx512bf16, amxbf16, avx512, avx2, neon (aarch64) or plain, all with the same bits, but for "
     "bf16 products by the first two; "
     "auto: the best that this processor supports, but not amxbf16, which no processor has run yet",
     TEXT, RUN, SILENT, 0, FIELD(cpu_kernel), 0, 0, NULL},
    {"products", "HOW",
     "matrix products on the CPU: own; f32: own, but bf16 without the processor's instructions for "
     "it, so with the same bits everywhere; or blas: OpenBLAS for those of fp32 (other last bits). "
     "fp8, with --dtype bf16: of operands rounded to 8 bits, for GPUs of compute capability 8.9 or "
     "newer; the CPU computes with the same numbers, no faster (docs/precision.md)",
     TEXT, RUN, TOLD, 0, FIELD(products), 0, 0, NULL},
    {"seed", "N", "random seed: initial values, order of the data, augmentation, sampling", INTEGER,
     RUN, FIXED, 0, FIELD(seed), 0, 9e15, NULL},
    {"eval-every", "N", "steps between evaluations; 0 = off", INTEGER, OUTPUT, SILENT, 0,
     FIELD(eval_every), 0, 1e9, NULL},
    {"checkpoint-every", "N",
     "steps between checkpoints; the last step is then saved, too; 0 = only when stopped "
     "by Ctrl-C",
     INTEGER, OUTPUT, SILENT, 0, FIELD(checkpoint_every), 0, 1e9, NULL},
    {"checkpoint-async", NULL,
     "write checkpoints beside the training, from a copy for which the plan has room (on a GPU in "
     "the host's memory); save for the last, and that of Ctrl-C",
     FLAG, OUTPUT, SILENT, 0, FIELD(checkpoint_async), 0, 0, NULL},
    {"checkpoint-parts", NULL,
     "each rank writes its own part of a checkpoint, so that no states are gathered; any number of "
     "ranks resumes from it (docs/ranks.md)",
     FLAG, OUTPUT, SILENT, 0, FIELD(checkpoint_parts), 0, 0, NULL},
    {"keep", "K", "how many of the newest complete checkpoints to keep", INTEGER, OUTPUT, SILENT, 0,
     FIELD(keep), 1, 1e6, NULL},
    {"resume", "auto|DIR",
     "resume from the newest complete checkpoint of this run (start, if there is none), or "
     "from DIR; options that are not given are those of the run",
     TEXT, RUN, SILENT, 0, FIELD(resume), 0, 0, "off"},
    {"save-best", NULL,
     "write the model to OUT/best after each evaluation with the lowest loss so far", FLAG, OUTPUT,
     SILENT, 0, FIELD(save_best), 0, 0, NULL},
    {"log-every", "N",
     "steps between lines of log.jsonl; the first and the last step are always logged", INTEGER,
     OUTPUT, SILENT, 0, FIELD(log_every), 1, 1e9, NULL},
    {"tensorboard", "DIR",
     "write loss, validation loss, learning rate, speed and memory for TensorBoard, too", TEXT,
     OUTPUT, SILENT, 0, FIELD(tensorboard), 0, 0, "off"},
    {"config", "FILE.json",
     "read options from a file, such as a run's options.json; the command line takes "
     "precedence",
     TEXT, RUN, SILENT, 0, FIELD(config), 0, 0, "none"},
    {"out", "DIR",
     "directory for log.jsonl, plan.txt, options.json, config.json, model.safetensors and "
     "checkpoints",
     TEXT, OUTPUT, SILENT, 0, FIELD(out), 0, 0, DEFAULT_OUT "; with --plan: nothing is written"},
    {"zero", "STAGE",
     "ZeRO stage, what the ranks shard: 0 nothing, 1 optimizer states, 2 and gradients, 3 "
     "and parameters",
     INTEGER, RANKS, SILENT, 0, FIELD(zero), 0, 3, NULL},
    {"shard-group", "N",
     "with --zero 1 to 3: shard within each group of N consecutive ranks, say those of a machine, "
     "and keep a copy in each group; between groups go sums of gradients alone",
     INTEGER, RANKS, SILENT, 0, FIELD(shard_group), 0, 1 << 20, "all ranks are one group"},
    {"prefetch", "N",
     "with --zero 3: gather parameters this many layers before they are used, beside the "
     "computation; 0 = when they are used",
     INTEGER, RANKS, SILENT, 0, FIELD(prefetch), 0, 1000, "1 with --zero 3"},
    {"bucket", "MIB",
     "bucket of gradients that the ranks reduce at once, overlapped with the backward "
     "pass; 0 = each tensor by itself",
     INTEGER, RANKS, SILENT, 0, FIELD(bucket), 0, 1 << 20, NULL},
    {"watchdog", "SECONDS", "end the run when a rank has been missing for this long", INTEGER,
     RANKS, SILENT, 0, FIELD(watchdog), 1, 1e6, NULL},
    {"gpus", "N", "start this many ranks on this machine, each with its own GPU", INTEGER, RANKS,
     SILENT, 0, FIELD(gpus), 1, 1024, NULL},
    {"ranks", "N", "with --plan: plan for one of N ranks; a run has as many as were started",
     INTEGER, RANKS, SILENT, 0, FIELD(ranks), 1, 1 << 20, NULL},
    {"eval-only", NULL,
     "evaluate the model of --load, or the checkpoint of --resume, on --val-data, and train "
     "nothing",
     FLAG, RUN, SILENT, 0, FIELD(eval_only), 0, 0, NULL},
    {"plan", NULL, "print the memory plan and stop", FLAG, MEMORY, SILENT, 0, FIELD(plan), 0, 0,
     NULL},
    {"plan-beside", "NAME",
     "with --plan --out: plan.svg shows the plan of this optimizer, too; NAME/passes and "
     "NAME/fused choose its --optim-impl",
     TEXT, MEMORY, SILENT, 0, FIELD(plan_beside), 0, 0, "none"},
    {"json", NULL, "with --plan or --eval-only: print one JSON object", FLAG, MEMORY, SILENT, 0,
     FIELD(json), 0, 0, NULL},
};

enum { COMMON = sizeof common / sizeof *common, KEY_BASE = 1000 };

static const options defaults = {
    .model_name = NULL,
    .optim_name = "adamw",
    .impl = "fused",
    .schedule_name = "cosine",
    .dtype_name = "fp32",
    .state_name = "fp32",
    .state_of = "matrices",
    .device_name = "auto",
    .cpu_kernel = "auto",
    .products = "own",
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
    .grad_clip = NAN,
    .warmup = -1,
    .final_lr_fraction = 0.1,
    .layer_decay = 1,
    .regrow_every = 100,
    .regrow_fraction = 0.1,
    .recompute = "none",
    .attention = ATTENTION_AUTO,
    .batch = 16,
    .accum = 1,
    .seed = 1,
    .eval_every = 50,
    .keep = 2,
    .log_every = 1,
    .prefetch = -1,
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

/* The row of an argp key; NULL for argp's own keys. */
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

static error *parse_number(const option_row *row, const char *text, options *o)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    return option_take_number(row, end == text || *end || errno ? (double)NAN : value, text, o);
}

/* ---- argp ---- */

typedef struct {
    options *o;
    pattern_list *open; /* the list that positional arguments belong to: the shell expands globs */
    int room;           /* of a list in o->words: at most as many as there are arguments */
    int lists;          /* lists begun so far */
    bool *given;        /* (option_count): which rows were given */
    error *failure;
} parse_state;

static error *add_pattern(parse_state *s, const char *pattern)
{
    pattern_list *list = s->open;
    if (list->n == MAX_PATTERNS)
        return user_error(
            "more than %d names in a list: quote the pattern so that it is expanded here",
            MAX_PATTERNS);
    if (!s->o->words)
        TRY(alloc_array(&s->o->words, (size_t)s->room * MAX_LISTS, sizeof *s->o->words));
    const char **words = s->o->words;
    if (!list->pattern) list->pattern = words + (size_t)s->lists++ * (size_t)s->room;
    words[list->pattern - words + list->n++] = pattern;
    return NULL;
}

/* Options that are empty by default may be given as empty. */
static bool may_be_empty(const task *t, const option_row *row)
{
    options unset = options_unset(t);
    const char *text = *(const char **)option_field(&unset, row);
    return text && !*text;
}

static error *take_option(parse_state *s, const option_row *row, const char *arg)
{
    s->open = NULL;
    switch (row->type) {
    case TEXT:
        if (!*arg && !may_be_empty(s->o->task, row))
            return user_error("--%s: an empty word; give %s", row->name, row->arg);
        *(const char **)option_field(s->o, row) = arg;
        return NULL;
    case FLAG:
        *(bool *)option_field(s->o, row) = true;
        return NULL;
    case LIST:
        s->open = option_field(s->o, row);
        return add_pattern(s, arg);
    default:
        return parse_number(row, arg, s->o);
    }
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
    parse_state *s = state->input;
    const option_row *row = row_of_key(s->o->task, key);
    if (row) {
        s->given[key - KEY_BASE] = true;
        s->failure = take_option(s, row, arg);
    } else if (key == ARGP_KEY_ARG)
        s->failure = s->open ? add_pattern(s, arg)
                             : user_error("%s: not an option (--help lists them)", arg);
    else if (key == ARGP_KEY_ERROR && !s->failure)
        s->failure =
            user_error("%s: not an option (--help lists them)", state->argv[state->next - 1]);
    else
        return command_line_key(key, state);
    return s->failure ? EINVAL : 0;
}

/* "adamw (Adam with decoupled weight decay), ..." */
static void list_optimizers(char *out, size_t room)
{
    size_t n = 0;
    for (int i = 0; i < RULE_COUNT; i++) {
        const rule_info *info = rule_at((rule_id)i);
        if (rule_is_public((rule_id)i) && n < room)
            n += (size_t)snprintf(out + n, room - n, "%s%s (%s)", n ? ", " : "", info->name,
                                  info->summary);
    }
}

/* The lists for --help. */
static bool list_of(const void *context, const char *name, char *out, size_t room)
{
    const task *t = context;
    if (!strcmp(name, "optimizers")) {
        list_optimizers(out, room);
        return true;
    }
    if (strcmp(name, "presets")) return false;
    char *names = preset_names(t->kind->presets);
    snprintf(out, room, "%s", names ? names : "");
    free(names);
    return true;
}

/* Fills in an option's help and appends "[default: ...]". */
static char *full_help(int key, const char *text, void *input)
{
    const task *t = ((const parse_state *)input)->o->task;
    const option_row *row = row_of_key(t, key);
    char value[64] = "", *out = NULL, *filled = row ? fill_text(text, list_of, t) : NULL;
    if (!filled || row->type == FLAG) return filled ? filled : (char *)(size_t)text;
    options d = options_unset(t);
    if (row->when_unset)
        snprintf(value, sizeof value, "%s", row->when_unset);
    else if (row->type == TEXT && !*(const char **)option_field(&d, row))
        snprintf(value, sizeof value, "%s", t->kind->default_model);
    else
        option_print(&d, row, value, sizeof value);
    if (asprintf(&out, "%s [default: %s%s]", filled, *value ? value : "empty",
                 tuning_help(t, row->name)) < 0)
        return filled;
    free(filled);
    return out;
}

/* The rows for argp, under their headings; argp sorts those of a group by name. */
static void list_rows(const task *t, struct argp_option *list)
{
    static const char *const headings[OPTION_GROUPS] = {
        "Model:",     "Fine-tuning:", "Data:",    "Optimizer:", "Learning rate:", "Sparsity:",
        "Precision:", "Memory:",      "Offload:", "The run:",   "Output:",        "Several ranks:"};
    for (int g = 0; g < OPTION_GROUPS; g++)
        *list++ = (struct argp_option){.doc = headings[g], .group = g + 1};
    for (int i = 0; i < option_count(t); i++) {
        const option_row *row = option_row_at(t, i);
        *list++ = (struct argp_option){.name = row->name,
                                       .key = KEY_BASE + i,
                                       .arg = row->arg,
                                       .doc = row->help,
                                       .group = 1 + (int)row->group};
    }
    const struct argp_option last[] = {COMMAND_LINE_ROWS};
    memcpy(list, last, sizeof last);
}

static error *run_argp(int argc, char **argv, options *o, bool *given)
{
    struct argp_option list[MAX_ROWS + OPTION_GROUPS + COMMAND_LINE_ROW_COUNT + 1] = {0};
    if (option_count(o->task) > MAX_ROWS)
        return internal_error("%d options, room for %d", option_count(o->task), MAX_ROWS);
    list_rows(o->task, list);
    struct argp argp = {.options = list,
                        .parser = on_key,
                        .help_filter = full_help,
                        .doc = "Train a transformer inside one planned block of memory."};
    parse_state s = {.o = o, .room = argc, .given = given};
    /* in order: a positional argument belongs to the list option before it */
    return command_line_parse(&argp, argc, argv, ARGP_IN_ORDER, &s, &s.failure);
}

/* ---- from strings to settings ---- */

/* Sizes that are allowed one by one may still multiply to more than 64 bits, or any machine, can
 * hold. */
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
        return user_error("a model of %.2g parameters is too large for any machine: lower --width, "
                          "--layers, --vocab or --context",
                          parameters);
    if (activations > most)
        return user_error(
            "a micro-batch of %.2g numbers is too large for any machine: lower --batch or "
            "--seq, or the model's sizes",
            activations);
    return NULL;
}

/* A hyperparameter that was given must be one that the optimizer has. */
static error *check_numbers(options *o)
{
    unsigned has = rule_at(o->optim.rule)->options;
    for (int i = 0; i < option_count(o->task); i++) {
        const option_row *row = option_row_at(o->task, i);
        bool given = row->type == REAL ? !isnan(*(double *)option_field(o, row))
                                       : row->of && *(int64_t *)option_field(o, row);
        if (row->of && given && !(row->of & has))
            return user_error("--%s: %s has no such number; leave it out", row->name,
                              o->optim_name);
    }
    return NULL;
}

static void take_given(double *number, double given)
{
    if (!isnan(given)) *number = given;
}

const char *const master_names[MASTER_FORMS] = {"fp32", "split16", "split8", "none"},
                  *const state_names[STATE_FORMS] = {"fp32", "bf16", "int8"};

/* The types in which numbers are stored. */
static error *resolve_types(options *o)
{
    static const char *const types[] = {"fp32", "bf16"};
    static const char *const which[] = {"matrices", "all"};
    int i;
    TRY(command_line_word("dtype", o->dtype_name, types, 2, &i));
    o->type = i ? BF16 : F32;
    i = MASTER_F32;
    if (o->master_name)
        TRY(command_line_word("master", o->master_name, master_names, MASTER_FORMS, &i));
    o->master = (master_form)i;
    TRY(command_line_word("state", o->state_name, state_names, STATE_FORMS, &i));
    o->optim.state = (state_form)i;
    TRY(command_line_word("state-of", o->state_of, which, 2, &i));
    o->optim.state_all = i;
    o->optim.type = o->type;
    o->optim.seed = (uint64_t)o->seed;
    return NULL;
}

/* What the optimizer leaves to AdamW, and how it orthogonalizes matrices. */
static error *resolve_others(const options *o, optim_config *c)
{
    const rule_info *info = rule_at(c->rule);
    bool has = info->options & HAS_OTHERS;
    double lr = isnan(o->lr) ? tuning_lr(o) : o->lr,
           adam_lr = c->others.lr_ratio * (isnan(o->lr) ? lr : info->lr);
    take_given(&adam_lr, o->adam_lr);
    take_given(&c->others.beta[0], o->adam_beta1);
    take_given(&c->others.beta[1], o->adam_beta2);
    take_given(&c->others.eps, o->adam_eps);
    if (o->newton_schulz) c->newton_schulz_steps = o->newton_schulz;
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
    TRY(check_numbers(o));
    take_given(&c->beta[0], o->beta1);
    take_given(&c->beta[1], o->beta2);
    take_given(&c->beta[2], o->beta3);
    take_given(&c->eps, o->eps);
    take_given(&c->weight_decay, o->weight_decay);
    TRY(resolve_others(o, c));
    c->layer_decay = o->layer_decay;
    c->ema = o->ema;
    c->ema_warmup = o->ema_warmup;
    c->sparse = o->sparsity > 0;
    TRY(resolve_types(o));
    int which;
    TRY(command_line_word("optim-impl", o->impl, impls, 2, &which));
    c->fused = which == 0;
    if (o->gradients) {
        TRY(command_line_word("gradients", o->gradients, policies, 5, &which));
        c->gradients = (grad_policy)which;
    }
    c->clip = isnan(o->grad_clip) ? tuning_clip(o) : o->grad_clip;
    return optim_resolve(c, o->accum, &o->policy_reason);
}

void options_take_steps(options *o, int64_t steps)
{
    o->steps = o->schedule.steps = steps;
    o->schedule.warmup = o->warmup < 0 ? tuning_warmup(o) : o->warmup;
}

static error *resolve_schedule(options *o)
{
    TRY(schedule_find(o->schedule_name, &o->schedule.kind));
    o->schedule.lr = isnan(o->lr) ? tuning_lr(o) : o->lr;
    options_take_steps(o, o->steps);
    o->schedule.final_fraction = o->final_lr_fraction;
    return NULL;
}

static const char *const offload_levels[] = {"none", "states", "params", "activations"};

static error *not_levels(const options *o)
{
    return user_error("--offload %s: give none, or one of states and params, activations, or both",
                      o->offload_name);
}

/* One of the words: each once, and none alone. */
static error *take_level(options *o, const char *word)
{
    int level;
    TRY(command_line_word("offload", word, offload_levels, 4, &level));
    bool activations = level == 3, alone = !strcmp(word, o->offload_name);
    if ((activations ? o->offload_activations : o->offload != OFFLOAD_NONE) ||
        (level == OFFLOAD_NONE && !alone))
        return not_levels(o);
    if (activations)
        o->offload_activations = true;
    else
        o->offload = (offload_level)level;
    return NULL;
}

static error *resolve_offload(options *o)
{
    char words[40], *rest = words;
    if (!o->offload_name) return NULL;
    if (strlen(o->offload_name) >= sizeof words) return not_levels(o);
    strcpy(words, o->offload_name);
    for (char *word = strsep(&rest, ","); word; word = strsep(&rest, ","))
        TRY(*word ? take_level(o, word) : not_levels(o));
    return NULL;
}

void options_offload(options *o, offload_level level)
{
    static const char *const with[] = {"activations", "states,activations", "params,activations"};
    o->offload_name = (o->offload_activations ? with : offload_levels)[level];
    o->offload = level;
}

bool options_offloads(const options *o)
{
    return o->offload != OFFLOAD_NONE || o->offload_activations;
}

const char *options_second_place(const options *o, char *buffer, size_t size)
{
    if (o->device == DEVICE_CUDA) return "in the host's memory";
    snprintf(buffer, size, "in a file in %s",
             o->offload_to ? o->offload_to
             : o->out      ? o->out
                           : DEFAULT_OUT);
    return buffer;
}

static error *resolve_attention(options *o)
{
    const device_kind *whose;
    if (!strcmp(o->attention, ATTENTION_AUTO))
        return NULL; /* ATTENTION_OWN until the device is open */
    return device_attention(o->attention, &o->training.attention, &whose);
}

int64_t options_prefetch(const options *o)
{
    return o->prefetch >= 0 ? o->prefetch : o->zero == 3;
}

const char *options_attention(const options *o)
{
    bool chosen = !strcmp(o->attention, ATTENTION_AUTO);
    return chosen ? device_kind_at(o->device)->attention[o->training.attention] : o->attention;
}

void options_recompute(options *o, recompute_level level)
{
    o->recompute = recompute_name(level);
    o->training.recompute = recompute_all(level, o->model.layers);
}

/* What --memory may choose must be compatible with the rest. */
static error *resolve_allow(options *o)
{
    optim_config c = o->optim;
    const char *reason;
    if (!o->allow) return NULL;
    TRY(option_forms(o->allow, &o->allow_masters, &o->allow_states));
    if (o->allow_masters) c.type = BF16;
    if (o->allow_states >> STATE_BF16) c.state = STATE_BF16;
    if (o->allow_states >> STATE_INT8) c.state = STATE_INT8;
    error *e = optim_resolve(&c, o->accum, &reason);
    if (e) return error_context(e, "--allow %s", o->allow);
    return NULL;
}

/* What a run began with is read again when it is resumed. */
static error *check_load(const options *o)
{
    if (!o->load || !access(o->load, F_OK)) return NULL;
    return user_error("--load %s cannot be opened: %s: %s", o->load, strerror(errno),
                      o->resume ? "a run that began with it reads it again; give --load with its "
                                  "path now"
                                : "check the path");
}

static error *resolve(options *o)
{
    int where;
    if (o->eval_only) evaluate_options(o);
    TRY(options_refuse_given(o));
    TRY(check_load(o));
    if (!o->steps) o->steps = DEFAULT_STEPS; /* with --epochs: until the data is known */
    TRY(o->task->resolve(o));
    TRY(recompute_parse(o->recompute, o->model.layers, &o->training.recompute));
    TRY(check_products(o));
    TRY(resolve_optimizer(o));
    TRY(resolve_schedule(o));
    TRY(resolve_attention(o));
    TRY(resolve_offload(o));
    if (o->host_memory) TRY(option_size("host-memory", o->host_memory, &o->host_bytes));
    if (o->memory) TRY(option_sizes(o->memory, o->sizes, &o->n_sizes));
    TRY(resolve_allow(o));
    TRY(command_line_word("device", o->device_name, device_choice_names, DEVICE_CHOICES, &where));
    o->device = (device_choice)where;
    if (!o->out && !o->plan) o->out = DEFAULT_OUT;
    return options_refuse(o);
}

error *options_parse(const task *t, int argc, char **argv, options *out)
{
    bool given[MAX_ROWS] = {false};
    *out = options_unset(t);
    error *e = run_argp(argc, argv, out, given);
    if (!e) e = options_take_files(out, given);
    if (!e) e = resolve(out);
    if (e) options_free(out);
    return e;
}

void options_free(options *o)
{
    adapter_close(o->adapter_file);
    o->adapter_file = NULL;
    free(o->words);
    o->words = NULL;
    option_files_free(o->files);
    o->files = NULL;
}

/* task_text.c - the task of learning text: GPT on token shards, printing samples of text. */
#include "base/files.h"
#include "base/text_ends.h"
#include "data/bpe/bpe.h"
#include "data/text_source.h"
#include "data/token_pattern.h"
#include "model/hf/hf.h"
#include "infer/sampler.h"
#include "train/task.h"
#include "train/tuning.h"
#include "io/model_file.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEMO_DATA "runs/data/kjv"

static const option_row rows[] = {
    {"model", "NAME|FILE.json",
     "preset: {presets}; or a Hugging Face config.json of one of these families, for any "
     "other size",
     TEXT, MODEL, SILENT, 0, FIELD(model_name), 0, 0, NULL},
    {"load", "DIR|FILE",
     "start from this trained model, and take its sizes: a Hugging Face folder "
     "(safetensors, config.json), the output of a run, or llm.c's .bin",
     TEXT, TUNING, SILENT, 0, FIELD(load), 0, 0, "initial values"},
    {"lora", "RANK",
     "with --load: train LoRA adapters of this rank while the model stays frozen; the run "
     "writes the adapters alone, in peft's format; 0 = off",
     INTEGER, TUNING, FIXED, 0, FIELD(lora), 0, 65536, NULL},
    {"lora-alpha", "X",
     "with --lora: scale of the adapters: their output is multiplied by X / RANK", REAL, TUNING,
     FIXED, 0, FIELD(lora_alpha), 1e-6, 1e9, "twice the rank"},
    {"lora-on", "PATTERN",
     "with --lora: which matrices get an adapter: their names in the model's files, or the "
     "ends of these (q_proj), with * and ?",
     LIST, TUNING, FIXED, 0, FIELD(lora_on), 0, 0, "all of the blocks"},
    {"base", "FORM",
     "with --lora: store the blocks' frozen matrices in bf16, or quantize them to 8 or 4 bits, "
     "with a scale for 64 numbers, which nf4-double quantizes as well: bf16, int8, nf4, "
     "nf4-double",
     TEXT, TUNING, FIXED, 0, FIELD(base), 0, 0, "the dtype"},
    {"adapter", "DIR",
     "with --load: continue training these adapters (adapter_model.safetensors, "
     "adapter_config.json)",
     TEXT, TUNING, SILENT, 0, FIELD(adapter), 0, 0, "none"},
    {"lora-dropout", "P", "with --lora: dropout of the adapters' input, in training", REAL, TUNING,
     TOLD, 0, FIELD(lora_dropout), 0, 0.99, NULL},
    {"dropout", "P", "dropout of the embedding and of each branch's output, in training", REAL,
     MODEL, TOLD, 0, FIELD(dropout), 0, 0.99, NULL},
    {"z-loss", "X",
     "in training, add X times the square of log sum exp of the logits to each loss; 0 = off", REAL,
     MODEL, TOLD, 0, FIELD(z_loss), 0, 1, NULL},
    {"ignore-field", "NAME",
     "ignore this unknown field of config.json, because it does not change what the model "
     "computes",
     LIST, MODEL, SILENT, 0, FIELD(ignore_field), 0, 0, "none"},
    {"context", "N", "longest sequence, in tokens", INTEGER, MODEL, FIXED, 0, FIELD(context), 1,
     1e8, "the model's"},
    {"vocab", "N", "number of tokens in the vocabulary", INTEGER, MODEL, FIXED, 0, FIELD(vocab), 1,
     2e9, "the tokenizer's beside --train-data, else the model's"},
    {"train-data", "GLOB[:WEIGHT]",
     "token shards to train on (./tokenize makes them; also llm.c's, NumPy's .npy, "
     "Megatron's .bin with .idx, and raw16:FILE: bare ids, as nanoGPT writes them); with a "
     "weight on each, a mixture of samples in these proportions",
     LIST, DATA, SILENT, 0, FIELD(train_data), 0, 0, "the demo's"},
    {"val-data", "GLOB", "token shards to evaluate on, without weights", LIST, DATA, SILENT, 0,
     FIELD(val_data), 0, 0, "the demo's"},
    {"seq", "N", "tokens in a training sequence", INTEGER, DATA, FIXED, 0, FIELD(seq), 1, 1e8,
     "the context"},
    {"eval-batches", "N", "batches per evaluation", INTEGER, OUTPUT, SILENT, 0, FIELD(eval_batches),
     1, 1e6, NULL},
    {"sample-every", "N", "steps between text samples; 0 = off", INTEGER, OUTPUT, SILENT, 0,
     FIELD(sample_every), 0, 1e9, NULL},
    {"sample-tokens", "N", "tokens in a sample", INTEGER, OUTPUT, SILENT, 0, FIELD(sample_tokens),
     1, 1e6, NULL},
    {"prompt", "TEXT", "text that samples begin with", TEXT, OUTPUT, SILENT, 0, FIELD(prompt), 0, 0,
     NULL},
};

static void text_defaults(options *o)
{
    o->eval_batches = 8;
    o->sample_tokens = 128;
    o->prompt = "";
}

/* A preset's name with * or ?: several models, for the table of --plan --memory. */
static bool is_pattern(const char *name)
{
    return name && strpbrk(name, "*?[");
}

static error *find_pattern(const options *o, model_config *out)
{
    if (!o->plan || !o->memory)
        return user_error("--model %s: several models only with --plan --memory SIZE, which prints "
                          "what trains in it",
                          o->model_name);
    for (int i = 0; i < text_presets.n; i++)
        if (!fnmatch(o->model_name, text_presets.row[i].name, 0)) {
            *out = text_presets.row[i];
            return NULL;
        }
    return user_error("--model %s: no preset has such a name (--help lists them all)",
                      o->model_name);
}

static error *find_model(const options *o, model_config *out)
{
    const char *name = o->model_name, *dot = strrchr(name, '.');
    if (dot && !strcmp(dot, ".json")) return weights_config(name, o->ignore_field.pattern, out);
    return is_pattern(name) ? find_pattern(o, out) : preset_find(&text_presets, name, out);
}

static void tell_ignored(const options *o)
{
    for (int i = 0; i < o->ignore_field.n && !o->json; i++)
        printf("config.json: the field %s is ignored, as --ignore-field says\n",
               o->ignore_field.pattern[i]);
}

/* With --load the file determines the sizes: those given must agree. */
static error *load_model(options *o)
{
    weights *w;
    TRY(weights_open(o->load, o->ignore_field.pattern, &w));
    o->model = *weights_model(w);
    weights_close(w);
    model_config preset = {0};
    if (o->model_name) TRY(find_model(o, &preset));
    const loaded_size sizes[] = {
        {"layers", o->layers ? o->layers : preset.layers, o->model.layers},
        {"heads", o->heads ? o->heads : preset.heads, o->model.heads},
        {"width", o->width ? o->width : preset.width, o->model.width},
        {"context", o->context ? o->context : preset.context, o->model.context},
        {"vocab", o->vocab ? o->vocab : preset.vocab, o->model.vocab}};
    TRY(options_sizes_agree(o, sizes, sizeof sizes / sizeof *sizes, o->model_name));
    if (preset.names && preset.names != o->model.names)
        return user_error("--model %s is of another family than the model of --load %s: leave "
                          "--model out",
                          o->model_name, o->load);
    if (!o->model_name) o->model_name = hf_type(&o->model);
    snprintf(o->model.name, sizeof o->model.name, "%s", o->model_name);
    return NULL;
}

/* PREFIX.vocab beside PREFIX_train.bin */
static error *text_tokenizer(const options *o, char *path, size_t size)
{
    static const char tail[] = "_train";
    token_pattern word;
    TRY(token_pattern_parse(o->train_data.pattern[0], &word));
    const char *data = word.path, *end = NULL;
    for (const char *p = strstr(data, tail); p; p = strstr(p + 1, tail))
        end = p;
    if (!end)
        return user_error("--sample-every: %s is not named PREFIX_train.bin, so PREFIX.vocab is "
                          "not known; use --sample-every 0",
                          data);
    snprintf(path, size, "%.*s.vocab", (int)(end - data), data);
    return NULL;
}

/* A preset gets the vocabulary size of the data, unless it was given.  If the data's vocabulary is
 * unknown or unreadable, the preset's size stays. */
static void take_vocab(options *o)
{
    char path[PATH_LENGTH];
    bpe *tokenizer = NULL;
    if (o->vocab || !o->train_data.n || text_ends(o->model_name, ".json") ||
        is_pattern(o->model_name))
        return;
    error *e = text_tokenizer(o, path, sizeof path);
    if (!e) e = bpe_open(path, &tokenizer);
    error_free(e);
    if (e) return;
    o->vocab_taken = bpe_size(tokenizer) != o->model.vocab;
    if (o->vocab_taken) o->vocab = bpe_size(tokenizer);
    bpe_close(tokenizer);
}

static error *named_model(options *o)
{
    if (!o->model_name) o->model_name = gpt_kind.default_model;
    TRY(find_model(o, &o->model));
    take_vocab(o);
    const model_config sizes = {.layers = o->layers,
                                .heads = o->heads,
                                .width = o->width,
                                .context = o->context,
                                .vocab = o->vocab};
    o->model = config_resized(&o->model, &sizes);
    return config_check(&o->model);
}

static error *text_resolve(options *o)
{
    TRY(o->load ? load_model(o) : named_model(o));
    tell_ignored(o);
    TRY(tuning_resolve(o));
    o->training.dropout = o->dropout;
    o->training.adapter_dropout = o->lora_dropout;
    o->training.z_loss = o->z_loss;
    o->training.dropout_seed = (uint64_t)o->seed;
    o->training.packed = tokens_look_marked(o->train_data.pattern, o->train_data.n) ||
                         tokens_look_marked(o->val_data.pattern, o->val_data.n);
    o->longest = o->seq;
    if (!o->seq || is_pattern(o->model_name)) o->seq = o->model.context;
    if (o->seq > o->model.context)
        return user_error("--seq %lld is longer than the model's context %lld: use a shorter one, "
                          "or a larger --context",
                          (long long)o->seq, (long long)o->model.context);
    return NULL;
}

static void text_resolved(options *o)
{
    o->layers = o->model.layers;
    o->heads = o->model.heads;
    o->width = o->model.width;
    o->context = o->model.context;
    o->vocab = o->model.vocab;
    if (o->load) o->model_name = NULL; /* its files say more than its name */
}

static int64_t text_units(const options *o)
{
    return o->seq;
}

static error *text_default_data(options *o)
{
    static const char *const train[] = {DEMO_DATA "_train.bin"}, *const val[] = {DEMO_DATA
                                                                                 "_val.bin"};
    const char *missing = o->eval_only ? "val" : "train";
    if (access(DEMO_DATA "_train.bin", R_OK))
        return user_error("no --%s-data, and the demo's data is not there: run `make "
                          "demo-data`, or make shards of "
                          "your own text with `./tokenize --vocab bpe:2048 -o PREFIX FILE` and "
                          "give --%s-data PREFIX_%s.bin",
                          missing, missing, missing);
    o->train_data = (pattern_list){train, 1};
    if (!o->val_data.n) o->val_data = (pattern_list){val, 1};
    return NULL;
}

static error *text_open(const options *o, bool training, source **out)
{
    const pattern_list *list = training ? &o->train_data : &o->val_data;
    int64_t least =
        training ? o->batch : o->batch * comm_size(o->comm); /* none is evaluated twice */
    return text_source_open(list->pattern, list->n, o->model.vocab, o->seq, least,
                            training ? BATCHES_SHUFFLED : BATCHES_SEQUENTIAL, (uint64_t)o->seed,
                            out);
}

static error *load_coded(trainer *t, const weights *w, device *dev)
{
    const tensor_source into = trainer_fill_begin(t);
    TRY(weights_read_into(w, &t->params, cast_widening(t->o->widen), &into, dev));
    trainer_fill_end(t);
    return device_status(dev);
}

static error *text_load(trainer *t, device *dev)
{
    weights *w;
    TRY(weights_open(t->o->load, t->o->ignore_field.pattern, &w));
    error *e = params_in_place(&t->params)
                   ? weights_read(w, &t->params, cast_widening(t->o->widen), dev)
                   : load_coded(t, w, dev);
    weights_close(w);
    return e ? e : tuning_load(t->o, &t->params, dev);
}

/* ---- samples of text ---- */

static error *text_begin(const options *o, void **own)
{
    if (!o->sample_every) return NULL;
    char path[PATH_LENGTH];
    sampler *s;
    TRY(text_tokenizer(o, path, sizeof path));
    TRY(alloc_array(&s, 1, sizeof *s));
    const sampler_options how = {.tokenizer = path,
                                 .prompt = o->prompt,
                                 .vocab = o->model.vocab,
                                 .window = o->seq,
                                 .tokens = o->sample_tokens,
                                 .seed = (uint64_t)o->seed};
    error *e = sampler_open(&how, s);
    if (e) {
        free(s);
        return e;
    }
    *own = s;
    return NULL;
}

static bool enough(void *context)
{
    return trainer_stop_wished(context);
}

static error *text_between(void *own, trainer *t, int64_t step, bool last)
{
    const options *o = t->o;
    if (!own || (step % o->sample_every && !last)) return NULL;
    trainer_exchange(t);
    error *e = sampler_show(own, &t->decoder, step, enough, t);
    trainer_exchange(t);
    return e;
}

static void text_end(void *own)
{
    if (own) sampler_close(own);
    free(own);
}

const task text_task = {
    .kind = &gpt_kind,
    .samples = "sequences",
    .unit = "tokens",
    .unit_3 = "tok",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .defaults = text_defaults,
    .resolve = text_resolve,
    .resolved = text_resolved,
    .units = text_units,
    .positions = text_units,
    .default_data = text_default_data,
    .open = text_open,
    .tokenizer = text_tokenizer,
    .load = text_load,
    .begin = text_begin,
    .between = text_between,
    .end = text_end,
};

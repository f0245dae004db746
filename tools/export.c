/* export.c - converts a trained model from one form to another, with the same values.
 *
 *   export --to hf    DIR|FILE OUT      OUT/config.json, OUT/model.safetensors, a model card, and the
 *                                       tokenizer's files: from --vocab, or copied from beside the
 *                                       source, or made from a tokenizer.vocab beside it; --dtype
 *                                       f32, bf16 or f16; of a model of images config.json,
 *                                       model.safetensors and preprocessor_config.json
 *   export --to llmc  DIR|FILE OUT      OUT, one .bin in llm.c's format (version 3)
 *   export --to gguf  DIR|FILE OUT      OUT, one file for llama.cpp, including the tokenizer;
 *                                       --type f32, f16, bf16 or q8_0
 *
 *   --merge DIR                         adds peft's adapters in DIR to the matrices
 *
 * What the other form cannot express is refused, with its name, and existing files are never
 * overwritten.
 */
#include "tools/export.h"

#include "base/command_line.h"
#include "base/descriptors.h"
#include "data/chat/chat.h"
#include "io/adapter_file.h"
#include "io/image_card.h"
#include "io/llmc.h"
#include "model/families.h"
#include "model/hf/hf.h"
#include "model/model.h"
#include "train/choose_device.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORD "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static const char doc[] =
    "Convert a trained model to another format.\v"
    "DIR|FILE is anything that train_gpt --load takes; for hf also a run of train_vit. Formats: hf "
    "(a directory that transformers "
    "loads, with a model card), llmc (llm.c's model .bin, version 3) and gguf (one file for "
    "llama.cpp, tokenizer "
    "included). Existing files are never overwritten.\n\n"
    "  export --to hf runs/train exported\n"
    "  export --to gguf --type q8_0 runs/train model.gguf\n"
    "  export --merge runs/lora base merged";

static const struct argp_option argp_options[] = {
    {"to", 't', "FORMAT", 0, "hf, llmc or gguf [default: hf]", 0},
    {"type", 'T', "TYPE", 0,
     "with gguf: how matrices are stored: f32, f16, bf16 or q8_0 [default: f16]", 0},
    {"dtype", 'd', "TYPE", 0,
     "with hf: the type of the weights: f32, bf16 or f16; narrower ones are rounded to nearest "
     "[default: as the source's are]",
     0},
    {"license", 'l', "ID", 0,
     "with hf: the license for the model card, such as apache-2.0 [default: what the source's or "
     "its base's card says]",
     0},
    {"base-model", 'b', "ID", 0,
     "with hf: the base model's name on the Hub for the model card [default: where it is known "
     "from the base's files]",
     0},
    {"vocab", 'v', "FILE", 0,
     "with hf and gguf: the tokenizer, a .vocab, .tiktoken or tokenizer.json [default: the one "
     "beside the source]",
     0},
    {"fast-tokenizer", 'F', NULL, 0,
     "with hf: write the tokenizer even if AutoTokenizer would mistake it for another class; "
     "PreTrainedTokenizerFast.from_pretrained(OUT) loads it correctly",
     0},
    {"merge", 'm', "DIR", 0,
     "merge the adapters in DIR (adapter_model.safetensors, adapter_config.json) into the model's "
     "matrices",
     0},
    {"widen", 'w', NULL, 0,
     "convert 16-bit floats to f32, which preserves every value; llmc and gguf refuse them "
     "without it",
     0},
    COMMAND_LINE_ROWS,
    {0},
};

static const stored_option stored[] = {
    {'t', offsetof(arguments, to)},      {'v', offsetof(arguments, vocab)},
    {'T', offsetof(arguments, type)},    {'d', offsetof(arguments, dtype)},
    {'l', offsetof(arguments, license)}, {'b', offsetof(arguments, base_model)},
    {'F', offsetof(arguments, fast)},    {'m', offsetof(arguments, merge)},
    {'w', offsetof(arguments, widen)},
};

static error_t take_option(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    if (command_line_store(stored, sizeof stored / sizeof *stored, key, arg, a)) return 0;
    if (key != ARGP_KEY_ARG) return command_line_key(key, state);
    if (!a->from)
        a->from = arg;
    else if (!a->out)
        a->out = arg;
    else if (!a->wrong)
        a->wrong = arg;
    return 0;
}

/* NAME or OWNER/NAME */
static bool is_model_name(const char *word)
{
    const char *slash = strchr(word, '/'), *name = slash ? slash + 1 : word;
    return slash != word && *name && strspn(name, WORD) == strlen(name) &&
           (!slash || strspn(word, WORD) == (size_t)(slash - word));
}

/* What only --to hf takes. */
static error *check_hf_words(const arguments *a)
{
    const char *const given[][2] = {
        {a->dtype, "--dtype"}, {a->license, "--license"}, {a->base_model, "--base-model"}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i][0] && a->format != TO_HF)
            return user_error("%s: only with --to hf%s", given[i][1],
                              i == 0 && a->format == TO_GGUF ? "; --to gguf has --type" : "");
    if (a->license && (!*a->license || a->license[strspn(a->license, WORD)]))
        return user_error("--license %s: must be an identifier such as apache-2.0 or mit",
                          a->license);
    if (a->base_model && !is_model_name(a->base_model))
        return user_error("--base-model %s: must be a name on the Hub such as Qwen/Qwen3-0.6B",
                          a->base_model);
    return NULL;
}

static error *parse(int argc, char **argv, arguments *a)
{
    static const struct argp argp = {
        .options = argp_options, .parser = take_option, .args_doc = "DIR|FILE OUT", .doc = doc};
    *a = (arguments){.to = "hf"};
    static const char *const formats[FORMATS] = {"hf", "llmc", "gguf"};
    error *none = NULL;
    int format;
    TRY(command_line_parse(&argp, argc, argv, 0, a, &none));
    if (a->wrong)
        return user_error("%s: a word too many; an export has one source and one OUT (--help)",
                          a->wrong);
    if (!a->out) return user_error("say what to export and where to: export DIR|FILE OUT (--help)");
    TRY(command_line_word("to", a->to, formats, FORMATS, &format));
    a->format = (export_format)format;
    if (a->vocab && a->format == TO_LLMC)
        return user_error("--vocab: not with --to llmc, whose format has no tokenizer in it");
    if (a->fast && a->format != TO_HF) return user_error("--fast-tokenizer: only with --to hf");
    if (a->merge && !*a->merge) return user_error("--merge: an empty word; give DIR");
    if (a->type && a->format != TO_GGUF) return user_error("--type: only with --to gguf");
    return check_hf_words(a);
}

/* ---- the parameters, in memory of their own ---- */

void holder_close(holder *h)
{
    if (h->memory) h->dev.ops->release(&h->dev, h->memory);
    if (h->model) h->kind->destroy(h->model);
    params_free(&h->params);
    if (h->dev.state) device_close(&h->dev);
}

error *holder_make(holder *h, const model_kind *kind, const model_config *c,
                   const training_policy *how)
{
    TRY(device_open(DEVICE_CPU, 1, NULL, &h->dev));
    h->kind = kind;
    h->params.type = F32;
    TRY(kind->create(c, how, &h->params, &h->model));
    size_t bytes = (size_t)params_count(&h->params) * sizeof(float);
    TRY(h->dev.ops->alloc(&h->dev, bytes, &h->memory));
    float *at = h->memory;
    for (int i = 0; i < h->params.n; i++) {
        param *row = &h->params.row[i];
        row->value = tensor_of(at, F32, row->spec.shape);
        at += row->count;
    }
    return NULL;
}

static error *holder_read(holder *h, const weights *w, const adapter_file *adapters, bool widen)
{
    training_policy how = plain_training;
    if (adapters) how.lora = *adapter_plan(adapters);
    TRY(holder_make(h, &gpt_kind, weights_model(w), &how));
    TRY(weights_read(w, &h->params, cast_widening(widen), &h->dev));
    if (!adapters) return NULL;
    TRY(adapter_read(adapters, &h->params, cast_widening(widen), &h->dev));
    return lora_merge(&h->params, &h->dev);
}

error *holder_fill(holder *h, const arguments *a, const weights *w, bool widen)
{
    adapter_file *adapters = NULL;
    if (a->merge) TRY(adapter_open(a->merge, &adapters));
    error *e = holder_read(h, w, adapters, widen);
    adapter_close(adapters);
    return e;
}

/* ---- files that belong to the model ---- */

static bool is_there(const char *path)
{
    return !access(path, F_OK) || errno != ENOENT;
}

/* A template goes with the tokenizer_config.json beside it, which has it where there is no
 * chat_template.jinja: another directory's would take precedence over that. */
error *find_beside(const arguments *a, const weights *w, const char *name, char path[PATH_LENGTH])
{
    const char *const places[] = {a->merge, weights_directory(w)};
    bool template = !strcmp(name, "chat_template.jinja"), last = false;
    for (int i = 0; i < 2 && !last; i++) {
        if (!places[i]) continue;
        TRY(path_join(path, places[i], name));
        if (is_there(path)) return NULL;
        TRY(path_join(path, places[i], "tokenizer_config.json"));
        last = template && is_there(path);
    }
    *path = 0;
    return NULL;
}

/* Where the vocabulary is that a tokenizer is made of; empty: its files can be copied, or there is
 * none. */
static error *find_vocab(const arguments *a, const weights *w, char path[PATH_LENGTH])
{
    char copied[PATH_LENGTH];
    if (a->vocab) {
        if (snprintf(path, PATH_LENGTH, "%s", a->vocab) < PATH_LENGTH) return NULL;
        return user_error("--vocab %.200s...: the path is too long", a->vocab);
    }
    TRY(path_join(copied, weights_directory(w), "tokenizer.json"));
    TRY(path_join(path, weights_directory(w), "tokenizer.vocab"));
    if (!access(copied, F_OK))
        *path = 0;
    else if (access(path, F_OK))
        TRY(find_beside(a, w, "tokenizer.vocab", path));
    return NULL;
}

error *open_vocab(const arguments *a, const weights *w, bpe **out)
{
    char path[PATH_LENGTH];
    *out = NULL;
    TRY(find_vocab(a, w, path));
    if (!*path) return NULL;
    TRY(bpe_open(path, out));
    if (bpe_size(*out) <= weights_model(w)->vocab) return NULL;
    error *e = user_error("%s has %d tokens, the model only %lld: give the one it was trained with",
                          path, (int)bpe_size(*out), (long long)weights_model(w)->vocab);
    bpe_close(*out);
    return e;
}

error *template_source(const arguments *a, const weights *w, char **out)
{
    char path[PATH_LENGTH], config[PATH_LENGTH], directory[PATH_LENGTH];
    chat *c = NULL;
    size_t n;
    *out = NULL;
    TRY(find_beside(a, w, "chat_template.jinja", path));
    TRY(find_beside(a, w, "tokenizer_config.json", config));
    if (!*path && !*config) return NULL;
    TRY(path_parent(directory, *config ? config : path));
    TRY(chat_open(*path ? path : NULL, directory, NULL, NULL, &c));
    const char *source = chat_source(c, &n);
    if (source) *out = strdup(source);
    chat_close(c);
    return source && !*out ? user_error("out of memory for the chat template") : NULL;
}

error *must_be_new(const char *directory, const char *name)
{
    char path[PATH_LENGTH];
    if (name) {
        TRY(path_join(path, directory, name));
        directory = path;
    }
    if (access(directory, F_OK)) return NULL;
    return user_error("%s already exists: give another OUT, or move it away", directory);
}

/* ---- llmc ---- */

/* What llm.c's format has no field for must be as there. */
static error *check_llmc(const model_config *c)
{
    const char *what = hf_lacks(c);
    if (c->names != &gpt2_names) what = "another block than GPT-2's";
    if (c->act != ACT_GELU_TANH) what = "another activation than gelu_new";
    if (c->inner != 4 * c->width) what = "an n_inner that is not 4 n_embd";
    if (!c->tied) what = "a head of its own (tie_word_embeddings is false)";
    if (c->norm_eps != 1e-5) what = "a layer_norm_epsilon other than 1e-5";
    if (!what) return NULL;
    return user_error("--to llmc: the model has %s, which llm.c's format cannot express", what);
}

static error *to_llmc(const arguments *a, const weights *w, holder *h)
{
    const model_config *c = weights_model(w);
    llmc_sizes z = {.context = c->context,
                    .vocab = c->vocab,
                    .layers = c->layers,
                    .heads = c->heads,
                    .width = c->width};
    TRY(check_llmc(c));
    TRY(must_be_new(a->out, NULL));
    TRY(holder_fill(h, a, w, a->widen));
    TRY(llmc_write(a->out, &z, &h->params, &h->dev));
    printf("wrote %s (%lld parameters)\n", a->out, (long long)params_count(&h->params));
    return NULL;
}

static error *run_program(int argc, char **argv)
{
    arguments a;
    weights *w;
    holder h = {0};
    TRY(parse(argc, argv, &a));
    TRY(descriptors_fill(false));
    bool image = false;
    if (a.format == TO_HF) TRY(image_card_is_at(a.from, &image));
    if (image) return export_image(&a);
    TRY(weights_open(a.from, NULL, &w));
    error *e = a.format == TO_HF     ? export_hf(&a, w, &h)
               : a.format == TO_LLMC ? to_llmc(&a, w, &h)
                                     : export_gguf(&a, w, &h);
    holder_close(&h);
    weights_close(w);
    return e;
}

int main(int argc, char **argv)
{
    char *room[3], **words = command_line_words(&argc, argv, room);
    error *e = run_program(argc, words);
    return e ? error_report("export", e) : 0;
}

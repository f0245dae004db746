/* export.c - a trained model from one form to another, every value as it was.
 *
 *   export --to hf    DIR|FILE OUT      OUT/config.json, OUT/model.safetensors and the tokenizer's
 *                                       files: of --vocab, or copied from beside the source, or
 *                                       made of a tokenizer.vocab beside it
 *   export --to llmc  DIR|FILE OUT      OUT, one .bin of llm.c's (version 3)
 *
 * What the other form cannot express is refused by name, and nothing that exists is written over.
 */
#include "cpu/cpu.h"
#include "base/files.h"
#include "data/bpe/bpe.h"
#include "io/llmc.h"
#include "run/log.h"
#include "model/hf/hf.h"
#include "model/model.h"
#include "io/model_file.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *to, *from, *out, *vocab;
    bool widen;
    const char *wrong; /* the word that has no place */
} arguments;

static const char doc[] =
    "Writes a trained model in another form.\v"
    "DIR|FILE is what train_gpt --load takes. Forms: hf (a directory that transformers loads) and "
    "llmc (llm.c's model .bin, version 3).\n\n"
    "  export --to hf runs/train exported\n"
    "  export --to hf gpt2_124M.bin gpt2";

static const struct argp_option argp_options[] = {
    {"to", 't', "FORM", 0, "hf or llmc (default: hf)", 0},
    {"vocab", 'v', "FILE", 0,
     "With hf: the tokenizer, a .vocab, .tiktoken or tokenizer.json (default: what lies beside the "
     "source)",
     0},
    {"widen", 'w', NULL, 0, "Take 16-bit floats as f32, which keeps every value (default: refuse)",
     0},
    {"help", '?', NULL, 0, "Show this list", -1},
    {0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case 't':
        a->to = arg;
        return 0;
    case 'v':
        a->vocab = arg;
        return 0;
    case 'w':
        a->widen = true;
        return 0;
    case ARGP_KEY_ARG:
        if (!a->from)
            a->from = arg;
        else if (!a->out)
            a->out = arg;
        else if (!a->wrong)
            a->wrong = arg;
        return 0;
    case ARGP_KEY_ERROR:
        if (!a->wrong) a->wrong = state->argv[state->next - 1];
        return 0;
    case '?':
        state->flags &= ~(unsigned)ARGP_NO_ERRS;            /* which would silence the help, too */
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error *parse(int argc, char **argv, arguments *a)
{
    static const struct argp argp = {
        .options = argp_options, .parser = parse_option, .args_doc = "DIR|FILE OUT", .doc = doc};
    *a = (arguments){.to = "hf"};
    error_t status = argp_parse(&argp, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP, NULL, a);
    if (a->wrong || status)
        return user_error("%s: unknown, incomplete or one too many (--help lists the options)",
                          a->wrong ? a->wrong : "the options");
    if (!a->out) return user_error("say what to export and where to: export DIR|FILE OUT (--help)");
    if (strcmp(a->to, "hf") && strcmp(a->to, "llmc"))
        return user_error("--to %s: must be hf or llmc", a->to);
    if (a->vocab && strcmp(a->to, "hf"))
        return user_error("--vocab: only with --to hf; llm.c's format has no tokenizer in it");
    return NULL;
}

/* ---- the parameters, in memory of their own ---- */

typedef struct {
    device dev;
    params params;
    model *model;
    void *memory;
} holder;

static void holder_close(holder *h)
{
    if (h->memory) h->dev.ops->release(&h->dev, h->memory);
    if (h->model) gpt_kind.destroy(h->model);
    params_free(&h->params);
    if (h->dev.state) cpu_close(&h->dev);
}

static error *holder_fill(holder *h, const weights *w, bool widen)
{
    TRY(cpu_device(1, &h->dev));
    h->params.type = F32;
    TRY(gpt_kind.create(weights_model(w), &plain_training, &h->params, &h->model));
    size_t bytes = (size_t)params_count(&h->params) * sizeof(float);
    TRY(h->dev.ops->alloc(&h->dev, bytes, &h->memory));
    float *at = h->memory;
    for (int i = 0; i < h->params.n; i++) {
        param *row = &h->params.row[i];
        row->value = tensor_of(at, F32, row->spec.shape);
        at += row->count;
    }
    return weights_read(w, &h->params, widen, &h->dev);
}

/* ---- hf ---- */

/* The tokenizer's files beside the source, those that are there. */
static error *copy_tokenizer(const char *from, const char *to, int *copied)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "generation_config.json"};
    *copied = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char source[PATH_LENGTH], target[PATH_LENGTH];
        TRY(path_join(source, from, names[i]));
        TRY(path_join(target, to, names[i]));
        if (access(source, F_OK) && errno == ENOENT) continue;
        TRY(file_copy(source, target));
        ++*copied;
    }
    return NULL;
}

/* Is there a vocabulary of which to make a tokenizer?  Opened and held against the model's. */
static error *open_vocab(const arguments *a, const weights *w, bpe **out)
{
    char beside[PATH_LENGTH], copied[PATH_LENGTH];
    const char *path = a->vocab ? a->vocab : beside, *directory = weights_directory(w);
    *out = NULL;
    TRY(path_join(beside, directory, "tokenizer.vocab"));
    TRY(path_join(copied, directory, "tokenizer.json"));
    if (!a->vocab && (access(beside, F_OK) || !access(copied, F_OK))) return NULL;
    TRY(bpe_open(path, out));
    if (bpe_size(*out) <= weights_model(w)->vocab) return NULL;
    error *e = user_error("%s has %d tokens, the model only %lld: give the one it was trained with",
                          path, (int)bpe_size(*out), (long long)weights_model(w)->vocab);
    bpe_close(*out);
    return e;
}

static error *write_tokenizer(const arguments *a, const weights *w, const bpe *vocab, int *files)
{
    if (!vocab) return copy_tokenizer(weights_directory(w), a->out, files);
    *files = 4;
    return bpe_write_hf(vocab, a->out);
}

static error *must_be_new(const char *directory, const char *name)
{
    char path[PATH_LENGTH];
    if (name) {
        TRY(path_join(path, directory, name));
        directory = path;
    }
    if (access(directory, F_OK)) return NULL;
    return user_error("%s is there already: give another OUT, or move it away", directory);
}

static error *write_hf(const arguments *a, const weights *w, const bpe *vocab, holder *h)
{
    int files;
    TRY(holder_fill(h, w, a->widen));
    TRY(make_directory(a->out, "OUT"));
    TRY(write_tokenizer(a, w, vocab, &files));
    TRY(weights_write(a->out, weights_model(w), &h->params, &h->dev));
    printf("wrote %s: config.json, model.safetensors (%lld parameters), %d files of the "
           "tokenizer%s\n",
           a->out, (long long)params_count(&h->params), files,
           files ? "" : ", as there is none beside the source (--vocab gives one)");
    return NULL;
}

static error *to_hf(const arguments *a, const weights *w, holder *h)
{
    bpe *vocab;
    TRY(must_be_new(a->out, "config.json"));
    TRY(must_be_new(a->out, "model.safetensors"));
    TRY(open_vocab(a, w, &vocab));
    error *e = write_hf(a, w, vocab, h);
    bpe_close(vocab);
    return e;
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
    TRY(holder_fill(h, w, a->widen));
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
    TRY(weights_open(a.from, &w));
    error *e = strcmp(a.to, "hf") ? to_llmc(&a, w, &h) : to_hf(&a, w, &h);
    holder_close(&h);
    weights_close(w);
    return e;
}

int main(int argc, char **argv)
{
    error *e = run_program(argc, argv);
    return e ? error_report("export", e) : 0;
}

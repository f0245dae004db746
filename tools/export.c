/* export.c - a trained model from one form to another, every value as it was.
 *
 *   export --to hf    DIR|FILE OUT      OUT/config.json, OUT/model.safetensors and the tokenizer's
 *                                       files: of --vocab, or copied from beside the source, or
 *                                       made of a tokenizer.vocab beside it
 *   export --to llmc  DIR|FILE OUT      OUT, one .bin of llm.c's (version 3)
 *   export --to gguf  DIR|FILE OUT      OUT, one file for llama.cpp, with the tokenizer in it;
 *                                       --type f32, f16, bf16 or q8_0
 *
 *   --merge DIR                         the matrices with peft's adapters of DIR added to them
 *
 * What the other form cannot express is refused by name, and nothing that exists is written over.
 */
#include "train/choose_device.h"
#include "base/command_line.h"
#include "base/descriptors.h"
#include "base/files.h"
#include "data/bpe/bpe.h"
#include "data/bpe/bpe_parts.h"
#include "io/adapter_file.h"
#include "data/chat/chat.h"
#include "io/gguf_model.h"
#include "io/llmc.h"
#include "model/families.h"
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
    const char *to, *from, *out, *vocab, *type, *merge;
    bool widen, fast;
    const char *wrong; /* the word that has no place */
} arguments;

static const char doc[] =
    "Convert a trained model to another format.\v"
    "DIR|FILE is anything that train_gpt --load takes. Formats: hf (a directory that transformers "
    "loads), llmc (llm.c's model .bin, version 3) and gguf (one file for llama.cpp, tokenizer "
    "included). Existing files are never overwritten.\n\n"
    "  export --to hf runs/train exported\n"
    "  export --to gguf --type q8_0 runs/train model.gguf\n"
    "  export --merge runs/lora base merged";

static const struct argp_option argp_options[] = {
    {"to", 't', "FORMAT", 0, "hf, llmc or gguf [default: hf]", 0},
    {"type", 'T', "TYPE", 0,
     "with gguf: how matrices are stored: f32, f16, bf16 or q8_0 [default: f16]", 0},
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
     "convert 16-bit floats to f32, which preserves every value [default: refuse them]", 0},
    COMMAND_LINE_ROWS,
    {0},
};

static error_t take_option(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case 't':
        a->to = arg;
        return 0;
    case 'v':
        a->vocab = arg;
        return 0;
    case 'T':
        a->type = arg;
        return 0;
    case 'F':
        a->fast = true;
        return 0;
    case 'm':
        a->merge = arg;
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
    default:
        return command_line_key(key, state);
    }
}

static error *parse(int argc, char **argv, arguments *a)
{
    static const struct argp argp = {
        .options = argp_options, .parser = take_option, .args_doc = "DIR|FILE OUT", .doc = doc};
    *a = (arguments){.to = "hf"};
    error *none = NULL;
    TRY(command_line_parse(&argp, argc, argv, 0, a, &none));
    if (a->wrong)
        return user_error("%s: a word too many; an export has one source and one OUT (--help)",
                          a->wrong);
    if (!a->out) return user_error("say what to export and where to: export DIR|FILE OUT (--help)");
    if (strcmp(a->to, "hf") && strcmp(a->to, "llmc") && strcmp(a->to, "gguf"))
        return user_error("--to %s: must be hf, llmc or gguf", a->to);
    if (a->vocab && !strcmp(a->to, "llmc"))
        return user_error("--vocab: not with --to llmc, whose format has no tokenizer in it");
    if (a->fast && strcmp(a->to, "hf")) return user_error("--fast-tokenizer: only with --to hf");
    if (a->merge && !*a->merge) return user_error("--merge: an empty word; give DIR");
    if (a->type && strcmp(a->to, "gguf")) return user_error("--type: only with --to gguf");
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
    if (h->dev.state) device_close(&h->dev);
}

static error *holder_read(holder *h, const weights *w, const adapter_file *adapters, bool widen)
{
    training_policy how = plain_training;
    if (adapters) how.lora = *adapter_plan(adapters);
    TRY(gpt_kind.create(weights_model(w), &how, &h->params, &h->model));
    size_t bytes = (size_t)params_count(&h->params) * sizeof(float);
    TRY(h->dev.ops->alloc(&h->dev, bytes, &h->memory));
    float *at = h->memory;
    for (int i = 0; i < h->params.n; i++) {
        param *row = &h->params.row[i];
        row->value = tensor_of(at, F32, row->spec.shape);
        at += row->count;
    }
    TRY(weights_read(w, &h->params, cast_widening(widen), &h->dev));
    if (!adapters) return NULL;
    TRY(adapter_read(adapters, &h->params, cast_widening(widen), &h->dev));
    return lora_merge(&h->params, &h->dev);
}

/* The values of w, with the adapters of --merge added. */
static error *holder_fill(holder *h, const arguments *a, const weights *w)
{
    adapter_file *adapters = NULL;
    TRY(device_open(DEVICE_CPU, 1, NULL, &h->dev));
    h->params.type = F32;
    if (a->merge) TRY(adapter_open(a->merge, &adapters));
    error *e = holder_read(h, w, adapters, a->widen);
    adapter_close(adapters);
    return e;
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
                                        "generation_config.json",
                                        "chat_template.jinja"};
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

/* AutoTokenizer of transformers 5.24 does not believe the files of some types of models: it makes a qwen2's
 * tokenizer anew (findings/qwen2_autotokenizer.sh). */
static error *check_auto(const arguments *a, const weights *w, const bpe *vocab)
{
    const char *type = hf_type(weights_model(w));
    if (!vocab || a->fast || strcmp(type, "qwen2") || bpe_is_for_qwen2(vocab)) return NULL;
    return user_error("AutoTokenizer of transformers gives every model of type qwen2 Qwen's own "
                      "rule of cutting text, so "
                      "it would give other ids than the vocabulary of this one: train with Qwen's "
                      "vocabulary; or take "
                      "--fast-tokenizer, and PreTrainedTokenizerFast.from_pretrained(OUT) in place "
                      "of AutoTokenizer");
}

/* Where texts end, and how conversations are written, for a tokenizer that is rebuilt. */
static error *write_ending(const arguments *a, const weights *w, const bpe *vocab, int *files)
{
    char from[PATH_LENGTH], to[PATH_LENGTH], text[64];
    if (bpe_end_of_text(vocab) >= 0) {
        snprintf(text, sizeof text, "{\"eos_token_id\": %d}", (int)bpe_end_of_text(vocab));
        TRY(path_join(to, a->out, "generation_config.json"));
        TRY(file_write_text(to, text));
        ++*files;
    }
    TRY(path_join(from, weights_directory(w), "chat_template.jinja"));
    if (access(from, F_OK)) return NULL;
    TRY(path_join(to, a->out, "chat_template.jinja"));
    ++*files;
    return file_copy(from, to);
}

static error *write_tokenizer(const arguments *a, const weights *w, const bpe *vocab, int *files)
{
    if (!vocab) return copy_tokenizer(weights_directory(w), a->out, files);
    *files = 4;
    TRY(bpe_write_hf(vocab, a->out));
    return write_ending(a, w, vocab, files);
}

static error *must_be_new(const char *directory, const char *name)
{
    char path[PATH_LENGTH];
    if (name) {
        TRY(path_join(path, directory, name));
        directory = path;
    }
    if (access(directory, F_OK)) return NULL;
    return user_error("%s already exists: give another OUT, or move it away", directory);
}

static error *write_hf(const arguments *a, const weights *w, const bpe *vocab, holder *h)
{
    int files;
    TRY(holder_fill(h, a, w));
    TRY(make_directory(a->out, "OUT"));
    TRY(write_tokenizer(a, w, vocab, &files));
    TRY(weights_write(a->out, weights_model(w), &h->params, &h->dev, NULL));
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
    error *e = check_auto(a, w, vocab);
    if (!e) e = write_hf(a, w, vocab, h);
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
    TRY(holder_fill(h, a, w));
    TRY(llmc_write(a->out, &z, &h->params, &h->dev));
    printf("wrote %s (%lld parameters)\n", a->out, (long long)params_count(&h->params));
    return NULL;
}

/* ---- gguf ---- */

static error *type_of(const char *name, gguf_type *out)
{
    static const char *const names[] = {
        [GGUF_F32] = "f32", [GGUF_F16] = "f16", [GGUF_BF16] = "bf16", [GGUF_Q8_0] = "q8_0"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) {
            *out = (gguf_type)i;
            return NULL;
        }
    return user_error("--type %s: must be f32, f16, bf16 or q8_0", name);
}

/* The vocabulary as llama.cpp's "gpt2" kind: tokens in characters for bytes, and merges. */
static error *put_vocabulary(gguf *g, const bpe *v, int64_t size)
{
    enum { ORDINARY = 1, CONTROL = 3, UNUSED = 5 };
    char key[2 * BPE_KEY_BYTES];
    bool exact;
    const char *pre = bpe_llama_pre(v, &exact);
    if (!pre)
        return user_error(
            "--to gguf: llama.cpp has no name for the expression by which the tokenizer cuts "
            "text; --to hf keeps it");
    if (!exact)
        error_warn(user_error(
            "llama.cpp cuts text by GPT-2's rule, the vocabulary was learned by a simpler "
            "one: ids differ around apostrophes and outside of ASCII"));
    gguf_text(g, "tokenizer.ggml.model", "gpt2");
    gguf_text(g, "tokenizer.ggml.pre", pre);
    gguf_texts(g, "tokenizer.ggml.tokens", (size_t)size);
    for (int32_t id = 0; id < size; id++)
        gguf_item_text(
            g, key, id < bpe_size(v) ? bpe_key(v, id, key) : (size_t)sprintf(key, "[PAD%d]", id));
    gguf_numbers(g, "tokenizer.ggml.token_type", (size_t)size);
    for (int32_t id = 0; id < size; id++)
        gguf_item_number(g, id >= bpe_size(v)        ? UNUSED
                            : bpe_key_special(v, id) ? CONTROL
                                                     : ORDINARY);
    gguf_texts(g, "tokenizer.ggml.merges", (size_t)bpe_n_merges(v));
    for (int32_t i = 0; i < bpe_n_merges(v); i++)
        gguf_item_text(g, key, bpe_merge_key(v, i, key));
    if (bpe_end_of_text(v) >= 0) gguf_u32(g, "tokenizer.ggml.eos_token_id", bpe_end_of_text(v));
    gguf_bool(g, "tokenizer.ggml.add_bos_token", bpe_begin_of_text(v) >= 0);
    return NULL;
}

/* How conversations are written: the template beside the model, if there is one.  One that cannot be
 * read is left out, with a warning. */
static void put_template(gguf *g, const weights *w)
{
    chat *c = NULL;
    size_t n;
    error *e = chat_open(NULL, weights_directory(w), NULL, NULL, &c);
    const char *source = e ? NULL : chat_source(c, &n);
    if (source) gguf_text(g, "tokenizer.chat_template", source);
    chat_close(c);
    if (e) error_warn(error_context(e, "the chat template is not in the GGUF file"));
}

/* The vocabulary of --vocab, or the one that lies beside the source. */
static error *vocabulary_for_gguf(const arguments *a, const weights *w, bpe **out)
{
    char path[PATH_LENGTH];
    TRY(open_vocab(a, w, out));
    if (*out) return NULL;
    TRY(path_join(path, weights_directory(w), "tokenizer.json"));
    if (access(path, F_OK))
        return user_error(
            "%s has no tokenizer beside it, and a GGUF file holds one: give --vocab FILE", a->from);
    return bpe_open(path, out);
}

static error *write_gguf(const arguments *a, const weights *w, holder *h, gguf *g)
{
    gguf_type type = GGUF_F16;
    bpe *vocab = NULL;
    TRY(type_of(a->type ? a->type : "f16", &type));
    TRY(must_be_new(a->out, NULL));
    TRY(vocabulary_for_gguf(a, w, &vocab));
    error *e = holder_fill(h, a, w);
    if (!e) e = gguf_model(g, weights_model(w), &h->params, type);
    if (!e) e = put_vocabulary(g, vocab, weights_model(w)->vocab);
    bpe_close(vocab);
    if (!e) put_template(g, w);
    if (!e) e = gguf_write(g, a->out);
    if (!e) printf("wrote %s (%lld parameters)\n", a->out, (long long)params_count(&h->params));
    return e;
}

static error *to_gguf(const arguments *a, const weights *w, holder *h)
{
    gguf *g;
    TRY(gguf_create(&g));
    error *e = write_gguf(a, w, h, g);
    gguf_discard(g);
    return e;
}

static error *run_program(int argc, char **argv)
{
    arguments a;
    weights *w;
    holder h = {0};
    TRY(parse(argc, argv, &a));
    TRY(descriptors_fill(false));
    TRY(weights_open(a.from, NULL, &w));
    error *e = !strcmp(a.to, "hf")     ? to_hf(&a, w, &h)
               : !strcmp(a.to, "llmc") ? to_llmc(&a, w, &h)
                                       : to_gguf(&a, w, &h);
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

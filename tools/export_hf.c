/* export_hf.c - --to hf; see export.h.
 *
 *     config.json              with the special tokens of the source's, or else of the vocabulary
 *     model.safetensors        --dtype f32, bf16 or f16
 *     tokenizer.json ...       as they are beside the source, or made of a vocabulary
 *     generation_config.json   that of the source, or else where texts end
 *     chat_template.jinja      of the adapters of --merge, of the source, or what its tokenizer_config.json has
 *     README.md                export_card.c
 */
#include "tools/export.h"

#include "base/command_line.h"
#include "model/hf/hf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the tokenizer ---- */

/* AutoTokenizer of transformers 5.24 does not believe the files of some types of models: it makes a
 * qwen2's tokenizer anew (findings/qwen2_autotokenizer.sh). */
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

/* A file that belongs to the model into OUT, if there is one. */
static error *copy_beside(const arguments *a, const weights *w, const char *name, int *copied)
{
    char from[PATH_LENGTH], to[PATH_LENGTH];
    TRY(find_beside(a, w, name, from));
    TRY(path_join(to, a->out, name));
    if (!*from) return NULL;
    ++*copied;
    return file_copy(from, to);
}

/* What may be written: first the tokenizer's. */
enum { TOKENIZER_FILES = 7, FILES = 11 };
static const char *const files_of_hf[FILES] = {"tokenizer.json",
                                               "tokenizer_config.json",
                                               "vocab.json",
                                               "merges.txt",
                                               "special_tokens_map.json",
                                               "added_tokens.json",
                                               "chat_template.jinja",
                                               "config.json",
                                               "model.safetensors",
                                               "generation_config.json",
                                               "README.md"};

/* The tokenizer's files beside the source, those that are there. */
static error *copy_tokenizer(const arguments *a, const weights *w, int *copied)
{
    for (int i = 0; i < TOKENIZER_FILES; i++)
        TRY(copy_beside(a, w, files_of_hf[i], copied));
    return NULL;
}

/* A template that cannot be read is not written, with a warning. */
static error *write_template(const arguments *a, const weights *w, int *files)
{
    char path[PATH_LENGTH], *source;
    int before = *files;
    TRY(copy_beside(a, w, "chat_template.jinja", files));
    if (*files > before) return NULL;
    error *e = template_source(a, w, &source);
    if (e) error_warn(error_context(e, "there is no chat template in OUT"));
    if (!source) return NULL;
    e = path_join(path, a->out, "chat_template.jinja");
    if (!e) e = file_write_all(path, source, strlen(source));
    free(source);
    ++*files;
    return e;
}

static error *write_tokenizer(const arguments *a, const weights *w, const bpe *vocab, int *files)
{
    *files = 0;
    if (!vocab) return copy_tokenizer(a, w, files);
    *files = 4;
    TRY(bpe_write_hf(vocab, a->out));
    if (!a->vocab) TRY(copy_beside(a, w, "tokenizer_config.json", &(int){0})); /* it says more */
    return write_template(a, w, files);
}

/* ---- special tokens ---- */

/* Where nothing is said of them, the vocabulary's: else the defaults of the family would stand,
 * which are another vocabulary's. */
static void take_tokens(const bpe *vocab, model_config *c)
{
    const int32_t ids[] = {
        [TOKEN_BEGIN] = bpe_begin_of_text(vocab), [TOKEN_END] = bpe_end_of_text(vocab)};
    if (c->tokens[TOKEN_BEGIN].said || c->tokens[TOKEN_END].said) return;
    for (int i = 0; i < 2; i++)
        c->tokens[i] = (token_ids){.said = true, .n = ids[i] >= 0, .id = {ids[i]}};
}

/* Of the tokenizer that is written: made of a vocabulary, or copied. */
static error *find_tokens(const arguments *a, const weights *w, const bpe *vocab, model_config *c)
{
    char path[PATH_LENGTH];
    bpe *copied = NULL;
    if (vocab) {
        take_tokens(vocab, c);
        return NULL;
    }
    TRY(find_beside(a, w, "tokenizer.json", path));
    if (!*path) return NULL;
    error *e = bpe_open(path, &copied);
    if (!e && bpe_size(copied) <= c->vocab) take_tokens(copied, c);
    if (!e) bpe_close(copied);
    error_free(e); /* one that cannot be read here says nothing */
    return NULL;
}

/* The source's; or what config.json has, for older programs and for ./generate. */
static error *write_generation(const arguments *a, const weights *w, const model_config *c)
{
    const token_ids *end = &c->tokens[TOKEN_END];
    char path[PATH_LENGTH], text[16 * MOST_TOKEN_IDS + 32];
    int copied = 0;
    TRY(copy_beside(a, w, "generation_config.json", &copied));
    if (copied || !end->n) return NULL;
    size_t n = (size_t)snprintf(text, sizeof text, "{\"eos_token_id\": %s", end->list ? "[" : "");
    for (int i = 0; i < end->n; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, i ? ", %d" : "%d", (int)end->id[i]);
    snprintf(text + n, sizeof text - n, end->list ? "]}" : "}");
    TRY(path_join(path, a->out, "generation_config.json"));
    return file_write_text(path, text);
}

/* ---- all of it ---- */

error *floats_of(const arguments *a, file_floats source, file_floats *out)
{
    static const char *const names[] = {
        [FILE_AS_IS] = "f32", [FILE_BF16] = "bf16", [FILE_F16] = "f16"};
    int i;
    *out = a->widen ? FILE_AS_IS : source;
    if (!a->dtype) return NULL;
    TRY(command_line_word("dtype", a->dtype, names, 3, &i));
    *out = (file_floats)i;
    return NULL;
}

void remove_written(const char *directory, const char *const *files, int n, bool made)
{
    char path[PATH_LENGTH];
    for (int i = 0; i < n; i++)
        if (snprintf(path, sizeof path, "%s/%s", directory, files[i]) < PATH_LENGTH) unlink(path);
    if (made) rmdir(directory);
}

static error *write_readme(const arguments *a, const weights *w, const char *type,
                           int64_t parameters)
{
    char sizes[400];
    const model_config *m = weights_model(w);
    snprintf(
        sizes, sizeof sizes,
        "A causal language model of type `%s`: %lld parameters in %s, %lld layers, width %lld, "
        "%lld heads (%lld of keys and values), a vocabulary of %lld tokens, a context of %lld.",
        hf_type(m), (long long)parameters, type, (long long)m->layers, (long long)m->width,
        (long long)m->heads, (long long)m->kv_heads, (long long)m->vocab, (long long)m->context);
    return card_write(
        a, weights_directory(w),
        &(card_subject){.task = "text-generation", .loss_per = "token", .sizes = sizes});
}

static error *write_hf(const arguments *a, const weights *w, const bpe *vocab, file_floats floats,
                       holder *h)
{
    int files;
    model_config c = *weights_model(w);
    TRY(holder_fill(h, a, w, a->widen || a->dtype || floats != FILE_AS_IS));
    TRY(make_directory(a->out, "OUT"));
    TRY(find_tokens(a, w, vocab, &c));
    TRY(write_tokenizer(a, w, vocab, &files));
    TRY(write_generation(a, w, &c));
    TRY(write_readme(a, w, weights_floats_name(floats), params_count(&h->params)));
    TRY(weights_write_as(a->out, &c, &h->params, floats, &h->dev));
    printf("wrote %s: config.json, model.safetensors (%lld parameters), README.md, %d files of the "
           "tokenizer%s\n",
           a->out, (long long)params_count(&h->params), files,
           files ? "" : ", as there is none beside the source (--vocab gives one)");
    return NULL;
}

error *export_hf(const arguments *a, const weights *w, holder *h)
{
    bpe *vocab;
    file_floats floats;
    TRY(floats_of(a, weights_floats(w), &floats));
    for (int i = 0; i < FILES; i++)
        TRY(must_be_new(a->out, files_of_hf[i]));
    TRY(open_vocab(a, w, &vocab));
    error *e = check_auto(a, w, vocab);
    if (!e) {
        bool made = access(a->out, F_OK);
        e = write_hf(a, w, vocab, floats, h);
        if (e) remove_written(a->out, files_of_hf, FILES, made);
    }
    bpe_close(vocab);
    return e;
}

/* export_gguf.c - --to gguf; see export.h.  The weights are io/gguf_model.h's, the vocabulary is
 * written here. */
#include "tools/export.h"

#include "base/command_line.h"
#include "data/bpe/bpe_parts.h"
#include "io/gguf_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static error *type_of(const char *name, gguf_type *out)
{
    static const char *const names[] = {
        [GGUF_F32] = "f32", [GGUF_F16] = "f16", [GGUF_BF16] = "bf16", [GGUF_Q8_0] = "q8_0"};
    int i;
    TRY(command_line_word("type", name, names, sizeof names / sizeof *names, &i));
    *out = (gguf_type)i;
    return NULL;
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

/* How conversations are written, if that is known.  A template that cannot be read is left out,
 * with a warning. */
static void put_template(gguf *g, const arguments *a, const weights *w)
{
    char *source;
    error *e = template_source(a, w, &source);
    if (source) gguf_text(g, "tokenizer.chat_template", source);
    free(source);
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
    error *e = holder_fill(h, a, w, a->widen);
    if (!e) e = gguf_model(g, weights_model(w), &h->params, type);
    if (!e) e = put_vocabulary(g, vocab, weights_model(w)->vocab);
    bpe_close(vocab);
    if (!e) put_template(g, a, w);
    if (!e) e = gguf_write(g, a->out);
    if (!e) printf("wrote %s (%lld parameters)\n", a->out, (long long)params_count(&h->params));
    return e;
}

error *export_gguf(const arguments *a, const weights *w, holder *h)
{
    gguf *g;
    TRY(gguf_create(&g));
    error *e = write_gguf(a, w, h, g);
    gguf_discard(g);
    return e;
}

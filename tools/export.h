/* export.h - what the parts of ./export share.
 *
 *     export.c         options, values in memory, --to llmc, files beside the source
 *     export_hf.c      --to hf: weights, config.json, the tokenizer
 *     export_card.c    its README.md
 *     export_gguf.c    --to gguf
 *     export_image.c   --to hf of a model of images
 *
 * All belong to one program; nothing else includes this.
 */
#ifndef REGRAD_TOOLS_EXPORT_H
#define REGRAD_TOOLS_EXPORT_H

#include "base/files.h"
#include "data/bpe/bpe.h"
#include "io/model_file.h"
#include "model/model.h"

typedef enum { TO_HF, TO_LLMC, TO_GGUF, FORMATS } export_format;

typedef struct {
    export_format format;
    const char *to, *from, *out, *vocab, *type, *merge, *dtype, *license, *base_model;
    bool widen, fast;
    const char *wrong; /* the word that has no place */
} arguments;

/* The parameters, in memory of their own, in f32. */
typedef struct {
    device dev;
    params params;
    const model_kind *kind;
    model *model;
    void *memory;
} holder;

/* A table for the model, without values yet.  Free it with holder_close after a failure, too. */
error *holder_make(holder *h, const model_kind *kind, const model_config *c,
                   const training_policy *how) NODISCARD;
void holder_close(holder *h);

/* The values of w, with the adapters of --merge added; widen: 16-bit floats are taken, too. */
error *holder_fill(holder *h, const arguments *a, const weights *w, bool widen) NODISCARD;

/* A file of that name that belongs to the model: in the directory of --merge, which was trained
 * last, or beside the source.  Empty: there is none. */
error *find_beside(const arguments *a, const weights *w, const char *name,
                   char path[PATH_LENGTH]) NODISCARD;

/* Is there a vocabulary of which to make a tokenizer?  Opened and held against the model's; else
 * *out is NULL. */
error *open_vocab(const arguments *a, const weights *w, bpe **out) NODISCARD;

/* The source of the chat template, free it; NULL: there is none. */
error *template_source(const arguments *a, const weights *w, char **out) NODISCARD;

/* User error if OUT, or a file in it, is there. */
error *must_be_new(const char *directory, const char *name) NODISCARD;

error *export_hf(const arguments *a, const weights *w, holder *h) NODISCARD;
error *export_gguf(const arguments *a, const weights *w, holder *h) NODISCARD;

/* A ViT or ConvNeXt. */
error *export_image(const arguments *a) NODISCARD;

/* --dtype; else f32 with --widen, or as the source's are. */
error *floats_of(const arguments *a, file_floats source, file_floats *out) NODISCARD;

/* After a failure: of an export that is not whole nothing stays, and the next one may have the same
 * OUT.  None of the n files was there before; made: nor was the directory. */
void remove_written(const char *directory, const char *const *files, int n, bool made);

/* What a model card says that is not in the files around the source. */
typedef struct {
    const char *task;     /* the Hub's pipeline_tag */
    const char *loss_per; /* losses are nats per this */
    const char *sizes;    /* a sentence */
} card_subject;

/* OUT/README.md: a model card.  source: the directory of the model, or of its base with --merge. */
error *card_write(const arguments *a, const char *source, const card_subject *s) NODISCARD;

#endif

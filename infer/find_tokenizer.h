/* find_tokenizer.h - finds a model's tokenizer file. */
#ifndef REGRAD_FIND_TOKENIZER_H
#define REGRAD_FIND_TOKENIZER_H

#include "data/bpe/bpe.h"
#include "model/config.h"

/* The tokenizer file, into a buffer of PATH_LENGTH: `name` itself, or the one in the directory
 * `name`. */
error *tokenizer_path(const char *name, char *path) NODISCARD;

/* Opens the tokenizer in the file `vocab`; if that is NULL, the one in the model's directory:
 * tokenizer.vocab, else tokenizer.json, tekken.json, tokenizer.model.  User errors: there is none,
 * or it has more tokens than the model. */
error *tokenizer_open(const char *directory, const char *vocab, const model_config *c,
                      bpe **out) NODISCARD;

#endif

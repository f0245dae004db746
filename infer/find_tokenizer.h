/* find_tokenizer.h - which file says what a model's tokens are. */
#ifndef REGRAD_FIND_TOKENIZER_H
#define REGRAD_FIND_TOKENIZER_H

#include "data/bpe/bpe.h"
#include "model/config.h"

/* The file of a tokenizer, in a buffer of PATH_LENGTH: `name` itself, or the one in a directory of that name. */
error *tokenizer_path(const char *name, char *path) NODISCARD;

/* The tokenizer in the file `vocab`; if that is NULL, the one in the model's directory:
 * tokenizer.vocab, else tokenizer.json, tekken.json, tokenizer.model.  User errors: none there, and
 * one with more tokens than the model has. */
error *tokenizer_open(const char *directory, const char *vocab, const model_config *c,
                      bpe **out) NODISCARD;

#endif

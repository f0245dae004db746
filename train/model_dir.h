/* model_dir.h - a directory that holds a trained model.
 *
 *     config.json         what the model is: of a run (train_gpt --out)
 *     model.safetensors   its parameters; or in several files, with model.safetensors.index.json
 *     tokenizer.vocab, tokenizer.json or NAME.tiktoken: what its tokens are, if there is one
 */
#ifndef REGRAD_MODEL_DIR_H
#define REGRAD_MODEL_DIR_H

#include "data/bpe.h"
#include "io/safetensors.h"
#include "model/config.h"

/* The configuration, and the parameters' file opened.  User errors name the file. */
error *model_dir_open(const char *dir, model_config *c, safetensors **parameters) NODISCARD;

/* The tokenizer in `vocab`, or in dir if that is NULL; refused when it has more tokens than the
 * model. */
error *model_dir_vocab(const char *dir, const char *vocab, const model_config *c,
                       bpe **out) NODISCARD;

#endif

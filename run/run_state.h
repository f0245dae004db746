/* run_state.h - all that a run needs to resume as if it had never stopped, as files.
 *
 *   model.safetensors       every parameter, by name           }  tensors: with names, dtypes and
 *   optimizer.safetensors   every state, as PARAMETER.STATE    }  shapes; none is ever cast
 *   state.json              every value, and what it was made with (the table in run_state.c)
 *   config.json             the model's sizes, as Hugging Face writes them
 *   tokenizer.vocab         what the tokens mean, where that is known
 *
 * There is no generator's state and no shuffled order in it: random numbers and the order of samples
 * are functions of (seed, purpose, index), so that seed and step are all there is to know.
 *
 * A value may have changed since.  Some changes leave the states what they are (adamw <-> adamw_r,
 * where gradients are, how a batch is split) and need no word; some are wanted (--lr, --steps) and
 * are reported; the rest would make the states those of another run, and are refused, with a message that names them.  Which is
 * which stands in each option's own row (run_option).
 */
#ifndef REGRAD_RUN_STATE_H
#define REGRAD_RUN_STATE_H

#include "run/checkpoint.h"
#include "run/run_contents.h"

/* Writes the checkpoint of c->step.  With several ranks all of them come here; the first one writes,
 * the others' `all` is NULL. */
error *run_state_write(checkpoints *all, const run_contents *c) NODISCARD;

/* What a run leaves in its directory: the model, or its adapters; and which of the files has the
 * parameters. */
error *run_model_write(const char *directory, const run_contents *c,
                       const tensor_source *from) NODISCARD;
const char *run_model_file(const run_contents *c);

/* May they be there?  User error: adapters beside a whole model of an earlier run, or the reverse. */
error *run_model_place(const char *directory, const run_contents *c) NODISCARD;

/* What goes with a trained model, into its directory: the tokenizer's file, the chat template and how texts are
 * generated, as far as they are known. */
error *run_vocab_write(const char *directory, const run_contents *c) NODISCARD;

/* Fills c->step and c->log_bytes and the run's tensors from a checkpoint that was checked; all else in
 * c is of the run that resumes.  User errors: a change that cannot be, by name. */
error *run_state_resume(const char *path, run_contents *c) NODISCARD;

#endif

/* run_state.h - everything that a run needs to resume as if it had never stopped, as files.
 *
 *   model.safetensors       every parameter, by name           }  tensors: with names, dtypes and
 *   optimizer.safetensors   every state, as PARAMETER.STATE    }  shapes; never converted
 *   state.json              every value, and what it was made with (run_values.h)
 *   config.json             the model's sizes, in Hugging Face's format
 *   tokenizer.vocab         the tokenizer, if it is known
 *
 * Or in parts, each rank its own (run/parts.h): whole is what one rank writes, which gathers.
 *
 * There is no generator state and no shuffled order in it: random numbers and the order of samples
 * are functions of (seed, purpose, index), so seed and step are all there is to know.
 *
 * A value may have changed since.  Some changes leave the states valid (adamw <-> adamw_r, where
 * gradients are, how a batch is split) and need no message; some are intended (--lr, --steps) and
 * are reported; the rest would make the states those of another run, and are refused, with a
 * message that names them.  Each option's own row says which is which (run_option).
 */
#ifndef REGRAD_RUN_STATE_H
#define REGRAD_RUN_STATE_H

#include "run/checkpoint.h"
#include "run/run_contents.h"

/* Writes the checkpoint of c->step.  With several ranks all of them call it; the first one writes,
 * the others' `all` is NULL. */
error *run_state_write(checkpoints *all, const run_contents *c) NODISCARD;

/* The same in two parts, so that the training can continue between them: a copy of all that changes
 * (its tensors in `room`, run_copy_bytes of the host's memory), and its files, which may be written
 * in any thread.  Only what a run never changes is read then: names, shapes, options.  All ranks
 * call take; those without `room` get NULL.  In parts each copies what is its own, and the files
 * take three steps:
 *
 *     begin      all ranks: the first one makes the directory, and tells the others; begun: it could
 *     write      each its part, in any thread, `all` is not used
 *     conclude   all ranks, with how that went: NULL if every part is there; else nothing is left
 *     write      the first: the rest, and the rename; it may be tried again until it is abandoned
 */
typedef struct run_copy run_copy;

error *run_copy_bytes(const run_tensors *t, size_t *bytes) NODISCARD;
error *run_copy_take(const run_contents *c, char *room, run_copy **out) NODISCARD;
int64_t run_copy_step(const run_copy *copy);
error *run_copy_begin(checkpoints *all, run_copy *copy) NODISCARD;
bool run_copy_begun(const run_copy *copy);
error *run_copy_conclude(checkpoints *all, run_copy *copy, error *e) NODISCARD;
error *run_copy_write(checkpoints *all, run_copy *copy) NODISCARD;
void run_copy_abandon(checkpoints *all, const run_copy *copy);
void run_copy_free(run_copy *copy); /* NULL is ignored */

/* What a run leaves in its directory: the model, or its adapters; and which of the files has the
 * parameters. */
error *run_model_write(const char *directory, const run_contents *c,
                       const tensor_source *from) NODISCARD;
const char *run_model_file(const run_contents *c);

/* May they be written there?  User error: adapters beside a complete model of an earlier run, or
 * the reverse. */
error *run_model_place(const char *directory, const run_contents *c) NODISCARD;

/* Copies what belongs to a trained model into its directory: the tokenizer's file, the chat
 * template and the generation settings, as far as they are known. */
error *run_vocab_write(const char *directory, const run_contents *c) NODISCARD;

/* Fills c->step and c->log_bytes and the run's tensors from a verified checkpoint; everything else
 * in c describes the run that resumes.  User errors: changes that are not possible, by name. */
error *run_state_resume(const char *path, run_contents *c) NODISCARD;

/* Fills the parameters alone, for evaluation: with the averages, if the run has kept them
 * (*averaged). */
error *run_state_model(const char *path, const run_tensors *t, bool *averaged) NODISCARD;

#endif

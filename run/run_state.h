/* run_state.h - all that a run needs to go on as if it had never stopped.
 *
 * One list, in a checkpoint's files:
 *
 *   model.safetensors       every parameter, by name           }  tensors: with names, dtypes and
 *   optimizer.safetensors   every state, as PARAMETER.STATE    }  shapes; none is ever cast
 *   state.json              every value, and what it was made with (the table in resume.c)
 *   config.json             the model's sizes, as Hugging Face writes them
 *   tokenizer.vocab         what the tokens mean, where that is known
 *
 * There is no generator's state and no shuffled order in it: random numbers and the order of samples
 * are functions of (seed, purpose, index), so that seed and step are all there is to know.
 *
 * A value may have changed since.  Some changes leave the states what they are (adamw <-> adamw_r,
 * where gradients lie, how a batch is split) and need no word; some are wanted (--lr, --steps) and
 * are told; the rest would make the states those of another run, and are refused by name.
 */
#ifndef REGRAD_RESUME_H
#define REGRAD_RESUME_H

#include "run/checkpoint.h"
#include "run/gather.h"

typedef struct {
    trainer *t;
    int64_t step;                  /* steps done */
    int64_t log_bytes;             /* of log.jsonl then */
    uint64_t data;                 /* fingerprint of the training data */
    const char *vocab;             /* ? the tokenizer's file */
    whole_walk parameters, states; /* of the checkpoint that is being written */
} run_state;

/* Writes the checkpoint of s->step.  With several ranks all of them come here; the first one writes,
 * the others' c is NULL. */
error *run_state_write(checkpoints *c, run_state *s) NODISCARD;

/* The tokenizer's file into a directory with a trained model; nothing if none is known. */
error *run_vocab_write(const char *directory, const run_state *s) NODISCARD;

/* Fills s->step and s->log_bytes and the run's tensors from a checkpoint that was checked.  s->t,
 * s->data are those of the run that goes on.  User errors: a change that cannot be, by name. */
error *run_state_read(const char *path, run_state *s) NODISCARD;

#endif

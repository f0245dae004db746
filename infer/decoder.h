/* decoder.h - continues one text: its window of tokens, and the logits of the next one.
 *
 *     push(prompt) next -> logits   push(token) next -> logits   push(token) ...
 *
 *     window   | t0 t1 t2 ........ | t | t | . . . . . . |     length: at most the model's context
 *                 in the caches      new
 *
 * Only new tokens are computed: a prompt in pieces of up to `room` tokens, then one token at a
 * time. When the window is full, its older half is dropped.  Learned positions are undefined beyond
 * those that were trained, so the remaining half is moved to position 0 and computed again: on
 * average that doubles the work per token, however long the text grows.
 *
 * Everything is one program of the arena, from decoder_begin to decoder_end, in which each piece is
 * an iteration.  The caches are part of the program, not persistent: during training they use the
 * space of a step's activations, and samples cost no memory.
 */
#ifndef REGRAD_DECODER_H
#define REGRAD_DECODER_H

#include "model/model.h"

typedef struct {
    const model_kind *kind;
    runtime *r;
    model *m;
    int64_t length, room;
    tensor tokens;   /* (1,room) i32 */
    tensor logits;   /* (1,V) */
    int32_t *window; /* (length) */
    int64_t used;    /* tokens in the window */
    int64_t cached;  /* of these, in the caches */
    int steps;
} decoder;

/* For windows of `length` tokens; the run may change its device later. */
error *decoder_open(const model_kind *kind, runtime *r, model *m, int64_t length,
                    decoder *out) NODISCARD;
void decoder_close(decoder *d);

/* Takes persistent blocks from the arena; once while recording and once in the run. */
void decoder_place(decoder *d, int64_t vocab);
/* Records the program. */
void decoder_record(decoder *d);

/* An empty window. */
void decoder_begin(decoder *d);
void decoder_push(decoder *d, const int32_t *tokens, int64_t n);
/* Logits (V) of the token after the last one pushed. */
error *decoder_next(decoder *d, float *logits) NODISCARD;
void decoder_end(decoder *d);

#endif

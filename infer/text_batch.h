/* text_batch.h - continues several texts at once: each step reads the model's matrices once for
 * all.
 *
 *     position       0   1   2   3   4   5   6
 *     text 0         p   p   p   p   p   n   n        p: of the prompt
 *     text 1         p   p   p   n   n   n   n        n: generated, so the next step's input
 *     text 2         p   p   p   p   n   n   n
 *                    one piece |  a step each
 *
 * All begin at position 0 and advance together, so all caches have the same length and nothing is
 * padded: while one text still reads its prompt, another already generates.  The positions that all
 * prompts cover are read in pieces of up to `room` tokens.
 *
 * On the CPU a text's logits have the same bits as alone (infer/decoder.h).
 */
#ifndef REGRAD_TEXT_BATCH_H
#define REGRAD_TEXT_BATCH_H

#include "model/model.h"

typedef struct {
    const model_kind *kind;
    runtime *r;
    model *m;
    int64_t n, length, room; /* texts; positions of each; most tokens of each in a step */
    tensor tokens;           /* (n,room) i32 */
    tensor logits;           /* (n,V) */
    int64_t position;        /* of the next tokens */
    int steps;
} text_batch;

/* n texts of up to `length` tokens */
text_batch text_batch_make(const model_kind *kind, runtime *r, model *m, int64_t n, int64_t length);

/* Takes persistent blocks from the arena; once while recording and once in the run. */
void text_batch_place(text_batch *b, int64_t vocab);
/* Records the program. */
void text_batch_record(text_batch *b);

/* Empty texts. */
void text_batch_begin(text_batch *b);
/* The next `count` <= room tokens of each text; logits: ? (n,V) of what follows. */
error *text_batch_push(text_batch *b, const int32_t *tokens /* (n,count) */, int64_t count,
                       float *logits) NODISCARD;
void text_batch_end(text_batch *b);

#endif

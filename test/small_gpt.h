/* small_gpt.h - a GPT with its memory on a device, outside of any trainer: B sequences of T tokens
 * of V, and numbers that the golden scripts make, too (test/golden/golden.py).
 *
 *     open_model -> train_once, evaluate_once ... -> close_model
 *     open_decoding -> (begin_decoding -> decode ... -> end_decoding) ... -> close_model
 */
#ifndef REGRAD_TEST_SMALL_GPT_H
#define REGRAD_TEST_SMALL_GPT_H

#include "model/model.h"

enum { T = 11, B = 3, V = 59 };

/* A model with its memory on a device, outside of any trainer. */
typedef struct {
    device *dev;
    arena *arena;
    params p;
    runtime r;
    model *m;
    batch in;
    tensor loss;
    double amplitude; /* of matrices' elements; vectors': half of it */
} bench_model;

/* Steps of up to `room` tokens on the reference device. */
typedef struct {
    bench_model b;
    tensor tokens, logits; /* (B,room), (B,V) */
    int64_t room;
    int steps;
} decoding;

/* Gradients are in b->p.row[i].gradient after train_once, the loss in b->loss.  With adapters
 * (how->lora) they alone are trained. */
void open_model(bench_model *b, const model_config *c, const training_policy *how, device *dev,
                dtype type);
void close_model(bench_model *b);
/* Weights, tokens and targets by formula; open_model has done it with an amplitude of 0.4. */
void load_formula(bench_model *b);
void train_once(bench_model *b);
void evaluate_once(bench_model *b);
double loss_of(bench_model *b); /* by evaluate_once */
double element(tensor t, int64_t i);

void open_decoding(decoding *d, const model_config *c, const training_policy *how, int64_t room,
                   device *dev);
void begin_decoding(decoding *d);
/* Tokens first .. first + n of all sequences. */
void decode(decoding *d, int64_t first, int64_t n);
void end_decoding(decoding *d);

#endif

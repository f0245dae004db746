/* small_gpt.c - see small_gpt.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/formula.h"
#include "test/small_gpt.h"
#include "test/small_run.h"

static void place(bench_model *b)
{
    params_place(&b->p, b->arena);
    b->in = gpt_kind.place_batch(b->m, b->arena, B, T);
    b->loss = arena_keep(b->arena, KIND_BATCH, F64, SHAPE(1), NAME("loss", 0));
}

void train_once(bench_model *b)
{
    loss_sink sink = {.sum = b->loss, .scale = 1.0 / (B * T)};
    arena_begin(b->arena, "train");
    params_begin_step(&b->r, 1);
    gpt_kind.train(&b->r, b->m, &b->in, &sink);
    params_end_step(&b->r);
    arena_end(b->arena);
}

void evaluate_once(bench_model *b)
{
    loss_sink sink = {.sum = b->loss, .scale = 1.0 / (B * T)};
    arena_begin(b->arena, "eval");
    gpt_kind.evaluate(&b->r, b->m, &b->in, &sink);
    arena_end(b->arena);
}

static void set_element(tensor t, int64_t i, double x)
{
    if (t.type == F64)
        ((double *)t.data)[i] = x;
    else if (t.type == BF16)
        ((uint16_t *)t.data)[i] = bf16_of_float((float)x);
    else
        ((float *)t.data)[i] = (float)x;
}

double element(tensor t, int64_t i)
{
    return t.type == F64 ? ((double *)t.data)[i] : (double)((float *)t.data)[i];
}

/* Weights, tokens and targets by formula: see test/golden/gpt.py. */
void load_formula(bench_model *b)
{
    for (int i = 0; i < b->p.n; i++) {
        const param *row = &b->p.row[i];
        bool matrix = row->spec.shape.rank == 2;
        double amplitude = b->amplitude * (matrix ? 1 : 0.5), middle = row->spec.init == INIT_ONE;
        for (int64_t j = 0; j < row->count; j++)
            set_element(row->value, j,
                        (double)formula_value((uint32_t)i, (uint32_t)j, amplitude, middle));
    }
    int32_t *inputs = b->in.inputs.data, *targets = b->in.targets.data;
    for (uint32_t s = 0; s < B; s++)
        for (uint32_t t = 0; t < T; t++) {
            inputs[s * T + t] = (int32_t)(formula_hash(999, s * (T + 1) + t) % V);
            targets[s * T + t] = (int32_t)(formula_hash(999, s * (T + 1) + t + 1) % V);
        }
}

void open_model(bench_model *b, const model_config *c, const training_policy *how, device *dev,
                dtype type)
{
    device null = device_null();
    *b = (bench_model){.dev = &null, .amplitude = 0.4};
    b->p.type = type;
    b->p.policy = GRADS_OWN;
    must(arena_create(&block_kinds, &b->arena));
    arena_attach(b->arena, &null);
    b->r = (runtime){.dev = &null, .arena = b->arena, .params = &b->p};
    must(gpt_kind.create(c, how, &b->p, &b->m));
    for (int i = 0; i < b->p.n; i++)
        b->p.row[i].trainable = param_saved(&b->p, i);
    place(b);
    train_once(b);
    b->p.training = false;
    evaluate_once(b);
    must(arena_plan(b->arena));
    must(arena_commit(b->arena, dev, true));
    b->r.dev = b->dev = dev;
    place(b);
    load_formula(b);
}

void close_model(bench_model *b)
{
    must(device_status(b->dev));
    assert_true(arena_canary_intact(b->arena));
    gpt_kind.destroy(b->m);
    params_free(&b->p);
    arena_destroy(b->arena);
}

double loss_of(bench_model *b)
{
    evaluate_once(b);
    return *(double *)b->loss.data;
}

static void place_decoding(decoding *d)
{
    place(&d->b);
    d->tokens = arena_keep(d->b.arena, KIND_BATCH, I32, SHAPE(B, d->room), NAME("next", 0));
    d->logits = arena_keep(d->b.arena, KIND_BATCH, F64, SHAPE(B, V), NAME("last logits", 0));
}

void begin_decoding(decoding *d)
{
    d->steps = 0;
    arena_begin(d->b.arena, "sample");
    gpt_kind.open_caches(&d->b.r, d->b.m, B, T + 2);
}

void end_decoding(decoding *d)
{
    gpt_kind.close_caches(&d->b.r, d->b.m);
    arena_end(d->b.arena);
}

/* Tokens first .. first + n of all sequences. */
void decode(decoding *d, int64_t first, int64_t n)
{
    decode_step s = {.tokens = tensor_of(d->tokens.data, I32, SHAPE(B, n)),
                     .position = first,
                     .room = d->room,
                     .logits = d->logits};
    arena_iteration(d->b.arena, ++d->steps);
    for (int64_t i = 0; i < B * n && !arena_recording(d->b.arena); i++)
        ((int32_t *)d->tokens.data)[i] =
            ((int32_t *)d->b.in.inputs.data)[i / n * T + first + i % n];
    gpt_kind.decode(&d->b.r, d->b.m, &s);
}

void open_decoding(decoding *d, const model_config *c, const training_policy *how, int64_t room,
                   device *dev)
{
    device null = device_null();
    *d = (decoding){.room = room, .b.amplitude = 0.4};
    bench_model *b = &d->b;
    b->p.type = F64;
    must(arena_create(&block_kinds, &b->arena));
    arena_attach(b->arena, &null);
    b->r = (runtime){.dev = &null, .arena = b->arena, .params = &b->p};
    must(gpt_kind.create(c, how, &b->p, &b->m));
    place_decoding(d);
    begin_decoding(d);
    decode(d, 0, room);
    end_decoding(d);
    must(device_status(&null));
    must(arena_plan(b->arena));
    must(arena_commit(b->arena, dev, true));
    b->r.dev = b->dev = dev;
    place_decoding(d);
    load_formula(b);
}

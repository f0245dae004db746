/* generator.c - see generator.h */
#include "infer/generator.h"

#include <stdlib.h>

static void place_blocks(generator *g)
{
    int64_t room = g->null.kind ? (int64_t)g->null.kind->room : 0;
    if (room)
        g->room =
            arena_keep(g->arena, KIND_WORKSPACE, U8, SHAPE(room), NAME("room of the device", 0));
    if (room && !arena_recording(g->arena)) op_lend(g->r.dev, g->room);
    params_place(&g->params, g->arena);
    if (g->scores)
        scorer_place(&g->scorer);
    else
        decoder_place(&g->decoder, g->config.vocab);
}

static error *build(generator *g, int64_t stride)
{
    TRY(arena_create(&block_kinds, &g->arena));
    arena_attach(g->arena, &g->null);
    g->r = (run){.dev = &g->null, .arena = g->arena, .params = &g->params};
    training_policy how = plain_training;
    if (g->adapters) how.lora = *adapter_plan(g->adapters);
    TRY(g->kind->create(&g->config, &how, &g->params, &g->model));
    for (int i = 0; i < g->params.n; i++)
        g->params.row[i].trainable = false; /* so no gradients are placed */
    if (g->scores)
        g->scorer = scorer_make(g->kind, &g->r, g->model, g->config.context, stride);
    else
        TRY(decoder_open(g->kind, &g->r, g->model, g->config.context, &g->decoder));
    place_blocks(g);
    if (g->scores)
        scorer_record(&g->scorer);
    else
        decoder_record(&g->decoder);
    TRY(device_status(&g->null));
    return arena_plan(g->arena);
}

error *generator_plan(const model_kind *kind, const model_config *c, const adapter_file *adapters,
                      int64_t stride, const device_kind *on, generator **out)
{
    generator *g = NULL;
    TRY(alloc_array(&g, 1, sizeof *g));
    g->kind = kind;
    g->config = *c;
    g->adapters = adapters;
    g->scores = stride > 0;
    g->null = device_null();
    g->null.kind = on;
    g->params.type = F32;
    error *e = build(g, stride);
    if (e)
        generator_destroy(g);
    else
        *out = g;
    return e;
}

error *generator_commit(generator *g, device *dev, const weights *w, bool widen)
{
    TRY(arena_commit(g->arena, dev, false));
    g->r.dev = dev;
    place_blocks(g);
    TRY(device_status(dev));
    TRY(weights_read(w, &g->params, widen, dev));
    return g->adapters ? adapter_read(g->adapters, &g->params, widen, dev) : NULL;
}

void generator_destroy(generator *g)
{
    if (!g) return;
    if (present(g->room) && !arena_recording(g->arena)) op_lend(g->r.dev, (tensor){0});
    decoder_close(&g->decoder);
    if (g->model) g->kind->destroy(g->model);
    params_free(&g->params);
    arena_destroy(g->arena);
    free(g);
}

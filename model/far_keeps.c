/* far_keeps.c - see far_keeps.h */
#include "model/far_keeps.h"

#include <stdlib.h>
#include <string.h>

/* One block's. */
typedef struct {
    far_block at[BLOCK_KEPT];
    tensor away[BLOCK_KEPT]; /* as they were here; absent: not away */
    int64_t written, asked;  /* the last requests */
} layer_keeps;

struct far_keeps {
    int64_t layers;
    layer_keeps *of; /* [layers] */
};

error *far_keeps_create(int64_t layers, far_keeps **out)
{
    TRY(alloc_array(out, 1, sizeof **out));
    (*out)->layers = layers;
    error *e = alloc_array(&(*out)->of, (size_t)layers, sizeof *(*out)->of);
    if (!e) return NULL;
    free(*out);
    *out = NULL;
    return e;
}

void far_keeps_destroy(far_keeps *k)
{
    if (k) free(k->of);
    free(k);
}

void far_keeps_forget(far_keeps *k)
{
    memset(k->of, 0, (size_t)k->layers * sizeof *k->of);
}

static void wait_for(runtime *r, int64_t request)
{
    error *e = far_wait(r->params->far, request);
    if (e) device_fail(r->dev, e);
}

/* Gives back the memory of what has been written. */
static void let_go(runtime *r, layer_keeps *k, block_state *s)
{
    tensor *all[BLOCK_KEPT];
    block_kept(s, all);
    wait_for(r, k->written);
    for (int i = 0; i < BLOCK_KEPT; i++) {
        k->away[i] = *all[i];
        arena_drop(r->arena, all[i]);
    }
}

void far_keeps_write(runtime *r, int l, block_state *s)
{
    layer_keeps *k = &r->keeps->of[l];
    far *f = r->params->far;
    tensor *all[BLOCK_KEPT];
    block_kept(&s[l], all);
    memset(k->away, 0, sizeof k->away);
    for (int i = 0; i < BLOCK_KEPT && l < r->keeps->layers - 1; i++) {
        if (!present(*all[i]) || r->dev->failure) continue;
        int64_t n = tensor_count(*all[i]);
        if (!is_far(k->at[i])) k->at[i] = far_keep(f, KIND_ACTIVATION, all[i]->type, n);
        k->written = far_write(f, k->at[i], 0, n, all[i]->data);
    }
    if (l > 0) let_go(r, &r->keeps->of[l - 1], &s[l - 1]);
}

/* Asks for what is away of a block, in memory taken for it. */
static void ask_back(runtime *r, int l, block_state *s)
{
    layer_keeps *k = &r->keeps->of[l];
    tensor *all[BLOCK_KEPT];
    block_kept(s, all);
    for (int i = 0; i < BLOCK_KEPT; i++) {
        tensor was = k->away[i];
        shape as = {.rank = was.rank};
        if (!present(was) || r->dev->failure) continue;
        memcpy(as.dim, was.dim, sizeof as.dim);
        *all[i] = arena_take(r->arena, KIND_ACTIVATION, was.type, as, NAME("h%d.kept", l));
        if (present(*all[i]))
            k->asked = far_read(r->params->far, k->at[i], 0, tensor_count(was), all[i]->data);
        k->away[i] = (tensor){0};
    }
}

void far_keeps_bring(runtime *r, int l, bool next, block_state *s)
{
    ask_back(r, l, &s[l]); /* the highest; all others have been asked for */
    wait_for(r, r->keeps->of[l].asked);
    if (next) ask_back(r, l - 1, &s[l - 1]);
}

/* test_freeze.c - --freeze and --train-only.
 *
 * The reference is a run that computes all gradients and updates everything, after each step of
 * which the frozen parameters are put back: what is trained must have the same bits in both.  And
 * the run that freezes must hold less: no gradient, no state, nothing that only they would need.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/long.h"
#include "test/small_run.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 6 };

/* ---- the same bits ---- */

/* All parameters, in table order; free them. */
static float *values_of(small_run *s)
{
    float *all, *at;
    must(alloc_array(&all, (size_t)params_count(&s->t->params), sizeof *all));
    at = all;
    for (int i = 0; i < s->t->params.n; i++) {
        op_get(&s->dev, STREAM_COMPUTE, at, s->t->params.row[i].value);
        at += s->t->params.row[i].count;
    }
    op_sync(&s->dev, STREAM_COMPUTE);
    must(device_status(&s->dev));
    return all;
}

/* Gives the parameters that `like` has frozen the values that they have in `all`. */
static void put_back(small_run *s, const params *like, const float *all)
{
    for (int i = 0; i < s->t->params.n; i++) {
        const param *row = &s->t->params.row[i];
        if (!like->row[i].trainable) op_put(&s->dev, STREAM_COMPUTE, row->value, all);
        all += row->count;
    }
}

static void step_once(small_run *s, int64_t step, double *loss)
{
    step_result r;
    must(trainer_step(s->t, s->data, step, 1e-3, &r));
    assert_true(r.finite);
    *loss = r.loss;
}

static void check_values(const char *arguments, const small_run *s, const float *begin,
                         const float *got, const float *want)
{
    bool moved = false;
    for (int i = 0; i < s->t->params.n; i++) {
        const param *row = &s->t->params.row[i];
        size_t bytes = (size_t)row->count * sizeof *got;
        char name[80];
        param_text(row, name, sizeof name);
        if (memcmp(got, want, bytes)) fail_msg("%s: %s has other bits", arguments, name);
        if (!row->trainable && memcmp(got, begin, bytes))
            fail_msg("%s: %s is frozen and has changed", arguments, name);
        moved = moved || (row->trainable && memcmp(got, begin, bytes));
        begin += row->count, got += row->count, want += row->count;
    }
    assert_true(moved);
}

static void same_as_put_back(const char *sizes, const char *frozen, const char *more)
{
    char arguments[600], all[600];
    small_run a, b;
    snprintf(arguments, sizeof arguments, "%s %s --lr 0.003 %s", sizes, more, frozen);
    snprintf(all, sizeof all, "%s %s --lr 0.003", sizes, more);
    small_open(&a, arguments);
    small_open(&b, all);
    float *begin = values_of(&a);
    for (int64_t step = 1; step <= STEPS; step++) {
        double got, want;
        step_once(&a, step, &got);
        step_once(&b, step, &want);
        put_back(&b, &a.t->params, begin);
        if (memcmp(&got, &want, sizeof got))
            fail_msg("%s: loss %.9g, not %.9g", arguments, got, want);
    }
    float *got = values_of(&a), *want = values_of(&b);
    check_values(arguments, &a, begin, got, want);
    assert_int_equal(arena_high_water(a.t->arena), arena_peak(a.t->arena));
    assert_true(arena_peak(a.t->arena) < arena_peak(b.t->arena));
    free(begin);
    free(got);
    free(want);
    small_close(&a);
    small_close(&b);
}

static const char *const gpt_frozen[] = {
    "--freeze wte*",
    "--freeze wpe.weight --freeze *.bias",
    "--train-only *ln_?.*",
    "--train-only *.bias",
    "--train-only h.1.mlp.c_proj.weight",
    "--train-only h.1.mlp.c_fc.weight",
    "--train-only h.1.ln_2.*",
    "--train-only h.1.attn.c_proj.bias",
    "--train-only h.1.attn.c_attn.weight",
    "--train-only h.1.ln_1.weight",
    "--train-only h.0.attn.* --train-only h.2.mlp.c_proj.*",
    "--train-only ln_f.*",
    "--train-only wpe.weight",
    "--train-only h.[12].* --freeze *attn*",
};
static const char *const vit_frozen[] = {
    "--freeze patch_embed.*",
    "--freeze cls_token --freeze pos_embed",
    "--train-only head.*",
    "--train-only norm.*",
    "--train-only blocks.2.mlp.fc2.*",
    "--train-only *.qkv.*",
    "--train-only patch_embed.proj.bias",
    "--train-only pos_embed",
};

static void each(const char *sizes, const char *const *frozen, size_t n)
{
    static const char *const more[] = {"--optim adamw_r",
                                       "--optim adan --accum 2",
                                       "--optim adama --accum 3",
                                       "--optim lion_r --optim-impl passes",
                                       "--optim adamw_r --recompute block",
                                       "--optim adamw_r --recompute sqrt",
                                       "--optim sgd --recompute gelu --gradients own",
                                       "--optim adamw_r --recompute attention:0-1,norms:2"};
    enum { MORE = sizeof more / sizeof *more };
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < MORE; k++)
            if (long_run() || (i + k) % 4 == 0) same_as_put_back(sizes, frozen[i], more[k]);
}

static void test_text(void **state)
{
    (void)state;
    each(SMALL_MODEL "--layers 3", gpt_frozen, sizeof gpt_frozen / sizeof *gpt_frozen);
}

static void test_images(void **state)
{
    (void)state;
    each(SMALL_VIT "--layers 3 --drop-path 0.3", vit_frozen,
         sizeof vit_frozen / sizeof *vit_frozen);
}

/* ---- what is not there ---- */

typedef struct {
    const char *const *names;
    int n;
    bool seen[16];
} search;

static void look(void *context, const block_info *b)
{
    search *s = context;
    for (int i = 0; i < s->n; i++)
        if (b->kind != KIND_PARAMETER && !strcmp(b->name, s->names[i])) s->seen[i] = true;
}

/* The first `there` of the names must be blocks of the run, the others must not; those of
 * parameters mean their gradients and states. */
static void holds(const char *arguments, const char *const *names, int n, int there)
{
    search s = {.names = names, .n = n};
    small_run r;
    small_open(&r, arguments);
    arena_visit(r.t->arena, look, &s);
    for (int i = 0; i < n; i++)
        if (s.seen[i] != (i < there))
            fail_msg("%s: %s is %sthere", arguments, names[i], s.seen[i] ? "" : "not ");
    small_close(&r);
}

static void test_not_kept(void **state)
{
    (void)state;
    static const char *const no_gradient[] = {"wpe.weight", "h.1.mlp.c_fc.weight", "wte.weight"};
    holds(SMALL_MODEL "--freeze wte*", no_gradient, 3, 2);
    /* only the upper block's second product: nothing but its own input is kept, nothing below runs
     * backward */
    static const char *const top[] = {
        "h.1.mlp.c_proj.weight", "h1.act", "h1.pre", "h1.mean2", "h1.dpre", "h0.dqkv", "h0.mean1"};
    static const char *const saved[] = {"h1.lse", "h1.mean2", "h1.dqkv",
                                        "h1.pre", "h0.pre",   "h0.mean1"};
    holds(SMALL_MODEL "--train-only h.1.mlp.c_proj.*", top, 7, 2);
    /* a norm's gradient needs all that comes down to it */
    holds(SMALL_MODEL "--train-only h.1.ln_1.*", saved, 6, 4);
}

/* A sum over all that is kept, when only the norms of the upper half are trained. */
static void test_less_and_less(void **state)
{
    (void)state;
    static const char *const frozen[] = {"", "--freeze wte* --freeze wpe*", "--train-only *ln_*",
                                         "--train-only h.1.ln_*", "--train-only ln_f.*"};
    size_t last = SIZE_MAX;
    for (int i = 0; i < 5; i++) {
        char arguments[300];
        small_run s;
        snprintf(arguments, sizeof arguments, SMALL_MODEL "--batch 12 %s", frozen[i]);
        small_open(&s, arguments);
        arena_summary now = arena_summarize(s.t->arena);
        if (now.peak >= last)
            fail_msg("%s: %zu bytes, not less than %zu", arguments, now.peak, last);
        last = now.peak;
        small_close(&s);
    }
}

/* ---- bad input ---- */

static void refused(const char *frozen, const char *words)
{
    char arguments[200], text[SMALL_TEXT];
    options o;
    trainer *t;
    snprintf(arguments, sizeof arguments, "--layers 2 --width 32 --heads 2 %s", frozen);
    error *e = small_parse(arguments, text, &o);
    if (!e) e = trainer_plan(&o, &gpt_kind, &t);
    options_free(&o);
    if (!e) fail_msg("%s: not refused", frozen);
    if (error_kind_of(e) != ERR_USER || !strstr(error_text(e), words))
        fail_msg("%s: expected: %s; got: %s", frozen, words, error_text(e));
    error_free(e);
}

static void test_refuses(void **state)
{
    (void)state;
    refused("--freeze h.7.*",
            "--freeze 'h.7.*' fits no parameter: names are like wte.weight and h.");
    refused("--freeze wte* --freeze w", "--freeze 'w' fits no parameter");
    refused("--train-only WTE*", "--train-only 'WTE*' fits no parameter");
    refused("--freeze *", "--freeze and --train-only leave no parameter to train: leave a");
    /* beside adapters nothing else is trained: its names have no effect */
    refused("--plan --lora 2 --freeze wte*",
            "--freeze 'wte*' fits no parameter of an adapter: names are like "
            "h.0.attn.c_attn.lora_A.weight and h.");
    refused("--plan --lora 2 --train-only *.lora_A.* --freeze *.lora_?.*",
            "leave no parameter to train (beside --lora only adapters are trained): leave a");
    refused("--train-only wte* --freeze wte*", "--freeze and --train-only leave no parameter");
    refused("--recompute all", "--recompute all: must be none, norms");
    refused("--recompute block:", "--recompute block:: must be none");
    refused("--recompute block:0-", "must be none, norms");
    refused("--recompute block:1-0", "not layers of this model: it has 0 to 1");
    refused("--recompute block:0-2", "block:0-2 are not layers of this model: it has 0 to 1");
    refused("--recompute block:0-99999999999999999999", "not layers of this model");
    refused("--recompute block:0-1,norms:1", "layer 1 has two levels");
    refused("--recompute block,", "must be none");
    refused("--recompute norms:0,norms:1,x", "must be none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),     cmocka_unit_test(test_images),
        cmocka_unit_test(test_not_kept), cmocka_unit_test(test_less_and_less),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

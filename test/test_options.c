/* test_options.c - the command line: every option reaches its field, every default is the
 * documented one, and every mistake gets one line that names the option and says what to do.  An
 * option that options.json has and no row here fails the test. */
#include "test/scratch.h"
#include "train/task.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Free names: options.h holds how images are prepared, and brings nothing of pictures along. */
typedef int window, picture, view, labelled;

static options o; /* large */
enum { WORDS = 64 };

/* ---- parsing words ---- */

/* Parses words up to NULL. */
static error *parse(const char *const *words)
{
    static char name[] = "train_gpt";
    char *argv[WORDS] = {name};
    int argc = 1;
    while (argc < WORDS - 1 && *words)
        argv[argc++] = (char *)(uintptr_t)*words++;
    options_free(&o); /* of the parse before */
    return options_parse(&text_task, argc, argv, &o);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void must(error *e)
{
    if (e) fail_msg("%s", error_text(e));
}

/* A user error of one line with all of these words in it. */
static void check_refusal(error *e, const char *const *words)
{
    if (!e) fail_msg("nothing was refused; expected: %s", *words);
    const char *text = error_text(e);
    if (error_kind_of(e) != ERR_USER || strchr(text, '\n'))
        fail_msg("not one line of a user error: %s", text);
    for (; *words; words++)
        if (!strstr(text, *words)) fail_msg("expected '%s' in: %s", *words, text);
    error_free(e);
}

#define REFUSED(e, ...) check_refusal(e, (const char *const[]){__VA_ARGS__, NULL})

/* ---- each option and its field ---- */

typedef struct {
    const char *name, *value; /* a value that is not the default */
    option_type type;
    size_t field;
    double unset; /* in the field when the option is not given */
    const char *unset_text;
    const char *too_large; /* NULL: any number goes */
    bool zero;             /* 0 is allowed */
} row;

#define NUMBER(name, value, type, field, unset, too_large, zero)                                   \
    {                                                                                              \
        name, value, type, offsetof(options, field), unset, NULL, too_large, zero                  \
    }
#define WORD(name, value, field, unset)                                                            \
    {                                                                                              \
        name, value, TEXT, offsetof(options, field), 0, unset, NULL, false                         \
    }

static const row rows[] = {
    WORD("model", "gpt-nano", model_name, "gpt-mini"),
    NUMBER("layers", "3", INTEGER, layers, 0, "10001", false),
    NUMBER("heads", "4", INTEGER, heads, 0, "100001", false),
    NUMBER("width", "96", INTEGER, width, 0, "1000001", false),
    NUMBER("context", "512", INTEGER, context, 0, "100000001", false),
    NUMBER("vocab", "300", INTEGER, vocab, 0, "2000000001", false),
    WORD("optim", "adan_r", optim_name, "adamw"),
    WORD("optim-impl", "passes", impl, "fused"),
    WORD("gradients", "overlay", gradients, NULL),
    WORD("dtype", "bf16", dtype_name, "fp32"),
    WORD("state", "int8", state_name, "fp32"),
    WORD("state-of", "all", state_of, "matrices"),
    NUMBER("dropout", "0.25", REAL, dropout, 0, "1", true),
    NUMBER("z-loss", "1e-4", REAL, z_loss, 0, "2", true),
    NUMBER("lr", "0.0125", REAL, lr, NAN, "1e7", true),
    NUMBER("beta1", "0.5", REAL, beta1, NAN, "1.5", true),
    NUMBER("beta2", "0.25", REAL, beta2, NAN, "1.5", true),
    NUMBER("beta3", "0.125", REAL, beta3, NAN, "1.5", true),
    NUMBER("eps", "1e-6", REAL, eps, NAN, "1.5", false),
    NUMBER("adam-lr", "0.25", REAL, adam_lr, NAN, "1e7", true),
    NUMBER("adam-beta1", "0.5", REAL, adam_beta1, NAN, "1.5", true),
    NUMBER("adam-beta2", "0.25", REAL, adam_beta2, NAN, "1.5", true),
    NUMBER("adam-eps", "1e-6", REAL, adam_eps, NAN, "1.5", false),
    NUMBER("newton-schulz", "3", INTEGER, newton_schulz, 0, "101", false),
    NUMBER("weight-decay", "0.25", REAL, weight_decay, NAN, "1e7", true),
    NUMBER("grad-clip", "1.5", REAL, grad_clip, NAN, "1e31", true),
    WORD("schedule", "wsd", schedule_name, "cosine"),
    NUMBER("warmup", "7", INTEGER, warmup, -1, "1000000001", true),
    NUMBER("final-lr-fraction", "0.5", REAL, final_lr_fraction, 0.1, "1.01", true),
    NUMBER("layer-decay", "0.75", REAL, layer_decay, 1, "1.01", false),
    NUMBER("ema", "0.5", REAL, ema, 0, "1", true),
    WORD("recompute", "sqrt", recompute, "none"),
    WORD("memory", "8G", memory, NULL),
    WORD("attention", "flash", attention, "auto"),
    NUMBER("sparsity", "0.75", REAL, sparsity, 0, "1", true),
    NUMBER("regrow-every", "7", INTEGER, regrow_every, 100, "1e10", true),
    NUMBER("regrow-fraction", "0.25", REAL, regrow_fraction, 0.1, "0.95", true),
    NUMBER("product-rate", "100", REAL, product_rate, 0, "1e10", true),
    NUMBER("stream-rate", "10", REAL, stream_rate, 0, "1e10", true),
    NUMBER("batch", "5", INTEGER, batch, 16, "1000001", false),
    NUMBER("seq", "33", INTEGER, seq, 256, "100000001", false),
    NUMBER("accum", "6", INTEGER, accum, 1, "1000001", false),
    NUMBER("steps", "9", INTEGER, steps, 200, "1000000001", false),
    NUMBER("epochs", "2.5", REAL, epochs, 0, "1e7", true),
    NUMBER("stop-after", "3", INTEGER, stop_after, 0, "1000001", true),
    NUMBER("log-every", "10", INTEGER, log_every, 1, "1000000001", false),
    WORD("device", "cuda", device_name, "auto"),
    WORD("cpu-kernel", "plain", cpu_kernel, "auto"),
    WORD("products", "blas", products, "own"),
    NUMBER("threads", "3", INTEGER, threads, 0, "100000", false),
    NUMBER("logits-mib", "9", INTEGER, training.logits_mib, 0, "1048577", true),
    NUMBER("seed", "9000000000000000", INTEGER, seed, 1, "1e17", true),
    NUMBER("eval-every", "11", INTEGER, eval_every, 50, "1000000001", true),
    NUMBER("eval-batches", "13", INTEGER, eval_batches, 8, "1000001", false),
    NUMBER("sample-every", "17", INTEGER, sample_every, 0, "1000000001", true),
    NUMBER("sample-tokens", "19", INTEGER, sample_tokens, 128, "1000001", false),
    WORD("prompt", "In the beginning", prompt, ""),
    NUMBER("checkpoint-every", "23", INTEGER, checkpoint_every, 0, "1000000001", true),
    NUMBER("keep", "4", INTEGER, keep, 2, "1000001", false),
    WORD("resume", "auto", resume, NULL),
    WORD("tensorboard", "board", tensorboard, NULL),
    WORD("out", "here", out, "runs/train"),
    NUMBER("gpus", "4", INTEGER, gpus, 1, "1025", false),
    NUMBER("zero", "2", INTEGER, zero, 0, "4", true),
    NUMBER("shard-group", "4", INTEGER, shard_group, 0, "1048577", true),
    NUMBER("prefetch", "3", INTEGER, prefetch, -1, "1001", true),
    NUMBER("bucket", "25", INTEGER, bucket, 0, "1048577", true),
    NUMBER("watchdog", "60", INTEGER, watchdog, 25, "0", false),
};

enum { ROWS = sizeof rows / sizeof *rows, LISTS = 5 };

static double number(const row *r)
{
    const char *at = (const char *)&o + r->field;
    return r->type == INTEGER ? (double)*(const int64_t *)at : *(const double *)at;
}

static void check_text(const row *r, const char *want)
{
    const char *got = *(const char *const *)((const char *)&o + r->field);
    if (!want)
        assert_null(got);
    else
        assert_string_equal(got, want);
}

static void test_defaults(void **state)
{
    (void)state;
    must(parse((const char *const[]){NULL}));
    for (int i = 0; i < ROWS; i++) {
        if (rows[i].type == TEXT) {
            check_text(&rows[i], rows[i].unset_text);
            continue;
        }
        double got = number(&rows[i]);
        if (!(got == rows[i].unset || (isnan(got) && isnan(rows[i].unset))))
            fail_msg("--%s is %g by default", rows[i].name, got);
    }
    assert_false(o.plan);
    assert_false(o.json);
    assert_int_equal(o.train_data.n, 0);
    assert_int_equal(o.val_data.n, 0);
}

/* An optimizer that has this number. */
static const char *optim_with(const char *name)
{
    return strncmp(name, "adam-", 5) && strcmp(name, "newton-schulz") ? "adan" : "muon";
}

/* Alone, in both ways of writing it: the field has the value and the others their defaults. */
static void test_each_reaches_its_field(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++)
        for (int joined = 0; joined < 2; joined++) {
            char text[100];
            snprintf(text, sizeof text, joined ? "--%s=%s" : "--%s", rows[i].name, rows[i].value);
            const char *optim = optim_with(rows[i].name);
            must(parse((const char *const[]){text, joined ? "--optim" : rows[i].value,
                                             joined ? optim : "--optim", joined ? NULL : optim,
                                             NULL}));
            for (int k = 0; k < ROWS; k++) {
                if (rows[k].field == offsetof(options, optim_name)) continue;
                if (rows[k].type == TEXT)
                    check_text(&rows[k], k == i ? rows[k].value : rows[k].unset_text);
                else if (k == i)
                    assert_true(number(&rows[k]) == atof(rows[k].value));
                else if (rows[k].field != offsetof(options, seq) ||
                         (strcmp(rows[i].name, "context") && strcmp(rows[i].name, "model"))) {
                    if (!(number(&rows[k]) == rows[k].unset || isnan(rows[k].unset)))
                        fail_msg("--%s %s sets --%s", rows[i].name, rows[i].value, rows[k].name);
                }
            }
        }
    must(PARSE("--optim", "adan_r"));
    assert_string_equal(o.optim_name, "adan_r");
}

static void test_flags(void **state)
{
    (void)state;
    must(PARSE("--plan"));
    assert_true(o.plan && !o.json);
    must(PARSE("--plan", "--json"));
    assert_true(o.plan && o.json);
    must(PARSE("--json", "--plan"));
    assert_true(o.plan && o.json);
    REFUSED(PARSE("--json"), "--json", "--plan");
    REFUSED(PARSE("--plan=3"), "--plan");
}

/* ---- from words to settings ---- */

static void test_model_is_resolved(void **state)
{
    (void)state;
    must(PARSE("--model", "gpt2-124m"));
    assert_int_equal(o.model.layers, 12);
    assert_int_equal(o.model.heads, 12);
    assert_int_equal(o.model.width, 768);
    assert_int_equal(o.model.inner, 3072);
    assert_int_equal(o.model.vocab, 50257);
    assert_int_equal(o.model.context, 1024);
    assert_int_equal(o.seq, 1024); /* the context */

    must(PARSE("--model", "gpt2-124m", "--layers", "2", "--heads", "3", "--width", "33",
               "--context", "13", "--vocab", "59"));
    assert_int_equal(o.model.layers, 2);
    assert_int_equal(o.model.heads, 3);
    assert_int_equal(o.model.kv_heads, 3);
    assert_int_equal(o.model.head_size, 11);
    assert_int_equal(o.model.width, 33);
    assert_int_equal(o.model.inner, 132);
    assert_int_equal(o.model.context, 13);
    assert_int_equal(o.model.vocab, 59);
    assert_int_equal(o.seq, 13);

    must(PARSE("--width", "96")); /* the rest is the preset's */
    assert_int_equal(o.model.layers, 6);
    assert_int_equal(o.model.heads, 6);
    assert_int_equal(o.model.head_size, 16);

    must(PARSE("--context", "50", "--seq", "50"));
    REFUSED(PARSE("--context", "50", "--seq", "51"), "--seq 51", "50", "--context");
    REFUSED(PARSE("--seq", "300"), "--seq 300", "256");
    REFUSED(PARSE("--heads", "5"), "--heads 5", "--width 384", "multiple");
    REFUSED(PARSE("--heads", "768"), "--heads 768", "--width 384");
    REFUSED(PARSE("--model", "gpt2-124"), "--model gpt2-124", "gpt2-124m");
    REFUSED(PARSE("--model", "GPT-mini"), "--model GPT-mini", "gpt-mini");
}

static void test_types_are_resolved(void **state)
{
    (void)state;
    must(PARSE("--optim", "adamw"));
    assert_int_equal(o.type, F32);
    assert_int_equal(o.optim.state, STATE_F32);
    must(PARSE("--dtype", "bf16", "--seed", "5"));
    assert_int_equal(o.type, BF16);
    assert_int_equal(o.master, MASTER_F32);
    assert_int_equal(o.optim.seed, 5);
    must(PARSE("--dtype", "bf16", "--master", "split8", "--state", "int8", "--state-of", "all"));
    assert_int_equal(o.master, MASTER_SPLIT8);
    assert_int_equal(o.optim.state, STATE_INT8);
    assert_true(o.optim.state_all);
    REFUSED(PARSE("--master", "split16"), "--master split16", "--dtype bf16");
    REFUSED(PARSE("--dtype", "fp16"), "--dtype fp16", "fp32 or bf16");
    REFUSED(PARSE("--dtype", "bf16", "--master", "half"), "--master half", "split16");
    REFUSED(PARSE("--state", "int4"), "--state int4", "int8");
    REFUSED(PARSE("--dtype", "bf16", "--optim-impl", "passes"), "--optim-impl passes", "fused");
    REFUSED(PARSE("--state", "int8", "--optim-impl", "passes"), "--optim-impl passes", "--state");
}

/* Numbers that 64 bits do not hold, or no machine, are refused before anything is planned. */
static void test_absurd_products(void **state)
{
    (void)state;
    REFUSED(
        PARSE("--context", "100000000", "--batch", "1000000", "--width", "100000", "--heads", "1"),
        "--batch");
    REFUSED(PARSE("--layers", "1000", "--width", "1000000", "--heads", "1"), "--width");
    must(PARSE("--model", "gpt3-13b", "--batch", "64"));
}

static void test_optimizer_is_resolved(void **state)
{
    (void)state;
    must(PARSE("--optim", "adan", "--lr", "0.5", "--beta1", "0.1", "--beta2", "0.2", "--beta3",
               "0.3", "--eps", "1e-5", "--weight-decay", "0.4", "--grad-clip", "2"));
    assert_int_equal(o.optim.rule, RULE_adan);
    assert_true(o.optim.beta[0] == 0.1 && o.optim.beta[1] == 0.2 && o.optim.beta[2] == 0.3);
    assert_true(o.optim.eps == 1e-5 && o.optim.weight_decay == 0.4 && o.optim.clip == 2);
    assert_true(o.schedule.lr == 0.5);
    must(PARSE("--optim", "lion")); /* its own defaults */
    assert_true(o.schedule.lr == 1e-4 && o.optim.beta[1] == 0.99 && o.optim.weight_decay == 0);
    must(PARSE("--optim", "adamw", "--beta1", "0", "--weight-decay", "0")); /* 0 is a value */
    assert_true(o.optim.beta[0] == 0 && o.optim.weight_decay == 0);
}

/* Muon's AdamW: its learning rate stays what it is when Muon's changes. */
static void test_muon_is_resolved(void **state)
{
    (void)state;
    must(PARSE("--optim", "muon"));
    assert_true(o.schedule.lr == 0.02 && fabs(o.optim.others.lr_ratio * 0.02 - 3e-4) < 1e-15);
    assert_true(o.optim.others.beta[0] == 0.9 && o.optim.others.beta[1] == 0.95);
    assert_true(o.optim.others.eps == 1e-10 && o.optim.newton_schulz_steps == 5);
    must(PARSE("--optim", "muon_r", "--lr", "0.1"));
    assert_true(fabs(o.optim.others.lr_ratio * 0.1 - 3e-4) < 1e-15);
    must(PARSE("--optim", "muon", "--lr", "0.5", "--adam-lr", "0.25", "--adam-beta1", "0.1",
               "--adam-beta2", "0.2", "--adam-eps", "1e-3", "--newton-schulz", "7", "--beta1",
               "0"));
    assert_true(o.optim.others.lr_ratio == 0.5 && o.optim.beta[0] == 0);
    assert_true(o.optim.others.beta[0] == 0.1 && o.optim.others.beta[1] == 0.2);
    assert_true(o.optim.others.eps == 1e-3 && o.optim.newton_schulz_steps == 7);
    REFUSED(PARSE("--optim", "muon", "--lr", "0"), "--lr 0", "above 0");
    REFUSED(PARSE("--optim", "muon", "--newton-schulz", "0"), "--newton-schulz", "between");
    REFUSED(PARSE("--optim", "muon", "--adam-beta2", "1"), "--adam-beta2", "between");
    REFUSED(PARSE("--optim", "muon", "--gradients", "fold"), "--gradients fold", "muon");
}

static void test_numbers_that_the_optimizer_lacks(void **state)
{
    (void)state;
    REFUSED(PARSE("--beta3", "0.9"), "--beta3", "adamw", "leave it out");
    REFUSED(PARSE("--optim", "lion", "--eps", "1e-8"), "--eps", "lion", "leave it out");
    REFUSED(PARSE("--optim", "lion_r", "--beta3", "0.5"), "--beta3", "lion_r");
    REFUSED(PARSE("--optim", "sgd", "--beta2", "0.5"), "--beta2", "sgd");
    REFUSED(PARSE("--eps", "1e-8", "--optim", "sgd_r"), "--eps", "sgd_r");
    REFUSED(PARSE("--optim", "muon", "--beta2", "0.5"), "--beta2", "muon", "leave it out");
    static const char *const of_muon[] = {"--adam-lr", "--adam-beta1", "--adam-beta2",
                                          "--adam-eps"};
    for (int i = 0; i < 4; i++)
        REFUSED(PARSE(of_muon[i], "0.5"), of_muon[i], "adamw", "leave it out");
    REFUSED(PARSE("--newton-schulz", "4", "--optim", "adan_r"), "--newton-schulz", "adan_r");
}

static void test_schedule_is_resolved(void **state)
{
    (void)state;
    static const char *const names[] = {"cosine", "linear", "constant", "wsd"};
    static const schedule_kind kinds[] = {SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT,
                                          SCHEDULE_WSD};
    for (int i = 0; i < 4; i++) {
        must(PARSE("--schedule", names[i], "--warmup", "3", "--steps", "44", "--final-lr-fraction",
                   "0.25", "--lr", "2"));
        assert_int_equal(o.schedule.kind, kinds[i]);
        assert_int_equal(o.schedule.warmup, 3);
        assert_int_equal(o.schedule.steps, 44);
        assert_true(o.schedule.final_fraction == 0.25 && o.schedule.lr == 2);
    }
    REFUSED(PARSE("--schedule", "cosin"), "--schedule cosin", "cosine");
    REFUSED(PARSE("--optim", "adamv"), "--optim adamv", "adamw");
    REFUSED(PARSE("--optim", "lion_substituted"), "--optim lion_substituted", "lion_r");
    REFUSED(PARSE("--optim-impl", "fusd"), "--optim-impl fusd", "fused", "passes");
    REFUSED(PARSE("--device", "gpu"), "--device gpu", "auto", "cpu", "cuda");
    REFUSED(PARSE("--gradients", "none"), "--gradients none", "own", "overlay", "release", "auto");
}

/* ---- which gradient policy comes out ---- */

static void test_policies(void **state)
{
    (void)state;
    static const struct {
        const char *words[8];
        grad_policy want;
        const char *reason;
    } cases[] = {
        {{"--optim", "adamw"}, GRADS_OWN, "default"},
        {{"--optim", "adamw_r"}, GRADS_RELEASE, "one micro-batch and no clipping"},
        {{"--optim", "adamw_r", "--accum", "2"}, GRADS_OVERLAY, "micro-batch"},
        {{"--optim", "adamw_r", "--grad-clip", "1"}, GRADS_OVERLAY, "clipping"},
        {{"--optim", "adamw_r", "--optim-impl", "passes"}, GRADS_OVERLAY, "passes"},
        {{"--optim", "adamw", "--gradients", "auto"}, GRADS_RELEASE, "one micro-batch"},
        {{"--optim", "adamw_r", "--gradients", "own"}, GRADS_OWN, "--gradients"},
        {{"--optim", "adamw", "--gradients", "overlay"}, GRADS_OVERLAY, "--gradients"},
        {{"--optim", "adamw", "--gradients", "release"}, GRADS_RELEASE, "--gradients"},
        {{"--gradients", "overlay", "--accum", "4", "--grad-clip", "1"},
         GRADS_OVERLAY,
         "--gradients"},
        {{"--optim", "adama"}, GRADS_FOLD, "every micro-batch"},
        {{"--optim", "adama_r", "--accum", "4"}, GRADS_FOLD, "every micro-batch"},
        {{"--optim", "adama", "--gradients", "auto"}, GRADS_FOLD, "every micro-batch"},
        {{"--optim", "adama", "--gradients", "release", "--accum", "4"},
         GRADS_FOLD,
         "every micro-batch"},
        {{"--optim", "adama", "--gradients", "fold"}, GRADS_FOLD, "every micro-batch"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        must(parse(cases[i].words));
        assert_int_equal(o.optim.gradients, cases[i].want);
        if (!strstr(o.policy_reason, cases[i].reason)) fail_msg("case %zu: %s", i, o.policy_reason);
    }
    REFUSED(PARSE("--gradients", "release", "--accum", "4"), "--gradients release", "--accum 4",
            "overlay");
    REFUSED(PARSE("--gradients", "release", "--grad-clip", "1"), "--gradients release",
            "--grad-clip 1", "overlay");
    REFUSED(PARSE("--optim", "lion_r", "--gradients", "release", "--grad-clip", "1"),
            "--grad-clip 1");
    REFUSED(PARSE("--optim", "adama", "--grad-clip", "1"), "--grad-clip 1",
            "--optim adama:", "the norm is known only when", "--grad-clip 0", "adamw");
    REFUSED(PARSE("--optim", "adama_r", "--gradients", "overlay"), "--gradients overlay",
            "--optim adama_r:", "leave --gradients out");
    REFUSED(PARSE("--optim", "adama", "--gradients", "own", "--accum", "4"), "--gradients own",
            "--optim adama:");
    REFUSED(PARSE("--optim", "adan_r", "--gradients", "fold"), "--gradients fold",
            "--optim adan_r:", "overlay", "adama");
}

/* ---- bad numbers ---- */

static void test_bad_numbers(void **state)
{
    (void)state;
    static const char *const never[] = {"",    "abc",  "-1",  "5x",    "1,5",  "nan",
                                        "inf", "-inf", "--5", "1e999", "0.5.1"};
    for (int i = 0; i < ROWS; i++) {
        const row *r = &rows[i];
        char option[40], dashed[40];
        if (r->type == TEXT) continue;
        snprintf(dashed, sizeof dashed, "--%s", r->name);
        for (size_t k = 0; k < sizeof never / sizeof *never; k++)
            REFUSED(PARSE("--optim", optim_with(r->name), dashed, never[k]), dashed, never[k],
                    "must be ");
        if (r->type == INTEGER) REFUSED(PARSE(dashed, "2.5"), dashed, "2.5", "whole number");
        if (!r->zero)
            REFUSED(PARSE("--optim", optim_with(r->name), dashed, "0"), dashed, " 0",
                    "must be between");
        else
            must(PARSE("--optim", optim_with(r->name), dashed, "0"));
        REFUSED(PARSE("--optim", optim_with(r->name), dashed, r->too_large), dashed, r->too_large,
                "must be between");
        snprintf(option, sizeof option, "--%s", r->name);
        REFUSED(PARSE(option), option); /* its number is missing */
    }
}

/* 1 - beta^t divides: a decay rate of 1 makes NaN of every weight in the first step. */
static void test_betas_are_below_one(void **state)
{
    (void)state;
    static const char *const betas[] = {"--beta1", "--beta2", "--beta3"};
    for (int i = 0; i < 3; i++) {
        REFUSED(PARSE("--optim", "adan", betas[i], "1"), betas[i], "must be between 0 and 0.9");
        must(PARSE("--optim", "adan", betas[i], "0.9999"));
    }
}

/* ---- words that are no options ---- */

static void test_unknown_options(void **state)
{
    (void)state;
    REFUSED(PARSE("--learning-rate", "3"), "--learning-rate", "--help");
    REFUSED(PARSE("--steps", "3", "--nosuch"), "--nosuch", "--help");
    REFUSED(PARSE("--nosuch=4", "--steps", "3"), "--nosuch", "--help");
    REFUSED(PARSE("--bet", "0.5"), "--bet", "--help"); /* of three, which? */
    REFUSED(PARSE("-z"), "-z", "--help");
    REFUSED(PARSE("--optin", "adamw"), "--optin: no such option", "nearest is --optim");
    REFUSED(PARSE("--step_s=3"), "--step_s=3: no such option", "nearest is --steps");
    REFUSED(PARSE("-steps", "3"), "-steps: one dash is missing: --steps");
    REFUSED(PARSE("-steps=3"), "-steps=3: one dash is missing: --steps=3");
    REFUSED(PARSE("--bet", "0.5"), "--bet could be --beta1, --beta2, --beta3");
    REFUSED(PARSE("--seed", "1", "--steps"), "--steps needs a value: --steps N");
    REFUSED(PARSE("--out", "--steps", "3"), "--out needs a value, but the next word is --steps");
    REFUSED(PARSE("--plan=yes"), "--plan takes no value");
    must(PARSE("--prompt=--steps", "--steps", "3"));
    assert_string_equal(o.prompt, "--steps");
    REFUSED(PARSE("stray"), "stray", "--help");
    REFUSED(PARSE("--steps", "3", "stray"), "stray", "--help");
    REFUSED(PARSE("--plan", "stray", "--steps", "3"), "stray", "--help");
}

static void check_list(const pattern_list *list, const char *const *want)
{
    int n = 0;
    for (; want[n]; n++)
        assert_string_equal(n < list->n ? list->pattern[n] : "nothing", want[n]);
    assert_int_equal(list->n, n);
}

#define LIST(list, ...) check_list(&(list), (const char *const[]){__VA_ARGS__, NULL})

static void test_data_files(void **state)
{
    (void)state;
    must(PARSE("--train-data", "a_*.bin"));
    LIST(o.train_data, "a_*.bin");
    must(PARSE("--train-data", "a", "b", "c")); /* the shell has expanded it */
    LIST(o.train_data, "a", "b", "c");
    must(PARSE("--train-data", "a", "b", "--val-data", "c", "d", "--steps", "3"));
    LIST(o.train_data, "a", "b");
    LIST(o.val_data, "c", "d");
    assert_int_equal(o.steps, 3);
    must(PARSE("--train-data", "a", "b", "--plan", "--train-data=c", "d"));
    LIST(o.train_data, "a", "b", "c", "d");
    must(PARSE("--freeze", "w*", "--train-only", "*.bias", "h.?.*", "--freeze", "*.weight"));
    LIST(o.freeze, "w*", "*.weight");
    LIST(o.train_only, "*.bias", "h.?.*");
    REFUSED(PARSE("--train-data", "a", "--steps", "3", "b"), "b");
    REFUSED(PARSE("a", "--train-data", "b"), "a");
    REFUSED(PARSE("--train-data"), "--train-data");
}

static void test_too_many_files(void **state)
{
    (void)state;
    static char name[] = "train_gpt", option[] = "--train-data", file[] = "f";
    static char *argv[MAX_PATTERNS + 4] = {name, option};
    for (int i = 0; i <= MAX_PATTERNS; i++)
        argv[2 + i] = file;
    options_free(&o);
    must(options_parse(&text_task, 2 + MAX_PATTERNS, argv, &o));
    assert_int_equal(o.train_data.n, MAX_PATTERNS);
    options_free(&o);
    REFUSED(options_parse(&text_task, 3 + MAX_PATTERNS, argv, &o), "4096", "quote");
}

static void test_memory(void **state)
{
    (void)state;
    must(PARSE("--plan", "--memory", "2G,4G"));
    assert_int_equal(o.n_sizes, 2);
    REFUSED(PARSE("--memory", "much"), "--memory much", "8G");
    REFUSED(PARSE("--memory", "2G,4G"), "--memory 2G,4G", "--plan");
    REFUSED(PARSE("--memory", "2G,4G", "--plan", "--json"), "--memory 2G,4G", "one");
    REFUSED(PARSE("--memory", "2G", "--recompute", "block"), "--recompute block", "leave one out");
    must(PARSE("--memory", "2G", "--allow", "master=fp32,state=bf16"));
    assert_int_equal(o.allow_masters, 1 << MASTER_F32);
    assert_int_equal(o.allow_states, 1 << STATE_BF16);
    REFUSED(PARSE("--allow", "state=int8"), "--allow state=int8", "--memory");
    REFUSED(PARSE("--memory", "2G", "--allow", "int8"), "--allow int8", "state=int8");
    REFUSED(PARSE("--memory", "2G", "--allow", "state=int8", "--optim", "muon"),
            "--allow state=int8: --optim muon", "fp32");
    REFUSED(PARSE("--memory", "2G", "--allow", "master=none", "--optim-impl", "passes"),
            "--allow master=none: --optim-impl passes", "fused");
}

static void test_adapters(void **state)
{
    (void)state;
    must(PARSE("--plan", "--lora", "4", "--lora-on", "c_attn", "h.1.mlp.*"));
    assert_int_equal(o.training.lora.rank, 4);
    assert_true(o.training.lora.alpha == 8);
    LIST(o.lora_on, "c_attn", "h.1.mlp.*");
    must(PARSE("--plan", "--lora", "4", "--lora-alpha", "3"));
    assert_true(o.training.lora.alpha == 3);
    must(PARSE("--plan"));
    assert_int_equal(o.training.lora.rank, 0);
    REFUSED(PARSE("--lora", "4"), "--lora", "only with --load");
    REFUSED(PARSE("--plan", "--adapter", "x"), "--adapter x", "only with --load");
    REFUSED(PARSE("--plan", "--lora-alpha", "3"), "--lora-alpha 3", "only with --lora");
    REFUSED(PARSE("--plan", "--lora-on", "a"), "--lora-on", "only with --lora");
    REFUSED(PARSE("--plan", "--lora", "65537"), "--lora 65537", "65536");
    REFUSED(PARSE("--plan", "--lora", "4", "--lora-alpha", "0"), "--lora-alpha 0", "1e-06");
    REFUSED(PARSE("--plan", "--lora", "4", "--sparsity", "0.5"), "--sparsity 0.5", "--lora");
    must(PARSE("--plan", "--lora", "4", "--base", "nf4", "--device", "cpu"));
    assert_int_equal(o.base_form, CODES_NF4);
    REFUSED(PARSE("--plan", "--lora", "4", "--base", "int4"), "--base int4",
            "bf16, int8, nf4 or nf4-double");
    REFUSED(PARSE("--plan", "--base", "nf4"), "--base nf4", "only with --lora");
    must(PARSE("--plan", "--lora", "4", "--base", "int8", "--device", "cuda"));
    REFUSED(PARSE("--load", "x", "--adapter", "y", "--lora-on", "z"), "--lora-on", "leave it out");
}

static void test_offload(void **state)
{
    (void)state;
    must(PARSE("--plan", "--offload", "params", "--offload-to", "d", "--disk-rate", "2"));
    assert_int_equal(o.offload, OFFLOAD_PARAMS);
    assert_string_equal(o.offload_to, "d");
    assert_true(o.disk_rate == 2);
    must(PARSE("--plan"));
    assert_int_equal(o.offload, OFFLOAD_NONE);
    REFUSED(PARSE("--offload", "masters"), "--offload masters",
            "none, states, params or activations");
    must(PARSE("--plan", "--offload", "activations"));
    assert_true(o.offload_activations && o.offload == OFFLOAD_NONE);
    must(PARSE("--plan", "--offload", "params,activations"));
    assert_true(o.offload_activations && o.offload == OFFLOAD_PARAMS);
    must(PARSE("--plan", "--offload", "activations,states"));
    assert_true(o.offload_activations && o.offload == OFFLOAD_STATES);
    must(PARSE("--plan", "--offload", "activations", "--sparsity", "0.5"));
    static const char *const wrong[] = {"states,params",
                                        "activations,activations",
                                        "none,activations",
                                        "states,none",
                                        ",",
                                        "activations,",
                                        ",states",
                                        "states,,activations",
                                        "activations,activations,activations,activations,states"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        REFUSED(PARSE("--plan", "--offload", wrong[i]), wrong[i], "or both");
    REFUSED(PARSE("--plan", "--offload", "activations", "--recompute", "sqrt"),
            "--offload activations", "--recompute block");
}

/* Where that second place is, and how fast: of a disk or of a GPU's host. */
static void test_offload_place(void **state)
{
    (void)state;
    REFUSED(PARSE("--offload-to", "d"), "--offload-to d", "only with --offload");
    REFUSED(PARSE("--disk-rate", "2"), "--disk-rate 2", "only with --offload");
    must(PARSE("--plan", "--offload", "states", "--device", "cuda", "--host-memory", "64G",
               "--host-rate", "25"));
    assert_true(o.host_bytes == (size_t)64 << 30 && o.host_rate == 25);
    must(PARSE("--plan", "--memory", "8G", "--device", "cuda", "--host-memory", "600M"));
    assert_true(o.host_bytes == (size_t)600 << 20);
    REFUSED(PARSE("--host-memory", "8G"), "--host-memory 8G",
            "only with --offload, or with --memory");
    REFUSED(PARSE("--host-rate", "8"), "--host-rate 8", "only with --offload or --host-memory");
    REFUSED(PARSE("--plan", "--offload", "states", "--host-memory", "8G,9G"), "--host-memory 8G,9G",
            "a size like 64G");
    REFUSED(PARSE("--plan", "--offload", "states", "--host-memory", "8G", "--device", "cpu"),
            "--host-memory 8G", "--offload-to DIR");
    REFUSED(PARSE("--plan", "--offload", "states", "--host-rate", "8", "--device", "cpu"),
            "--host-rate 8", "--disk-rate");
    REFUSED(PARSE("--plan", "--offload", "states", "--offload-to", "d", "--device", "cuda"),
            "--offload-to d", "leave it out");
    REFUSED(PARSE("--plan", "--offload", "states", "--disk-rate", "8", "--device", "cuda"),
            "--disk-rate 8", "--host-rate");
    REFUSED(PARSE("--plan", "--offload", "states", "--sparsity", "0.5"), "--offload states",
            "leave one out");
}

/* ---- config.json ---- */

static cJSON *config(void)
{
    char *text = NULL;
    must(options_json(&o, &text));
    cJSON *object = cJSON_Parse(text);
    assert_non_null(object);
    free(text);
    return object;
}

/* It names every option, with what was given or chosen; so this test knows if an option is missing
 * above. */
static void test_config(void **state)
{
    (void)state;
    must(PARSE("--model", "gpt-nano", "--optim", "adan_r", "--train-data", "a", "b", "--val-data",
               "c", "--seed", "77", "--steps", "5", "--resume", "auto", "--memory", "8G"));
    cJSON *object = config();
    int n = 0;
    for (const cJSON *item = object->child; item; item = item->next) {
        bool known = cJSON_IsArray(item) || cJSON_IsBool(item) || cJSON_IsNull(item) ||
                     !strcmp(item->string, "ranks") ||       /* only with --plan */
                     !strncmp(item->string, "lora", 4) ||    /* test_adapters */
                     !strncmp(item->string, "offload", 7) || /* test_offload */
                     !strncmp(item->string, "host-", 5) ||   /* test_offload */
                     !strcmp(item->string, "disk-rate");
        for (int i = 0; i < ROWS; i++)
            known |= !strcmp(item->string, rows[i].name);
        if (!known) fail_msg("--%s is not tested", item->string);
        n++;
    }
    assert_int_equal(n, option_count(&text_task));
    for (int i = 0; i < n; i++)
        if (!cJSON_GetObjectItemCaseSensitive(object, option_name(&text_task, i)))
            fail_msg("options.json lacks --%s", option_name(&text_task, i));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(object, "load")));
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(object, "widen")));
    static const struct {
        const char *name;
        double value;
    } numbers[] = {{"layers", 2},   {"heads", 2},    {"width", 64}, {"context", 64},
                   {"vocab", 2048}, {"seq", 64},     {"lr", 1e-3},  {"beta1", 0.98},
                   {"beta2", 0.92}, {"beta3", 0.99}, {"eps", 1e-8}, {"weight-decay", 0},
                   {"seed", 77},    {"steps", 5}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(object, numbers[i].name)) ==
                    numbers[i].value);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(object, "gradients")), "release");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(object, "optim")), "adan_r");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(object, "train-data")), 2);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(object, "val-data")), 1);
    cJSON_Delete(object);
}

/* ---- options from a file ---- */

/* The options of `words` after those of a run of `before`, from its options.json. */
static void parse_after(void **state, const char *const *before, const char *const *words)
{
    char *path = scratch_path(state, "options.json");
    const char *all[WORDS] = {"--config", path};
    char *text;
    must(parse(before));
    must(options_json(&o, &text));
    file_write(path, text, strlen(text));
    free(text);
    for (int i = 0; words[i]; i++)
        all[2 + i] = words[i];
    must(parse(all));
    o.config = NULL;
    free(path);
}

static void check_numbers(const double *want, int n)
{
    const double now[] = {(double)o.model.layers, (double)o.model.width, (double)o.seq,
                          o.optim.beta[0],        o.schedule.lr,         (double)o.steps,
                          (double)o.warmup};
    for (int i = 0; i < n; i++)
        if (now[i] != want[i]) fail_msg("number %d is %g, want %g", i, now[i], want[i]);
}

/* What followed from another model or optimizer does not hold for this one; the rest does. */
static void test_file_is_void_in_part(void **state)
{
#define AFTER(...)                                                                                 \
    parse_after(state,                                                                             \
                (const char *const[]){"--model", "gpt-nano", "--optim", "adan", "--gradients",     \
                                      "release", "--layers", "3", "--beta1", "0.5", "--lr", "2",   \
                                      "--warmup", "7", "--recompute", "gelu", NULL},               \
                (const char *const[]){__VA_ARGS__, NULL})
    AFTER("--seed", "2");
    check_numbers((const double[]){3, 64, 64, 0.5, 2, 200, 7}, 7);
    assert_int_equal(o.optim.gradients, GRADS_RELEASE);
    AFTER("--model", "gpt-nano", "--optim", "adan_r");
    check_numbers((const double[]){3, 64, 64, 0.5, 2, 200, 7}, 7);
    assert_int_equal(o.optim.gradients, GRADS_RELEASE); /* as --gradients auto chooses */
    must(PARSE("--model", "gpt-micro", "--optim", "lion"));
    const double other[] = {(double)o.model.layers,
                            (double)o.model.width,
                            (double)o.seq,
                            o.optim.beta[0],
                            o.schedule.lr,
                            9,
                            7};
    AFTER("--model", "gpt-micro", "--optim", "lion", "--steps", "9");
    check_numbers(other, 7);
    assert_int_equal(o.optim.gradients, GRADS_OWN);
    assert_string_equal(o.recompute, "gelu");
    AFTER("--memory", "8G");
    assert_string_equal(o.recompute, "none");
    parse_after(state, (const char *const[]){"--epochs", "2", NULL},
                (const char *const[]){"--steps", "9", NULL});
    assert_true(o.epochs == 0 && o.steps == 9);
    parse_after(state, (const char *const[]){"--steps", "9", NULL},
                (const char *const[]){"--epochs", "2", NULL});
    assert_true(o.epochs == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_is_void_in_part, scratch_make, scratch_remove),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_each_reaches_its_field),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_model_is_resolved),
        cmocka_unit_test(test_types_are_resolved),
        cmocka_unit_test(test_absurd_products),
        cmocka_unit_test(test_optimizer_is_resolved),
        cmocka_unit_test(test_muon_is_resolved),
        cmocka_unit_test(test_numbers_that_the_optimizer_lacks),
        cmocka_unit_test(test_schedule_is_resolved),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_bad_numbers),
        cmocka_unit_test(test_betas_are_below_one),
        cmocka_unit_test(test_unknown_options),
        cmocka_unit_test(test_data_files),
        cmocka_unit_test(test_too_many_files),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_offload),
        cmocka_unit_test(test_offload_place),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

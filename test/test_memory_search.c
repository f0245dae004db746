/* test_memory_search.c - --memory: what is chosen fits, is the fastest by its own count, and trains
 * the same.
 *
 * The rates are given, so that the choice is the same on every machine.  What is counted is held
 * against formulas for a model small enough to add up by hand.  LONG=1: finer steps of what there
 * is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/long.h"
#include "test/scratch.h"
#include "test/small_run.h"
#include "plan/memory_search.h"
#include "train/choose_attention.h"
#include "train/option_values.h"
#include "train/choose_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const machine_rates rates = {100, 10, 100, 10, 0};

static void parse(const char *arguments, options *o)
{
    static char text[SMALL_TEXT];
    must(small_parse(arguments, text, o));
}

static trainer *planned(const options *o)
{
    trainer *t;
    must(trainer_plan(o, o->task->kind, &t));
    return t;
}

/* ---- what is counted ---- */

/* Operations of one micro-batch: each product forward once and backward twice; attention 2 products
 * forward and 5 backward, over half of all pairs. */
static void test_operations_are_counted(void **state)
{
    (void)state;
    options o;
    double c = 32, inner = 128, vocab = 59, t = 8, b = 3, rows = b * t, accum = 5;
    parse("--layers 2 --heads 2 --width 32 --context 8 --vocab 59 --batch 3 --accum 5", &o);
    trainer *full = planned(&o);
    double products = 3 * 2 * rows * (2 * (4 * c * c + 2 * c * inner) + vocab * c),
           attention = 2 * 14 * b * c * t * (t + 1) / 2;
    assert_true(fabs(full->work.flops - accum * (products + attention)) < 1);
    trainer_destroy(full);
}

static void test_recomputing_costs(void **state)
{
    (void)state;
    static const char *const levels[] = {"none", "norms", "gelu", "attention", "block", "sqrt"};
    double last = 0;
    for (int i = 0; i < 6; i++) {
        char arguments[200];
        options o;
        snprintf(arguments, sizeof arguments, SMALL_MODEL "--layers 5 --recompute %s", levels[i]);
        parse(arguments, &o);
        trainer *t = planned(&o);
        double seconds = fit_seconds(&t->work, F32, &rates);
        if (!(seconds > last)) fail_msg("%s: %g s, not more than %g s", levels[i], seconds, last);
        last = seconds;
        trainer_destroy(t);
    }
}

static void test_freezing_spares(void **state)
{
    (void)state;
    options all, top;
    parse(SMALL_MODEL, &all);
    parse(SMALL_MODEL "--train-only ln_f.*", &top);
    trainer *a = planned(&all), *b = planned(&top);
    assert_true(b->work.flops < 0.6 * a->work.flops);
    trainer_destroy(a);
    trainer_destroy(b);
}

/* ---- what is chosen ---- */

static void test_choice_fits(void **state)
{
    (void)state;
    static const char *const runs[] = {
        SMALL_MODEL "--layers 5 --batch 6 --optim adamw --memory 1M",
        SMALL_MODEL "--layers 5 --batch 6 --optim adan_r --grad-clip 1 --memory 1M",
        SMALL_VIT "--layers 5 --batch 6 --optim lion_r --memory 1M",
        SMALL_MODEL "--layers 5 --batch 4 --accum 3 --optim adama --memory 1M"};
    for (int i = 0; i < (thin_run() ? 2 : 4); i++) {
        options o, plain;
        parse(runs[i], &o);
        plain = o;
        trainer *t = planned(&plain);
        size_t full = arena_peak(t->arena);
        double fastest = fit_seconds(&t->work, F32, &rates), last = INFINITY;
        trainer_destroy(t);
        for (size_t percent = 65; percent <= 105; percent += thin_run()   ? 20
                                                             : long_run() ? 5
                                                                          : 10) {
            options chosen = o;
            size_t bytes = full * percent / 100;
            error *e = fit_memory(&chosen, o.task->kind, bytes, &rates, NULL);
            if (e) {
                assert_non_null(strstr(error_text(e), "nothing fits"));
                error_free(e);
                assert_true(isinf(last)); /* what fits in less fits in more */
                continue;
            }
            t = planned(&chosen);
            double seconds = fit_seconds(&t->work, F32, &rates);
            if (arena_peak(t->arena) > bytes || seconds > last)
                fail_msg("%s: %zu bytes in %zu, %g s after %g s", runs[i], arena_peak(t->arena),
                         bytes, seconds, last);
            assert_int_equal(chosen.batch * chosen.accum, o.batch * o.accum);
            last = seconds;
            trainer_destroy(t);
        }
        assert_true(last <= fastest);
    }
}

/* With room enough nothing is made again; with less there is a choice; with too little, a refusal
 * that says what helps. */
static void test_words(void **state)
{
    (void)state;
    options o;
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    parse(SMALL_MODEL "--batch 12 --memory 1G", &o);
    must(fit_memory(&o, &gpt_kind, (size_t)1 << 30, &rates, out));
    fclose(out);
    assert_string_equal(o.recompute, "none");
    assert_int_equal(o.batch, 12);
    assert_non_null(strstr(text, "chosen"));
    assert_non_null(strstr(text, "runner-up"));
    assert_non_null(strstr(text, "+ 1 GiB    would gain nothing"));
    free(text);
    parse(SMALL_MODEL "--batch 12 --memory 1K", &o);
    error *e = fit_memory(&o, &gpt_kind, 1024, &rates, NULL);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "nothing fits"));
    assert_non_null(strstr(error_text(e), "MiB are missing with --recompute"));
    assert_non_null(strstr(error_text(e), " --batch 1 --accum 12 --gradients"));
    assert_non_null(
        strstr(error_text(e), "try a smaller model, shorter sequences, --freeze or --offload"));
    error_free(e);
    parse(SMALL_MODEL "--batch 12 --memory 1K --offload states", &o); /* that it has already */
    e = fit_memory(&o, &gpt_kind, 1024, &rates, NULL);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "try a smaller model, shorter sequences or --freeze"));
    error_free(e);
}

static void expect(error *e, const char *words)
{
    if (!e) fail_msg("not refused; expected: %s", words);
    if (!strstr(error_text(e), words)) fail_msg("expected: %s; got: %s", words, error_text(e));
    error_free(e);
}

/* BatchNorm's means are those of a micro-batch, which therefore stays; GroupNorm's is split. */
static void test_batch_norm_stays_whole(void **state)
{
    (void)state;
    static const size_t room = 5 << 20;
    options o;
    parse("--model wrn-10-1 --batch 16 --memory 5M --norm group", &o);
    must(fit_memory(&o, &image_kind, room, &rates, NULL));
    assert_true(o.batch < 16 && o.batch * o.accum == 16);
    parse("--model wrn-10-1 --batch 16 --memory 5M --norm batch", &o);
    fails(fit_memory(&o, &image_kind, room, &rates, NULL), "nothing fits", "--batch 16 --accum 1");
    parse("--model wrn-10-1 --batch 4 --accum 4 --memory 5M --norm batch", &o);
    must(fit_memory(&o, &image_kind, room, &rates, NULL));
    assert_true(o.batch == 4 && o.accum == 4);
}

/* The ways in the message save less and less, and each fits; how many. */
static int ordered_ways(const error *e, size_t bytes)
{
    const char *at = strstr(error_text(e), "; try ");
    double last = 0;
    int n = 0;
    for (at = at ? strstr(at, ": ") : NULL; at; at = strstr(at + 1, ": ")) {
        double mib = strtod(at + 2, NULL);
        if (mib < last || mib > (double)bytes / 1048576 + 0.05)
            fail_msg("%g MiB after %g: %s", mib, last, error_text(e));
        last = mib;
        n++;
    }
    return n;
}

/* The fewest bytes, to a KiB, that these options train in: where a refusal says, to a tenth of a
 * MiB.  Each try plans all settings. */
static size_t least_bytes(const options *o)
{
    enum { FEW = 1024, ABOUT = 1 << 16 };
    options refused = *o;
    error *why = fit_memory(&refused, &gpt_kind, FEW, &rates, NULL);
    assert_non_null(why);
    static const char nothing[] = "nothing fits; ";
    const char *missing = strstr(error_text(why), nothing);
    assert_non_null(missing);
    size_t said = FEW + (size_t)(strtod(missing + strlen(nothing), NULL) * 1048576),
           most = said + ABOUT, least = said > ABOUT ? said - ABOUT : 0;
    error_free(why);
    while (most - least > 1024) {
        options tried = *o;
        size_t middle = least + (most - least) / 2;
        error *e = fit_memory(&tried, &gpt_kind, middle, &rates, NULL);
        *(e ? &least : &most) = middle;
        error_free(e);
    }
    return most;
}

/* What would help is tried: of the least memory that is enough, and a little less, the message
 * names that way, and those that save more. */
static void test_help_helps(void **state)
{
    (void)state;
    static const struct {
        const char *more, *says;
    } steps[] = {{"", "; or --allow master=split8,state=int8: "},
                 {"--dtype bf16 --master split8 --state int8",
                  "a step of fewer samples (--batch 1 --accum 1): "},
                 {"--optim adan --grad-clip 1 --dtype bf16 --master split8 --state int8 --batch 1",
                  "--optim lion_r, which has one state, with --batch 1 --accum 1: "},
                 {"--optim lion_r --batch 1", "; try --allow master=split8,state=int8: "}};
    for (int i = 0; i < (thin_run() ? 1 : 4); i++) {
        options o;
        char arguments[300];
        snprintf(arguments, sizeof arguments, SMALL_MODEL "--width 66 --batch 12 --memory 1M %s",
                 steps[i].more);
        parse(arguments, &o);
        size_t least = least_bytes(&o) - 1024;
        error *e = fit_memory(&o, &gpt_kind, least, &rates, NULL);
        if (e) assert_in_range(ordered_ways(e, least), 1, 7);
        expect(e, steps[i].says);
    }
}

/* --attention auto on a GPU: cuDNN's where its workspace has room, ours where it has not; a method
 * that was named stays. */
static void test_attention_gives_way(void **state)
{
    (void)state;
    static const char *const methods[] = {"flash", "cudnn", "auto"};
    options o[3];
    size_t least[3];
    for (int i = 0; i < 3; i++) {
        char arguments[300], *text = NULL;
        size_t length;
        snprintf(arguments, sizeof arguments,
                 SMALL_MODEL "--width 64 --heads 4 --context 256 --batch 4 --dtype bf16 --device "
                             "cuda --memory 1M --attention %s",
                 methods[i]);
        parse(arguments, &o[i]);
        must(choose_attention(&o[i], NULL, NULL));
        assert_int_equal(o[i].training.attention, i > 0);
        least[i] = least_bytes(&o[i]);
        if (i < 2) continue;
        assert_true(least[0] < least[1] && least[2] == least[0]);
        for (int k = 0; k < 2; k++) {
            FILE *out = open_memstream(&text, &length);
            options tried = o[i];
            must(fit_memory(&tried, &gpt_kind, least[k], &rates, out));
            fclose(out);
            assert_int_equal(tried.training.attention, k);
            assert_int_equal(
                !strstr(text, "attention: flash (with cudnn nothing fits into --memory 1M)\n"), k);
            free(text);
        }
        expect(fit_memory(&o[i], &gpt_kind, least[0] / 2, &rates, NULL), "nothing fits");
    }
}

static size_t small_gpu_left;

static size_t small_gpu_free(device *dev)
{
    (void)dev;
    return small_gpu_left;
}

/* The same of a plan that is larger than what is free. */
static void test_attention_by_room(void **state)
{
    (void)state;
    static const device_kind small_gpu = {.name = "cuda", .free_memory = small_gpu_free};
    device dev = {.kind = &small_gpu, .async = true};
    for (int named = 0; named < 2; named++) {
        char arguments[300], *text = NULL;
        size_t length, peak;
        options o;
        snprintf(arguments, sizeof arguments,
                 SMALL_MODEL "--width 64 --heads 4 --context 256 --batch 12 --dtype bf16 --device "
                             "cuda --attention %s",
                 named ? "cudnn" : "auto");
        parse(arguments, &o);
        must(choose_attention(&o, NULL, NULL));
        trainer *t = planned(&o);
        peak = arena_peak(t->arena);
        FILE *out = open_memstream(&text, &length);
        for (int k = 0; k < 2; k++) {
            small_gpu_left = peak - (size_t)k;
            must(choose_attention_by_room(&o, &dev, out, &t));
            assert_int_equal(o.training.attention, named || !k);
            assert_true((arena_peak(t->arena) < peak) == (k && !named));
            assert_int_equal(fflush(out), 0);
            assert_int_equal(length > 0, k && !named);
        }
        fclose(out);
        if (!named) assert_non_null(strstr(text, "attention: flash (with cudnn the plan takes "));
        free(text);
        trainer_destroy(t);
    }
}

/* ---- --host-memory ---- */

#define ON_GPU                                                                                     \
    "--device cuda --layers 2 --heads 3 --width 96 --context 64 --vocab 999 --batch 1 --seq 64 "   \
    "--optim adamw_r "
#define CHOOSING ON_GPU "--memory 1M --host-memory "

static size_t peak_of(const char *more)
{
    char text[400];
    int64_t n;
    snprintf(text, sizeof text, "%s%s", ON_GPU, more);
    return small_plan(text, &n).peak;
}

static offload_level chosen(const char *host, size_t bytes, const machine_rates *r)
{
    char text[400];
    options o;
    snprintf(text, sizeof text, "%s%s", CHOOSING, host);
    parse(text, &o);
    must(fit_memory(&o, &gpt_kind, bytes, r, NULL));
    if (o.offload)
        assert_string_equal(o.offload_name, o.offload == OFFLOAD_STATES ? "states" : "params");
    return o.offload;
}

/* What must be offloaded is, and no more; with a fast bus also what spares making things again; and
 * never more than there may be. */
static void test_places(void **state)
{
    static const machine_rates fast = {100, 10, 100, 10, 1e9}, slow = {100, 10, 100, 10, 1e-6};
    size_t peak[3] = {peak_of("--recompute sqrt"), peak_of("--recompute sqrt --offload states"),
                      peak_of("--recompute sqrt --offload params")};
    size_t whole = peak_of(""), spared = peak_of("--offload states");
    options o;
    (void)state;
    assert_true(whole > peak[0] && peak[0] > peak[1] && peak[1] > peak[2]);
    for (int level = 0; level < 3; level++) {
        assert_int_equal(chosen("1G", peak[level], &rates), level);
        assert_int_equal(chosen("1G", peak[level], &slow), level);
    }
    assert_int_equal(chosen("1G", whole, &slow), OFFLOAD_NONE);
    assert_true(spared < whole);
    size_t between = spared > peak[0] ? spared : peak[0];
    assert_int_equal(chosen("1G", between, &rates), OFFLOAD_NONE);
    assert_int_equal(chosen("1G", between, &fast), OFFLOAD_STATES);
    assert_int_equal(chosen("1G --offload none", between, &fast), OFFLOAD_NONE);
    parse(CHOOSING "1G --offload none", &o);
    expect(fit_memory(&o, &gpt_kind, peak[1], &rates, NULL), "nothing fits");
    parse(CHOOSING "1K", &o);
    expect(fit_memory(&o, &gpt_kind, peak[1], &rates, NULL), "nothing fits");
    parse(CHOOSING "1K --offload states", &o);
    expect(fit_memory(&o, &gpt_kind, peak[1], &rates, NULL), "--host-memory 1K: ");
}

/* ---- --allow ---- */

/* Nothing is chosen that is not allowed; what is allowed is chosen where nothing else fits, with
 * its name in the options, and is what is planned. */
static void test_allowed_forms(void **state)
{
    (void)state;
    static const char *const all = SMALL_MODEL "--width 66 --batch 12 --memory 1M %s";
    char arguments[300];
    options exact, low;
    snprintf(arguments, sizeof arguments, all, "");
    parse(arguments, &exact);
    snprintf(arguments, sizeof arguments, all, "--allow state=int8,master=split8,master=none");
    parse(arguments, &low);
    assert_int_equal(low.allow_masters, 1 << MASTER_SPLIT8 | 1 << MASTER_NONE);
    assert_int_equal(low.allow_states, 1 << STATE_INT8);
    static const machine_rates slow_bf16 = {100, 1e6, 1, 1e6, 0};
    options chosen = low;
    must(fit_memory(&chosen, &gpt_kind, (size_t)1 << 30, &slow_bf16, NULL));
    assert_int_equal(chosen.type, F32); /* the fastest */
    size_t bytes = (size_t)1 << 30;
    error *e = NULL;
    while (!e) { /* until fp32 does not fit */
        chosen = exact;
        bytes = bytes / 8 * 7;
        e = fit_memory(&chosen, &gpt_kind, bytes, &slow_bf16, NULL);
        if (!e) assert_true(chosen.type == F32 && chosen.optim.state == STATE_F32);
    }
    error_free(e);
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    chosen = low;
    must(fit_memory(&chosen, &gpt_kind, bytes, &slow_bf16, out));
    fclose(out);
    assert_true(chosen.type == BF16 || chosen.optim.state == STATE_INT8);
    assert_string_equal(chosen.state_name, state_names[chosen.optim.state]);
    if (chosen.type == BF16) assert_string_equal(chosen.dtype_name, "bf16");
    assert_true(chosen.type == chosen.optim.type);
    assert_non_null(strstr(text, chosen.type == BF16 ? "--dtype bf16 --master" : "--state int8"));
    free(text);
    trainer *t = planned(&chosen);
    assert_true(arena_peak(t->arena) <= bytes && t->params.type == chosen.type);
    trainer_destroy(t);
}

static void test_bad_lists(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "split8",
                                      "master=",
                                      "master=split",
                                      "master=split8,",
                                      "state=int8;master=none",
                                      "state=int88",
                                      "sparsity=0.5",
                                      ",state=int8"};
    unsigned masters, states;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(option_forms(bad[i], &masters, &states), "must be some of master=fp32, ");
}

/* ---- a plan that is larger than what is free ---- */

static void test_free_memory(void **state)
{
    (void)state;
    static const char *const words = SMALL_MODEL "--width 66 --batch 12 --recompute norms ";
    options o, again;
    parse(words, &o);
    trainer *t = planned(&o);
    size_t room = present(t->room) ? tensor_bytes(t->room) : 0, peak = arena_peak(t->arena);
    size_t less = room + (peak - room) * 4 / 5;
    must(fit_check(t, peak));
    error *e = fit_check(t, less);
    assert_non_null(e);
    const char *said = strstr(error_text(e), "are free: --"), *end = strstr(said, " would fit (");
    assert_true(said && end);
    char arguments[400];
    snprintf(arguments, sizeof arguments, SMALL_MODEL "--width 66 %.*s", (int)(end - said - 10),
             said + 10);
    parse(arguments, &again); /* taken at its word */
    trainer *fitting = planned(&again);
    assert_true(arena_peak(fitting->arena) <= less);
    assert_int_equal(again.batch * again.accum, 12);
    trainer_destroy(fitting);
    error_free(e);
    expect(fit_check(t, 1024), "MiB still: use a smaller model");
    trainer_destroy(t);
}

static void test_sizes(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "8X",  "-1G",   "0",   "8G,", "G",
                                      "8GB", "nan", "8G 9G", "0.5", "inf"};
    size_t sizes[MOST_SIZES];
    int n;
    must(option_sizes("1.5K,2M,3G", sizes, &n));
    assert_int_equal(n, 3);
    assert_int_equal(sizes[0], 1536);
    assert_int_equal(sizes[1], 2 << 20);
    assert_int_equal(sizes[2], (size_t)3 << 30);
    must(option_sizes("auto", sizes, &n));
    assert_true(n == 1 && !sizes[0]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error *e = option_sizes(bad[i], sizes, &n);
        if (!e) fail_msg("--memory '%s' is taken", bad[i]);
        error_free(e);
    }
}

static void test_measured(void **state)
{
    (void)state;
    device dev;
    machine_rates got;
    size_t bytes = 0;
    must(device_open(DEVICE_CPU, 2, NULL, &dev));
    must(fit_measure(&dev, (size_t)1 << 20, &got));
    must(fit_available(&dev, &bytes));
    device_close(&dev);
    assert_true(got.gflops > 0 && got.gbs > 0 && got.gflops_bf16 > 0 && got.gbs_bf16 > 0);
    assert_true(bytes > 0);
}

/* ---- presets ---- */

/* The table of what trains in `size` and in 1 MiB; free it. */
static char *table_of(const char *words, size_t size)
{
    options o;
    char *text = NULL;
    size_t length, sizes[] = {(size_t)1 << 20, size};
    FILE *out = open_memstream(&text, &length);
    parse(words, &o);
    must(fit_presets(&o, sizes, 2, out));
    fclose(out);
    return text;
}

static void test_presets(void **state)
{
    (void)state;
    /* with sanitizers a few: test_presets_of_cudnn goes through all of them */
    const char *words =
        thin_run() ? "--plan --memory 1M,80G --model gpt2*" : "--plan --memory 1M,80G";
    char *text = table_of(words, (size_t)80 << 30);
    assert_non_null(strstr(text, "\n  adamw "));
    assert_non_null(strstr(text, "\n  lion_r "));
    assert_non_null(strstr(text, "\n  muon "));
    assert_non_null(strstr(text, "none"));
    free(text);
}

/* It is of the types and states that were asked for. */
static void test_presets_of_forms(void **state)
{
    (void)state;
    static const char *const forms[] = {"", " --dtype bf16", " --dtype bf16 --state int8"};
    char *text[3];
    if (thin_run()) return; /* the same searches as those of the next */
    for (int i = 0; i < 3; i++) {
        char words[100];
        snprintf(words, sizeof words, "--plan --memory 1M,2G --model gpt2*%s", forms[i]);
        text[i] = table_of(words, (size_t)2 << 30);
        assert_non_null(strstr(text[i], "\n  lion_r "));
        if (i) assert_null(strstr(text[i], "\n  muon ")); /* it is there in fp32 alone */
        if (i) assert_string_not_equal(text[i], text[i - 1]);
    }
    for (int i = 0; i < 3; i++)
        free(text[i]);
}

/* A method of attention that some models have nothing for leaves those out of the table, too. */
static void test_presets_of_cudnn(void **state)
{
    (void)state;
    static const char *const left_out[] = {"bloom", "qwen2.5", "qwen3", "falcon", "chatglm"};
    char *text = table_of("--plan --memory 1M,2G --dtype bf16 --device cuda --attention cudnn "
                          "--model gpt2-124m",
                          (size_t)2 << 30);
    assert_non_null(strstr(text, "\n  adamw_r "));
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (strstr(text, left_out[i])) fail_msg("%s in: %s", left_out[i], text);
    free(text);
}

/* Where memory is short on a GPU, fewer logits at a time are chosen, and said. */
static void test_logits(void **state)
{
    (void)state;
    options o, chosen;
    parse("--model gpt2-124m --dtype bf16 --batch 2 --seq 1024 --recompute block", &o);
    o.device = DEVICE_CUDA;
    int fewer = 0;
    for (size_t bytes = (size_t)8 << 30, less; !fewer; bytes = less) {
        char text[2000] = "";
        FILE *out = fmemopen(text, sizeof text, "w");
        chosen = o;
        must(fit_memory(&chosen, &gpt_kind, bytes, &rates, out));
        fclose(out);
        trainer *t = planned(&chosen);
        assert_true(arena_peak(t->arena) <= bytes);
        less = arena_peak(t->arena) - 1;
        trainer_destroy(t);
        fewer = chosen.training.logits_mib > 0;
        if (fewer) assert_non_null(strstr(text, "--logits-mib"));
        if (bytes == (size_t)8 << 30) assert_false(fewer);
    }
    /* as asked for */
    o.training.logits_mib = 64;
    chosen = o;
    must(fit_memory(&chosen, &gpt_kind, (size_t)8 << 30, &rates, NULL));
    assert_int_equal(chosen.training.logits_mib, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_operations_are_counted),
        cmocka_unit_test(test_recomputing_costs),
        cmocka_unit_test(test_freezing_spares),
        cmocka_unit_test(test_choice_fits),
        cmocka_unit_test(test_batch_norm_stays_whole),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_help_helps),
        cmocka_unit_test(test_attention_gives_way),
        cmocka_unit_test(test_attention_by_room),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_allowed_forms),
        cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_free_memory),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_presets_of_forms),
        cmocka_unit_test(test_presets_of_cudnn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

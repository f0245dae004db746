/* test_resume.c - a run that was stopped and goes on is, in every bit, one that was not; a change
 * that cannot be is refused by name; what is damaged is refused and the one before taken.
 *
 * Under sanitizers a run goes on from one of its checkpoints, elsewhere from each; and a disk is
 * full beside the training only where checkpoints are in parts.
 */
#include "run/checkpoint.h"
#include "test/disk/calls.h"
#include "test/disk/runs.h"
#include "test/long.h"
#include "test/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MODEL                                                                                      \
    "--layers 2 --heads 3 --width 33 --context 13 --vocab 59 --seq 11 --threads 1 "                \
    "--val-data other_train.bin --eval-every 4 --eval-batches 2 --warmup 3 "
/* 25 windows in five shards: 6 samples a step end an epoch in the middle of the fifth */
#define DATA "--train-data [a-e]_train.bin "
#define TINY                                                                                       \
    "--layers 1 --heads 1 --width 4 --context 4 --vocab 59 --batch 2 --threads 1 --eval-every "    \
    "0 " DATA

static bool every_combination(void)
{
    return getenv("LONG") && atoi(getenv("LONG"));
}

static int make(void **state)
{
    if (scratch_make(state)) return -1;
    runs_make(*state);
    return 0;
}

static void shell(void **state, const char *format, ...)
{
    char command[3000], all[4000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    snprintf(all, sizeof all, "cd '%s' && %s", (const char *)*state, command);
    if (system(all)) fail_msg("%s", all);
}

static bool there(void **state, const char *name)
{
    char *path = scratch_path(state, name);
    bool is = !access(path, F_OK);
    free(path);
    return is;
}

static void expect_said(void **state, const char *word)
{
    if (!strstr(run_said(*state), word)) fail_msg("expected '%s' in: %s", word, run_said(*state));
}

/* Exactly one line from the program, with these words. */
static void refused(void **state, const char *words, const char *word1, const char *word2)
{
    int status = run_status(*state, words);
    const char *said = run_said(*state), *line = strstr(said, "train: ");
    if (status != 1 || !line) fail_msg("%s: status %d: %s", words, status, said);
    if (!strstr(line, word1) || !strstr(line, word2) ||
        strchr(line, '\n') != line + strlen(line) - 1)
        fail_msg("expected '%s' and '%s' in one line: %s", word1, word2, said);
}

/* ---- the same bits ---- */

/* One run of 10 steps; for each of its checkpoints a copy that has lost everything after it but the
 * log, which knows too much, and its end torn. */
static void resumes_the_same(void **state, const char *arguments)
{
    char words[1000];
    const int steps[] = {3, 6, 9};
    snprintf(words, sizeof words,
             MODEL DATA "%s --steps 10 --checkpoint-every 3 --keep 9 --out whole", arguments);
    run_finishes(*state, words);
    for (int i = 0; i < 3; i++) {
        if (thin_run() && steps[i] != 6) continue;
        shell(state,
              "cp -r whole part && cd part && rm -r *model.safetensors step_00000010 && "
              "for s in 3 6 9; do [ $s -le %d ] || rm -r step_0000000$s; done && "
              "printf '{\"step\":11,\"lo' >>log.jsonl",
              steps[i]);
        snprintf(words, sizeof words,
                 MODEL DATA "%s --steps 10 --checkpoint-every 3 --keep 9 --out part --resume auto",
                 arguments);
        run_finishes(*state, words);
        char word[60];
        snprintf(word, sizeof word, "resuming from part/step_0000000%d", steps[i]);
        expect_said(state, word);
        runs_same(*state, "whole", "part", 10);
        shell(state, "rm -r part");
    }
    shell(state, "rm -r whole");
}

/* As if a program had written it that did not know of it. */
static void forget_strength(void **state, const char *directory, int64_t step)
{
    static const char *const files[] = {"adapter_model.safetensors", "optimizer.safetensors",
                                        "state.json", "adapter_config.json"};
    char *path = scratch_path(state, directory);
    shell(state,
          "grep -q '\"adapter_scale' %s/state.json && sed -i '/\"adapter_scale/d' "
          "%s/state.json",
          directory, directory);
    ok(manifest_write(path, step, files, 4));
    free(path);
}

/* Adapters are resumed beside the model that they began with, and refused beside any other. */
static void test_adapters(void **state)
{
    static const char *const some[] = {
        "--lora 3 --batch 6 --threads 2 --lora-dropout 0.4",
        "--lora 2 --lora-on attn.* --optim adan_r --batch 3 --accum 2 --recompute sqrt",
        "--adapter first --optim adama --batch 3 --accum 2 --freeze *.lora_A.*",
        "--lora 3 --optim muon_r --batch 6 --checkpoint-async",
    };
    run_finishes(*state, MODEL DATA "--steps 1 --out base");
    run_finishes(*state, MODEL DATA "--steps 1 --seed 2 --out other");
    run_finishes(*state, MODEL DATA "--load base --lora 2 --steps 2 --out first");
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        char words[300];
        snprintf(words, sizeof words, "--load base %s", some[i]);
        resumes_the_same(state, words);
    }
    run_finishes(*state,
                 MODEL DATA "--load base --lora 2 --steps 3 --checkpoint-every 3 --out tuned");
#define AGAIN DATA "--out tuned --resume auto --steps 5 "
    refused(state, MODEL AGAIN "--load other --lora 2", "base was",
            "its adapters are beside another");
    /* nor beside one of which a single number is another */
    shell(state,
          "cp -r base near && printf '\\001' | dd of=near/model.safetensors bs=1 conv=notrunc "
          "seek=$((8 + $(od -An -t u8 -N 8 base/model.safetensors))) 2>dd && ! cmp -s "
          "base/*.safetensors "
          "near/*.safetensors");
    refused(state, MODEL AGAIN "--load near --lora 2", "base was",
            "its adapters are beside another");
    refused(state, MODEL AGAIN "--load base --lora 3", "--lora was 2 and is 3 now", "");
    refused(state, MODEL AGAIN "--load base --lora 2 --lora-alpha 9", "--lora-alpha was 4", "");
    refused(state, MODEL AGAIN "--load base --lora 2 --lora-on *c_fc", "--lora-on was []", "");
    refused(state, MODEL AGAIN "--load base --lora 0", "--lora was 2 and is 0 now", "");
    /* nor with another strength, which a checkpoint of an earlier program does not have */
#define STRONGER MODEL AGAIN "--load base --adapter first "
    shell(state, "sed -i 's/\"use_rslora\":\tfalse/\"use_rslora\": true/' "
                 "first/adapter_config.json && grep -q 'rslora\": true' "
                 "first/adapter_config.json");
    refused(state, STRONGER, "adapter_scale was 2 and is 2.8", "another strength");
    forget_strength(state, "tuned/step_00000003", 3);
    run_finishes(*state, STRONGER);
    /* files of either kind do not go where those of the other are */
    refused(state, MODEL DATA "--load base --lora 2 --steps 2 --out other",
            "other/model.safetensors is of another run", "--out");
    refused(state, MODEL DATA "--steps 2 --out first",
            "first/adapter_model.safetensors is of another run", "--out");
    shell(state, "rm -r base other near dd first tuned");
}

static void test_same_bits(void **state)
{
    static const char *const some[] = {
        "--optim adamw --batch 6 --threads 2",
        "--optim adamw_r --batch 3 --accum 2 --grad-clip 0.5",
        "--optim adamw_r --batch 6 --gradients release",
        "--optim adamw --optim-impl passes --batch 5",
        "--optim adan --batch 2 --accum 3",
        "--optim adan_r --batch 6",
        "--optim adan_r --optim-impl passes --batch 4 --grad-clip 1",
        "--optim lion --batch 6 --schedule wsd --checkpoint-async",
        "--optim lion_r --optim-impl passes --batch 6",
        "--optim muon --batch 2 --accum 3",
        "--optim muon_r --batch 6",
        "--optim lion_r --batch 1 --accum 6 --schedule linear",
        "--optim adama --batch 2 --accum 3",
        "--optim sgd --batch 6 --schedule constant",
        "--optim sgd_r --batch 3 --accum 2 --seed 7",
        "--dtype bf16 --batch 6 --checkpoint-async",
        "--dtype bf16 --master split8 --state int8 --state-of all --optim adamw_r --batch 6",
        "--dtype bf16 --master none --state bf16 --state-of all --optim adan --batch 3 --accum 2",
        "--dtype bf16 --master split16 --state int8 --state-of all --optim lion --batch 6",
        "--optim adamw_r --batch 6 --recompute sqrt --train-only h.1.* ln_f.* --freeze *.bias",
        "--dropout 0.3 --z-loss 0.01 --batch 3 --accum 2 --recompute sqrt --optim adamw_r",
        "--optim adamw --batch 6 --sparsity 0.7 --regrow-every 2 --checkpoint-async",
        "--dtype bf16 --master split16 --state bf16 --batch 3 --accum 2 --sparsity 0.8 "
        "--regrow-every 1",
        "--heads 2 --width 32 --dtype bf16 --products fp8 --batch 3 --accum 2",
    };
    static const char *const names[] = {"adamw", "adan", "lion", "sgd"};
    static const char *const splits[] = {"--batch 6", "--batch 3 --accum 2",
                                         "--batch 5 --grad-clip 1"};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        resumes_the_same(state, some[i]);
    if (!every_combination()) return;
    for (int n = 0; n < 4; n++)
        for (int r = 0; r < 2; r++)
            for (int passes = 0; passes < 2; passes++)
                for (int s = 0; s < 3; s++) {
                    char arguments[200];
                    snprintf(arguments, sizeof arguments, "--optim %s%s --optim-impl %s %s",
                             names[n], r ? "_r" : "", passes ? "passes" : "fused", splits[s]);
                    resumes_the_same(state, arguments);
                }
}

/* ---- changes ---- */

#define RUN MODEL DATA "--steps 10 --checkpoint-every 5 --keep 9 "

/* A run of 5 steps with `first`, resumed with `second`, is one with `full` in every bit. */
static void carries_over(void **state, const char *full, const char *first, const char *second)
{
    char words[1000];
    snprintf(words, sizeof words, RUN "%s --out whole", full);
    run_finishes(*state, words);
    snprintf(words, sizeof words, RUN "%s --out part", first);
    run_finishes(*state, words);
    shell(state, "rm -r part/step_00000010");
    snprintf(words, sizeof words, RUN "%s --out part --resume auto", second);
    run_finishes(*state, words);
    runs_same(*state, "whole", "part", 10);
    shell(state, "rm -r whole part");
}

/* What keeps the bits of a run keeps them when it changes on the way. */
static void test_forms_change(void **state)
{
    carries_over(state, "--optim adamw --batch 6", "--optim adamw --batch 6",
                 "--optim adamw_r --batch 6");
    carries_over(state, "--optim adamw --batch 6", "--optim adamw_r --batch 6",
                 "--optim adamw --batch 6 --gradients overlay --optim-impl passes");
    carries_over(state, "--optim adan --batch 6", "--optim adan_r --optim-impl passes --batch 6",
                 "--optim adan --batch 6");
    carries_over(state, "--optim adamw_r --batch 6", "--optim adamw_r --batch 6 --recompute block",
                 "--optim adamw --batch 6 --recompute norms:0");
    carries_over(state, "--optim lion --batch 6", "--optim lion --batch 6 --optim-impl passes",
                 "--optim lion_r --batch 6");
}

/* Another split sums in another order, so bits may differ; the states and the data do not. */
static void test_split_changes(void **state)
{
    run_finishes(*state, RUN "--batch 6 --out run --steps 5");
    run_finishes(*state, RUN "--batch 3 --accum 2 --out run --resume auto");
    expect_said(state, "resuming from run/step_00000005");
    refused(state, RUN "--batch 6 --accum 2 --out run --steps 20 --resume auto", "samples_per_step",
            "--batch, --accum");
    run_finishes(*state,
                 RUN "--optim adama --batch 6 --out folds --steps 5"); /* another v: it says so */
    run_finishes(*state, RUN "--optim adama_r --batch 3 --accum 2 --out folds --resume auto");
    expect_said(state, "--accum was 1, from here on 2");
}

static void test_wanted_changes(void **state)
{
    run_finishes(*state, RUN "--batch 6 --out run --steps 5 --lr 0.01");
    run_finishes(*state, RUN "--batch 6 --out run --steps 12 --lr 0.02 --resume auto");
    expect_said(state, "--lr was 0.01, from here on 0.02");
    expect_said(state, "--steps was 5, from here on 12");
    run_finishes(*state,
                 RUN "--batch 6 --out run --steps 12 --lr 0.02 --resume auto"); /* no more to do */
    refused(state, RUN "--batch 6 --out run --resume auto", "--steps 10", "more than 12");
}

static void test_refused_changes(void **state)
{
    static const struct {
        const char *words, *word1, *word2;
    } all[] = {
        {"--optim lion", "adamw", "--optim"},
        {"--optim adan_r", "optimizer", "--optim"},
        {"--optim adama", "another formula", "--optim"}, /* though they have the same names */
        {"--layers 1", "--layers was 2", "new run"},
        {"--heads 11", "--heads was 3", "new run"},
        {"--width 36", "--width was 33", "new run"},
        {"--context 16", "--context was 13", "new run"},
        {"--vocab 60", "--vocab was 59", "new run"},
        {"--seq 12", "--seq was 11", "new run"},
        {"--seed 2", "--seed was 1", "new run"},
        {"--dtype bf16", "--dtype was", "new run"},
        {"--state int8", "--state was", "new run"},
        {"--state-of all", "--state-of was", "new run"},
        {"--sparsity 0.5", "--sparsity was 0", "new run"},
        {"--freeze wte*", "--freeze was [] and is [\"wte*\"] now", "new run"},
        {"--train-only wpe*", "--train-only was", "new run"},
        {"--train-data other_train.bin", "data", "--train-data"},
        {"--train-data [a-d]_train.bin", "data", "--train-data"},
    };
    run_finishes(*state, RUN "--batch 6 --out run --steps 5");
    shell(state, "cp -r run kept");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char words[1000];
        bool data = strstr(all[i].words, "--train-data");
        snprintf(words, sizeof words, MODEL "%s --batch 6 --out run --steps 8 --resume auto %s",
                 data ? "" : DATA, all[i].words);
        refused(state, words, all[i].word1, all[i].word2);
        shell(state, "diff -r run kept"); /* nothing was touched */
    }
}

/* What is not given is as it was; a file of options comes before it, the command line before
 * both. */
static void test_options_are_kept(void **state)
{
    run_finishes(*state, RUN "--batch 6 --out whole --lr 0.02 --optim lion --seed 4");
    shell(state, "cp -r whole part && rm -r part/step_00000010 part/model.safetensors");
    run_finishes(*state, "--out part --resume auto");
    expect_said(state, "resuming from part/step_00000005");
    runs_same(*state, "whole", "part", 10);
    shell(state, "rm -r part/step_00000010 && echo '{\"lr\": 0.03, \"keep\": 1}' >some.json");
    run_finishes(*state, "--out part --resume auto --config some.json --steps 7");
    expect_said(state, "--lr was 0.02, from here on 0.03");
    expect_said(state, "--steps was 10, from here on 7");
    if (there(state, "part/step_00000005")) fail_msg("--keep of the file is not taken");
    refused(state, "--out part --resume auto --config some.json --seed 5", "--seed was 4", "");
    /* batch and accum only together; a given directory has its options, too */
    refused(state, "--out whole --resume auto --steps 12 --batch 3", "samples_per_step", "");
    run_finishes(*state, "--out whole --resume whole/step_00000010 --steps 12 --batch 3 --accum 2");
    /* a resumed run's options.json is of the whole run */
    run_finishes(*state, "--out again --config whole/options.json");
    shell(state, "grep -q '\"step\":1,' again/log.jsonl");
    shell(state, "echo '{\"lr\": 0.03, \"seed\": 1, \"lr\": 0.04}' >some.json");
    refused(state, "--out new --config some.json", "\"lr\" is in it twice", "leave one out");
    shell(state, "rm -r whole part again some.json");
}

/* Sets that are mixed go on where they were, each in its own epochs; other weights are other
 * data. */
static void test_mixture(void **state)
{
#define MIXED         MODEL "--batch 6 --checkpoint-every 5 --keep 9 --steps 10 "
#define WEIGHTS(a, b) "--train-data a_train.bin:" a " --train-data [b-e]_train.bin:" b " "
    run_finishes(*state, MIXED WEIGHTS("0.6", "0.4") "--out whole");
    expect_said(state, "60 % of ");
    shell(state, "cp -r whole part && rm -r part/step_00000010 part/model.safetensors");
    run_finishes(*state, "--out part --resume auto");
    runs_same(*state, "whole", "part", 10);
    shell(state, "rm -r part/step_00000010");
    refused(state, MIXED WEIGHTS("0.5", "0.5") "--out part --resume auto", "data was",
            "--train-data");
    run_finishes(*state, MIXED WEIGHTS("0.5", "0.5") "--out other");
    shell(state,
          "! cmp -s whole/model.safetensors other/model.safetensors && rm -r whole part other");
}

/* --save-best and --stop-after know what was before. */
static void test_best_is_kept(void **state)
{
#define STILL MODEL DATA "--batch 6 --eval-every 1 --lr 0 --save-best --stop-after 4 "
    run_finishes(*state, STILL "--out whole --steps 9 --checkpoint-every 2");
    expect_said(state, "ended after step 5: 4 evaluations without gain");
    assert_true(there(state, "whole/step_00000005") &&
                there(state, "whole/best/model.safetensors"));
    run_finishes(*state, STILL "--out part --steps 3 --checkpoint-every 3");
    shell(state, "rm -r part/best");
    run_finishes(*state, "--out part --resume auto --steps 9");
    expect_said(state, "ended after step 5: 4 evaluations without gain");
    assert_false(there(state, "part/best"));          /* none was better than the first */
    run_finishes(*state, "--out part --resume auto"); /* no step more */
    expect_said(state, "ended after step 5");
    refused(state, STILL "--out part --resume auto --eval-every 0", "--save-best", "evaluations");
    /* losses of another set are no gain, and no lack of it */
    run_finishes(*state, "--out part --resume auto --val-data e_train.bin --steps 7");
    expect_said(state, "--val-data is another set");
    assert_true(there(state, "part/best/model.safetensors"));
    shell(state, "grep -q '\"step\":7,\"val_loss' part/log.jsonl");
    /* a part of the run without evaluations does not forget it */
    run_finishes(*state, MODEL DATA "--batch 6 --eval-every 1 --lr 0 --out other --steps 2 "
                                    "--checkpoint-every 1");
    run_finishes(*state, "--out other --resume auto --steps 3 --eval-every 0");
    run_finishes(*state, "--out other --resume auto --steps 9 --eval-every 1 --stop-after 3");
    expect_said(state, "ended after step 5: 3 evaluations without gain");
    shell(state, "rm -r other");
    /* a best model that cannot be written does not end the training */
    shell(state, "mkdir other && echo >other/best");
    run_finishes(*state, STILL "--out other --steps 3");
    expect_said(state, "warning: no best model of step 1");
    assert_true(there(state, "other/model.safetensors"));
    shell(state, "rm -r whole part other");
}

/* Takes lines out of a checkpoint's state.json, as a program had written it that did not know
 * them. */
static void make_older(void **state, const char *directory, int64_t step)
{
    static const char *const files[] = {"model.safetensors", "optimizer.safetensors", "state.json",
                                        "config.json"};
    static const char *const unknown[] = {
        "state\":",         "state-of\":",  "dtype\":.*fp32", "sparsity\":",
        "regrow-",          "freeze\":",    "train-only\":",  "adam-",
        "newton-schulz\":", "zero\":",      "watchdog\":",    "norm\":",
        "norm_plus_one\":", "positions\":", "rotary_",        "gated\":",
        "residual\":",      "qk_norm\":",   "embedding_norm", "recompute\":",
        "embedding_scale",  "attention\":"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        shell(state, "grep -q '\"%s' %s/state.json && sed -i '/\"%s/d' %s/state.json", unknown[i],
              directory, unknown[i], directory);
    shell(state, "sed -i 's/\"xxh3:[0-9a-f]*\"/\"0123456789abcdef\"/' %s/state.json", directory);
    char *path = scratch_path(state, directory);
    ok(manifest_write(path, step, files, 4));
    free(path);
}

/* What it did not know is as if it had its default; and is refused if it has not. */
static void test_older_program(void **state)
{
    static const char *const others[][2] = {{"--state int8", "--state was \"fp32\""},
                                            {"--sparsity 0.5", "--sparsity was 0"},
                                            {"--freeze wte*", "--freeze was []"}};
    char words[1000];
    run_finishes(*state, RUN "--batch 6 --out whole");
    run_finishes(*state, RUN "--batch 6 --out part");
    shell(state, "rm -r part/step_00000010");
    make_older(state, "part/step_00000005", 5);
    shell(state, "cp -r part kept");
    for (int i = 0; i < 3; i++) {
        snprintf(words, sizeof words, RUN "--batch 6 --out part --resume auto %s", others[i][0]);
        refused(state, words, others[i][1], "new run");
    }
    shell(state, "diff -r part kept");
    run_finishes(*state, RUN "--batch 6 --out part --resume auto");
    expect_said(state, "resuming from part/step_00000005");
    expect_said(state, "whether its data is the same is unknown");
    if (strstr(run_said(*state), ", from here on ")) fail_msg("%s", run_said(*state));
    runs_same(*state, "whole", "part", 10);
    /* another family than that program had */
    run_finishes(*state, "--model llama-nano " TINY
                         "--heads 4 --width 16 --steps 2 --checkpoint-every 1 --out run");
    make_older(state, "run/step_00000002", 2);
    refused(state,
            "--model llama-nano " TINY "--heads 4 --width 16 --steps 3 --out run --resume auto",
            "the model's norm was 0 and is 1 now", "new run");
}

/* ---- where to begin ---- */

static void test_auto(void **state)
{
    run_finishes(*state, RUN "--batch 6 --out run --resume auto");
    expect_said(state, "--resume auto: no checkpoint in run, so the run begins at step 1");
    refused(state, RUN "--batch 6 --out run", "2 checkpoint(s)", "--resume auto");
    run_finishes(*state, RUN "--batch 6 --out plain --checkpoint-every 0");
    run_finishes(*state,
                 RUN "--batch 6 --out plain --checkpoint-every 0"); /* as ever: written over */
    runs_same(*state, "run", "plain", 0);
}

static void test_given_directory(void **state)
{
    run_finishes(*state, RUN "--batch 6 --out run");
    refused(state, RUN "--batch 6 --out run --resume run/step_00000005", "step 10",
            "another --out");
    refused(state, RUN "--batch 6 --out new --resume run", "--resume run", "auto");
    refused(state, RUN "--batch 6 --out new --resume run/step_00000007", "step_00000007",
            "missing");
    refused(state, "--out new --resume run/step_00000007", "step_00000007", "missing");
    run_finishes(*state, RUN "--batch 6 --out new --resume run/step_00000005");
    shell(state, "cmp run/model.safetensors new/model.safetensors");
    shell(state, "[ \"$(head -c 10 new/log.jsonl)\" = '{\"step\":6,' ]");
    refused(state, RUN "--batch 6 --out new --steps 20 --resume run/step_00000005", "--out new",
            "another --out");
    run_finishes(*state, RUN "--batch 6 --out run --steps 20 --resume run/step_00000010/");
    assert_true(there(state, "run/step_00000020"));
}

static void test_damaged_is_passed_over(void **state)
{
    run_finishes(*state, RUN "--batch 6 --out whole");
    shell(state, "cp -r whole run && printf x | dd of=run/step_00000010/optimizer.safetensors bs=1 "
                 "seek=3000 conv=notrunc 2>/dev/null");
    run_finishes(*state, RUN "--batch 6 --out run --resume auto");
    expect_said(state, "step_00000010/optimizer.safetensors is damaged");
    expect_said(state, "resuming from run/step_00000005");
    runs_same(*state, "whole", "run", 10);
    assert_true(there(state, "run/step_00000010.broken"));
    shell(state, "rm run/step_*/manifest.json");
    run_finishes(*state, RUN "--batch 6 --out run --resume auto");
    expect_said(state, "no complete checkpoint in run, so the run begins at step 1");
    runs_same(*state, "whole", "run", 10);
}

/* Every byte of a checkpoint counts (each one with LONG=1). */
static void test_every_byte(void **state)
{
    static const char *const names[] = {"model.safetensors", "optimizer.safetensors", "state.json",
                                        "config.json", "manifest.json"};
    run_finishes(*state, TINY "--steps 2 --checkpoint-every 1 --out run");
    char *directory = scratch_path(state, "run/step_00000002");
    ok(manifest_check(directory, 2));
    for (int f = 0; f < 5; f++) {
        char path[PATH_LENGTH];
        size_t n;
        snprintf(path, sizeof path, "%s/%s", directory, names[f]);
        uint8_t *bytes = file_read(path, &n);
        bool word = false;
        int tried = 0;
        for (size_t i = 0; i < n; i++) {
            bool letter = bytes[i] == '"' || bytes[i] == ':' || bytes[i] == '\n';
            bool begins = letter != word || i < 8 || i + 1 == n || i % 997 == 0;
            word = letter;
            if (!begins && !every_combination()) continue;
            int fd = open(path, O_WRONLY);
            uint8_t other = bytes[i] ^ (uint8_t)(1 << (i % 8));
            assert_int_equal(pwrite(fd, &other, 1, (off_t)i), 1);
            fails(manifest_check(directory, 2), "step_00000002", f == 4 ? "" : names[f]);
            assert_int_equal(pwrite(fd, &bytes[i], 1, (off_t)i), 1);
            close(fd);
            tried++;
        }
        print_message("%s: %d of %zu bytes\n", names[f], tried, n);
        assert_true(tried > 20);
        free(bytes);
    }
    ok(manifest_check(directory, 2));
    free(directory);
}

/* ---- trouble on the way ---- */

static void test_trouble(void **state)
{
    run_finishes(*state, RUN "--batch 6 --out whole");
    /* a name that is taken: the periodic checkpoint fails, the training continues */
    shell(state, "mkdir run && touch run/step_00000005.tmp");
    run_finishes(*state, RUN "--batch 6 --out run");
    expect_said(state, "warning: no checkpoint of step 5: ");
    assert_false(there(state, "run/step_00000005"));
    runs_same(*state, "whole", "run", 10);
    /* a file in the way of the whole directory */
    shell(state, "touch file");
    refused(state, RUN "--batch 6 --out file/run --resume auto", "file", "--out");
}

/* A disk that is full from one write on, and up to another. */
typedef struct {
    int from, to, seen;
    bool names_too; /* no directory can be made either: it is read-only */
} full;

static int full_disk(void *context, call_kind kind, const char *path)
{
    full *f = context;
    (void)path;
    bool is = kind == CALL_WRITE && ++f->seen >= f->from && f->seen < f->to;
    if (is) return ENOSPC;
    return f->names_too && f->seen >= f->from && kind == CALL_MKDIR ? EROFS : 0;
}

static void fill(void *context)
{
    calls_ask(full_disk, context);
}

static int lines_of(void **state, const char *name)
{
    size_t n;
    char *path = scratch_path(state, name), *text = (char *)file_read(path, &n);
    int lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    free(text);
    free(path);
    return lines;
}

static void test_full_disk(void **state)
{
    run_finishes(*state, RUN "--batch 6 --steps 40 --out whole");
    /* full for a while: the log waits, checkpoints are left out, in the end nothing is missing */
    full some = {.from = 30, .to = 60};
    int status = run_wait(run_start(*state, RUN "--batch 6 --steps 40 --out run", fill, &some));
    if (status) fail_msg("status %d: %s", status, run_said(*state));
    expect_said(
        state, "warning: the log cannot be written for now; the training continues: run/log.jsonl");
    expect_said(state, "warning: no checkpoint of step ");
    expect_said(state, "No space left");
    runs_same(*state, "whole", "run", 40);
    /* for good: trained to the end, and then one line; what was whole is */
    full all = {.from = 30, .to = 1 << 30, .names_too = true};
    status = run_wait(run_start(*state, RUN "--batch 6 --steps 40 --out full", fill, &all));
    assert_int_equal(status, 1);
    expect_said(state, "step    40/40");
    expect_said(state, "train: ");
    assert_true(lines_of(state, "full/log.jsonl") < 40);
    run_finishes(*state, RUN "--batch 6 --steps 40 --out full --resume auto");
    expect_said(state, "resuming from full/step_00000005");
    runs_same(*state, "whole", "full", 40);
}

/* Where the disk fails a thread that writes from a copy, that is said; the one before counts. */
static void beside_on_a_full_disk(void **state, const char *more)
{
    char words[1000];
#define BESIDE RUN "--batch 6 --steps 40 --checkpoint-async %s "
    snprintf(words, sizeof words, BESIDE "--keep 1 --out whole", more);
    run_finishes(*state, words);
    shell(state, "[ \"$(ls -d whole/step_*)\" = whole/step_00000040 ]");
    full some = {.from = 40, .to = 80}, all = {.from = 40, .to = 1 << 30, .names_too = true};
    snprintf(words, sizeof words, BESIDE "--out some", more);
    int status = run_wait(run_start(*state, words, fill, &some));
    if (status) fail_msg("status %d: %s", status, run_said(*state));
    expect_said(state, "No space left");
    runs_same(*state, "whole", "some", 40);
    snprintf(words, sizeof words, BESIDE "--out full", more);
    status = run_wait(run_start(*state, words, fill, &all));
    assert_int_equal(status, 1);
    expect_said(state, "step    40/40");
    expect_said(state, "warning: no checkpoint of step ");
    snprintf(words, sizeof words, BESIDE "--out full --resume auto", more);
    run_finishes(*state, words);
    runs_same(*state, "whole", "full", 40);
    shell(state, "rm -r whole some full");
}

/* What it writes while the training continues is what a run writes that waits. */
static void test_beside_the_training(void **state)
{
    static const char *const some[] = {"--optim adamw", "--optim adan_r --ema 0.9 --dtype bf16",
                                       "--optim adamw --state int8 --state-of all --save-best",
                                       "--optim adamw --ema 0.9 --checkpoint-parts"};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        char words[1000];
#define OFTEN MODEL DATA "--batch 6 --steps 6 --checkpoint-every 1 --keep 9 "
        snprintf(words, sizeof words, OFTEN "%s --out waits", some[i]);
        run_finishes(*state, words);
        snprintf(words, sizeof words, OFTEN "%s --checkpoint-async --out beside", some[i]);
        run_finishes(*state, words);
        shell(state, "for f in waits/step_*/*.safetensors*; do cmp $f beside/${f#*/} || exit 1; "
                     "done; [ -d waits/step_00000006 ] && rm -r waits beside");
    }
    if (!thin_run()) beside_on_a_full_disk(state, "");
    beside_on_a_full_disk(state, "--checkpoint-parts");
}

static void wait_for_lines(void **state, const char *name, int lines)
{
    char *path = scratch_path(state, name);
    for (int tries = 0; tries < 6000; tries++, usleep(5000)) {
        FILE *f = fopen(path, "r");
        int n = 0;
        for (int c; f && (c = fgetc(f)) != EOF;)
            n += c == '\n';
        if (f) fclose(f);
        if (n < lines) continue;
        free(path);
        return;
    }
    fail_msg("%s has not %d lines", path, lines);
}

static void test_vanished_directory(void **state)
{
    const char *steps = thin_run() ? "300" : "1500"; /* long enough to be met in them */
    char words[1000], last[100];
    snprintf(words, sizeof words, RUN "--batch 6 --out run --steps %s --checkpoint-every 50",
             steps);
    snprintf(last, sizeof last, "run/step_%08d/manifest.json", atoi(steps));
    pid_t child = run_start(*state, words, NULL, NULL);
    wait_for_lines(state, "run/log.jsonl", 5);
    shell(state, "mv run elsewhere && rm -r elsewhere");
    int status = run_wait(child);
    if (status) fail_msg("status %d: %s", status, run_said(*state));
    expect_said(state, "log.jsonl was removed");
    assert_true(there(state, "run/model.safetensors"));
    assert_true(there(state, last));
}

static void test_two_processes(void **state)
{
    pid_t child = run_start(*state, RUN "--batch 6 --out run --steps 100000", NULL, NULL);
    wait_for_lines(state, "run/log.jsonl", 2);
    char *saved = scratch_path(state, "said.txt"), *elsewhere = scratch_path(state, "said1.txt");
    rename(saved, elsewhere);
    refused(state, RUN "--batch 6 --out run --resume auto", "another process", "--out");
    kill(child, SIGTERM);
    assert_int_equal(run_wait(child), 0);
    free(saved);
    free(elsewhere);
}

/* ---- signals ---- */

static void stopped_by(void **state, int number, const char *name, const char *more)
{
    char arguments[500];
    shell(state, "rm -rf run");
    snprintf(arguments, sizeof arguments, RUN "--batch 6 --out run --steps 3000 %s", more);
    pid_t child = run_start(*state, arguments, NULL, NULL);
    wait_for_lines(state, "run/log.jsonl", 3);
    kill(child, number);
    assert_int_equal(run_wait(child), 0);
    char word[60];
    snprintf(word, sizeof word, "stopped by %s after step ", name);
    expect_said(state, word);
    int step = atoi(strstr(run_said(*state), word) + strlen(word));
    assert_true(step >= 2 && step < 3000);
    snprintf(word, sizeof word, "run/step_%08d/manifest.json", step);
    assert_true(there(state, word));
}

static void test_stopped_and_resumed(void **state)
{
#define SLOW RUN "--batch 6 --steps 60 --checkpoint-every 0 "
    run_finishes(*state, SLOW "--out whole");
    pid_t child = run_start(*state, SLOW "--out run", NULL, NULL);
    wait_for_lines(state, "run/log.jsonl", 7);
    kill(child, SIGINT);
    assert_int_equal(run_wait(child), 0);
    run_finishes(*state, SLOW "--out run --resume auto");
    runs_same(*state, "whole", "run", 0);
    stopped_by(state, SIGTERM, "SIGTERM", "--checkpoint-every 0");
    stopped_by(state, SIGINT, "SIGINT", "--checkpoint-every 0");
    /* while one is being written */
    stopped_by(state, SIGTERM, "SIGTERM", "--checkpoint-every 1 --checkpoint-async");
    stopped_by(state, SIGTERM, "SIGTERM",
               "--checkpoint-every 1 --checkpoint-async --checkpoint-parts");
}

/* The first is a wish, and the step takes an hour; what follows at once belongs to it (run/stop.h);
 * a later one ends the run at once. */
static void test_second_signal(void **state)
{
#define CONSTANT RUN "--batch 6 --schedule constant "
    run_finishes(*state, CONSTANT "--out whole");
    run_finishes(*state, CONSTANT "--out run --steps 5");
    pid_t child = run_start(*state, CONSTANT "--out slow --accum 1000000", NULL, NULL);
    wait_for_lines(state, "slow/plan.svg", 5); /* the last file before the first step */
    usleep(100000);
    kill(child, SIGTERM);
    kill(child, SIGTERM);
    usleep(1200000);
    assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
    kill(child, SIGINT);
    assert_int_equal(run_wait(child), 1000 + SIGINT);
    run_finishes(*state, CONSTANT "--out run --resume auto");
    expect_said(state, "resuming from run/step_00000005");
    shell(state, "cmp whole/model.safetensors run/model.safetensors");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, scratch_remove)
    const struct CMUnitTest tests[] = {
        TEST(test_adapters),
        TEST(test_same_bits),
        TEST(test_forms_change),
        TEST(test_split_changes),
        TEST(test_wanted_changes),
        TEST(test_refused_changes),
        TEST(test_older_program),
        TEST(test_auto),
        TEST(test_given_directory),
        TEST(test_damaged_is_passed_over),
        TEST(test_every_byte),
        TEST(test_trouble),
        TEST(test_full_disk),
        TEST(test_vanished_directory),
        TEST(test_two_processes),
        TEST(test_stopped_and_resumed),
        TEST(test_second_signal),
        TEST(test_options_are_kept),
        TEST(test_best_is_kept),
        TEST(test_mixture),
        TEST(test_beside_the_training),
    };
    if (!access("/dev/shm", W_OK)) setenv("TMPDIR", "/dev/shm", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

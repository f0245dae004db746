/* test_option_effects.c - every option of train_gpt does something, and does that.
 *
 * The program itself is run, tiny, twice: with the row's arguments, and with the option added (or
 * changed) besides.  What a run shows is taken apart,
 *
 *     log.jsonl  -->  lr by step, first loss, all losses, validation losses, planned bytes, steps
 *     stdout     -->  the text, samples, tokens a step
 *     DIR        -->  model.safetensors, and whether anything was written at all
 *
 * and the row says which of these must differ, which must be the same bits, and what stdout must
 * say.  An option that is parsed and then forgotten changes nothing, and fails its row; one that
 * changes what it has no business with fails, too.  A row for every option: the last test asks the
 * program's own table (option_name).
 */
#include "train/task.h"
#include "test/scratch.h"

#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/rng.h"
#include "data/bpe/bpe.h"
#include "data/tokens.h"
#include "io/safetensors.h"
#include "train/task.h"

/* What every run has, unless its row says otherwise.  A preset has the sizes of its own, and lists
 * of data would grow. */
static const struct {
    const char *unless, *arguments;
} base[] = {
    {"--model", "--layers 1 --heads 2 --width 8 --context 16 --vocab 256"},
    {"--train-data", "--train-data x_train.bin"},
    {"--val-data", "--val-data x_val.bin"},
    {"--device", "--device cpu"},
    {"--epochs", "--steps 6"},
    {NULL, "--seq 8 --batch 2 --warmup 2 --threads 2 --eval-every 3 --eval-batches 2"},
};

enum { BASE = sizeof base / sizeof *base };

/* What of a run is looked at: bits of the masks. */
enum {
    LR = 1,
    FIRST = 2,    /* the loss of step 1: data and initial values */
    LOSSES = 4,   /* of all steps */
    VAL = 8,      /* validation losses, and when */
    SAMPLES = 16, /* the text between the sample's lines */
    PEAK = 32,    /* planned bytes */
    STEPS = 64,
    WEIGHTS = 128,     /* model.safetensors */
    WRITTEN = 256,     /* are there files in --out? */
    CHECKPOINTS = 512, /* which there are */
    ASPECTS = 10,
    TRAINING = LR | FIRST | LOSSES | STEPS | WEIGHTS
};

static const char *const aspect_names[ASPECTS] = {
    "learning rates", "the first loss", "the losses", "validation",    "samples",
    "planned bytes",  "steps",          "weights",    "files written", "checkpoints"};

typedef struct {
    const char *option, *before,
        *after; /* arguments besides the base: without the effect, and with */
    int differ, same;
    const char *says; /* in stdout with, and not without; NULL: nothing in particular */
} row;

static const row rows[] = {
    {"model", "--plan", "--plan --model gpt-micro", 0, 0, "gpt-micro"},
    {"layers", "", "--layers 2", PEAK | WEIGHTS, LR | STEPS, NULL},
    {"heads", "", "--heads 4", LOSSES | WEIGHTS, LR | STEPS, NULL},
    {"width", "", "--width 12", PEAK | WEIGHTS, LR | STEPS, NULL},
    {"context", "", "--context 24", PEAK | WEIGHTS, LR | STEPS, NULL},
    {"vocab", "", "--vocab 300", PEAK | WEIGHTS, LR | STEPS, NULL},
    {"train-data", "", "--train-data y_train.bin", FIRST | WEIGHTS, LR | STEPS | PEAK, NULL},
    {"val-data", "", "--val-data y_train.bin", VAL, TRAINING | PEAK, NULL},
    {"optim", "--lr 0.01", "--lr 0.01 --optim sgd", WEIGHTS | PEAK, LR | FIRST, "sgd"},
    {"optim-impl", "--width 64 --batch 1", "--width 64 --batch 1 --optim-impl passes", PEAK,
     TRAINING | VAL, "(passes)"},
    {"gradients", "--width 64 --batch 1", "--width 64 --batch 1 --gradients release", PEAK,
     TRAINING | VAL, "gradients release"},
    {"dtype", "", "--dtype bf16", FIRST | PEAK | WEIGHTS, LR | STEPS, NULL},
    {"master", "--dtype bf16", "--dtype bf16 --master none", PEAK | WEIGHTS, LR | FIRST, NULL},
    {"state", "--width 64", "--width 64 --state int8", PEAK | WEIGHTS, LR | FIRST, NULL},
    {"state-of", "--state int8", "--state int8 --state-of all", PEAK | WEIGHTS, LR | FIRST, NULL},
    {"lr", "", "--lr 0.02", LR | WEIGHTS, FIRST | STEPS | PEAK, NULL},
    {"beta1", "", "--beta1 0.5", WEIGHTS, LR | FIRST | PEAK, NULL},
    {"beta2", "", "--beta2 0.5", WEIGHTS, LR | FIRST | PEAK, NULL},
    {"beta3", "--optim adan", "--optim adan --beta3 0.5", WEIGHTS, LR | FIRST | PEAK, NULL},
    {"eps", "", "--eps 0.01", WEIGHTS, LR | FIRST | PEAK, NULL},
    {"adam-lr", "--optim muon", "--optim muon --adam-lr 0.01", WEIGHTS, LR | FIRST | PEAK, NULL},
    {"adam-beta1", "--optim muon", "--optim muon --adam-beta1 0.5", WEIGHTS, LR | FIRST | PEAK,
     NULL},
    {"adam-beta2", "--optim muon", "--optim muon --adam-beta2 0.5", WEIGHTS, LR | FIRST | PEAK,
     NULL},
    {"adam-eps", "--optim muon", "--optim muon --adam-eps 0.01", WEIGHTS, LR | FIRST | PEAK, NULL},
    {"newton-schulz", "--optim muon", "--optim muon --newton-schulz 2", WEIGHTS, LR | FIRST | PEAK,
     NULL},
    {"weight-decay", "", "--weight-decay 0.7", WEIGHTS, LR | FIRST | PEAK, NULL},
    {"grad-clip", "", "--grad-clip 0.001", WEIGHTS, LR | FIRST | PEAK, NULL},
    {"schedule", "", "--schedule linear", LR | WEIGHTS, FIRST | PEAK, NULL},
    {"warmup", "", "--warmup 4", LR | WEIGHTS, FIRST | PEAK, NULL},
    {"final-lr-fraction", "", "--final-lr-fraction 0.7", LR | WEIGHTS, FIRST | PEAK, NULL},
    {"layer-decay", "", "--layer-decay 0.5", WEIGHTS, LR | FIRST | PEAK, NULL},
    {"ema", "", "--ema 0.5", WEIGHTS | PEAK | VAL, LR | LOSSES, "(averaged weights)"},
    {"ema-warmup", "--ema 0.99", "--ema 0.99 --ema-warmup", WEIGHTS | VAL, LR | LOSSES | PEAK,
     "after a warm-up"},
    {"freeze", "", "--freeze wte*", WEIGHTS | PEAK, LR | FIRST, NULL},
    {"train-only", "", "--train-only *.c_attn.*", WEIGHTS | PEAK, LR | FIRST, NULL},
    {"sparsity", "--width 64", "--width 64 --sparsity 0.9", FIRST | PEAK | WEIGHTS, LR | STEPS,
     NULL},
    {"regrow-every", "--sparsity 0.5", "--sparsity 0.5 --regrow-every 2", LOSSES | WEIGHTS,
     LR | FIRST, NULL},
    {"regrow-fraction", "--sparsity 0.5 --regrow-every 2",
     "--sparsity 0.5 --regrow-every 2 --regrow-fraction 0.5", LOSSES | WEIGHTS, LR | FIRST | PEAK,
     NULL},
    {"recompute", "--batch 4 --width 64", "--batch 4 --width 64 --recompute block", PEAK,
     TRAINING | VAL, NULL},
    {"attention", "--plan --dtype bf16 --device cuda --width 64 --attention flash",
     "--plan --dtype bf16 --device cuda --width 64 --attention cudnn", 0, WRITTEN,
     "attention: cudnn"},
    {"logits-mib", "--seq 16 --batch 8", "--seq 16 --batch 8 --logits-mib 1", PEAK | WEIGHTS,
     LR | STEPS, NULL},
    {"memory", "--batch 4 --width 64",
     "--batch 4 --width 64 --memory 22549K --product-rate 100 --stream-rate 10", PEAK, LR | STEPS,
     "chosen"},
    {"allow", "--batch 4 --width 64 --memory 22549K --product-rate 100 --stream-rate 10",
     "--batch 4 --width 64 --memory 22549K --product-rate 100 --stream-rate 10 --allow state=int8",
     PEAK | WEIGHTS, LR | STEPS | FIRST, "--state int8"},
    {"product-rate", "--plan --memory 1G --stream-rate 10 --product-rate 100",
     "--plan --memory 1G --stream-rate 10 --product-rate 7", 0, WRITTEN, "products 7 GFLOP/s"},
    {"stream-rate", "--plan --memory 1G --stream-rate 10 --product-rate 100",
     "--plan --memory 1G --stream-rate 7 --product-rate 100", 0, WRITTEN, "stream 7.0 GB/s"},
    {"offload", "--width 64", "--width 64 --offload params", PEAK, TRAINING | VAL, "offloaded: 0."},
    {"offload-to", "--width 64 --offload states", "--width 64 --offload states --offload-to deep",
     0, TRAINING | VAL | PEAK, "planned in a file in deep"},
    {"host-memory",
     "--plan --device cuda --width 64 --memory 35M --product-rate 100 --stream-rate 10 --optim "
     "adan",
     "--plan --device cuda --width 64 --memory 34816K --product-rate 100 --stream-rate 10 --optim "
     "adan "
     "--host-memory 1G --host-rate 25",
     0, WRITTEN, "in the second place"},
    {"host-rate", "--plan --device cuda --width 64 --offload states",
     "--plan --device cuda --width 64 --offload states --host-rate 20", 0, WRITTEN,
     "at 20 GB/s in"},
    {"disk-rate", "--plan --width 64 --offload states",
     "--plan --width 64 --offload states --disk-rate 2", 0, WRITTEN, "at 2 GB/s in"},
    {"batch", "", "--batch 3", FIRST | PEAK, LR | STEPS, "24 tokens a step"},
    {"seq", "", "--seq 9", FIRST | PEAK, LR | STEPS, "18 tokens a step"},
    {"accum", "", "--accum 3", FIRST | WEIGHTS, LR | STEPS, "48 tokens a step"},
    {"steps", "", "--steps 7", STEPS | WEIGHTS, FIRST | PEAK, "step     7/7"},
    {"epochs", "", "--epochs 0.5", STEPS | WEIGHTS, FIRST | PEAK, "step    13/13"},
    {"stop-after", "--eval-every 1 --lr 0", "--eval-every 1 --lr 0 --stop-after 2", STEPS | VAL,
     FIRST | PEAK, "ended after step 3: 2 evaluations without gain"},
    {"log-every", "", "--log-every 4", STEPS, FIRST | PEAK | WEIGHTS | VAL, NULL},
    {"save-best", "", "--save-best", WRITTEN, TRAINING | VAL | PEAK,
     "the best so far: wrote out/best/model.safetensors"},
    {"tensorboard", "", "--tensorboard out/board", WRITTEN, TRAINING | VAL | PEAK, NULL},
    {"config", "", "--config few.json", LR | WEIGHTS, FIRST | STEPS | PEAK, NULL},
    {"threads", "", "--threads 3", 0, TRAINING | VAL, "3 threads"},
    {"cpu-kernel", "", "--cpu-kernel plain", 0, TRAINING | VAL | PEAK, "2 threads, plain"},
    {"products", "--width 512", "--width 512 --products blas", WEIGHTS, LR | STEPS,
     "products by OpenBLAS"},
    {"seed", "", "--seed 9", FIRST | WEIGHTS, LR | STEPS | PEAK, NULL},
    {"eval-every", "", "--eval-every 2", VAL, TRAINING, "step     2  validation"},
    {"eval-batches", "", "--eval-batches 3", VAL, TRAINING, NULL},
    {"sample-every", "", "--sample-every 3", SAMPLES, TRAINING | VAL, "sample after step 3 "},
    {"sample-tokens", "--sample-every 6", "--sample-every 6 --sample-tokens 20", SAMPLES,
     TRAINING | VAL | PEAK, NULL},
    {"prompt", "--sample-every 6", "--sample-every 6 --prompt in_the", SAMPLES,
     TRAINING | VAL | PEAK, "---\nin_the"},
    {"checkpoint-every", "", "--checkpoint-every 2", CHECKPOINTS, TRAINING | VAL | PEAK,
     "step     4  checkpoint"},
    {"checkpoint-async", "--checkpoint-every 2", "--checkpoint-every 2 --checkpoint-async", PEAK,
     TRAINING | VAL | CHECKPOINTS, NULL},
    {"checkpoint-parts", "--checkpoint-every 2", "--checkpoint-every 2 --checkpoint-parts", 0,
     TRAINING | VAL | PEAK | CHECKPOINTS, "step     4  checkpoint, in 1 part"},
    {"keep", "--checkpoint-every 2", "--checkpoint-every 2 --keep 1", CHECKPOINTS,
     TRAINING | VAL | PEAK, NULL},
    {"resume", "", "--resume earlier/step_00000003", STEPS | FIRST, WEIGHTS | PEAK,
     "resuming from earlier/step_00000003"},
    {"load", "", "--load earlier", FIRST | WEIGHTS | LR, STEPS | PEAK, "--lr 2e-05, --grad-clip 1"},
    {"lora", "--load earlier", "--load earlier --lora 2", PEAK | LOSSES | WEIGHTS | LR,
     FIRST | STEPS, "adapter_model.safetensors"},
    {"lora-alpha", "--load earlier --lora 2", "--load earlier --lora 2 --lora-alpha 9",
     LOSSES | WEIGHTS, LR | FIRST | PEAK | STEPS, NULL},
    {"lora-on", "--load earlier --lora 2", "--load earlier --lora 2 --lora-on c_fc",
     LOSSES | WEIGHTS | PEAK, LR | FIRST | STEPS, NULL},
    {"base", "--load earlier --lora 2", "--load earlier --lora 2 --base nf4", FIRST | WEIGHTS,
     LR | STEPS, NULL},
    {"adapter", "--load earlier --lora 2", "--load earlier --adapter tuned", FIRST | WEIGHTS,
     LR | STEPS | PEAK, NULL},
    {"lora-dropout", "--load earlier --lora 2", "--load earlier --lora 2 --lora-dropout 0.5",
     LOSSES | WEIGHTS | PEAK, LR | STEPS | FIRST, NULL},
    {"dropout", "", "--dropout 0.3", FIRST | WEIGHTS | PEAK, LR | STEPS, NULL},
    {"z-loss", "", "--z-loss 0.001", FIRST | WEIGHTS, LR | STEPS | PEAK, NULL},
    {"ignore-field", "--load earlier", "--load marked --ignore-field made_up", 0,
     TRAINING | PEAK | STEPS, "the field made_up is ignored"},
    {"widen", "--load earlier", "--load narrow --widen", FIRST | WEIGHTS, LR | STEPS | PEAK, NULL},
    {"out", "", "--out elsewhere/deep", WRITTEN, 0, "wrote elsewhere/deep/model.safetensors"},
    {"ranks", "--plan", "--plan --ranks 4", 0, 0, "as rank 0 of 4, --zero 0"},
    {"zero", "--plan --ranks 4", "--plan --ranks 4 --zero 3", 0, 0, "--zero 3"},
    {"shard-group", "--plan --ranks 4 --zero 3", "--plan --ranks 4 --zero 3 --shard-group 2", 0, 0,
     "--zero 3, in groups of 2 ranks"},
    {"prefetch", "--plan --ranks 4 --zero 3 --prefetch 0", "--plan --ranks 4 --zero 3 --prefetch 2",
     0, 0, "parameters 2 layers before they are used"},
    {"bucket", "--plan --ranks 4", "--plan --ranks 4 --bucket 2", 0, 0, "in buckets of 2 MiB"},
    {"watchdog", "--plan --ranks 4", "--plan --ranks 4 --watchdog 9", 0, 0, "missed after 9 s"},
    {"eval-only", "--load earlier --lr 0", "--load earlier --eval-only", WRITTEN | STEPS, 0,
     "4 sequences: loss "},
    {"plan", "", "--plan", WRITTEN, 0, "peak"},
    {"plan-beside", "--plan", "--plan --plan-beside lion/passes", 0, WRITTEN, "beside lion/passes"},
    {"json", "--plan", "--plan --json", 0, WRITTEN, "{\"peak_bytes\":"},
};

enum { ROWS = sizeof rows / sizeof *rows };

/* ---- one run ---- */

typedef struct {
    char *text;            /* of stdout and stderr */
    char *aspect[ASPECTS]; /* each as text, or bytes */
    size_t length[ASPECTS];
} run_result;

static char program[PROGRAM_PATH]; /* train_gpt */

static int bit_index(int bit)
{
    int i = 0;
    while (bit >> (i + 1))
        i++;
    return i;
}

static void append(run_result *r, int aspect, const char *text, size_t n)
{
    int i = bit_index(aspect);
    r->aspect[i] = realloc(r->aspect[i], r->length[i] + n + 1);
    assert_non_null(r->aspect[i]);
    memcpy(r->aspect[i] + r->length[i], text, n);
    r->length[i] += n;
    r->aspect[i][r->length[i]] = 0;
}

/* The number behind "name": in a line of the log, as it is written. */
static void append_number(run_result *r, int aspect, const char *line, const char *name)
{
    char key[40];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(line, key);
    if (!at) return;
    at += strlen(key);
    append(r, aspect, at, strcspn(at, ",}") + 1);
}

static void read_log(run_result *r, const char *path)
{
    char line[1000];
    bool first = true;
    FILE *f = fopen(path, "r");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        if (strstr(line, "\"val_loss\"")) append(r, VAL, line, strlen(line));
        if (!strstr(line, "\"lr\"")) continue;
        append_number(r, LR, line, "lr");
        append_number(r, LOSSES, line, "loss");
        append_number(r, STEPS, line, "step");
        if (first) append_number(r, FIRST, line, "loss");
        if (first) append_number(r, PEAK, line, "peak_bytes");
        first = false;
    }
    fclose(f);
}

static void read_samples(run_result *r)
{
    for (const char *at = r->text; (at = strstr(at, "--- sample after")); at++) {
        const char *end = strstr(at, "\n---\n");
        append(r, SAMPLES, at, end ? (size_t)(end - at) : strlen(at));
    }
}

static run_result run_program(const char *arguments)
{
    char command[6000];
    run_result r = {0};
    size_t n;
    if (system("rm -rf out elsewhere") != 0) fail_msg("cannot clear the directory");
    n = (size_t)snprintf(command, sizeof command, "'%s' --out out", program);
    for (int i = 0; i < BASE; i++)
        if (!base[i].unless || !strstr(arguments, base[i].unless))
            n += (size_t)snprintf(command + n, sizeof command - n, " %s", base[i].arguments);
    snprintf(command + n, sizeof command - n, " %s >text 2>&1 </dev/null", arguments);
    int status = system(command);
    r.text = (char *)file_read("text", &n);
    r.text[n] = 0;
    if (status != 0) fail_msg("status %d: %s\n%s", status, command, r.text);
    read_log(&r, "out/log.jsonl");
    read_samples(&r);
    static const char *const weights[] = {"out/model.safetensors", "out/adapter_model.safetensors"};
    for (int i = 0; i < 2; i++) {
        if (access(weights[i], R_OK)) continue;
        char *bytes = (char *)file_read(weights[i], &n);
        append(&r, WEIGHTS, bytes, n);
        free(bytes);
    }
    for (int step = 1; step <= 6; step++) {
        char path[40];
        snprintf(path, sizeof path, "out/step_%08d", step);
        append(&r, CHECKPOINTS, access(path, R_OK) ? "-" : "+", 1);
    }
    static const char *const files[] = {"out/log.jsonl", "out/plan.txt", "out/options.json",
                                        "out/best/model.safetensors", "out/board"};
    for (int i = 0; i < 5; i++)
        append(&r, WRITTEN, access(files[i], R_OK) ? "-" : "+", 1);
    return r;
}

static void free_result(run_result *r)
{
    free(r->text);
    for (int i = 0; i < ASPECTS; i++)
        free(r->aspect[i]);
}

/* ---- rows ---- */

static bool equal(const run_result *a, const run_result *b, int i)
{
    return a->length[i] == b->length[i] &&
           (!a->length[i] || !memcmp(a->aspect[i], b->aspect[i], a->length[i]));
}

/* A run without the option: many rows begin with the same one, which is made once.  (That it would
 * be the same again is test_twice_is_the_same.) */
static const run_result *run_before(const char *arguments)
{
    static struct {
        const char *arguments;
        run_result result;
    } done[ROWS + 1];
    int i = 0;
    while (done[i].arguments && strcmp(done[i].arguments, arguments) != 0)
        i++;
    if (!done[i].arguments) {
        done[i].result = run_program(arguments);
        done[i].arguments = arguments;
    }
    return &done[i].result;
}

static void check_row(const row *w)
{
    const run_result *a = run_before(w->before);
    run_result b = run_program(w->after);
    for (int i = 0; i < ASPECTS; i++) {
        if (w->differ >> i & 1 && equal(a, &b, i))
            fail_msg("--%s is ignored: %s the same with \"%s\" and \"%s\"", w->option,
                     aspect_names[i], w->before, w->after);
        if (w->same >> i & 1 && !equal(a, &b, i))
            fail_msg("--%s: %s not the same with \"%s\" and \"%s\"", w->option, aspect_names[i],
                     w->before, w->after);
        if (w->same >> i & 1 && !a->length[i] && 1 << i != SAMPLES)
            fail_msg("--%s: %s not seen at all, so that they say nothing", w->option,
                     aspect_names[i]);
    }
    if (w->says && !strstr(b.text, w->says))
        fail_msg("--%s: \"%s\" does not say \"%s\": %s", w->option, w->after, w->says, b.text);
    if (w->says && strstr(a->text, w->says))
        fail_msg("--%s: \"%s\" says \"%s\" without it, too", w->option, w->before, w->says);
    free_result(&b);
}

/* Another value of an option whose row has one. */
static const row in_8_bits = {"products",
                              "--width 64 --dtype bf16",
                              "--width 64 --dtype bf16 --products fp8",
                              FIRST | WEIGHTS | PEAK,
                              LR | STEPS,
                              NULL};

static void test_each_has_its_effect(void **state)
{
    (void)state;
    check_row(&in_8_bits);
    for (int i = 0; i < ROWS; i++)
        check_row(&rows[i]);
}

/* A difference means something only if the same arguments give the same. */
static void test_twice_is_the_same(void **state)
{
    (void)state;
    run_result a = run_program("--sample-every 6"), b = run_program("--sample-every 6");
    for (int i = 0; i < ASPECTS; i++) {
        assert_true(a.length[i] > 0);
        assert_true(equal(&a, &b, i));
    }
    free_result(&a);
    free_result(&b);
}

/* What options.json says is the run: read back, it makes the same one, and says the same. */
static void test_options_are_read_back(void **state)
{
    static const char *const some[] = {
        "--config few.json --seed 5 --optim muon --sample-every 6 --prompt in_the",
        "--optim adan_r --dtype bf16 --state int8 --state-of all --recompute block --grad-clip 2",
        "--epochs 0.5 --optim sgd --freeze wte* --freeze wpe* --save-best",
        "--load earlier --lora 2 --lora-on c_fc", "--batch 4 --width 64 --memory 22549K"};
    (void)state;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        run_result r = run_program(some[i]);
        if (system("rm -rf again && mv out again")) fail();
        char command[5000];
        snprintf(command, sizeof command, "'%s' --config again/options.json --out out >text 2>&1",
                 program);
        if (system(command)) fail_msg("%s: %s", some[i], command);
        if (system("cmp again/*model.safetensors out/*model.safetensors && "
                   "sed 's/\"again\"/\"out\"/' again/options.json | cmp - out/options.json"))
            fail_msg("%s: another run", some[i]);
        free_result(&r);
    }
}

/* Of a file and the command line, the latter; what is wrong with a file is reported by name. */
static void test_config_and_command_line(void **state)
{
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"{\"lrr\": 1}", "--config bad.json: \"lrr\" is not an option; the nearest is \"lr\""},
        {"{\"lr\": \"1\"}", "--config bad.json: \"lr\" must be a number"},
        {"{\"optim\": 1}", "--config bad.json: \"optim\" must be a string"},
        {"{\"json\": 1}", "--config bad.json: \"json\" must be true or false"},
        {"{\"freeze\": \"a\"}", "--config bad.json: \"freeze\" must be a list of strings"},
        {"{\"freeze\": [1]}", "--config bad.json: \"freeze\" must be a list of strings"},
        {"{\"batch\": 0}", "--config bad.json: --batch 0: must be between 1 and"},
        {"{\"batch\": 1.5}", "--config bad.json: --batch 1.5: must be a whole number"},
        {"{\"config\": \"few.json\"}", "\"config\" in it"},
        {"{\"epochs\": 1, \"lr\": 1", "is not whole JSON"},
        {"{\"steps\": 5, \"eval-every\": 0, \"save-best\": true}",
         "--save-best with --eval-every 0"},
    };
    (void)state;
    size_t n;
    run_result a = run_program("--lr 0.02"), b = run_program("--config few.json"),
               c = run_program("--config few.json --lr 0.003"), d = run_program("--lr 0.003");
    assert_true(equal(&a, &b, bit_index(WEIGHTS)) && equal(&c, &d, bit_index(WEIGHTS)));
    run_result *all[] = {&a, &b, &c, &d};
    for (int i = 0; i < 4; i++)
        free_result(all[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char command[5000];
        file_write("bad.json", wrong[i].text, strlen(wrong[i].text));
        snprintf(command, sizeof command, "'%s' --config bad.json >text 2>&1", program);
        int status = system(command);
        char *text = (char *)file_read("text", &n);
        text[n] = 0;
        if (WEXITSTATUS(status) != 1 || !strstr(text, wrong[i].says))
            fail_msg("%s: status %d: %s", wrong[i].text, WEXITSTATUS(status), text);
        free(text);
    }
}

/* Which devices there are is the machine's business: cuda works, or says in a line why not. */
static void test_device(void **state)
{
    (void)state;
    char command[6000];
    size_t n;
    run_result r = run_program("--device cpu");
    assert_non_null(strstr(r.text, "device: cpu"));
    free_result(&r);
    snprintf(command, sizeof command,
             "'%s' --out out %s %s %s %s --device cuda >text 2>&1 </dev/null", program,
             base[0].arguments, base[1].arguments, base[4].arguments, base[5].arguments);
    int status = system(command);
    char *text = (char *)file_read("text", &n);
    text[n] = 0;
    if (status == 0)
        assert_non_null(strstr(text, "device: cuda"));
    else if (strncmp(text, "train_gpt: ", 11) || strchr(text, '\n') != text + n - 1)
        fail_msg("--device cuda: not one line: %s", text);
    free(text);
}

static void test_every_option_has_a_row(void **state)
{
    (void)state;
    int n = 0;
    for (const char *name; (name = option_name(&text_task, n)); n++) {
        /* these have tests of their own: here, in test_cuda.*, in test_ranks.sh */
        bool found =
            !strcmp(name, "device") || !strcmp(name, "no-cuda-graph") || !strcmp(name, "gpus");
        for (int i = 0; i < ROWS; i++)
            found = found || !strcmp(rows[i].option, name);
        if (!found) fail_msg("--%s has no row here that shows its effect", name);
    }
    assert_int_equal(n, ROWS + 3);
}

/* ---- data ---- */

static void write_shard(const char *path, uint64_t seed)
{
    enum { TOKENS = 400 };
    token_writer *w;
    ok(tokens_create(path, 256, &w));
    for (uint64_t i = 0; i < TOKENS; i++) {
        int32_t id = (int32_t)('a' + 20 * rng_uniform(seed, RNG_TEST, i));
        ok(tokens_append(w, &id, 1));
    }
    ok(tokens_finish(w));
}

/* model.safetensors in a directory, from another's with every float cut to its upper half: bf16. */
static void write_narrow(const char *to, const char *from)
{
    safetensors *all;
    int64_t at = 0;
    ok(safetensors_open(from, &all));
    char *header = NULL;
    size_t length;
    FILE *text = open_memstream(&header, &length), *f = fopen(to, "wb");
    assert_true(text && f);
    for (int64_t i = 0; i < safetensors_count(all); i++) {
        const safetensors_entry *e = safetensors_entry_at(all, i);
        fprintf(text, "%c\"%s\":{\"dtype\":\"BF16\",\"shape\":[", i ? ',' : '{', e->name);
        for (int k = 0; k < e->rank; k++)
            fprintf(text, "%s%lld", k ? "," : "", (long long)e->dim[k]);
        fprintf(text, "],\"data_offsets\":[%lld,%lld]}", (long long)at,
                (long long)(at + e->bytes / 2));
        at += e->bytes / 2;
    }
    fputc('}', text);
    fclose(text);
    uint64_t n = length;
    fwrite(&n, sizeof n, 1, f);
    fwrite(header, 1, length, f);
    free(header);
    for (int64_t i = 0; i < safetensors_count(all); i++)
        for (int64_t k = 0; k < safetensors_entry_at(all, i)->bytes; k += 4) {
            uint16_t upper;
            ok(safetensors_read(all, i, k + 2, 2, &upper));
            fwrite(&upper, sizeof upper, 1, f);
        }
    assert_int_equal(fclose(f), 0);
    safetensors_close(all);
}

/* What --resume, --load, --ignore-field and --widen need: an earlier run, with a checkpoint in its
 * middle. */
static void make_earlier(void)
{
    run_result r = run_program("--checkpoint-every 3");
    free_result(&r);
    if (system("mv out earlier && mkdir narrow && cp earlier/config.json narrow")) fail();
    r = run_program("--load earlier --lora 2 --seed 3");
    free_result(&r);
    if (system("mv out tuned")) fail();
    write_narrow("narrow/model.safetensors", "earlier/model.safetensors");
    if (system("mkdir marked && cp earlier/model.safetensors marked && "
               "sed 's/{/{\"made_up\": 1,/' earlier/config.json >marked/config.json"))
        fail();
}

static int open_all(void **state)
{
    bpe *vocab;
    find_program("train_gpt", program);
    if (scratch_make(state) || chdir(*state)) return -1;
    write_shard("x_train.bin", 1);
    write_shard("y_train.bin", 2);
    write_shard("x_val.bin", 3);
    ok(bpe_bytes(&vocab));
    ok(bpe_save(vocab, "x.vocab"));
    bpe_close(vocab);
    file_write("few.json", "{\"lr\": 0.02, \"load\": null}", 26);
    make_earlier();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twice_is_the_same),
        cmocka_unit_test(test_each_has_its_effect),
        cmocka_unit_test(test_options_are_read_back),
        cmocka_unit_test(test_config_and_command_line),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_every_option_has_a_row),
    };
    return cmocka_run_group_tests(tests, open_all, scratch_remove);
}

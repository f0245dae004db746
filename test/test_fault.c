/* test_fault.c - every allocation and every call on a file fails once: see fault/scenario.h */
#include "test/fault/programs.h"
#include "test/fault/scenario.h"
#include "test/scratch.h"
#include "test/small_images.h"

#include <sys/stat.h>

enum { TEXT_BYTES = 6000 };

#define MODEL "--layers 2 --heads 2 --width 8 --context 16 --vocab 300 --batch 2 --threads 1 "
#define DATA  "--device cpu --train-data in/x_train.bin --val-data in/x_val.bin --eval-batches 1 "

#define IMAGES                                                                                     \
    "--image-size 6x9 --patch 3 --channels 3 --classes 4 --layers 1 --heads 2 --width 8 "          \
    "--inner 12 --batch 2 --threads 1 --device cpu --train-data in/x-images-idx3-ubyte "           \
    "--val-data in/x-images-idx3-ubyte "

/* ---- what is there before ---- */

/* Some words in some order, with line breaks: enough to learn from. */
static void write_text(void **state, const char *name, uint32_t seed)
{
    static const char *const words[] = {"the ", "cat ", "sat ", "on ", "a ", "mat\n", "and ", "7 "};
    char text[TEXT_BYTES + 8], *path = scratch_path(state, name);
    size_t n = 0;
    for (; n < TEXT_BYTES; seed = seed * 1103515245 + 12345)
        n += (size_t)sprintf(text + n, "%s", words[seed >> 16 & 7]);
    file_write(path, text, n);
    free(path);
}

static void prepare(void **state, int (*program)(int, char **), const char *arguments)
{
    scenario_prepare(&(scenario){.program = program, .arguments = arguments}, *state);
}

static int set_up(void **state)
{
    if (scratch_make(state) != 0 || chdir(*state) != 0 || mkdir("in", 0777) != 0 ||
        mkdir("work", 0777) != 0)
        return -1;
    write_text(state, "in/a.txt", 1);
    write_text(state, "in/b.txt", 2);
    write_text(state, "in/c.txt", 3);
    prepare(state, tokenize_main, "tokenize --vocab bpe:272 -o in/x in/a.txt");
    return 0;
}

/* ---- tokens ---- */

static void test_learning_and_writing(void **state)
{
    prepare(state, tokenize_main, "tokenize --vocab bpe:270 -o work/x in/b.txt");
    scenario_run(&(scenario){.name = "tokenize",
                             .program = tokenize_main,
                             .arguments = "tokenize --vocab bpe:271 -o work/x in/a.txt in/b.txt",
                             .partial = {"stdout"},
                             .minimum = 80},
                 *state);
}

static void test_using_a_vocabulary(void **state)
{
    scenario_run(&(scenario){.name = "tokenize with a vocabulary",
                             .program = tokenize_main,
                             .arguments = "tokenize --vocab in/x.vocab -o work/x in/b.txt",
                             .partial = {"stdout"},
                             .minimum = 30},
                 *state);
}

static void test_decoding(void **state)
{
    scenario_run(&(scenario){.name = "tokenize --decode",
                             .program = tokenize_main,
                             .arguments = "tokenize --decode --vocab in/x.vocab in/x_*.bin",
                             .minimum = 20},
                 *state);
}

/* ---- training ---- */

static void test_training(void **state)
{
    scenario_run(&(scenario){.name = "train",
                             .program = train_main,
                             .arguments = "train_gpt " MODEL DATA "--steps 3 --eval-every 2 "
                                          "--sample-every 2 --sample-tokens 3 --out work/run/one",
                             .partial = {"stdout", "run/one/log.jsonl"},
                             .minimum = 80},
                 *state);
}

/* The disk's thread has failures of its own. */
static void test_training_offloaded(void **state)
{
    scenario_run(&(scenario){.name = "train with --offload",
                             .program = train_main,
                             .arguments =
                                 "train_gpt --layers 1 --heads 2 --width 32 --context 16 --vocab "
                                 "300 --batch 2 --threads 1 " DATA
                                 "--steps 2 --eval-every 2 --optim adamw_r --offload params "
                                 "--offload-to work --out work/run",
                             .partial = {"stdout", "run/log.jsonl"},
                             .minimum = 80},
                 *state);
}

/* What blocks keep for backward is written in forward and read again in the same step. */
static void test_training_with_far_activations(void **state)
{
    scenario_run(&(scenario){.name = "train with --offload activations",
                             .program = train_main,
                             .arguments =
                                 "train_gpt --layers 2 --heads 2 --width 32 --context 16 --vocab "
                                 "300 --batch 2 --threads 1 " DATA
                                 "--steps 2 --eval-every 2 --offload activations "
                                 "--offload-to work --out work/run",
                             .partial = {"stdout", "run/log.jsonl"},
                             .minimum = 80},
                 *state);
}

static void test_training_where_another_run_was(void **state)
{
    prepare(state, train_main, "train_gpt " MODEL DATA "--steps 2 --out work/run");
    scenario_run(&(scenario){.name = "train over an older run",
                             .program = train_main,
                             .arguments =
                                 "train_gpt " MODEL DATA "--steps 2 --optim adan --accum 2 "
                                 "--eval-every 0 --out work/run",
                             .partial = {"stdout", "run/log.jsonl"},
                             .minimum = 80},
                 *state);
}

/* No workers: which call is the n-th must not depend on who comes first. */
static void test_training_on_images(void **state)
{
    small_images_write("in", "x", 9, 3, 6, 9, 4);
    prepare(state, train_vit_main,
            "train_vit " IMAGES "--workers 0 --steps 1 --eval-every 0 --out in/run");
    scenario_run(&(scenario){.name = "train on images",
                             .program = train_vit_main,
                             .arguments = "train_vit " IMAGES
                                          "--load in/run --drop-path 0.2 --mixup 0.3 --flip "
                                          "--random-crop 1 --workers 0 --steps 2 --eval-every 2 "
                                          "--predict 3 --out work/run",
                             .partial = {"stdout", "run/log.jsonl"},
                             .minimum = 80},
                 *state);
}

static void test_planning(void **state)
{
    scenario_run(&(scenario){.name = "plan",
                             .program = train_main,
                             .arguments = "train_gpt " MODEL "--plan --json",
                             .minimum = 30},
                 *state);
}

/* ---- a model's life ---- */

#define RUN "train_gpt " MODEL DATA "--eval-every 0 --keep 1 --out work/run "

static void test_checkpoints(void **state)
{
    prepare(state, train_main, RUN "--steps 1 --checkpoint-every 1");
    scenario_run(
        &(scenario){.name = "checkpoint and resume",
                    .program = train_main,
                    .arguments = RUN "--steps 2 --checkpoint-every 1 --resume auto",
                    .again = RUN "--steps 2 --checkpoint-every 1 --resume auto",
                    .partial = {"stdout", "run/log.jsonl",
                                /* where the log ends, which has times in it */
                                "run/step_00000002/state.json", "run/step_00000002/manifest.json"},
                    .minimum = 150},
        *state);
}

/* The thread that writes them has failures of its own. */
static void test_checkpoints_beside(void **state)
{
#define BESIDE RUN "--checkpoint-every 1 --checkpoint-async --keep 2 "
    prepare(state, train_main, BESIDE "--steps 1");
    scenario_run(
        &(scenario){.name = "checkpoint beside the training",
                    .program = train_main,
                    .arguments = BESIDE "--steps 3 --resume auto",
                    .again = BESIDE "--steps 3 --resume auto",
                    .partial = {"stdout", "run/log.jsonl", "run/step_00000002*",
                                /* where the log ends, which has times in it */
                                "run/step_00000002/state.json", "run/step_00000002/manifest.json",
                                "run/step_00000003/state.json", "run/step_00000003/manifest.json"},
                    .minimum = 150},
        *state);
}

static void test_checkpoints_in_parts_beside(void **state)
{
#define PARTS_BESIDE BESIDE "--checkpoint-parts "
    prepare(state, train_main, PARTS_BESIDE "--steps 1");
    scenario_run(
        &(scenario){.name = "checkpoint in parts beside the training",
                    .program = train_main,
                    .arguments = PARTS_BESIDE "--steps 3 --resume auto",
                    .again = PARTS_BESIDE "--steps 3 --resume auto",
                    .partial = {"stdout", "run/log.jsonl", "run/step_00000002*",
                                "run/step_00000002/state.json", "run/step_00000002/manifest.json",
                                "run/step_00000003/state.json", "run/step_00000003/manifest.json"},
                    .minimum = 150},
        *state);
}

static void test_checkpoints_in_parts(void **state)
{
    prepare(state, train_main, RUN "--steps 1 --checkpoint-every 1 --checkpoint-parts");
    scenario_run(
        &(scenario){.name = "checkpoint in parts and resume",
                    .program = train_main,
                    .arguments =
                        RUN "--steps 2 --checkpoint-every 1 --checkpoint-parts --resume auto",
                    .again = RUN "--steps 2 --checkpoint-every 1 --checkpoint-parts --resume auto",
                    .partial = {"stdout", "run/log.jsonl", "run/step_00000002/state.json",
                                "run/step_00000002/manifest.json"},
                    .minimum = 150},
        *state);
}

/* What is far is read for them by the disk's thread. */
static void test_offloaded_checkpoints_in_parts(void **state)
{
#define FAR_PARTS                                                                                  \
    "train_gpt --layers 1 --heads 2 --width 32 --context 16 --vocab 300 --batch 2 --threads "      \
    "1 " DATA "--eval-every 0 --keep 1 --checkpoint-every 1 --checkpoint-parts --offload states "  \
    "--out work/run "
    prepare(state, train_main, FAR_PARTS "--steps 1");
    scenario_run(&(scenario){.name = "offloaded, checkpoint in parts and resume",
                             .program = train_main,
                             .arguments = FAR_PARTS "--steps 2 --resume auto",
                             .again = FAR_PARTS "--steps 2 --resume auto",
                             .partial = {"stdout", "run/log.jsonl", "run/step_00000002/state.json",
                                         "run/step_00000002/manifest.json"},
                             .minimum = 150},
                 *state);
}

static void test_loading(void **state)
{
    prepare(state, train_main, "train_gpt " MODEL DATA "--steps 1 --out in/run");
    scenario_run(&(scenario){.name = "train what was loaded",
                             .program = train_main,
                             .arguments = "train_gpt --load in/run " DATA
                                          "--threads 1 --batch 2 --steps 1 --out work/run",
                             .partial = {"stdout", "run/log.jsonl"},
                             .minimum = 150},
                 *state);
}

static void test_exporting(void **state)
{
    prepare(state, train_main, "train_gpt " MODEL DATA "--steps 1 --out in/run");
    prepare(state, export_main, "export --to llmc in/run in/x.bin");
    scenario_run(&(scenario){.name = "export to llm.c",
                             .program = export_main,
                             .arguments = "export --to llmc in/run work/y.bin",
                             .partial = {"stdout"},
                             .minimum = 50},
                 *state);
    scenario_run(&(scenario){.name = "export from llm.c",
                             .program = export_main,
                             .arguments = "export --to hf in/x.bin work/run",
                             .partial = {"stdout"},
                             .minimum = 50},
                 *state);
}

static void test_exporting_images(void **state)
{
    small_images_write("in", "x", 9, 3, 16, 16, 4);
    prepare(state, train_vit_main,
            "train_vit --model convnext-micro/2 --image-size 16 --channels 3 --classes 4 --width 8 "
            "--batch 2 --threads 1 --device cpu --train-data in/x-images-idx3-ubyte --workers 0 "
            "--steps 1 --eval-every 0 --out in/run");
    scenario_run(
        &(scenario){.name = "export a model of images",
                    .program = export_main,
                    .arguments = "export in/run work/run",
                    .partial = {"stdout", "run/README.md"}, /* a card lacks what cannot be read */
                    .minimum = 40},
        *state);
}

static void test_generating(void **state)
{
    prepare(state, train_main, "train_gpt " MODEL DATA "--steps 1 --out in/run");
    scenario_run(&(scenario){.name = "generate",
                             .program = generate_main,
                             .arguments = "generate --load in/run --vocab in/x.vocab --prompt the "
                                          "--tokens 5 --threads 1",
                             .talks = true,
                             .minimum = 50},
                 *state);
    scenario_run(&(scenario){.name = "generate --eval",
                             .program = generate_main,
                             .arguments = "generate --load in/run --vocab in/x.vocab --eval "
                                          "in/c.txt --threads 1 --device cpu",
                             .talks = true,
                             .minimum = 50},
                 *state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_learning_and_writing),
        TEST(test_using_a_vocabulary),
        TEST(test_decoding),
        TEST(test_training_offloaded),
        TEST(test_training_with_far_activations),
        TEST(test_training_where_another_run_was),
        TEST(test_training),
        TEST(test_training_on_images),
        TEST(test_planning),
        TEST(test_checkpoints),
        TEST(test_checkpoints_beside),
        TEST(test_checkpoints_in_parts),
        TEST(test_checkpoints_in_parts_beside),
        TEST(test_offloaded_checkpoints_in_parts),
        TEST(test_loading),
        TEST(test_exporting),
        TEST(test_exporting_images),
        TEST(test_generating),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* runs.c - see runs.h */
#include "test/disk/runs.h"
#include "cpu/cpu.h"
#include "base/rng.h"
#include "data/tokens.h"
#include "test/scratch.h"
#include "plan/plan_report.h"
#include "train/task.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 80, TOKENS = 59 };

/* Odd lengths, several shards: an epoch of some 25 windows of 11 tokens. */
static void make_shard(const char *directory, const char *name, uint64_t seed, uint64_t n)
{
    char path[1000];
    token_writer *w;
    snprintf(path, sizeof path, "%s/%s_train.bin", directory, name);
    ok(tokens_create(path, TOKENS, &w));
    for (uint64_t i = 0; i < n; i++) {
        uint32_t bits[4];
        rng_bits(seed, RNG_TEST, i, bits);
        int32_t id = (int32_t)(i % 2 ? bits[0] % 7 : (i / 2) % TOKENS);
        ok(tokens_append(w, &id, 1));
    }
    ok(tokens_finish(w));
}

void runs_make(const char *directory)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (uint64_t i = 0; i < 5; i++)
        make_shard(directory, names[i], i, 40 + 13 * i);
    make_shard(directory, "other", 9, 330);
}

/* ---- one run ---- */

static error *train_words(int argc, char **argv)
{
    static options o;
    device dev;
    trainer *t;
    TRY(options_parse(the_task, argc, argv, &o));
    TRY(trainer_plan(&o, the_task->kind, &t));
    error *e = cpu_device((int)o.threads, &dev);
    if (!e) {
        e = train_loop(t, &dev, plan_files);
        trainer_destroy(t);
        cpu_close(&dev);
        return e;
    }
    trainer_destroy(t);
    return e;
}

static int train_in(const char *directory, const char *words)
{
    char text[2000], *argv[WORDS] = {(char *)(size_t) "train"}, *rest = NULL;
    int argc = 1;
    if (chdir(directory)) return 99;
    int said = open("said.txt", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (said < 0 || dup2(said, 1) < 0 || dup2(said, 2) < 0) return 99;
    snprintf(text, sizeof text, "%s", words);
    for (char *w = strtok_r(text, " ", &rest); w && argc < WORDS - 1;
         w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    error *e = train_words(argc, argv);
    int status = e ? error_report("train", e) : 0;
    fflush(stdout);
    return status;
}

pid_t run_start(const char *directory, const char *words, void (*before)(void *), void *context)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) fail_msg("fork");
    if (child) return child;
    if (before) before(context);
    _exit(train_in(directory, words));
}

int run_wait(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) != child) fail_msg("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int run_status(const char *directory, const char *words)
{
    return run_wait(run_start(directory, words, NULL, NULL));
}

void run_finishes(const char *directory, const char *words)
{
    int status = run_status(directory, words);
    if (status) fail_msg("%s: status %d: %s", words, status, run_said(directory));
}

const char *run_said(const char *directory)
{
    static char text[RUN_SAID];
    char path[1000];
    snprintf(path, sizeof path, "%s/said.txt", directory);
    FILE *f = fopen(path, "r");
    if (!f) return "nothing";
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

/* ---- what is left ---- */

static uint8_t *left(const char *directory, const char *which, const char *name, size_t *n)
{
    char path[2000];
    snprintf(path, sizeof path, "%s/%s/%s", directory, which, name);
    return file_read(path, n);
}

static void same_left(const char *directory, const char *a, const char *b, const char *name)
{
    char of_a[1000], of_b[1000];
    snprintf(of_a, sizeof of_a, "%s/%s", directory, a);
    snprintf(of_b, sizeof of_b, "%s/%s", directory, b);
    same_file(of_a, of_b, name);
}

/* A log without what differs from run to run: times, and the memory of the process. */
static char *steady_log(const char *directory, const char *which)
{
    size_t n;
    char *text = (char *)left(directory, which, "log.jsonl", &n), *out = calloc(n + 1, 1),
         *at = out;
    if (!out) fail_msg("out of memory");
    text[n] = 0;
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) fail_msg("%s: the log ends in the middle of a line", which);
        *end = 0;
        char *time = strstr(line, ",\"ms\":");
        if (strstr(line, "resident_bytes") || strstr(line, "high_water")) continue;
        if (time) *time = 0;
        at += sprintf(at, "%s\n", line);
    }
    free(text);
    return out;
}

void runs_same(const char *directory, const char *a, const char *b, int64_t step)
{
    char *x = steady_log(directory, a), *y = steady_log(directory, b);
    if (strcmp(x, y)) fail_msg("the logs of %s and %s differ:\n%s---\n%s", a, b, x, y);
    free(x);
    free(y);
    const char *trained = "model.safetensors";
    char adapters[1000];
    snprintf(adapters, sizeof adapters, "%s/%s/adapter_%s", directory, a, trained);
    if (!access(adapters, F_OK)) trained = "adapter_model.safetensors";
    same_left(directory, a, b, trained);
    const char *names[] = {trained, "optimizer.safetensors"};
    snprintf(adapters, sizeof adapters, "%s/%s/step_%08lld/optimizer.safetensors.index.json",
             directory, a, (long long)step);
    if (!access(adapters, F_OK)) { /* in parts, by one rank */
        names[0] = "model-00001-of-00001.safetensors";
        names[1] = "optimizer-00001-of-00001.safetensors";
    }
    for (int i = 0; i < 2 && step; i++) {
        char name[100];
        snprintf(name, sizeof name, "step_%08lld/%s", (long long)step, names[i]);
        same_left(directory, a, b, name);
    }
}

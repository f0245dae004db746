/* scenario.c - see scenario.h */
#include "test/fault/scenario.h"
#include "test/fault/fault_files.h"
#include "test/fault/inject.h"
#include "test/scratch.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { WORDS = 64, LIMIT_S = 120, LEAK_SEARCH = 60 };

#ifdef REGRAD_DEBUG
static const fault_mode usual_mode = FAULT_ONCE;
#else
static const fault_mode usual_mode = FAULT_ONWARD;
#endif

typedef struct {
    const scenario *s;
    fault_report *report; /* shared with the child */
    int out, err;         /* what it prints, in memory */
    files before, after;  /* work/ before any run, and after one without a failure */
    char *said;           /* on stdout, in that run */
    int status;           /* of the last run, as wait gives it */
    bool all;             /* every call, in both modes */
} fault_case;

static const char *const mode_names[] = {"none", "once", "and all after it", "short transfers"};

/* What is in one of the files in memory; free it. */
static char *text_of(int fd)
{
    off_t n = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)n + 1);
    if (n < 0 || !text || pread(fd, text, (size_t)n, 0) != n) fail_msg("cannot read what was said");
    return text;
}

static void fails_at(const fault_case *t, fault_mode mode, int64_t n, const char *why,
                     const char *more)
{
    const fault_report *r = t->report;
    char *err = text_of(t->err), stack[1000] = "";
    for (int i = 0; i < r->n_frames; i++)
        snprintf(stack + strlen(stack), sizeof stack - strlen(stack), " %#lx",
                 (unsigned long)r->frame[i]);
    print_message("%s: call %lld of %lld (%s, %s)\n  callers:%s\n  stderr: %s\n", t->s->name,
                  (long long)n, (long long)r->calls, *r->what ? r->what : "nothing failed",
                  mode_names[mode], stack, err);
    free(err);
    fail_msg("%s: %s%s", t->s->name, why, more);
}

/* ---- a run ---- */

static int call(const scenario *s, const char *arguments)
{
    char text[1000], *argv[WORDS] = {0}, *rest = NULL;
    int argc = 0;
    snprintf(text, sizeof text, "%s", arguments);
    for (char *word = strtok_r(text, " ", &rest); word && argc < WORDS - 1;
         word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    return s->program(argc, argv);
}

static void in_child(const fault_case *t, fault_mode mode, int64_t n)
{
    if (dup2(t->out, STDOUT_FILENO) < 0 || dup2(t->err, STDERR_FILENO) < 0) _exit(100);
    alarm(LIMIT_S);
    cJSON_InitHooks(&(cJSON_Hooks){malloc, free}); /* the wrapped ones */
    fault_stdout();
    fault_arm(t->report, mode, n);
    int status = call(t->s, t->s->arguments);
    fflush(stdout);
    fault_disarm();
    if (t->all || n % LEAK_SEARCH == 0)
        exit(status); /* LeakSanitizer looks, which takes its time */
    _exit(status);
}

static void run(fault_case *t, fault_mode mode, int64_t n)
{
    fault_report *r = t->report;
    files_restore(&t->before, "work");
    r->calls = r->struck = r->leaked_blocks = r->leaked_files = r->n_frames = 0;
    r->what[0] = 0;
    if (ftruncate(t->out, 0) || ftruncate(t->err, 0) || lseek(t->out, 0, SEEK_SET) ||
        lseek(t->err, 0, SEEK_SET))
        fail_msg("cannot empty what was said: %s", strerror(errno));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) in_child(t, mode, n);
    if (child < 0 || waitpid(child, &t->status, 0) != child) fail_msg("cannot fork");
}

/* ---- what it left ---- */

/* What a checkpoint that failed may leave where the disk does not even let it remove that; that it
 * harms nobody is seen afterwards. */
static bool is_leftover(const fault_case *t, const char *name)
{
    return t->s->again && (strstr(name, ".tmp") || strstr(name, ".trash"));
}

/* What a success has unless it has warned, in an earlier run, too: "run/step_00000002*". If it is
 * there, it is complete. */
static bool is_optional(const fault_case *t, const char *name)
{
    for (int i = 0; i < SCENARIO_FILES && t->s->partial[i]; i++) {
        const char *partial = t->s->partial[i], *star = strchr(partial, '*');
        if (star && strncmp(name, partial, (size_t)(star - partial)) == 0) return true;
    }
    return false;
}

static bool is_partial(const fault_case *t, const char *name)
{
    for (int i = 0; i < SCENARIO_FILES && t->s->partial[i]; i++)
        if (strcmp(name, t->s->partial[i]) == 0) return true;
    return false;
}

/* A file that is not what it was nor what it will be, or one that is missing; NULL if none is. */
static const char *wrong_file(const fault_case *t, const files *now, bool success)
{
    for (int i = 0; i < now->n; i++) {
        const saved_file *k = &now->file[i], *new = files_find(&t->after, k->name);
        if (is_partial(t, k->name) || files_same(k, new)) continue;
        if (!success && is_leftover(t, k->name)) continue;
        if (t->s->again && !new &&files_same(k, files_find(&t->before, k->name)))
            continue; /* an old checkpoint may stay longer */
        if (success || !files_same(k, files_find(&t->before, k->name))) return k->name;
    }
    const files *expected = success ? &t->after : &t->before;
    for (int i = 0; i < expected->n; i++)
        if (!files_find(now, expected->file[i].name) && !is_optional(t, expected->file[i].name) &&
            files_find(&t->after, expected->file[i].name))
            return expected->file[i].name;
    return NULL;
}

static void check_files(const fault_case *t, fault_mode mode, int64_t n, bool success)
{
    files now;
    char name[200] = "";
    files_read(&now, "work");
    const char *wrong = wrong_file(t, &now, success);
    if (wrong) snprintf(name, sizeof name, "%s", wrong);
    files_free(&now);
    if (wrong)
        fails_at(t, mode, n,
                 success ? "a success, but not with this file: "
                         : "half written, lost or left over: ",
                 name);
}

/* Behind the lines that warn: of what the program can do without, but should not in silence. */
static char *after_warnings(char *text)
{
    static const char mark[] = "warning: ";
    while (strncmp(text, mark, sizeof mark - 1) == 0 && strchr(text, '\n'))
        text = strchr(text, '\n') + 1;
    return text;
}

static char *last_line(char *text)
{
    for (char *end = strchr(text, '\n'); end && end[1]; end = strchr(text, '\n'))
        text = end + 1;
    return text;
}

/* One line, "program: why", about a mistake that is not ours. */
static const char *wrong_line(const char *program, const char *line)
{
    size_t n = strcspn(program, " "), length = strlen(line);
    if (length == 0) return "no word about it";
    if (strncmp(line, program, n) != 0 || strncmp(line + n, ": ", 2) != 0)
        return "the line does not begin with the program's name";
    if (line[length - 1] != '\n' || strchr(line, '\n') != line + length - 1) return "not one line";
    if (strstr(line, "internal error")) return "called an internal error";
    if (strstr(line, "Success") || strstr(line, "(null)")) return "a line that does not say why";
    return NULL;
}

static void check(const fault_case *t, fault_mode mode, int64_t n)
{
    const fault_report *r = t->report;
    char *err = text_of(t->err), *out = text_of(t->out), *complaint = after_warnings(err);
    if (t->s->talks) complaint = last_line(complaint);
    bool warned = complaint > err && !t->s->talks,
         success = WIFEXITED(t->status) && WEXITSTATUS(t->status) == 0;
    const char *wrong = NULL;
    if (WIFSIGNALED(t->status))
        wrong = strsignal(WTERMSIG(t->status));
    else if (!success && WEXITSTATUS(t->status) != 1)
        wrong = "its status is neither 0 nor 1";
    else if (success)
        wrong = *complaint && !t->s->talks ? "a success that complains" : NULL;
    else
        wrong = wrong_line(t->s->arguments, complaint);
    if (!wrong && r->leaked_blocks) wrong = "memory was not given back";
    if (!wrong && r->leaked_files) wrong = "a file was left open";
    if (!wrong && success && !is_partial(t, "stdout") && strcmp(out, t->said) != 0)
        wrong = "a success, but its output is not whole";
    if (!wrong && (!success || warned) && mode == FAULT_SHORT)
        wrong = "short transfers are no failure";
    char more[60] = "";
    if (r->leaked_blocks)
        snprintf(more, sizeof more, " (%lld blocks, one by %#lx)", (long long)r->leaked_blocks,
                 (unsigned long)r->leaked_by);
    if (wrong) fails_at(t, mode, n, wrong, more);
    check_files(t, mode, n, success && !warned);
    free(err);
    free(out);
}

/* Nothing is lost: without a failure the program goes on from what is there. */
static void check_again(fault_case *t, fault_mode mode, int64_t n)
{
    fflush(stdout);
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (dup2(t->err, STDERR_FILENO) < 0 || !freopen("/dev/null", "w", stdout)) _exit(100);
        _exit(call(t->s, t->s->again));
    }
    if (child < 0 || waitpid(child, &status, 0) != child) fail_msg("cannot fork");
    if (status != 0) fails_at(t, mode, n, "afterwards this fails: ", t->s->again);
    check_files(t, mode, n, true);
}

/* ---- all of them ---- */

/* The cases of all scenarios so far. */
static struct {
    uint64_t stack[FAULT_CALLS];
    int n;
} tried;

/* Whether a call with the same callers came before, in this scenario or another. */
static bool is_new(uint64_t stack)
{
    for (int i = 0; i < tried.n; i++)
        if (tried.stack[i] == stack) return false;
    if (tried.n < FAULT_CALLS) tried.stack[tried.n++] = stack;
    return true;
}

static fault_report *shared_report(void)
{
    void *p =
        mmap(NULL, sizeof(fault_report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) fail_msg("no memory to share");
    return p;
}

static void fail_one(fault_case *t, fault_mode mode, int64_t n)
{
    run(t, mode, n);
    if (!t->report->struck) fails_at(t, mode, n, "the run is not the same every time", "");
    check(t, mode, n);
    if (t->s->again) check_again(t, mode, n);
}

static void fail_each(fault_case *t, const fault_report *plan)
{
    int64_t cases = 0, survived = 0;
    for (int64_t n = 1; n <= plan->calls; n++) {
        if (!is_new(plan->stack[n - 1]) && !t->all) continue;
        for (fault_mode mode = FAULT_ONCE; mode <= FAULT_ONWARD; mode++) {
            if (!t->all && mode != usual_mode) continue;
            fail_one(t, mode, n);
            cases++;
            survived += t->status == 0;
        }
    }
    print_message("%s: %lld calls can fail; %lld runs with a failure, %lld did without\n",
                  t->s->name, (long long)plan->calls, (long long)cases, (long long)survived);
}

void scenario_run(const scenario *s, const char *directory)
{
    const char *wish = getenv("LONG");
    static fault_case t; /* what a failure leaves here is no leak */
    t = (fault_case){.s = s, .report = shared_report(), .all = wish && strcmp(wish, "1") == 0};
    if (chdir(directory) != 0) fail_msg("cannot go to %s", directory);
    t.out = memfd_create("stdout", 0);
    t.err = memfd_create("stderr", 0);
    files_read(&t.before, "work");
    run(&t, FAULT_NONE, 0);
    t.said = text_of(t.out);
    files_read(&t.after, "work");
    if (t.status != 0) fails_at(&t, FAULT_NONE, 0, "does not work even without a failure", "");
    check(&t, FAULT_NONE, 0);
    fault_report *plan = shared_report();
    *plan = *t.report;
    assert_in_range(plan->calls, s->minimum, FAULT_CALLS);
    run(&t, FAULT_SHORT, 0);
    check(&t, FAULT_SHORT, 0);
    fail_each(&t, plan);
    files_free(&t.before);
    files_free(&t.after);
    free(t.said);
    close(t.out);
    close(t.err);
    munmap(plan, sizeof *plan);
    munmap(t.report, sizeof *t.report);
    if (chdir("/") != 0) fail_msg("cannot leave %s", directory);
}

void scenario_prepare(const scenario *s, const char *directory)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (chdir(directory) != 0 || !freopen("/dev/null", "w", stdout)) _exit(100);
        exit(call(s, s->arguments));
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        fail_msg("cannot prepare: %s", s->arguments);
}

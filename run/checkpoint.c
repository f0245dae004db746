/* checkpoint.c - see checkpoint.h */
#include "run/checkpoint.h"
#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_LENGTH = 32, MOST_ASIDE = 100 };

/* Checking that a checkpoint is complete takes as long as writing it: once is enough. */
typedef enum { UNKNOWN, COMPLETE, BROKEN } condition;

typedef struct {
    int64_t step;
    condition is;
} known;

struct checkpoints {
    char path[PATH_LENGTH];
    int lock;    /* the directory, open and locked */
    known *list; /* by step, ascending */
    int64_t n, room;
};

/* ---- names ---- */

static void step_name(int64_t step, char *name)
{
    snprintf(name, NAME_LENGTH, "step_%08lld", (long long)step);
}

static int64_t step_of(const char *name)
{
    char back[NAME_LENGTH], *end;
    if (strncmp(name, "step_", 5) || strlen(name) >= NAME_LENGTH) return -1;
    int64_t step = strtoll(name + 5, &end, 10);
    if (step < 0) return -1;
    step_name(step, back);
    return strcmp(name, back) ? -1 : step;
}

int64_t checkpoint_step(const char *path)
{
    char copy[PATH_LENGTH];
    size_t n = strlen(path);
    if (n >= sizeof copy) return -1;
    memcpy(copy, path, n + 1);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = 0;
    const char *slash = strrchr(copy, '/');
    return step_of(slash ? slash + 1 : copy);
}

static error *step_path(const checkpoints *c, int64_t step, const char *tail, char *path)
{
    char name[NAME_LENGTH + 32], base[NAME_LENGTH];
    step_name(step, base);
    snprintf(name, sizeof name, "%s%s", base, tail);
    return path_join(path, c->path, name);
}

/* "step_00001000.tmp", "step_00001000.trash": left over when a process ended */
static bool is_left_over(const char *name)
{
    char base[NAME_LENGTH];
    const char *dot = strchr(name, '.');
    if (!dot || dot - name >= NAME_LENGTH || (strcmp(dot, ".tmp") && strcmp(dot, ".trash")))
        return false;
    snprintf(base, sizeof base, "%.*s", (int)(dot - name), name);
    return step_of(base) >= 0;
}

/* "model.safetensors.tmp.4711": an unfinished file of a run, as base/outfile.c names it */
static bool is_temporary(const char *name)
{
    static const char *const files[] = {"adapter_model.safetensors",
                                        "adapter_config.json",
                                        "model.safetensors",
                                        "config.json",
                                        "options.json",
                                        "data.json",
                                        "plan.txt",
                                        "plan.svg",
                                        "classes.txt",
                                        "tokenizer.vocab",
                                        "tokenizer.json",
                                        "chat_template.jinja",
                                        "tokenizer_config.json",
                                        "generation_config.json",
                                        "predictions.txt",
                                        NULL};
    for (const char *const *file = files; *file; file++) {
        size_t n = strlen(*file);
        const char *tail = name + n;
        if (strncmp(name, *file, n) || strncmp(tail, ".tmp.", 5)) continue;
        return tail[5] && strspn(tail + 5, "0123456789") == strlen(tail + 5);
    }
    return false;
}

/* ---- directories ---- */

static error *failed(const char *what, const char *path)
{
    int number = errno;
    return error_numbered(
        user_error("cannot %s %s: %s%s", what, path, strerror(number),
                   number == ENOSPC || number == EDQUOT ? ": make room on the disk" : ""),
        number);
}

/* Calls visit for each name in a directory except . and .. */
static error *each_name(const char *path, error *(*visit)(void *context, const char *name),
                        void *context)
{
    error *e = NULL;
    DIR *d = opendir(path);
    if (!d) return failed("read", path);
    struct dirent *entry;
    while (!e && (errno = 0, entry = readdir(d)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            e = visit(context, entry->d_name);
    if (!e && errno) e = failed("read", path);
    closedir(d);
    return e;
}

static error *remove_file(void *directory, const char *name)
{
    char path[PATH_LENGTH];
    TRY(path_join(path, directory, name));
    return unlink(path) && errno != ENOENT ? failed("remove", path) : NULL;
}

/* A directory that contains only files. */
static error *remove_directory(char *path)
{
    TRY(each_name(path, remove_file, path));
    return rmdir(path) ? failed("remove", path) : NULL;
}

/* ---- the list ---- */

static error *add_known(checkpoints *c, int64_t step, condition is)
{
    if (c->n == c->room) {
        int64_t room = c->room ? 2 * c->room : 16;
        known *list = realloc(c->list, (size_t)room * sizeof *list);
        if (!list) return user_error("out of memory for the list of checkpoints");
        c->list = list;
        c->room = room;
    }
    int64_t at = c->n++;
    for (; at > 0 && c->list[at - 1].step > step; at--)
        c->list[at] = c->list[at - 1];
    c->list[at] = (known){step, is};
    return NULL;
}

static void forget(checkpoints *c, int64_t at)
{
    c->n--;
    memmove(&c->list[at], &c->list[at + 1], (size_t)(c->n - at) * sizeof *c->list);
}

static int64_t find_newest(const checkpoints *c, int64_t step)
{
    int64_t at = c->n - 1;
    while (at >= 0 && c->list[at].step != step)
        at--;
    return at;
}

static error *list_name(void *context, const char *name)
{
    int64_t step = step_of(name);
    return step < 0 ? NULL : add_known(context, step, UNKNOWN);
}

/* The largest step below a limit. */
typedef struct {
    int64_t limit, step;
} search;

static error *note_step(void *context, const char *name)
{
    search *s = context;
    int64_t step = step_of(name);
    if (step < s->limit && step > s->step) s->step = step;
    return NULL;
}

int64_t checkpoint_below(const char *directory, int64_t step, char *path)
{
    search s = {.limit = step, .step = -1};
    char name[NAME_LENGTH];
    error *e = each_name(directory, note_step, &s);
    step_name(s.step < 0 ? 0 : s.step, name);
    if (!e) e = path_join(path, directory, name);
    if (e) s.step = -1; /* there is nothing to check */
    error_free(e);
    return s.step;
}

/* Finds out whether a checkpoint is complete; and why not, if asked and newly found out. */
static error *examine(checkpoints *c, int64_t at, error **why)
{
    char path[PATH_LENGTH];
    *why = NULL;
    if (c->list[at].is != UNKNOWN) return NULL;
    TRY(step_path(c, c->list[at].step, "", path));
    TRY(manifest_verdict(path, c->list[at].step, why));
    c->list[at].is = *why ? BROKEN : COMPLETE;
    return NULL;
}

int64_t checkpoints_count(const checkpoints *c)
{
    return c->n;
}

int64_t checkpoints_latest(const checkpoints *c)
{
    return c->n ? c->list[c->n - 1].step : -1;
}

/* ---- opening ---- */

static error *lock_directory(checkpoints *c)
{
    c->lock = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->lock < 0) return failed("open", c->path);
    /* a file system without locks is used without */
    if (flock(c->lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return user_error("%s: another process is training there: wait for its end, or give --out "
                          "another directory",
                          c->path);
    return NULL;
}

error *checkpoints_open(const char *directory, checkpoints **out)
{
    checkpoints *c;
    if (strlen(directory) >= PATH_LENGTH)
        return user_error("--out %.60s...: the path is too long", directory);
    TRY(alloc_array(&c, 1, sizeof *c));
    snprintf(c->path, sizeof c->path, "%s", directory);
    error *e = lock_directory(c);
    if (!e) e = each_name(c->path, list_name, c);
    if (e) {
        checkpoints_close(c);
        return e;
    }
    *out = c;
    return NULL;
}

const char *checkpoints_path(const checkpoints *c)
{
    return c->path;
}

static bool same_directory(int fd, const char *path)
{
    struct stat held, named;
    return !fstat(fd, &held) && !stat(path, &named) && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

/* The kernel's name for the open directory. */
static bool present_name(const checkpoints *c, char *name)
{
    char link[64];
    struct stat st;
    snprintf(link, sizeof link, "/proc/self/fd/%d", c->lock);
    ssize_t n = fstat(c->lock, &st) || !st.st_nlink ? -1 : readlink(link, name, PATH_LENGTH - 1);
    if (n <= 0) return false;
    name[n] = 0;
    return same_directory(c->lock, name);
}

error *checkpoints_follow(checkpoints *c, bool *moved)
{
    char name[PATH_LENGTH];
    *moved = false;
    if (same_directory(c->lock, c->path)) return NULL;
    if (present_name(c, name)) {
        *moved = true;
        strcpy(c->path, name);
        return NULL;
    }
    TRY(make_directory(c->path, "--out"));
    close(c->lock);
    c->n = 0;
    TRY(lock_directory(c));
    return each_name(c->path, list_name, c);
}

void checkpoints_close(checkpoints *c)
{
    if (!c) return;
    if (c->lock >= 0) close(c->lock);
    free(c->list);
    free(c);
}

typedef struct {
    char *path;
    int n;
} cleaning;

static error *clean_file(void *context, const char *name)
{
    cleaning *k = context;
    if (!is_temporary(name)) return NULL;
    k->n++;
    return remove_file(k->path, name);
}

static error *clean_one(void *context, const char *name)
{
    cleaning *k = context;
    char path[PATH_LENGTH];
    if (!is_left_over(name)) return clean_file(k, name);
    TRY(path_join(path, k->path, name));
    k->n++;
    return remove_directory(path);
}

error *checkpoints_clean(checkpoints *c, int *n)
{
    char best[PATH_LENGTH];
    cleaning outer = {.path = c->path}, inner = {.path = best};
    error *e = each_name(c->path, clean_one, &outer);
    if (!e) e = path_join(best, c->path, RUN_BEST);
    if (!e && !access(best, F_OK)) e = each_name(best, clean_file, &inner);
    *n = outer.n + inner.n;
    return e;
}

error *checkpoints_newest(checkpoints *c, void (*report)(void *context, error *why), void *context,
                          char *path, int64_t *step)
{
    for (int64_t at = c->n - 1; at >= 0; at--) {
        error *why;
        TRY(examine(c, at, &why));
        if (why) report(context, why);
        if (c->list[at].is != COMPLETE) continue;
        *step = c->list[at].step;
        return step_path(c, *step, "", path);
    }
    *step = -1;
    *path = 0;
    return NULL;
}

/* ---- writing ---- */

error *checkpoint_write_parts(const char *directory, const checkpoint_part *parts, int n,
                              void *context)
{
    for (int i = 0; i < n; i++) {
        char file[PATH_LENGTH];
        TRY(path_join(file, directory, parts[i].name));
        TRY(parts[i].write(context, file));
    }
    return NULL;
}

/* Makes the name of an incomplete checkpoint available. */
static error *set_aside(checkpoints *c, int64_t at)
{
    char path[PATH_LENGTH], aside[PATH_LENGTH], tail[32] = ".broken";
    error *why;
    TRY(examine(c, at, &why));
    error_free(why);
    TRY(step_path(c, c->list[at].step, "", path));
    if (c->list[at].is == COMPLETE)
        return user_error("%s already exists and is complete: it is not replaced", path);
    for (int i = 2; i < MOST_ASIDE; i++) {
        TRY(step_path(c, c->list[at].step, tail, aside));
        if (rename(path, aside) == 0) {
            forget(c, at);
            return NULL;
        }
        if (errno != ENOTEMPTY && errno != EEXIST) break;
        snprintf(tail, sizeof tail, ".broken.%d", i);
    }
    return failed("set aside", path);
}

/* The rename that makes a directory a checkpoint. */
static error *publish(checkpoints *c, int64_t step, const char *temporary, const char *path)
{
    int64_t at = find_newest(c, step);
    if (at >= 0) TRY(set_aside(c, at));
    if (rename(temporary, path)) return failed("create", path);
    TRY(add_known(c, step, COMPLETE));
    return directory_sync(c->path);
}

/* There may be one that could not be removed when it failed. */
static error *make_empty(char *path)
{
    if (mkdir(path, 0777) == 0) return NULL;
    if (errno != EEXIST) return failed("create", path);
    TRY(remove_directory(path));
    return mkdir(path, 0777) ? failed("create", path) : NULL;
}

error *checkpoint_begin(checkpoints *c, int64_t step, char *directory)
{
    TRY(step_path(c, step, ".tmp", directory));
    return make_empty(directory);
}

error *checkpoint_end(checkpoints *c, int64_t step, const char *const *names,
                      const file_facts *facts, int n)
{
    char temporary[PATH_LENGTH], path[PATH_LENGTH];
    TRY(step_path(c, step, ".tmp", temporary));
    TRY(step_path(c, step, "", path));
    TRY(manifest_write_known(temporary, step, names, facts, n));
    TRY(directory_sync(temporary));
    return publish(c, step, temporary, path);
}

void checkpoint_abandon(checkpoints *c, int64_t step)
{
    char temporary[PATH_LENGTH];
    error *e = step_path(c, step, ".tmp", temporary);
    if (!e) e = remove_directory(temporary);
    error_free(e); /* the first error is the one to report */
}

error *checkpoint_write(checkpoints *c, int64_t step, const checkpoint_part *parts, int n,
                        void *context)
{
    const char *names[MANIFEST_FILES];
    char directory[PATH_LENGTH];
    if (n > MANIFEST_FILES) return internal_error("a checkpoint of %d files", n);
    for (int i = 0; i < n; i++)
        names[i] = parts[i].name;
    TRY(checkpoint_begin(c, step, directory));
    error *e = checkpoint_write_parts(directory, parts, n, context);
    if (!e) e = checkpoint_end(c, step, names, NULL, n);
    if (e) checkpoint_abandon(c, step);
    return e;
}

/* ---- keeping the last few ---- */

static error *discard(checkpoints *c, int64_t at)
{
    char path[PATH_LENGTH], trash[PATH_LENGTH];
    TRY(step_path(c, c->list[at].step, "", path));
    TRY(step_path(c, c->list[at].step, ".trash", trash));
    if (rename(path, trash)) {
        if (errno != ENOENT) return failed("remove", path);
        forget(c, at); /* another process removed it */
        return NULL;
    }
    forget(c, at);
    TRY(directory_sync(c->path));
    return remove_directory(trash);
}

error *checkpoints_give_way(checkpoints *c, int64_t *step)
{
    int64_t newest = c->n - 1;
    *step = -1;
    for (; newest > 0; newest--) {
        error *why;
        TRY(examine(c, newest, &why));
        error_free(why);
        if (c->list[newest].is == COMPLETE) break;
    }
    if (newest <= 0) return NULL;
    *step = c->list[0].step;
    return discard(c, 0);
}

bool checkpoints_make_room(checkpoints *c, const error *why)
{
    int64_t step = -1;
    error *failed = error_is_full_disk(why) ? checkpoints_give_way(c, &step) : NULL;
    if (failed) {
        error_warn(error_context(failed, "no checkpoint could be removed to make room"));
        return false;
    }
    if (step >= 0)
        printf("the disk is full: removed the checkpoint of step %lld\n", (long long)step);
    return step >= 0;
}

error *checkpoints_prune(checkpoints *c, int64_t keep)
{
    int64_t complete = 0;
    for (int64_t at = c->n - 1; at >= 0; at--) {
        error *why;
        if (complete >= keep) {
            TRY(discard(c, at));
            continue;
        }
        TRY(examine(c, at, &why));
        error_free(why);
        complete += c->list[at].is == COMPLETE;
    }
    return NULL;
}

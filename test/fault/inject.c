/* inject.c - counting, striking, and the wrappers of memory; those of files are in inject_files.c
 */
#include "test/fault/inject.h"
#include "test/fault/strike.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char __executable_start, end; /* the linker's: where this program lies */

enum {
    SLOTS = 1 << 16,
    SKIPPED = 2, /* frames of this file in a stack */
#ifdef __SANITIZE_ADDRESS__
    NEAR = 3, /* callers that make a case of their own: a run takes ten times as long */
#else
    NEAR = 5,
#endif
};

typedef struct {
    void *block;
    void *owner;
} slot;

static struct {
    fault_report *report; /* NULL: nothing is done */
    fault_mode mode;
    fault_class class; /* of the call that was struck */
    int64_t n;
    slot live[SLOTS]; /* a hash table of what is allocated; a freed slot keeps block = GONE */
    int files;        /* open when this was armed */
    pthread_mutex_t lock;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define GONE ((void *)&state)

static int open_files(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    if (d) closedir(d);
    return n;
}

void fault_arm(fault_report *report, fault_mode mode, int64_t n)
{
    void *first[2];
    backtrace(first, 2); /* loads what it needs now */
    state.files = open_files();
    state.mode = mode;
    state.n = n;
    state.report = report;
}

void fault_disarm(void)
{
    fault_report *r = state.report;
    state.report = NULL;
    for (int i = 0; i < SLOTS; i++)
        if (state.live[i].block && state.live[i].block != GONE) {
            r->leaked_blocks++;
            r->leaked_by = (char *)state.live[i].owner - &__executable_start;
        }
    r->leaked_files = open_files() - state.files;
}

/* ---- who fails ---- */

static void note_stack(fault_report *r, const char *what)
{
    void *frames[FAULT_FRAMES + SKIPPED];
    int n = backtrace(frames, FAULT_FRAMES + SKIPPED) - SKIPPED;
    snprintf(r->what, sizeof r->what, "%s", what);
    for (int i = 0; i < n; i++)
        r->frame[i] = (char *)frames[SKIPPED + i] - &__executable_start - 1;
    r->n_frames = n;
}

/* Of the nearest callers in this program; the C library's do not count. */
static uint64_t stack_hash(void)
{
    void *frames[FAULT_FRAMES];
    int n = backtrace(frames, FAULT_FRAMES), ours = 0;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (int i = SKIPPED; i < n && ours < NEAR; i++) {
        char *at = frames[i];
        if (at < &__executable_start || at >= &end) continue;
        h = (h ^ (uint64_t)at) * UINT64_C(0x100000001b3);
        ours++;
    }
    return h;
}

bool fault_strikes(const char *what, fault_class class)
{
    fault_report *r = state.report;
    if (!r) return false;
    int64_t n = __atomic_add_fetch(&r->calls, 1, __ATOMIC_RELAXED);
    if (state.mode == FAULT_NONE && n <= FAULT_CALLS) r->stack[n - 1] = stack_hash();
    if (state.mode == FAULT_NONE || state.mode == FAULT_SHORT || n < state.n) return false;
    if (n == state.n) {
        note_stack(r, what);
        state.class = class;
    } else if (state.mode != FAULT_ONWARD || class != state.class) {
        return false;
    }
    r->struck++;
    errno = class == FAULT_MEMORY ? ENOMEM : class == FAULT_OUTPUT ? ENOSPC : EIO;
    return true;
}

bool fault_armed(void)
{
    return state.report;
}

size_t fault_part(size_t n)
{
    return state.report && state.mode == FAULT_SHORT && n > 1 ? n / 2 : n;
}

/* ---- what is allocated ---- */

static slot *find(void *block)
{
    uint64_t i = (uint64_t)block / 16 * UINT64_C(0x9e3779b97f4a7c15) >> 48;
    slot *gone = NULL;
    for (int tries = 0; tries < SLOTS; tries++, i = (i + 1) % SLOTS) {
        slot *s = &state.live[i];
        if (s->block == block) return s;
        if (!s->block) return gone ? gone : s;
        if (s->block == GONE && !gone) gone = s;
    }
    return gone;
}

void *fault_track(void *block, void *owner)
{
    if (!state.report || !block) return block;
    pthread_mutex_lock(&state.lock);
    slot *s = find(block);
    if (s) *s = (slot){block, owner};
    pthread_mutex_unlock(&state.lock);
    return block;
}

void fault_untrack(void *block)
{
    if (!state.report || !block) return;
    pthread_mutex_lock(&state.lock);
    slot *s = find(block);
    if (s && s->block == block) s->block = GONE;
    pthread_mutex_unlock(&state.lock);
}

/* ---- memory ---- */

#define MEMORY(name) fault_strikes(name, FAULT_MEMORY)
#define CALLER       __builtin_return_address(0)

void *__wrap_malloc(size_t n)
{
    return MEMORY("malloc") ? NULL : fault_track(__real_malloc(n), CALLER);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return MEMORY("calloc") ? NULL : fault_track(__real_calloc(n, size), CALLER);
}

void *__wrap_realloc(void *old, size_t n)
{
    if (MEMORY("realloc")) return NULL;
    fault_untrack(old); /* before: another thread may be given the same address */
    void *block = __real_realloc(old, n);
    fault_track(block ? block : old, CALLER);
    return block;
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    return MEMORY("aligned_alloc") ? NULL : fault_track(__real_aligned_alloc(alignment, n), CALLER);
}

char *__wrap_strdup(const char *text)
{
    return MEMORY("strdup") ? NULL : fault_track(__real_strdup(text), CALLER);
}

char *__wrap_strndup(const char *text, size_t n)
{
    return MEMORY("strndup") ? NULL : fault_track(__real_strndup(text, n), CALLER);
}

int __wrap_asprintf(char **out, const char *format, ...)
{
    if (MEMORY("asprintf")) return -1;
    va_list arguments;
    va_start(arguments, format);
    int n = vasprintf(out, format, arguments);
    va_end(arguments);
    if (n >= 0) fault_track(*out, CALLER);
    return n;
}

void __wrap_free(void *block)
{
    fault_untrack(block);
    __real_free(block);
}

/* process_memory.c - see process_memory.h */
#include "base/process_memory.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number after `key` in a file of lines; false: there is none. */
static bool number_in(const char *path, const char *key, size_t *out)
{
    char line[300];
    unsigned long long value;
    bool found = false;
    FILE *f = fopen(path, "r");
    if (!f) return false;
    while (!found && fgets(line, sizeof line, f))
        found = !strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), "%llu", &value) == 1;
    fclose(f);
    if (found) *out = value > SIZE_MAX ? SIZE_MAX : (size_t)value;
    return found;
}

size_t resident_bytes(void)
{
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%lu %lu", &total, &resident) != 2) resident = 0;
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

size_t peak_resident_bytes(void)
{
    size_t kib;
    return number_in("/proc/self/status", "VmHWM:", &kib) ? kib * 1024 : resident_bytes();
}

static void at_most(memory_room *room, const char *by, size_t limit, size_t used)
{
    size_t now = limit > used ? limit - used : 1; /* 0 would mean unknown */
    if (!room->left || now < room->left)
        *room = (memory_room){.left = now, .limit = limit, .used = used, .by = by};
}

/* Where control groups are mounted, and what their files are called. */
typedef struct {
    const char *root, *limit, *used, *pages;
} group_files;

static const group_files version_1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                      "memory.usage_in_bytes", "total_cache "},
                         version_2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "file "};

/* The limit of one control group. */
static void add_group(const group_files *v, const char *group, memory_room *room)
{
    char path[PATH_MAX + 300];
    size_t limit, used, pages = 0;
    snprintf(path, sizeof path, "%s%s/%s", v->root, group, v->limit);
    if (!number_in(path, "", &limit) || limit > SIZE_MAX / 4) return; /* "max" */
    snprintf(path, sizeof path, "%s%s/%s", v->root, group, v->used);
    if (!number_in(path, "", &used)) return;
    snprintf(path, sizeof path, "%s%s/memory.stat", v->root, group);
    if (!number_in(path, v->pages, &pages) || pages > used) pages = 0;
    at_most(room, "its control group", limit, used - pages);
}

/* The tightest limit of a group and all its ancestors; in a container the path is the host's, and
 * only the root is visible. */
static void add_cgroups(const group_files *v, char *group, memory_room *room)
{
    group[strcspn(group, "\n")] = 0;
    for (char *slash; (slash = strrchr(group, '/')); *slash = 0)
        add_group(v, group, room);
    add_group(v, "", room);
}

static void add_control_groups(memory_room *room)
{
    char line[PATH_MAX];
    FILE *f = fopen("/proc/self/cgroup", "r");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        if (!names[1]) add_cgroups(&version_2, group, room);
        if (!strcmp(names + 1, "memory")) add_cgroups(&version_1, group, room);
    }
    fclose(f);
}

memory_room memory_room_now(void)
{
    memory_room room = {.by = ""};
    size_t free_kib, kib, all = 0, swap = 0, swapped = 0;
    struct rlimit space;
    if (number_in("/proc/meminfo", "MemAvailable:", &free_kib)) {
        number_in("/proc/meminfo", "MemTotal:", &all);
        number_in("/proc/meminfo", "SwapTotal:", &swapped);
        number_in("/proc/meminfo", "SwapFree:", &swap);
        size_t left = free_kib + swap, limit = all + swapped > left ? all + swapped : left;
        at_most(&room, "the machine", limit * 1024, (limit - left) * 1024);
    }
    if (!getrlimit(RLIMIT_AS, &space) && space.rlim_cur != RLIM_INFINITY &&
        number_in("/proc/self/status", "VmSize:", &kib))
        at_most(&room, "ulimit -v", space.rlim_cur, kib * 1024);
    add_control_groups(&room);
    return room;
}

size_t memory_left(void)
{
    return memory_room_now().left;
}

size_t process_overhead(int threads)
{
    return ((size_t)12 << 20) + (size_t)(threads > 0 ? threads : 1) * ((size_t)512 << 10);
}

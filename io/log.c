/* log.c - see log.h */
#include "io/log.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

error *log_open(const char *path, FILE **out)
{
    *out = fopen(path, "w");
    if (!*out) return user_error("%s cannot be written: %s", path, strerror(errno));
    return NULL;
}

static void number(FILE *log, const char *name, double value)
{
    if (isfinite(value))
        fprintf(log, ",\"%s\":%.9g", name, value);
    else
        fprintf(log, ",\"%s\":null", name);
}

static error *end_line(FILE *log)
{
    fputs("}\n", log);
    if (fflush(log) || ferror(log))
        return user_error("log.jsonl cannot be written: %s", strerror(errno));
    return NULL;
}

error *log_step(FILE *log, const step_record *s)
{
    fprintf(log, "{\"step\":%lld", (long long)s->step);
    number(log, "loss", s->loss);
    number(log, "lr", s->lr);
    number(log, "grad_norm", s->grad_norm);
    number(log, "ms", s->ms);
    char speed[40];
    snprintf(speed, sizeof speed, "%s_per_s", s->unit);
    number(log, speed, s->units_per_s);
    fprintf(log, ",\"peak_bytes\":%zu", s->peak_bytes);
    return end_line(log);
}

error *log_value(FILE *log, int64_t step, const char *name, double value)
{
    fprintf(log, "{\"step\":%lld", (long long)step);
    number(log, name, value);
    return end_line(log);
}

void show_step(const step_record *s)
{
    char left[32];
    printf("step %5lld/%lld  loss %7.4f  norm %6.3f  lr %.2e  %6.0f ms  %6.0f %s/s  left %s  %.0f "
           "MiB\n",
           (long long)s->step, (long long)s->steps, s->loss, s->grad_norm, s->lr, s->ms,
           s->units_per_s, s->unit_3, duration_text(s->seconds_left, left, sizeof left),
           (double)s->peak_bytes / 1048576.0);
    fflush(stdout);
}

const char *duration_text(double seconds, char *buffer, size_t size)
{
    long long s = (long long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buffer, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buffer, size, "%lld:%02lld", s / 60, s % 60);
    return buffer;
}

error *make_directory(const char *path)
{
    char part[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return user_error("\"%.200s\" is no name for a directory: give --out a shorter one", path);
    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) && errno != EEXIST)
            return user_error("directory %s cannot be made: %s; give --out another", part,
                              strerror(errno));
    }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode) || access(path, W_OK))
        return user_error("%s is not a directory that can be written to: give --out another", path);
    return NULL;
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

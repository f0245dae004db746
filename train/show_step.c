/* show_step.c - see show_step.h */
#include "train/show_step.h"

#include <math.h>
#include <stdio.h>

/* "1:02:03", "2:03" */
static const char *duration_text(double seconds, char *buffer, size_t size)
{
    long long s = (long long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buffer, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buffer, size, "%lld:%02lld", s / 60, s % 60);
    return buffer;
}

void show_step(const step_record *s, const char *unit)
{
    char left[32], mfu[40] = "";
    if (!isnan(s->mfu_llmc)) snprintf(mfu, sizeof mfu, "  mfu %.1f %%", 100 * s->mfu_llmc);
    printf("step %5lld/%lld  loss %7.4f  norm %6.3f  lr %.2e  %6.0f ms  %6.0f %s/s%s  left %s  "
           "%.0f MiB\n",
           (long long)s->step, (long long)s->steps, s->loss, s->grad_norm, s->lr, s->ms,
           s->units_per_s, unit, mfu, duration_text(s->seconds_left, left, sizeof left),
           (double)s->peak_bytes / 1048576.0);
    fflush(stdout);
}

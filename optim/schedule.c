/* schedule.c - see schedule.h */
#include "optim/schedule.h"
#include "base/nearest.h"

#include <math.h>
#include <string.h>

static const char *const names[SCHEDULE_COUNT] = {"cosine", "linear", "constant", "wsd"};

error *schedule_find(const char *name, schedule_kind *out)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if (!strcmp(name, names[i])) {
            *out = (schedule_kind)i;
            return NULL;
        }
    return user_error("--schedule %s: there is no such schedule; the nearest is %s (cosine, "
                      "linear, constant, wsd)",
                      name, nearest_name(name, names, SCHEDULE_COUNT));
}

double schedule_lr(const schedule *s, int64_t step)
{
    if (step < s->warmup) return s->lr * (double)(step + 1) / (double)s->warmup;
    double rest = (double)(s->steps - s->warmup);
    double x = rest > 0 ? (double)(step - s->warmup) / rest : 0, f = s->final_fraction;
    if (x > 1) x = 1;
    switch (s->kind) {
    case SCHEDULE_COSINE:
        return s->lr * (f + (1 - f) * 0.5 * (1 + cos(3.14159265358979323846 * x)));
    case SCHEDULE_LINEAR:
        return s->lr * (1 - x * (1 - f));
    case SCHEDULE_WSD:
        return x <= 0.8 ? s->lr : s->lr * (1 - (x - 0.8) / 0.2 * (1 - f));
    default:
        return s->lr;
    }
}

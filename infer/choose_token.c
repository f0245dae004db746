/* choose_token.c - see choose_token.h */
#include "infer/choose_token.h"
#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

error *chooser_open(const choice_rule *rule, int32_t n, chooser *out)
{
    *out = (chooser){.rule = *rule, .n = n};
    return alloc_array(&out->list, (unsigned long)n, sizeof *out->list);
}

void chooser_close(chooser *p)
{
    free(p->list);
    *p = (chooser){0};
}

/* ---- the largest ---- */

/* a comes before b: larger weight; ties by lower id */
static bool before(candidate a, candidate b)
{
    return a.weight > b.weight || (a.weight == b.weight && a.id < b.id);
}

static int compare(const void *a, const void *b)
{
    return before(*(const candidate *)a, *(const candidate *)b) ? -1 : 1; /* ids differ */
}

/* Moves the k that come first to the front (Hoare's quickselect). */
static void select_largest(candidate *list, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        candidate pivot = list[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (before(list[i], pivot))
                i++;
            while (before(pivot, list[j]))
                j--;
            if (i > j) break;
            candidate swapped = list[i];
            list[i++] = list[j];
            list[j--] = swapped;
        }
        if (k <= j)
            high = j;
        else if (k > i)
            low = i;
        else
            return;
    }
}

/* ---- the steps of the rule; each returns the number of candidates left ---- */

static int64_t limit_count(candidate *list, int64_t n, int64_t k)
{
    if (k <= 0 || k >= n) return n;
    select_largest(list, n, k);
    return k;
}

static double sum_of(const candidate *list, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += list[i].weight;
    return sum;
}

/* Sorting a whole vocabulary would cost more than a small model's step.  All weights below (1 -
 * top_p) sum / n together make up less than 1 - top_p, so they are outside of what is kept. */
static int64_t limit_mass(candidate *list, int64_t n, double top_p)
{
    if (top_p >= 1) return n;
    double sum = sum_of(list, n), least = (1 - top_p) * sum / (double)n, reached = 0;
    int64_t heavy = 0, eligible = 0;
    for (int64_t i = 0; i < n; i++)
        if (list[i].weight >= least) list[heavy++] = list[i];
    qsort(list, (size_t)heavy, sizeof *list, compare);
    while (eligible < heavy && reached < top_p * sum)
        reached += list[eligible++].weight;
    return eligible;
}

static int32_t draw(const candidate *list, int64_t n, double u)
{
    double left = u * sum_of(list, n);
    int32_t id = list[0].id;
    for (int64_t i = 0; i < n; i++) {
        if (list[i].weight > 0) id = list[i].id;
        left -= list[i].weight;
        if (left < 0) break;
    }
    return id;
}

error *choose_token(chooser *p, const float *logits, uint64_t index, int32_t *id)
{
    const choice_rule *rule = &p->rule;
    int32_t most = 0;
    bool bad = false;
    for (int32_t i = 0; i < p->n; i++) {
        bad |= isnan(logits[i]) || logits[i] == INFINITY;
        if (logits[i] > logits[most]) most = i;
    }
    if (bad || logits[most] == -INFINITY)
        return user_error("the model's output is not finite: its parameters were saved after "
                          "training had diverged, or are not for this model; use others");
    *id = most;
    if (rule->temperature == 0) return NULL;
    for (int32_t i = 0; i < p->n; i++)
        p->list[i] = (candidate){exp((double)(logits[i] - logits[most]) / rule->temperature), i};
    int64_t n = limit_count(p->list, p->n, rule->top_k);
    n = limit_mass(p->list, n, rule->top_p);
    *id = draw(p->list, n, rng_uniform(rule->seed, RNG_SAMPLE, index));
    return NULL;
}

/* mixture.c - see mixture.h */
#include "data/mixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/token_pattern.h"

typedef struct {
    const char *word;
    double weight;
    int64_t first, quota; /* of a round */
    token_set *set;
    batches *windows;
} part;

struct mixture {
    part *part; /* (n) */
    int n;
    int64_t seq; /* T */
    uint64_t seed;
};

/* ---- weights ---- */

static error *weight_of(const char *word, double *weight)
{
    token_pattern *p;
    TRY(alloc_array(&p, 1, sizeof *p));
    error *e = token_pattern_parse(word, p);
    *weight = p->weight;
    free(p);
    return e;
}

/* Either all words have a weight, or none has. */
static error *take_weights(mixture *m, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        TRY(weight_of(words[i], &m->part[i].weight));
        m->part[i].word = words[i];
        if ((m->part[i].weight > 0) == (m->part[0].weight > 0)) continue;
        int without = m->part[i].weight > 0 ? 0 : i;
        return user_error("'%s' has no weight and '%s' has: give each of them one, or none",
                          words[without], words[without ? 0 : i]);
    }
    m->n = m->part[0].weight > 0 ? n : 1;
    return NULL;
}

/* Integer shares of a round, by largest remainders. */
static error *share_round(mixture *m)
{
    double all = 0;
    int64_t left = MIXTURE_ROUND;
    for (int i = 0; i < m->n; i++)
        all += m->part[i].weight;
    for (int i = 0; i < m->n; i++) {
        m->part[i].quota = (int64_t)(m->part[i].weight / all * MIXTURE_ROUND);
        left -= m->part[i].quota;
    }
    for (; left > 0; left--) {
        int most = 0;
        double rest = -MIXTURE_ROUND;
        for (int i = 0; i < m->n; i++) {
            double mine = m->part[i].weight / all * MIXTURE_ROUND - (double)m->part[i].quota;
            if (mine > rest) most = i;
            if (mine > rest) rest = mine;
        }
        m->part[most].quota++;
    }
    for (int i = 0; i < m->n; i++) {
        m->part[i].first = i ? m->part[i - 1].first + m->part[i - 1].quota : 0;
        if (!m->part[i].quota)
            return user_error("'%s': its weight is less than 1/%d of all: leave it out",
                              m->part[i].word, MIXTURE_ROUND);
    }
    return NULL;
}

/* ---- opening ---- */

static error *open_sets(mixture *m, const char *const *words, int n, int64_t vocab, int64_t batch,
                        batch_order order)
{
    bool mixed = m->n > 1 || m->part[0].weight > 0;
    if (mixed && order != BATCHES_SHUFFLED)
        return user_error("'%s': weights are for --train-data: leave it out", words[0]);
    if (mixed) TRY(share_round(m));
    for (int i = 0; i < m->n; i++) {
        part *p = &m->part[i];
        TRY(tokens_open(words + i, mixed ? 1 : n, vocab, &p->set));
        TRY(batches_open(p->set, m->seq, mixed ? 1 : batch, order, m->seed, &p->windows));
    }
    if (mixture_windows(m) < batch)
        return user_error("'%s' and the others: too short for one batch: %" PRId64
                          " windows, and a batch takes %" PRId64
                          ": use more text, a smaller batch or a shorter sequence",
                          words[0], mixture_windows(m), batch);
    return NULL;
}

error *mixture_open(const char *const *words, int n, int64_t vocab, int64_t seq, int64_t batch,
                    batch_order order, uint64_t seed, mixture **out)
{
    mixture *m;
    if (n < 1) return user_error("no token shards are named: make some with ./tokenize -o PREFIX");
    TRY(alloc_array(&m, 1, sizeof *m));
    m->seq = seq;
    m->seed = seed;
    error *e = alloc_array(&m->part, (size_t)n, sizeof *m->part);
    if (!e) e = take_weights(m, words, n);
    if (!e) e = open_sets(m, words, n, vocab, batch, order);
    if (e) {
        mixture_close(m);
        return e;
    }
    *out = m;
    return NULL;
}

void mixture_close(mixture *m)
{
    if (!m) return;
    for (int i = 0; i < m->n; i++) {
        batches_close(m->part[i].windows);
        tokens_close(m->part[i].set);
    }
    free(m->part);
    free(m);
}

int mixture_sets(const mixture *m)
{
    return m->n;
}

const token_set *mixture_set(const mixture *m, int i)
{
    return m->part[i].set;
}

/* ---- samples ---- */

int64_t mixture_place(const mixture *m, int64_t s, int *set)
{
    *set = 0;
    if (m->n == 1) return s;
    int64_t round = s / MIXTURE_ROUND;
    int64_t k = (int64_t)rng_permute(m->seed, RNG_SETS, (uint64_t)round,
                                     (uint64_t)(s % MIXTURE_ROUND), MIXTURE_ROUND);
    while (*set + 1 < m->n && k >= m->part[*set + 1].first)
        ++*set;
    const part *p = &m->part[*set];
    return round * p->quota + k - p->first;
}

int64_t mixture_windows(const mixture *m)
{
    int64_t n = 0;
    for (int i = 0; i < m->n; i++)
        n += batches_windows(m->part[i].windows);
    return n;
}

bool mixture_packed(const mixture *m)
{
    bool packed = false;
    for (int i = 0; i < m->n; i++)
        packed = packed || batches_packed(m->part[i].windows);
    return packed;
}

void mixture_about(const mixture *m, char *out, size_t size)
{
    if (m->n == 1) {
        batches_about(m->part[0].windows, out, size);
        return;
    }
    size_t used = 0;
    for (int i = 0; i < m->n && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%g %% of %" PRId64 " rows of %s",
                                 i ? ", " : "", (double)m->part[i].quota * 100 / MIXTURE_ROUND,
                                 batches_windows(m->part[i].windows), m->part[i].word);
}

int64_t mixture_learned(const mixture *m, int64_t sample, int64_t count)
{
    if (m->n == 1) return batches_learned(m->part[0].windows, sample, count);
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++) {
        int set;
        int64_t own = mixture_place(m, sample + i, &set);
        n += batches_learned(m->part[set].windows, own, 1);
    }
    return n;
}

error *mixture_read(const mixture *m, int64_t sample, int64_t count, int32_t *inputs,
                    int32_t *targets, int32_t *starts)
{
    if (m->n == 1)
        return batches_read_packed(m->part[0].windows, sample, count, inputs, targets, starts);
    for (int64_t i = 0; i < count; i++) {
        int set;
        int64_t own = mixture_place(m, sample + i, &set), at = i * m->seq;
        TRY(batches_read_packed(m->part[set].windows, own, 1, inputs + at, targets + at,
                                starts ? starts + at : NULL));
    }
    return NULL;
}

error *mixture_fingerprint(const mixture *m, const fingerprint *known, fingerprint *out)
{
    const token_set **sets;
    uint64_t also = 0;
    TRY(alloc_array(&sets, (size_t)m->n, sizeof *sets));
    for (int i = 0; i < m->n; i++) {
        const int64_t counts[] = {m->part[i].quota, tokens_shards(m->part[i].set)};
        sets[i] = m->part[i].set;
        if (m->n > 1) also = fingerprint_add(also, counts, sizeof counts);
    }
    error *e = tokens_fingerprint(sets, m->n, also, known, out);
    free(sets);
    return e;
}

/* source.h - where samples come from, whatever they are.
 *
 * The trainer knows samples by their number in the run, 0, 1, 2, ..., and nothing else:
 *
 *     trainer  -- samples [first, first + count) -->  source  -->  inputs, targets (host memory)
 *                                                       |
 *                                      text: windows of tokens       data/text_source.h
 *                                      images: decoded, augmented    data/images/image_source.h
 *
 * What sample s is depends on the data, the seed and s alone: never on batch size, on what was read
 * before or on threads.  So the place of a run in its data is one integer, and resuming is reading
 * on from it.  The layout of a sample is agreed between a model kind's place_batch and the source
 * that belongs to it; the batch's tensors say how many bytes there are.
 *
 * An implementation begins with a `source` and fills it in.
 */
#ifndef REGRAD_SOURCE_H
#define REGRAD_SOURCE_H

#include "base/fingerprint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct source source;

typedef struct {
    error *(*read)(source *, int64_t first, int64_t count, void *inputs, void *targets);
    error *(*fingerprint)(const source *, const fingerprint *known, fingerprint *out);
    void (*close)(source *);
    int64_t (*bad)(source *, char *why, size_t size);          /* ? see source_bad */
    int64_t (*warned)(source *, char *why, size_t size);       /* ? see source_warned */
    int64_t (*unused)(const source *, char *why, size_t size); /* ? see source_unused */
    /* ? Of one whose samples are rows of packed documents (data/packing.h): the same as read, with
     * where each token's document begins, and the number of targets that are learned. */
    error *(*read_packed)(source *, int64_t first, int64_t count, void *inputs, void *targets,
                          int32_t *starts);
    int64_t (*learned)(const source *, int64_t first, int64_t count);
} source_ops;

struct source {
    const source_ops *ops;
    int64_t count;    /* samples in an epoch, at least 1 */
    bool ends;        /* samples from count on are empty (they add no loss), not the next epoch's */
    bool packed;      /* read_packed and learned are there, and only they make sense */
    char about[200];  /* a line about it; may be empty */
    int64_t left_out; /* how often a sample was read as an empty one, because it is bad */
};

/* Samples first .. first + count of the run, one after the other. */
static inline error *source_read(source *s, int64_t first, int64_t count, void *inputs,
                                 void *targets)
{
    if (first < 0 || count < 0 || count > INT64_MAX - first)
        return internal_error("samples %lld + %lld", (long long)first, (long long)count);
    return s->ops->read(s, first, count, inputs, targets);
}

/* The same with where each token's document begins, for any source of rows of `length` tokens: one
 * that is not packed has one document a row.  Targets that are not learned are -1. */
static inline error *source_read_packed(source *s, int64_t first, int64_t count, void *inputs,
                                        void *targets, int32_t *starts, int64_t length)
{
    if (s->packed) return s->ops->read_packed(s, first, count, inputs, targets, starts);
    memset(starts, 0, (size_t)(count * length) * sizeof *starts);
    return source_read(s, first, count, inputs, targets);
}

/* Targets that are learned in samples first .. first + count of that many each. */
static inline int64_t source_learned(const source *s, int64_t first, int64_t count, int64_t each)
{
    return s->packed ? s->ops->learned(s, first, count) : count * each;
}

/* A number that tells this data from other: of all that is in its files (base/fingerprint.h).
 * known: ? an earlier one, which is taken if the files have not changed since. */
static inline error *source_fingerprint(const source *s, const fingerprint *known, fingerprint *out)
{
    return s->ops->fingerprint(s, known, out);
}

/* How many samples were left out because they are bad, and what was wrong with the last. */
static inline int64_t source_bad(source *s, char *why, size_t size)
{
    return s->ops->bad ? s->ops->bad(s, why, size) : 0;
}

/* How many samples were read with a warning, and which was the last. */
static inline int64_t source_warned(source *s, char *why, size_t size)
{
    return s->ops->warned ? s->ops->warned(s, why, size) : 0;
}

/* How many files have nothing that is in a sample, and in words which and why. */
static inline int64_t source_unused(const source *s, char *why, size_t size)
{
    return s->ops->unused ? s->ops->unused(s, why, size) : 0;
}

static inline void source_close(source *s) /* NULL is fine */
{
    if (s) s->ops->close(s);
}

#endif

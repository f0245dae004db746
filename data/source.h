/* source.h - where samples come from: the interface of data sets.
 *
 * The trainer knows samples only by their number in the run, 0, 1, 2, ...:
 *
 *     trainer  -- samples [first, first + count) -->  source  -->  inputs, targets (host memory)
 *                                                       |
 *                                      text: windows of tokens       data/text_source.h
 *                                      images: decoded, augmented    data/images/image_source.h
 *
 * Sample s depends only on the data, the seed and s: never on batch size, on earlier reads or on
 * threads.  So the position of a run in its data is one integer, and to resume is to read on from
 * there.  The layout of a sample is agreed between a model kind's place_batch and its source; the
 * batch's tensors define the sizes.
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
    /* ? For rows of packed documents (data/packing.h): the same as read, with where each token's
     * document begins, and the number of learned targets. */
    error *(*read_packed)(source *, int64_t first, int64_t count, void *inputs, void *targets,
                          int32_t *starts);
    int64_t (*learned)(const source *, int64_t first, int64_t count);
} source_ops;

struct source {
    const source_ops *ops;
    int64_t count;    /* samples in an epoch, at least 1 */
    bool ends;        /* samples from count on are empty (they add no loss), instead of the next
                       * epoch's */
    bool packed;      /* read_packed and learned are set, and read must not be used */
    char about[200];  /* a line about it; may be empty */
    int64_t left_out; /* how often a bad sample was read as an empty one */
    source *inner;    /* ? whose samples these are: it answers what is asked of the data */
};

/* Samples first .. first + count of the run, in order. */
static inline error *source_read(source *s, int64_t first, int64_t count, void *inputs,
                                 void *targets)
{
    if (first < 0 || count < 0 || count > INT64_MAX - first)
        return internal_error("samples %lld + %lld", (long long)first, (long long)count);
    return s->ops->read(s, first, count, inputs, targets);
}

/* The same with where each token's document begins, for any source of rows of `length` tokens:
 * without packing, each row is one document.  Targets that are not learned are -1. */
static inline error *source_read_packed(source *s, int64_t first, int64_t count, void *inputs,
                                        void *targets, int32_t *starts, int64_t length)
{
    if (s->packed) return s->ops->read_packed(s, first, count, inputs, targets, starts);
    memset(starts, 0, (size_t)(count * length) * sizeof *starts);
    return source_read(s, first, count, inputs, targets);
}

/* Learned targets in samples first .. first + count of that many each. */
static inline int64_t source_learned(const source *s, int64_t first, int64_t count, int64_t each)
{
    return s->packed ? s->ops->learned(s, first, count) : count * each;
}

/* Identifies the data by the contents of its files (base/fingerprint.h).  known: ? an earlier
 * fingerprint, which is reused if the files have not changed since. */
static inline error *source_fingerprint(const source *s, const fingerprint *known, fingerprint *out)
{
    if (s->inner) s = s->inner;
    return s->ops->fingerprint(s, known, out);
}

/* How many samples were skipped because they are bad, and what was wrong with the last. */
static inline int64_t source_bad(source *s, char *why, size_t size)
{
    if (s->inner) s = s->inner;
    return s->ops->bad ? s->ops->bad(s, why, size) : 0;
}

/* How many samples were read with a warning, and which was the last. */
static inline int64_t source_warned(source *s, char *why, size_t size)
{
    if (s->inner) s = s->inner;
    return s->ops->warned ? s->ops->warned(s, why, size) : 0;
}

/* How many files are in no sample, and a message with names and reasons. */
static inline int64_t source_unused(const source *s, char *why, size_t size)
{
    return s->ops->unused ? s->ops->unused(s, why, size) : 0;
}

static inline void source_close(source *s) /* NULL is ignored */
{
    if (s) s->ops->close(s);
}

#endif

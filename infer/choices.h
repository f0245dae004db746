/* choices.h - multiple choice: which of several endings does a model find most likely?
 *
 *     {"query": "...", "choices": ["...", "..."], "gold": 1}             the form of lm-evaluation-harness's tasks
 *     {"activity_label": "...", "ctx_a": "...", "ctx_b": "...",          HellaSwag's file, cleaned as in
 *      "endings": ["...", "..."], "label": 1}                            lm-evaluation-harness
 *     {"ctx": "...", "endings": [...], "label": 1}                       the same without its parts
 *
 * A query may also be called context or question, gold label or answer; it may also be a number in
 * quotes.
 *
 *     query ------------> tokens, encoded alone         likelihood of a choice: the sum of ln p of its tokens
 *     query " " choice -> tokens, without the query's
 *
 * White space at the end of the query belongs to the choices, as in lm-evaluation-harness 0.4
 * (api/model.py, _encode_pair).  acc: the most likely choice is gold.  acc_norm: the same for the
 * likelihood per character.  The first of equal choices wins.
 */
#ifndef REGRAD_CHOICES_H
#define REGRAD_CHOICES_H

#include "base/json.h"
#include "data/bpe/bpe.h"

enum { MOST_CHOICES = 64 };

typedef struct {
    char *query;
    char *choice[MOST_CHOICES];
    int n, gold;
} question;

/* Parses a line's object; call question_free in any case.  User errors: what is missing or of
 * another kind. */
error *question_read(const cJSON *line, question *out) NODISCARD;
void question_free(question *q);

/* Length of a choice in characters, by which acc_norm divides. */
size_t question_length(const question *q, int choice);

typedef struct {
    int32_t *query; /* (n) n >= 1 */
    size_t n, capacity;
    int32_t *choice[MOST_CHOICES]; /* (sizes[i]) */
    size_t sizes[MOST_CHOICES], capacities[MOST_CHOICES];
} question_tokens;

/* Call question_tokens_free in any case.  An empty query becomes the token that begins, or else
 * ends, a text.  User error: a choice without a token of its own. */
error *question_encode(const bpe *v, const question *q, question_tokens *out) NODISCARD;
void question_tokens_free(question_tokens *t);

/* From the likelihoods (n): the choice by acc's rule and by acc_norm's. */
void question_choose(const question *q, const double *likelihood, int *plain, int *normed);

#endif

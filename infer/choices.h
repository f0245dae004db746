/* choices.h - a question and the endings to choose from: which of them does a model find likeliest?
 *
 *     {"query": "...", "choices": ["...", "..."], "gold": 1}             as lm-evaluation-harness's tasks have it
 *     {"activity_label": "...", "ctx_a": "...", "ctx_b": "...",          HellaSwag's file, which is cleaned as
 *      "endings": ["...", "..."], "label": 1}                            lm-evaluation-harness cleans it
 *     {"ctx": "...", "endings": [...], "label": 1}                       the same without its parts
 *
 * A query's other names are context and question, gold's are label and answer, which may be a number as a text, too.
 *
 *     query ------------> tokens, as text alone            likelihood of a choice: the sum of ln p of its tokens
 *     query " " choice -> tokens, less as many as the query has
 *
 * White space at the query's end belongs to the choices, as there (lm-evaluation-harness 0.4, api/model.py,
 * _encode_pair).  acc: the likeliest choice is gold.  acc_norm: the same of likelihood by character.  Of equals the
 * first counts.
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

/* A line's object; question_free in any case.  User errors: what is missing or of another kind. */
error *question_read(const cJSON *line, question *out) NODISCARD;
void question_free(question *q);

/* Characters of a choice, by which acc_norm divides. */
size_t question_length(const question *q, int choice);

typedef struct {
    int32_t *query; /* (n) n >= 1 */
    size_t n, capacity;
    int32_t *choice[MOST_CHOICES]; /* (sizes[i]) */
    size_t sizes[MOST_CHOICES], capacities[MOST_CHOICES];
} question_tokens;

/* question_tokens_free in any case.  An empty query is the token that begins, else ends, a text.  User error: a choice
 * without a token of its own. */
error *question_encode(const bpe *v, const question *q, question_tokens *out) NODISCARD;
void question_tokens_free(question_tokens *t);

/* Of likelihoods (n): what is chosen, by acc's rule and by acc_norm's. */
void question_choose(const question *q, const double *likelihood, int *plain, int *normed);

#endif

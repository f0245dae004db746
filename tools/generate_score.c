/* generate_score.c - see generate.h: how likely a text is for a model.
 *
 *     --eval TEXT          every token but the first, with a sliding window
 *     --eval SHARD         adjacent full windows, or the learned part of each document
 *     --eval FILE.jsonl    the learned part of each example, as marked by tokenize --chat
 *     --choices FILE       the most likely choice for each question (infer/choices.h)
 */
#include "tools/generate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/grow.h"
#include "data/text_check.h"
#include "data/tokens.h"
#include "infer/choices.h"

/* ---- scoring ---- */

typedef struct {
    uint8_t *bytes;
    size_t n_bytes, room;
    int32_t *ids;
    size_t n;
} text;

static error *read_text(const char *path, text *t)
{
    TRY(file_check_stream(path));
    FILE *f = fopen(path, "rbe");
    if (!f) return user_error("--eval %s: %s: name a readable text file", path, strerror(errno));
    error *e = stream_read_all(f, path, &t->bytes, &t->n_bytes, &t->room);
    fclose(f);
    if (!e) e = text_check(path, t->bytes, t->n_bytes);
    return error_context(e, "--eval");
}

/* ---- figures ---- */

/* Of what was scored; bytes 0: not known. */
typedef struct {
    double nats, tokens, bytes;
} tally;

static error *print_tally(const session *s, const tally *t)
{
    double loss = t->nats / t->tokens, bits = t->bytes > 0 ? t->nats / log(2) / t->bytes : 0;
    if (s->o->json) {
        cJSON *object = cJSON_CreateObject();
        bool fine = cJSON_AddNumberToObject(object, "loss", loss) &&
                    cJSON_AddNumberToObject(object, "perplexity", exp(loss)) &&
                    cJSON_AddNumberToObject(object, "tokens", t->tokens);
        if (t->bytes > 0)
            fine = fine && cJSON_AddNumberToObject(object, "bits_per_byte", bits) &&
                   cJSON_AddNumberToObject(object, "bytes", t->bytes);
        return json_print_line(object, fine, "the figures");
    }
    printf("loss %.6f  perplexity %.6g", loss, exp(loss));
    if (t->bytes > 0)
        printf("  bits/byte %.6f  tokens %.0f  bytes %.0f\n", bits, t->tokens, t->bytes);
    else
        printf("  tokens %.0f\n", t->tokens);
    fflush(stdout);
    return stdout_check();
}

/* ---- a text ---- */

static error *score(session *s, text *t)
{
    const options *o = s->o;
    int64_t context = s->config.context, half = context > 1 ? context / 2 : 1;
    int64_t stride = isnan(o->numbers[STRIDE]) ? half : (int64_t)o->numbers[STRIDE];
    size_t first;
    double nats, begun;
    if (stride > context)
        return user_error("--stride %lld: at most the model's context, %lld", (long long)stride,
                          (long long)context);
    TRY(read_text(o->eval, t));
    TRY(alloc_array(&t->ids, bpe_most_tokens(s->vocab, t->n_bytes), sizeof *t->ids));
    TRY(bpe_encode(s->vocab, t->bytes, t->n_bytes, t->ids, &t->n));
    if (t->n < 2)
        return user_error("--eval %s: %zu tokens, and a token is scored after another: give a "
                          "longer text",
                          o->eval, t->n);
    TRY(session_start(s, (inference_job){.stride = stride}));
    begun = clock_now();
    TRY(scorer_run(&s->inf->scorer, t->ids, (int64_t)t->n, &nats));
    bpe_token(s->vocab, t->ids[0], &first);
    double tokens = (double)(t->n - 1), bytes = (double)(t->n_bytes - first);
    session_report(s);
    fprintf(stderr, "%zu tokens in %zu bytes; context %lld, stride %lld; %.1f tokens/s\n", t->n,
            t->n_bytes, (long long)context, (long long)stride, tokens / (clock_now() - begun));
    tally all = {nats, tokens, bytes};
    return print_tally(s, &all);
}

/* ---- scoring shards, as training does ---- */

/* Adjacent windows of the context's length; the remainder of a shard is not scored. */
static error *score_windows(session *s, const token_set *set, int shard, tally *t)
{
    int64_t length = s->config.context, windows = (tokens_count(set, shard) - 1) / length,
            n = windows * length + 1;
    int32_t *ids;
    double nats = 0;
    if (windows < 1) return NULL;
    TRY(alloc_array(&ids, (unsigned long)n, sizeof *ids));
    error *e = tokens_read(set, shard, 0, n, ids);
    if (!e) e = scorer_run(&s->inf->scorer, ids, n, &nats);
    free(ids);
    t->nats += nats;
    t->tokens += (double)(n - 1);
    return e;
}

/* The learned part of a document. */
static error *score_document(session *s, const int32_t *ids, const uint8_t *learned, int64_t n,
                             tally *t)
{
    double nats = 0;
    int64_t scored = 0;
    for (int64_t i = 1; i < n; i++)
        scored += learned[i];
    if (!scored) return NULL;
    if (n > s->config.context + 1)
        return user_error("%lld tokens, the model's context is %lld", (long long)n,
                          (long long)s->config.context);
    TRY(scorer_run_learned(&s->inf->scorer, ids, learned, n, &nats));
    t->nats += nats;
    t->tokens += (double)scored;
    return NULL;
}

static error *score_documents(session *s, const token_set *set, int shard, const int32_t *starts,
                              tally *t)
{
    for (int64_t i = 0; i < tokens_documents(set, shard); i++) {
        int64_t first = starts[i], n = starts[i + 1] - first;
        int32_t *ids = NULL;
        uint8_t *learned = NULL;
        error *e = alloc_array(&ids, (unsigned long)n, sizeof *ids);
        if (!e) e = alloc_array(&learned, (unsigned long)n, 1);
        if (!e) e = tokens_read(set, shard, first, n, ids);
        if (!e) e = tokens_learned(set, shard, first, n, learned);
        if (!e)
            e = error_context(score_document(s, ids, learned, n, t), "--eval %s: document %lld",
                              s->o->eval, (long long)i);
        free(ids);
        free(learned);
        TRY(e);
    }
    return NULL;
}

static error *score_shard(session *s, const token_set *set, int shard, tally *t)
{
    int32_t *starts;
    if (!tokens_documents(set, shard)) return score_windows(s, set, shard, t);
    TRY(alloc_array(&starts, (unsigned long)tokens_documents(set, shard) + 1, sizeof *starts));
    error *e = tokens_document_starts(set, shard, starts);
    if (!e) e = score_documents(s, set, shard, starts, t);
    free(starts);
    return e;
}

static error *score_shards(session *s)
{
    const options *o = s->o;
    token_set *set;
    tally t = {0};
    if (!isnan(o->numbers[STRIDE]))
        return user_error("--stride: not with a shard, whose windows are adjacent");
    TRY(tokens_open(&o->eval, 1, s->config.vocab, &set));
    error *e = session_start(s, (inference_job){.stride = s->config.context});
    for (int i = 0; i < tokens_shards(set) && !e; i++)
        e = score_shard(s, set, i, &t);
    tokens_close(set);
    if (!e && t.tokens == 0)
        e = user_error("--eval %s: not one window of %lld + 1 tokens", o->eval,
                       (long long)s->config.context);
    TRY(e);
    session_report(s);
    return print_tally(s, &t);
}

/* ---- examples in lines of JSON ---- */

typedef struct {
    session *s;
    tally t;
} example_score;

static error *score_example(void *context, const cJSON *line)
{
    example_score *x = context;
    chat_example e;
    chat_tokens t = {0};
    error *failed = chat_read(x->s->chat, line, false, &e);
    if (!failed) failed = chat_encode(x->s->vocab, &e, BPE_SPECIAL_TEXT, &t);
    if (!failed) failed = score_document(x->s, t.ids, t.learned, (int64_t)t.n, &x->t);
    chat_tokens_free(&t);
    chat_example_free(&e);
    return failed;
}

static error *score_examples(session *s)
{
    example_score x = {.s = s};
    if (!isnan(s->o->numbers[STRIDE]))
        return user_error("--stride: not with examples, each of which is a window");
    TRY(session_start(s, (inference_job){.stride = s->config.context}));
    TRY(read_json_lines("--eval", s->o->eval, score_example, &x));
    if (x.t.tokens == 0)
        return user_error("--eval %s: nothing to learn in any example", s->o->eval);
    session_report(s);
    return print_tally(s, &x.t);
}

error *generate_eval(session *s)
{
    text t = {0};
    if (tokens_is_shard(s->o->eval)) return score_shards(s);
    if (named_jsonl(s->o->eval)) return score_examples(s);
    error *e = score(s, &t);
    free(t.bytes);
    free(t.ids);
    return e;
}

/* ---- questions ---- */

typedef struct {
    question asked;
    question_tokens tokens;
} quiz_row;

typedef struct {
    session *s;
    quiz_row *rows; /* (n) */
    size_t n, capacity;
    int64_t right, right_normed;
    size_t read; /* tokens */
} quiz;

/* Likelihoods of a question's choices.  The query is read once for all, unless some choices do not
 * fit into the context after it: for these its beginning is cut. */
static error *weigh(quiz *z, const question_tokens *t, int n, double *likelihood)
{
    int64_t most = z->s->config.context + 1, size = (int64_t)t->n;
    scorer *by = &z->s->inf->scorer;
    bool whole = true;
    scorer_ending endings[MOST_CHOICES] = {0};
    for (int i = 0; i < n; i++) {
        endings[i] = (scorer_ending){t->choice[i], (int64_t)t->sizes[i]};
        whole = whole && size + endings[i].n <= most;
    }
    if (whole) TRY(scorer_run_endings(by, t->query, size, endings, n, likelihood));
    for (int i = 0; i < n && !whole; i++) {
        int64_t kept = most - endings[i].n < size ? most - endings[i].n : size;
        TRY(scorer_run_endings(by, t->query + size - kept, kept, &endings[i], 1, &likelihood[i]));
    }
    for (int i = 0; i < n; i++)
        likelihood[i] = -likelihood[i];
    return NULL;
}

static error *print_answer(const question *q, const double *likelihood, int plain, int normed)
{
    cJSON *object = cJSON_CreateObject();
    bool fine = json_add(object, "likelihoods", cJSON_CreateDoubleArray(likelihood, q->n)) &&
                cJSON_AddNumberToObject(object, "gold", q->gold) &&
                cJSON_AddNumberToObject(object, "choice", plain) &&
                cJSON_AddNumberToObject(object, "choice_norm", normed);
    return json_print_line(object, fine, "the figures");
}

static error *ask(quiz *z, const quiz_row *row)
{
    const question *q = &row->asked;
    double likelihood[MOST_CHOICES];
    int plain, normed;
    TRY(weigh(z, &row->tokens, q->n, likelihood));
    question_choose(q, likelihood, &plain, &normed);
    z->right += plain == q->gold;
    z->right_normed += normed == q->gold;
    z->read += row->tokens.n;
    for (int i = 0; i < q->n; i++)
        z->read += row->tokens.sizes[i];
    return z->s->o->json ? print_answer(q, likelihood, plain, normed) : NULL;
}

/* All lines are parsed before the first is scored, so that errors are reported first. */
static error *take_question(void *context, const cJSON *line)
{
    quiz *z = context;
    quiz_row *row;
    TRY(grow_array(&z->rows, &z->capacity, z->n + 1, sizeof *z->rows));
    row = &z->rows[z->n++];
    *row = (quiz_row){0};
    TRY(question_read(line, &row->asked));
    TRY(question_encode(z->s->vocab, &row->asked, &row->tokens));
    for (int i = 0; i < row->asked.n; i++)
        if ((int64_t)row->tokens.sizes[i] > z->s->config.context)
            return user_error("choice %d has %zu tokens, the model sees %lld", i,
                              row->tokens.sizes[i], (long long)z->s->config.context);
    return NULL;
}

/* Standard error of a mean of n zeros and ones, from the sample variance, as in
 * lm-evaluation-harness. */
static double standard_error(double mean, size_t n)
{
    return n > 1 ? sqrt(mean * (1 - mean) / (double)(n - 1)) : 0;
}

static error *print_quiz(const quiz *z)
{
    double acc = (double)z->right / (double)z->n, norm = (double)z->right_normed / (double)z->n,
           acc_error = standard_error(acc, z->n), norm_error = standard_error(norm, z->n);
    if (!z->s->o->json) {
        printf("acc %.4f +- %.4f  acc_norm %.4f +- %.4f  questions %zu\n", acc, acc_error, norm,
               norm_error, z->n);
        fflush(stdout);
        return stdout_check();
    }
    cJSON *object = cJSON_CreateObject();
    bool fine = cJSON_AddNumberToObject(object, "acc", acc) &&
                cJSON_AddNumberToObject(object, "acc_stderr", acc_error) &&
                cJSON_AddNumberToObject(object, "acc_norm", norm) &&
                cJSON_AddNumberToObject(object, "acc_norm_stderr", norm_error) &&
                cJSON_AddNumberToObject(object, "questions", (double)z->n);
    return json_print_line(object, fine, "the figures");
}

static error *ask_all(quiz *z)
{
    session *s = z->s;
    TRY(read_json_lines("--choices", s->o->choices, take_question, z));
    if (!z->n) return user_error("--choices %s: there is no question in it", s->o->choices);
    TRY(session_start(s, (inference_job){.stride = s->config.context}));
    double began = clock_now();
    for (size_t i = 0; i < z->n; i++)
        TRY(ask(z, &z->rows[i]));
    session_report(s);
    fprintf(stderr, "%zu questions, %.1f tokens/s\n", z->n,
            (double)z->read / (clock_now() - began));
    return print_quiz(z);
}

error *generate_choices(session *s)
{
    quiz z = {.s = s};
    error *e = ask_all(&z);
    for (size_t i = 0; i < z.n; i++) {
        question_tokens_free(&z.rows[i].tokens);
        question_free(&z.rows[i].asked);
    }
    free(z.rows);
    return e;
}

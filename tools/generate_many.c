/* generate_many.c - see generate.h: a file of prompts, several at a time (infer/text_batch.h).
 *
 *     FILE           one prompt per line          --chat: one question per line
 *     FILE.jsonl     {"prompt": ...}              --chat: {"prompt": ...} or {"messages": [...]}
 *
 *        --> some at a time sorted by length --> groups of --batch --> in the file's order, each as soon as it and those
 *            before it are complete: {"prompt", "text", "tokens", "end"}
 *
 * The result for a prompt does not depend on its neighbours: number k of the file has its own
 * random numbers, and the first gives what --prompt gives.
 */
#include "tools/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/grow.h"
#include "base/json.h"
#include "base/unpack.h"
#include "data/text_check.h"

typedef struct {
    cJSON *asked; /* its text, or its messages */
    chat_tokens prompt, made;
    const char *end; /* ? why it ended */
    size_t number;   /* in the file */
} row;

typedef struct {
    session *s;
    chooser chooser;
    row *rows; /* (n) */
    size_t n, capacity;
} prompts;

/* ---- reading ---- */

static error *encode_row(const session *s, row *r)
{
    const char *text = cJSON_GetStringValue(r->asked);
    if (!s->chat) return prompt_encode(s, text, strlen(text), &r->prompt);
    if (!text) return messages_encode(s, r->asked, &r->prompt);
    cJSON *messages = cJSON_CreateArray();
    error *e = messages ? NULL : user_error("out of memory for the prompts");
    if (!e && s->o->system) e = add_message(messages, "system", s->o->system);
    if (!e) e = add_message(messages, "user", text);
    if (!e) e = messages_encode(s, messages, &r->prompt);
    cJSON_Delete(messages);
    return e;
}

static error *add_row(prompts *p, const cJSON *asked)
{
    TRY(grow_array(&p->rows, &p->capacity, p->n + 1, sizeof *p->rows));
    row *r = &p->rows[p->n];
    *r = (row){.number = p->n, .asked = cJSON_Duplicate(asked, true)};
    p->n++;
    if (!r->asked) return user_error("out of memory for the prompts");
    TRY(encode_row(p->s, r));
    if (!r->prompt.n) return user_error("the prompt is empty: there is nothing to continue");
    if ((int64_t)r->prompt.n > p->s->config.context)
        return user_error("the prompt has %zu tokens, the model sees %lld at a time", r->prompt.n,
                          (long long)p->s->config.context);
    return NULL;
}

static error *take_object(void *context, const cJSON *line)
{
    prompts *p = context;
    const cJSON *text = json_get(line, "prompt"), *messages = json_get(line, "messages");
    if (cJSON_IsString(text)) return add_row(p, text);
    if (p->s->chat && messages) return add_row(p, messages);
    return user_error("there is no prompt in it: {\"prompt\": TEXT}%s",
                      messages ? ", or --chat for messages" : "");
}

static error *take_prompt(prompts *p, const char *line)
{
    cJSON *text = cJSON_CreateString(line);
    error *e = text ? add_row(p, text) : user_error("out of memory for the prompts");
    cJSON_Delete(text);
    return e;
}

/* Lines of a NUL-terminated text; empty ones are skipped. */
static error *take_lines(prompts *p, char *text)
{
    size_t number = 1;
    for (char *next; text; text = next, number++) {
        next = strchr(text, '\n');
        if (next) *next++ = 0;
        text[strcspn(text, "\r")] = 0;
        if (*text)
            TRY(error_context(take_prompt(p, text), "--prompts %s, line %zu", p->s->o->prompts,
                              number));
    }
    return NULL;
}

static error *read_lines(prompts *p)
{
    const char *path = p->s->o->prompts;
    uint8_t *bytes = NULL;
    size_t n = 0, capacity = 0;
    error *e = read_unpacked(path, &bytes, &n, &capacity);
    if (!e) e = text_check(path, bytes, n);
    if (!e && memchr(bytes, 0, n)) e = user_error("%s: there is a byte of zero in it", path);
    if (!e) e = grow_array(&bytes, &capacity, n + 1, 1);
    e = error_context(e, "--prompts");
    if (!e) {
        bytes[n] = 0;
        e = take_lines(p, (char *)bytes);
    }
    free(bytes);
    return e;
}

/* ---- generating ---- */

static int by_length(const void *a, const void *b)
{
    const row *x = *(row *const *)a, *y = *(row *const *)b;
    if (x->prompt.n != y->prompt.n) return x->prompt.n < y->prompt.n ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

/* The token at `position`, which the logits are for: the prompt's, or a chosen one. */
static error *next_token(prompts *p, row *r, size_t position, const float *logits, int32_t *id)
{
    *id = 0;
    if (position < r->prompt.n) {
        *id = r->prompt.ids[position];
        return NULL;
    }
    if (r->end) return NULL;
    chat_tokens *made = &r->made;
    TRY(choose_token(&p->chooser, logits, (uint64_t)r->number << 24 | made->n, id));
    if (stops_at(p->s, *id)) {
        r->end = "stop";
        return NULL;
    }
    TRY(grow_array(&made->ids, &made->capacity, made->n + 1, sizeof *made->ids));
    made->ids[made->n++] = *id;
    if (made->n >= (size_t)p->s->o->numbers[TOKENS])
        r->end = "tokens";
    else if (position + 1 >= (size_t)p->s->config.context)
        r->end = "context";
    return NULL;
}

/* The positions that all prompts cover, in pieces; logits of what follows. */
static error *push_common(text_batch *b, row *const *rows, int64_t n, int32_t *ids, float *logits)
{
    int64_t common = (int64_t)rows[0]->prompt.n, count; /* the shortest comes first */
    for (int64_t at = 0; at < common; at += count) {
        count = common - at < b->room ? common - at : b->room;
        for (int64_t i = 0; i < b->n; i++)
            memcpy(ids + i * count, rows[i < n ? i : 0]->prompt.ids + at,
                   (size_t)count * sizeof *ids);
        TRY(text_batch_push(b, ids, count, at + count == common ? logits : NULL));
    }
    return NULL;
}

/* n <= batch rows, the shortest first; missing ones are copies of the first. */
static error *generate_group(prompts *p, row **rows, int64_t n, int32_t *ids, float *logits)
{
    text_batch *b = &p->s->inf->batch;
    text_batch_begin(b);
    TRY(push_common(b, rows, n, ids, logits));
    for (;;) {
        bool more = false;
        for (int64_t i = 0; i < n; i++) {
            TRY(next_token(p, rows[i], (size_t)b->position, logits + i * p->s->config.vocab,
                           &ids[i]));
            more = more || !rows[i]->end;
        }
        if (!more) break;
        for (int64_t i = n; i < b->n; i++)
            ids[i] = ids[0];
        TRY(text_batch_push(b, ids, 1, logits));
    }
    text_batch_end(b);
    return NULL;
}

/* ---- writing ---- */

/* Bytes as a JSON string: invalid UTF-8 becomes U+FFFD, and so does NUL. */
static error *clean_text(const uint8_t *bytes, size_t n, memory_stream *out)
{
    TRY(memory_stream_open(out, "a text"));
    while (n) {
        size_t good = text_first_bad(bytes, n);
        const uint8_t *zero = memchr(bytes, 0, good);
        if (zero) good = (size_t)(zero - bytes);
        fwrite(bytes, 1, good, out->to);
        if (good < n) fputs("\xef\xbf\xbd", out->to);
        good += good < n;
        bytes += good;
        n -= good;
    }
    return memory_stream_close(out);
}

static error *print_result(const session *s, const row *r)
{
    uint8_t *bytes = NULL;
    size_t n = 0;
    memory_stream text = {0};
    TRY(bpe_decode(s->vocab, r->made.ids, r->made.n, &bytes, &n));
    error *e = clean_text(bytes, n, &text);
    free(bytes);
    cJSON *object = cJSON_CreateObject();
    bool fine = !e &&
                json_add(object, cJSON_IsString(r->asked) ? "prompt" : "messages",
                         cJSON_Duplicate(r->asked, true)) &&
                json_add(object, "text", cJSON_CreateString(text.text)) &&
                json_add(object, "tokens", cJSON_CreateNumber((double)r->made.n)) &&
                json_add(object, "end", cJSON_CreateString(r->end));
    free(text.text);
    return error_first(e, json_print_line(object, fine, "a text"));
}

/* Those that are complete, from row `printed` on, as far as none is missing. */
static error *print_complete(const prompts *p, size_t *printed)
{
    for (; *printed < p->n && p->rows[*printed].end; ++*printed)
        TRY(print_result(p->s, &p->rows[*printed]));
    return NULL;
}

/* ---- all of them ---- */

/* n rows from `first` on, which are sorted together: a group is as long as its longest prompt. */
static error *generate_some(prompts *p, row **rows, size_t n, int64_t texts, int32_t *ids,
                            float *logits, size_t *printed)
{
    qsort(rows, n, sizeof *rows, by_length);
    for (size_t at = 0; at < n; at += (size_t)texts) {
        size_t left = n - at;
        TRY(generate_group(p, rows + at, left < (size_t)texts ? (int64_t)left : texts, ids,
                           logits));
        TRY(print_complete(p, printed));
    }
    return NULL;
}

static error *generate_groups(prompts *p, int64_t texts)
{
    enum { TOGETHER = 16 }; /* groups: more of them are sorted better, and say less for longer */
    int32_t *ids = NULL;
    float *logits = NULL;
    row **rows = NULL;
    size_t printed = 0, most = TOGETHER * (size_t)texts;
    error *e = alloc_array(&ids, (size_t)(texts * p->s->inf->batch.room), sizeof *ids);
    if (!e) e = alloc_array(&logits, (size_t)(texts * p->s->config.vocab), sizeof *logits);
    if (!e) e = alloc_array(&rows, p->n, sizeof *rows);
    for (size_t i = 0; i < p->n && !e; i++)
        rows[i] = &p->rows[i];
    for (size_t at = 0; at < p->n && !e; at += most)
        e = generate_some(p, rows + at, p->n - at < most ? p->n - at : most, texts, ids, logits,
                          &printed);
    free(rows);
    free(ids);
    free(logits);
    return e;
}

static void report_speed(const prompts *p, double seconds)
{
    size_t made = 0, read = 0;
    for (size_t i = 0; i < p->n; i++) {
        made += p->rows[i].made.n;
        read += p->rows[i].prompt.n;
    }
    session_report(p->s);
    fprintf(stderr, "%zu prompts of %zu tokens, then %zu tokens in %.3f s, %.1f tokens/s\n", p->n,
            read, made, seconds, (double)made / seconds);
}

static error *run_prompts(prompts *p)
{
    session *s = p->s;
    const options *o = s->o;
    int64_t texts = isnan(o->numbers[BATCH]) ? 8 : (int64_t)o->numbers[BATCH];
    choice_rule rule = choice_rule_of(o);
    TRY(find_stops(s));
    TRY(named_jsonl(o->prompts) ? read_json_lines("--prompts", o->prompts, take_object, p)
                                : read_lines(p));
    if (!p->n) return user_error("--prompts %s: there is no prompt in it", o->prompts);
    if ((size_t)texts > p->n) texts = (int64_t)p->n;
    TRY(session_start(s, (inference_job){.texts = texts}));
    TRY(chooser_open(&rule, tokens_to_choose(s), &p->chooser));
    double began = clock_now();
    TRY(generate_groups(p, texts));
    report_speed(p, clock_now() - began);
    return NULL;
}

error *generate_many(session *s)
{
    prompts p = {.s = s};
    error *e = run_prompts(&p);
    for (size_t i = 0; i < p.n; i++) {
        cJSON_Delete(p.rows[i].asked);
        chat_tokens_free(&p.rows[i].prompt);
        chat_tokens_free(&p.rows[i].made);
    }
    free(p.rows);
    chooser_close(&p.chooser);
    return e;
}

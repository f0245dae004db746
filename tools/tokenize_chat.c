/* tokenize_chat.c - see tokenize_chat.h
 *
 *     lines of JSON --> examples (data/chat/chat.h) --> tokens and their loss mask (infer/chat_tokens.h)
 *                                                          |
 *                             PREFIX_train.bin, PREFIX_val.bin, each example a document (data/tokens.h)
 */
#include "tools/tokenize_chat.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/grow.h"
#include "base/json_lines.h"
#include "base/unpack.h"
#include "data/text_check.h"
#include "data/tokens.h"
#include "infer/chat_tokens.h"
#include "infer/find_tokenizer.h"

typedef struct {
    const chat_job *job;
    bpe *vocab;
    chat *chat;
    chat_tokens *examples; /* (n) */
    size_t n, capacity;
    int64_t shown, cut, skipped, unlearned;
} chat_run;

/* ---- examples ---- */

/* A text of n bytes with text[n] == 0, which may contain NUL, where cJSON's ends.  *out is NULL if
 * out of memory. */
static error *text_json(const char *text, size_t n, cJSON **out)
{
    memory_stream m;
    bool fine = true;
    TRY(memory_stream_open(&m, "an example"));
    for (size_t at = 0; at <= n && fine; at += strlen(text + at) + 1) {
        cJSON *part = cJSON_CreateString(text + at);
        char *shown = part ? cJSON_PrintUnformatted(part) : NULL;
        fine = shown;
        if (fine) fprintf(m.to, "%s%.*s", at ? "\\u0000" : "\"", (int)strlen(shown) - 2, shown + 1);
        cJSON_free(shown);
        cJSON_Delete(part);
    }
    fputc('"', m.to);
    TRY(memory_stream_close(&m));
    *out = fine ? cJSON_CreateRaw(m.text) : NULL;
    free(m.text);
    return NULL;
}

/* As JSON: the output of a template, and which of its bytes are learned. */
static error *show_example(chat_run *r, const chat_example *e)
{
    cJSON *text_of;
    TRY(text_json(e->text.text, e->text.n, &text_of));
    cJSON *out = cJSON_CreateObject(), *spans = cJSON_CreateArray();
    bool fine = json_add(out, "text", text_of);
    for (size_t i = 0; i < e->text.n_spans && fine; i++) {
        const int bounds[] = {(int)e->text.spans[i].begin, (int)e->text.spans[i].end};
        fine = cJSON_AddItemToArray(spans, cJSON_CreateIntArray(bounds, 2));
    }
    fine = json_add(out, "learned", spans) && fine;
    r->shown++;
    return json_print_line(out, fine, "an example");
}

static bool learns(const chat_tokens *t)
{
    for (size_t i = 1; i < t->n; i++) /* the first one is never predicted */
        if (t->learned[i]) return true;
    return false;
}

/* Truncates an example that is too long, or drops it. */
static error *limit_tokens(chat_run *r, chat_tokens *t, bool *goes)
{
    size_t most = (size_t)r->job->max_tokens;
    *goes = false;
    if (!most || t->n <= most) return NULL;
    if (r->job->too_long == TOO_LONG_REFUSE)
        return user_error("it has %zu tokens, more than --max-tokens %zu: give --too-long cut or "
                          "skip to accept it",
                          t->n, most);
    *goes = r->job->too_long == TOO_LONG_SKIP;
    r->skipped += *goes;
    r->cut += !*goes;
    t->n = most;
    return NULL;
}

static error *add_example(chat_run *r, const chat_example *e)
{
    chat_tokens t;
    bool goes = false;
    error *failed = chat_encode(r->vocab, e, r->job->special, &t);
    if (!failed) failed = limit_tokens(r, &t, &goes);
    if (!failed && !goes && !learns(&t)) {
        r->unlearned++;
        goes = true;
    }
    if (!failed && !goes)
        failed = grow_array(&r->examples, &r->capacity, r->n + 1, sizeof *r->examples);
    if (failed || goes)
        chat_tokens_free(&t);
    else
        r->examples[r->n++] = t;
    return failed;
}

static error *take_line(void *context, const cJSON *line)
{
    chat_run *r = context;
    chat_example e;
    if (r->job->show && r->shown == r->job->show) return NULL;
    error *failed = chat_read(r->chat, line, r->job->all, &e);
    if (!failed) failed = r->job->show ? show_example(r, &e) : add_example(r, &e);
    chat_example_free(&e);
    return failed;
}

static error *read_inputs(chat_run *r)
{
    for (int i = 0; i < r->job->n_inputs; i++) {
        uint8_t *text = NULL;
        size_t n = 0, capacity = 0;
        error *e = read_unpacked(r->job->inputs[i], &text, &n, &capacity);
        if (!e) e = text_check(r->job->inputs[i], text, n);
        if (!e) e = json_lines(r->job->inputs[i], (const char *)text, n, take_line, r);
        free(text);
        TRY(e);
    }
    return NULL;
}

/* ---- files ---- */

static error *write_part(chat_run *r, const char *path, size_t first, size_t end, token_writer **w)
{
    TRY(tokens_create_marked(path, bpe_size(r->vocab), w));
    for (size_t i = first; i < end; i++)
        TRY(tokens_append_document(*w, r->examples[i].ids, r->examples[i].learned,
                                   r->examples[i].n));
    return tokens_seal(*w);
}

static void report_part(const chat_run *r, const char *name, size_t first, size_t end,
                        const char *path)
{
    size_t tokens = 0, learned = 0, longest = 0;
    for (size_t i = first; i < end; i++) {
        const chat_tokens *t = &r->examples[i];
        for (size_t k = 0; k < t->n; k++)
            learned += t->learned[k];
        tokens += t->n;
        longest = t->n > longest ? t->n : longest;
    }
    printf("%-5s %9zu examples %12zu tokens, %zu of them learned, at most %zu in one   %s\n", name,
           end - first, tokens, learned, longest, path);
}

static error *write_files(chat_run *r, shard_files *f)
{
    const chat_job *job = r->job;
    size_t n_val = (size_t)(job->fraction * (double)r->n + 0.5), n_source;
    TRY(shard_files_name(f, job->prefix));
    if (job->fraction > 0 && n_val == 0 && r->n > 1) n_val = 1;
    if (r->n == 0 || n_val >= r->n)
        return user_error("%zu examples of which something is learned, %zu of them for validation: "
                          "none are left to train on; give more, or change --val-fraction",
                          r->n, n_val);
    const char *source = chat_source(r->chat, &n_source);
    TRY(shard_files_check(f, n_val, source));
    TRY(write_part(r, f->train, 0, r->n - n_val, &f->writer[0]));
    if (n_val) TRY(write_part(r, f->val, r->n - n_val, r->n, &f->writer[1]));
    TRY(bpe_save(r->vocab, f->vocab));
    if (source) TRY(file_write_all(f->template_file, source, n_source));
    TRY(shard_files_finish(f));
    report_part(r, "train", 0, r->n - n_val, f->train);
    if (n_val) report_part(r, "val", r->n - n_val, r->n, f->val);
    if (r->cut || r->skipped)
        printf("longer than %" PRId64 " tokens: %" PRId64 " cut, %" PRId64 " skipped\n",
               job->max_tokens, r->cut, r->skipped);
    if (r->unlearned)
        printf("nothing to learn in %" PRId64 " examples, which are left out\n", r->unlearned);
    return NULL;
}

error *tokenize_chat(const chat_job *job)
{
    chat_run r = {.job = job};
    shard_files f = {0};
    char path[PATH_LENGTH];
    TRY(tokenizer_path(job->vocab, path));
    error *e = bpe_open(path, &r.vocab);
    if (!e) e = chat_beside(job->template_file, path, r.vocab, &r.chat);
    if (!e) e = read_inputs(&r);
    if (!e && !job->show) e = write_files(&r, &f);
    shard_files_discard(&f);
    for (size_t i = 0; i < r.n; i++)
        chat_tokens_free(&r.examples[i]);
    free(r.examples);
    chat_close(r.chat);
    bpe_close(r.vocab);
    return e;
}

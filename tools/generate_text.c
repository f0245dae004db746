/* generate_text.c - see generate.h: continues a prompt or a conversation. */
#include "tools/generate.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "infer/choose_token.h"
#include "infer/utf8_shown.h"

/* ---- generating ---- */

/* Bytes on their way to standard output. */
typedef struct {
    uint8_t held[4 + BPE_MAX_TOKEN];
    size_t n;
    bool stream;
    memory_stream *copy; /* ? gets them, too */
} output;

/* Appends a token's bytes; complete characters are printed. */
static error *put_token(output *out, const uint8_t *bytes, size_t n)
{
    if (out->copy) fwrite(bytes, 1, n, out->copy->to);
    memcpy(out->held + out->n, bytes, n);
    out->n += n;
    size_t complete = utf8_complete(out->held, out->n);
    fwrite(out->held, 1, complete, stdout);
    memmove(out->held, out->held + complete, out->n - complete);
    out->n -= complete;
    if (out->stream) fflush(stdout);
    return stdout_check();
}

static error *put_rest(output *out)
{
    fwrite(out->held, 1, out->n, stdout);
    out->n = 0;
    fflush(stdout);
    return stdout_check();
}

/* Numbers separated by commas or blanks. */
static error *read_ids(const session *s, int32_t *ids, size_t *n)
{
    static const char between[] = ", \t\n";
    const char *text = s->o->prompt_ids;
    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        char *end;
        long long id = strtoll(text, &end, 10);
        if (end == text || (*end && !strchr(between, *end)))
            return user_error("--prompt-ids: '%.40s' is not a number of a token", text);
        if (id < 0 || id >= s->config.vocab)
            return user_error("--prompt-ids: %lld: the model's tokens are 0 to %lld", id,
                              (long long)s->config.vocab - 1);
        ids[(*n)++] = (int32_t)id;
        text = end;
    }
    return NULL;
}

error *prompt_encode(const session *s, const char *text, size_t bytes, chat_tokens *out)
{
    chat_example e = {.plain = true, .text = {.text = (char *)(size_t)text, .n = bytes}};
    error *failed = chat_encode(s->vocab, &e, s->o->special, out);
    if (!failed && bpe_end_of_text(s->vocab) >= 0) out->n--; /* what follows is to come */
    return failed;
}

static error *encode_prompt(const session *s, int32_t **ids, size_t *n)
{
    const char *prompt = s->vocab ? s->o->prompt : s->o->prompt_ids;
    chat_tokens t = {0};
    if (!s->vocab) {
        TRY(alloc_array(ids, strlen(prompt) + 2, sizeof **ids));
        TRY(read_ids(s, *ids, n));
    } else if (*prompt) {
        error *e = prompt_encode(s, prompt, strlen(prompt), &t);
        *ids = t.ids;
        *n = t.n;
        t.ids = NULL;
        chat_tokens_free(&t);
        TRY(e);
    }
    if (!*n)
        return user_error("--prompt%s is empty: give at least one %s to continue",
                          s->vocab ? "" : "-ids", s->vocab ? "character" : "token");
    if ((int64_t)*n > s->config.context)
        return user_error("--prompt has %zu tokens, the model sees %lld at a time: use its end", *n,
                          (long long)s->config.context);
    return NULL;
}

bool stops_at(const session *s, int32_t id)
{
    for (int i = 0; i < s->stops.n && !s->o->no_stop; i++)
        if (s->stops.id[i] == id) return true;
    return false;
}

_Static_assert((int)MOST_TOKEN_IDS < (int)MOST_STOP_IDS, "config.json's, and the vocabulary's");

/* generation_config.json; where it says nothing config.json, and the vocabulary. */
error *find_stops(session *s)
{
    char path[PATH_LENGTH];
    TRY(path_join(path, weights_directory(s->weights), "generation_config.json"));
    TRY(stop_ids_read(path, &s->stops));
    if (s->stops.n) return NULL;
    const token_ids *end = &s->config.tokens[TOKEN_END];
    for (int i = 0; i < end->n; i++)
        s->stops.id[s->stops.n++] = end->id[i];
    if (s->vocab && bpe_end_of_text(s->vocab) >= 0)
        s->stops.id[s->stops.n++] = bpe_end_of_text(s->vocab);
    return NULL;
}

/* The state of generating from one prompt. */
typedef struct {
    const char *before; /* ? goes out first */
    uint64_t index;     /* of the first choice */
    memory_stream *copy;
    double began;
    int64_t made;
} generation;

static error *generate_tokens(session *s, chooser *p, const int32_t *prompt, size_t n,
                              float *logits, generation *of)
{
    decoder *d = &s->inf->decoder;
    output out = {.stream = s->o->stream, .copy = of->copy};
    int64_t count = (int64_t)s->o->numbers[TOKENS];
    decoder_begin(d);
    decoder_push(d, prompt, (int64_t)n);
    for (int64_t i = 0; i < count; i++) {
        int32_t id;
        size_t n_bytes;
        TRY(decoder_next(d, logits));
        if (i == 0) of->began = clock_now();
        TRY(choose_token(p, logits, of->index + (uint64_t)i, &id));
        if (i == 0 && of->before) fputs(of->before, stdout);
        if (stops_at(s, id)) break;
        of->made++;
        char number[16];
        const uint8_t *bytes = (uint8_t *)number;
        n_bytes = (size_t)snprintf(number, sizeof number, i ? " %d" : "%d", id);
        if (s->vocab) bytes = bpe_token(s->vocab, id, &n_bytes);
        TRY(put_token(&out, bytes, n_bytes));
        decoder_push(d, &id, 1);
    }
    decoder_end(d);
    if (!s->vocab) TRY(put_token(&out, (const uint8_t *)"\n", 1));
    return put_rest(&out);
}

static error *generate_text(session *s, chooser *p, int32_t *prompt, size_t n, float *logits)
{
    double before = clock_now();
    generation of = {.before = s->vocab ? s->o->prompt : NULL, .began = before};
    TRY(generate_tokens(s, p, prompt, n, logits, &of));
    session_report(s);
    fprintf(stderr, "prompt: %zu tokens in %.3f s; ", n, of.began - before);
    if (of.made > 1)
        fprintf(stderr, "then %lld tokens, %.1f tokens/s\n", (long long)of.made,
                (double)(of.made - 1) / (clock_now() - of.began));
    else
        fprintf(stderr, "then %lld token%s\n", (long long)of.made, of.made == 1 ? "" : "s");
    return NULL;
}

/* ---- conversations ---- */

error *add_message(cJSON *messages, const char *role, const char *content)
{
    cJSON *m = cJSON_CreateObject();
    bool fine = json_add(m, "role", cJSON_CreateString(role)) &&
                json_add(m, "content", cJSON_CreateString(content));
    if (fine && cJSON_AddItemToArray(messages, m)) return NULL;
    cJSON_Delete(m);
    return user_error("out of memory for the conversation");
}

error *messages_encode(const session *s, const cJSON *messages, chat_tokens *out)
{
    chat_example e = {0};
    *out = (chat_tokens){0};
    error *failed = chat_prompt(s->chat, messages, &e.text);
    e.text.n_spans = 0;
    if (!failed) failed = chat_encode(s->vocab, &e, BPE_SPECIAL_ALLOW, out);
    if (!failed && (int64_t)out->n > s->config.context)
        failed = user_error("the conversation has %zu tokens, the model sees %lld: begin another",
                            out->n, (long long)s->config.context);
    if (!failed && !out->n)
        failed = user_error("the chat template makes nothing of the conversation");
    chat_example_free(&e);
    return failed;
}

/* Answers the last message, on standard output, and appends the answer. */
static error *answer(session *s, chooser *p, float *logits, cJSON *messages)
{
    chat_tokens t;
    memory_stream text;
    generation of = {.index = (uint64_t)cJSON_GetArraySize(messages) << 24, .copy = &text};
    TRY(memory_stream_open(&text, "the answer"));
    error *e = messages_encode(s, messages, &t);
    if (!e) e = generate_tokens(s, p, t.ids, t.n, logits, &of);
    chat_tokens_free(&t);
    e = error_first(e, memory_stream_close(&text));
    if (!e) e = add_message(messages, "assistant", text.text);
    free(text.text);
    putchar('\n');
    fflush(stdout);
    return e ? e : stdout_check();
}

/* Each line is a message, answered in the context of all before it. */
static error *converse(session *s, chooser *p, float *logits, cJSON *messages)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    error *e = NULL;
    bool person = isatty(STDIN_FILENO);
    while (!e) {
        if (person) fputs("> ", stderr);
        n = getline(&line, &room, stdin);
        if (n < 0) break;
        if (n && line[n - 1] == '\n') line[n - 1] = 0;
        e = add_message(messages, "user", line);
        if (!e) e = answer(s, p, logits, messages);
    }
    free(line);
    return e;
}

static error *chat_with(session *s, chooser *p, float *logits)
{
    const options *o = s->o;
    cJSON *messages = cJSON_CreateArray();
    error *e = messages ? NULL : user_error("out of memory for the conversation");
    if (!e && o->system) e = add_message(messages, "system", o->system);
    if (!e && o->prompt) e = add_message(messages, "user", o->prompt);
    if (!e) e = o->prompt ? answer(s, p, logits, messages) : converse(s, p, logits, messages);
    cJSON_Delete(messages);
    return e;
}

choice_rule choice_rule_of(const options *o)
{
    const double *x = o->numbers;
    return (choice_rule){.temperature = x[TEMPERATURE],
                         .top_p = x[TOP_P],
                         .top_k = (int64_t)x[TOP_K],
                         .seed = (uint64_t)x[SEED]};
}

int32_t tokens_to_choose(const session *s)
{
    return s->vocab ? bpe_size(s->vocab) : (int32_t)s->config.vocab;
}

error *generate_one(session *s)
{
    choice_rule rule = choice_rule_of(s->o);
    chooser p = {0};
    int32_t *prompt = NULL;
    float *logits = NULL;
    size_t n = 0;
    error *e = find_stops(s);
    if (!e && !s->chat) e = encode_prompt(s, &prompt, &n);
    if (!e) e = session_start(s, (inference_job){0});
    if (!e) e = chooser_open(&rule, tokens_to_choose(s), &p);
    if (!e) e = alloc_array(&logits, (unsigned long)s->config.vocab, sizeof *logits);
    if (!e) e = s->chat ? chat_with(s, &p, logits) : generate_text(s, &p, prompt, n, logits);
    chooser_close(&p);
    free(prompt);
    free(logits);
    return e;
}

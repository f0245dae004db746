/* chat.c - see chat.h */
#include "data/chat/chat.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/grow.h"
#include "base/json.h"

enum { MOST_CONFIG = 64 << 20 };

static const char *const token_names[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
enum { TOKENS = sizeof token_names / sizeof *token_names, BOS = 0, EOS = 1 };

struct chat {
    char *source; /* ? (n) */
    size_t n;
    jinja *template;     /* ? */
    char *token[TOKENS]; /* ? spellings */
    bool several;        /* templates, none of which is called default */
};

/* ---- opening ---- */

static error *keep_text(const char *text, size_t n, char **out)
{
    TRY(alloc_array(out, n + 1, 1));
    if (n) memcpy(*out, text, n);
    return NULL;
}

/* A string, or the member with that name of an object. */
static const char *text_in(const cJSON *item, const char *member)
{
    return cJSON_GetStringValue(cJSON_IsObject(item) ? json_get(item, member) : item);
}

/* A config's template: a text, or the one called default of a list. */
static const char *template_in(const cJSON *config)
{
    const cJSON *found = json_get(config, "chat_template");
    for (const cJSON *i = cJSON_IsArray(found) ? found->child : NULL; i; i = i->next) {
        const char *name = text_in(i, "name");
        if (cJSON_IsObject(i) && name && !strcmp(name, "default")) return text_in(i, "template");
    }
    return cJSON_GetStringValue(found);
}

static error *take_template(chat *c, const char *name, const char *text, size_t n)
{
    TRY(keep_text(text, n, &c->source));
    c->n = n;
    return jinja_parse(name, text, n, &c->template);
}

static error *read_template(chat *c, const char *path)
{
    uint8_t *text;
    size_t n;
    TRY(file_read_all(path, JINJA_MOST_TEMPLATE, &text, &n));
    error *e = take_template(c, path, (const char *)text, n);
    free(text);
    return e;
}

static error *read_tokenizer_config(chat *c, const char *path)
{
    cJSON *config;
    error *e = NULL;
    TRY(json_read(path, MOST_CONFIG, &config));
    for (int i = 0; i < TOKENS && !e; i++) {
        const char *text = text_in(json_get(config, token_names[i]), "content");
        if (text) e = keep_text(text, strlen(text), &c->token[i]);
    }
    const char *template = template_in(config);
    c->several = !template && cJSON_IsArray(json_get(config, "chat_template"));
    if (!e && !c->template && template) e = take_template(c, path, template, strlen(template));
    cJSON_Delete(config);
    return e;
}

static error *open_all(chat *c, const char *file, const char *directory, const char *begin,
                       const char *end)
{
    char path[PATH_LENGTH];
    TRY(path_join(path, directory, "chat_template.jinja"));
    if (file || !access(path, F_OK)) TRY(read_template(c, file ? file : path));
    TRY(path_join(path, directory, "tokenizer_config.json"));
    if (!access(path, F_OK)) TRY(read_tokenizer_config(c, path));
    if (!c->token[BOS] && begin) TRY(keep_text(begin, strlen(begin), &c->token[BOS]));
    return c->token[EOS] || !end ? NULL : keep_text(end, strlen(end), &c->token[EOS]);
}

error *chat_open(const char *file, const char *directory, const char *begin, const char *end,
                 chat **out)
{
    chat *c;
    TRY(alloc_array(&c, 1, sizeof *c));
    error *e = open_all(c, file, directory, begin, end);
    if (e) {
        chat_close(c);
        return e;
    }
    *out = c;
    return NULL;
}

void chat_close(chat *c)
{
    if (!c) return;
    for (int i = 0; i < TOKENS; i++)
        free(c->token[i]);
    jinja_free(c->template);
    free(c->source);
    free(c);
}

const char *chat_source(const chat *c, size_t *n)
{
    *n = c->n;
    return c->source;
}

/* ---- rendering ---- */

static error *no_room_for_it(void)
{
    return user_error("out of memory for a conversation");
}

/* The first n of the messages; other members of `line` (tools) are passed along. */
static error *render(const chat *c, const cJSON *messages, int n, const cJSON *line, bool answer,
                     jinja_text *out)
{
    cJSON *variables = cJSON_CreateObject(), *list = cJSON_CreateArray();
    bool fine = variables && list;
    *out = (jinja_text){0};
    for (const cJSON *m = messages->child; m && n-- > 0 && fine; m = m->next)
        fine = cJSON_AddItemReferenceToArray(list, (cJSON *)(size_t)m);
    fine = json_add(variables, "messages", list) && fine;
    static const char *const beside[] = {"tools", "documents"};
    for (int i = 0; i < 2 && fine; i++) {
        cJSON *given = line ? json_get(line, beside[i]) : NULL;
        fine = given ? cJSON_AddItemReferenceToObject(variables, beside[i], given)
                     : json_add(variables, beside[i], cJSON_CreateNull());
    }
    for (int i = 0; i < TOKENS && fine; i++)
        if (c->token[i])
            fine = json_add(variables, token_names[i], cJSON_CreateString(c->token[i]));
    fine = fine && json_add(variables, "add_generation_prompt", cJSON_CreateBool(answer));
    error *e = fine ? jinja_render(c->template, variables, out) : no_room_for_it();
    cJSON_Delete(variables);
    return e;
}

static error *add_span(jinja_text *t, size_t begin, size_t end)
{
    TRY(grow_array(&t->spans, &t->capacity, t->n_spans + 1, sizeof *t->spans));
    t->spans[t->n_spans++] = (jinja_span){begin, end};
    return NULL;
}

static bool begins_with(const jinja_text *whole, const jinja_text *part)
{
    return part->n <= whole->n && !memcmp(whole->text, part->text, part->n);
}

/* The answer that is message i. */
static error *find_answer(const chat *c, const cJSON *messages, int i, const cJSON *line,
                          jinja_text *whole)
{
    jinja_text before = {0}, with = {0};
    error *e = render(c, messages, i, line, true, &before);
    if (!e) e = render(c, messages, i + 1, line, false, &with);
    if (!e && (!begins_with(&with, &before) || !begins_with(whole, &with)))
        e = user_error("where message %d, an answer, begins and ends the template does not show: "
                       "it writes what comes before it in another way when it asks for an answer, "
                       "or when more follows; mark answers in it by {%% generation %%} ... {%% "
                       "endgeneration %%}, or give --learn all",
                       i + 1);
    if (!e) e = add_span(whole, before.n, with.n);
    jinja_text_free(&before);
    jinja_text_free(&with);
    return e;
}

static error *check_messages(const cJSON *messages)
{
    int i = 1;
    if (!cJSON_IsArray(messages) || !messages->child)
        return user_error("messages must be a non-empty list");
    for (const cJSON *m = messages->child; m; m = m->next, i++)
        if (!cJSON_IsObject(m) || !cJSON_IsString(json_get(m, "role")))
            return user_error("message %d has no role: each is {\"role\": ..., \"content\": ...}",
                              i);
    return NULL;
}

/* An answer with "weight": 0 is read and not learned, as OpenAI's and Mistral's fine-tuning have
 * it. */
static error *is_learned(const cJSON *m, int i, bool *out)
{
    const cJSON *weight = json_get(m, "weight");
    double w = cJSON_IsNumber(weight) ? weight->valuedouble : 1;
    bool said = weight && !cJSON_IsNull(weight);
    *out = w > 0;
    if (said && (!cJSON_IsNumber(weight) || (w != 0 && w != 1)))
        return user_error("message %d has a weight that is neither 0 (it is not learned) nor 1", i);
    return NULL;
}

/* Marks the answers; those that the template has marked stay, but for the ones of weight 0. */
static error *mark_answers(const chat *c, const cJSON *messages, const cJSON *line,
                           jinja_text *text)
{
    size_t marked = text->n_spans, answers = 0, kept = 0, without = 0;
    int i = 0;
    for (const cJSON *m = messages->child; m; m = m->next, i++) {
        bool learned;
        if (strcmp(text_in(m, "role"), "assistant")) continue;
        TRY(is_learned(m, i + 1, &learned));
        if (!marked && learned) TRY(find_answer(c, messages, i, line, text));
        if (learned && answers < marked) text->spans[kept++] = text->spans[answers];
        without += !learned;
        answers++;
    }
    if (!marked || !without) return NULL;
    if (answers != marked)
        return user_error("a message has weight 0, and the template marks %zu parts of %zu answers "
                          "as learned, so which one it is is not known",
                          marked, answers);
    text->n_spans = kept;
    return NULL;
}

static error *need_template(const chat *c, const char *beside)
{
    if (c->template) return NULL;
    if (c->several)
        return user_error("tokenizer_config.json has several chat templates, none of them called "
                          "default: give --template FILE.jinja");
    return user_error("messages need a chat template, and there is none beside the %s: give "
                      "--template FILE.jinja",
                      beside);
}

static error *read_messages(const chat *c, const cJSON *messages, const cJSON *line, bool all,
                            chat_example *out)
{
    TRY(need_template(c, "vocabulary"));
    TRY(check_messages(messages));
    TRY(render(c, messages, cJSON_GetArraySize(messages), line, false, &out->text));
    if (all) {
        out->text.n_spans = 0;
        return add_span(&out->text, 0, out->text.n);
    }
    return mark_answers(c, messages, line, &out->text);
}

static error *read_plain(const char *prompt, const char *completion, bool all, chat_example *out)
{
    size_t n = strlen(prompt), m = strlen(completion);
    out->plain = true;
    TRY(alloc_array(&out->text.text, n + m + 1, 1));
    memcpy(out->text.text, prompt, n);
    memcpy(out->text.text + n, completion, m);
    out->text.n = n + m;
    return add_span(&out->text, all ? 0 : n, n + m);
}

/* Prompt and completion as lists of messages. */
static error *read_lists(const chat *c, const cJSON *prompt, const cJSON *completion,
                         const cJSON *line, bool all, chat_example *out)
{
    cJSON *both = cJSON_CreateArray();
    bool fine = both != NULL;
    for (const cJSON *m = prompt->child; m && fine; m = m->next)
        fine = cJSON_AddItemReferenceToArray(both, (cJSON *)(size_t)m);
    for (const cJSON *m = completion->child; m && fine; m = m->next)
        fine = cJSON_AddItemReferenceToArray(both, (cJSON *)(size_t)m);
    error *e = fine ? read_messages(c, both, line, all, out) : no_room_for_it();
    cJSON_Delete(both);
    return e;
}

error *chat_read(const chat *c, const cJSON *line, bool all, chat_example *out)
{
    const cJSON *messages = json_get(line, "messages"), *prompt = json_get(line, "prompt"),
                *completion = json_get(line, "completion"), *text = json_get(line, "text");
    *out = (chat_example){0};
    if (messages) return read_messages(c, messages, line, all, out);
    if (cJSON_IsString(prompt) && cJSON_IsString(completion))
        return read_plain(prompt->valuestring, completion->valuestring, all, out);
    if (cJSON_IsArray(prompt) && cJSON_IsArray(completion))
        return read_lists(c, prompt, completion, line, all, out);
    if (cJSON_IsString(text)) return read_plain("", text->valuestring, true, out);
    return user_error("it has neither messages, nor prompt and completion (both strings, or both "
                      "lists of messages), nor a text");
}

void chat_example_free(chat_example *e)
{
    jinja_text_free(&e->text);
}

error *chat_prompt(const chat *c, const cJSON *messages, jinja_text *out)
{
    *out = (jinja_text){0};
    TRY(need_template(c, "model"));
    TRY(check_messages(messages));
    return render(c, messages, cJSON_GetArraySize(messages), NULL, true, out);
}

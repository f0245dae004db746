/* generate.c - a trained model continues a prompt, or says how well it knows a text.
 *
 *     --prompt, --prompt-ids
 *               -> tokens -> decoder (infer/decoder.h) -> choose (infer/choose_token.h) -> text on stdout
 *     --chat    -> the template (data/chat/chat.h) -> the same, turn after turn
 *     --eval    -> tokens -> scorer (infer/scorer.h)   -> loss, perplexity, bits per byte on stdout
 *
 * The standard output holds the text alone; figures go to the standard error.
 */
#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/command_line.h"
#include "base/descriptors.h"
#include "base/files.h"
#include "base/json.h"
#include "base/unpack.h"
#include "data/chat/stop_ids.h"
#include "data/tokens.h"
#include "infer/chat_tokens.h"
#include "data/text_check.h"
#include "infer/generator.h"
#include "infer/choose_token.h"
#include "infer/find_tokenizer.h"
#include "infer/utf8_shown.h"
#include "train/choose_device.h"

typedef struct {
    const char *load, *adapter, *vocab, *prompt, *prompt_ids, *eval, *template_file, *system;
    bool stream, widen, chat, no_stop;
    bpe_special special;
    device_choice device;
    double numbers[7]; /* see number_rows */
    error *failure;
} options;

/* ---- options ---- */

enum {
    KEY_FIRST = 1000,
    KEY_LOAD,
    KEY_ADAPTER,
    KEY_VOCAB,
    KEY_PROMPT,
    KEY_PROMPT_IDS,
    KEY_EVAL,
    KEY_DEVICE,
    KEY_STREAM,
    KEY_WIDEN,
    KEY_CHAT,
    KEY_TEMPLATE,
    KEY_SYSTEM,
    KEY_SPECIAL,
    KEY_NO_STOP,
    KEY_NUMBERS
};
enum { TOKENS, TEMPERATURE, TOP_K, TOP_P, SEED, STRIDE, THREADS, NUMBERS };

typedef struct {
    const char *name;
    double least, most, otherwise;
    bool integer;
    const char *help;
} number_row;

static const number_row number_rows[NUMBERS] = {
    {"tokens", 1, 1e9, 128, true, "how many tokens to generate (default: 128)"},
    {"temperature", 0, 100, 0.8, false,
     "logits are divided by this; 0: always the most likely token (default: 0.8)"},
    {"top-k", 0, 1e9, 0, true, "choose among the K most likely tokens; 0: all (default: 0)"},
    {"top-p", 0, 1, 1, false,
     "choose among the fewest tokens whose probabilities sum to P, more than 0 and at most 1 "
     "(default: 1)"},
    {"seed", 0, 9e15, 1, true, "of the choices: same seed, same text (default: 1)"},
    {"stride", 1, 1e9, NAN, true,
     "with --eval: how far the window moves, at most the context (default: half of it)"},
    {"threads", 1, 1024, 0, true, "CPU threads (default: all cores)"},
};

static const char doc[] =
    "Continues a text with a trained model, or measures how well the model knows a text.\v"
    "The standard output holds the prompt and what follows it, nothing else; tokens per second go "
    "to the standard error.  A text ends after --tokens, or at a token of eos_token_id in the "
    "model's "
    "generation_config.json, without that at the vocabulary's end-of-text.  When the model's "
    "context is full, the "
    "newer half of it stays.  --eval "
    "scores every token but the first, in windows of the context that slide by --stride; of a "
    "shard of tokens "
    "(_val.bin) what training says of it: whole windows side by side, or what is learned of each "
    "document.  --chat "
    "answers --prompt, or each line of the standard input with all before it.\n\n"
    "  generate --load runs/train --vocab runs/data/kjv.vocab --prompt 'In the beginning'\n"
    "  generate --load runs/train --vocab runs/data/kjv.vocab --eval text.txt\n"
    "  generate --load runs/chat --chat";

static error *take_number(options *o, int i, const char *text)
{
    const number_row *row = &number_rows[i];
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || isnan(x) || (row->integer && x != floor(x)))
        return user_error("--%s %s: must be a %s", row->name, text,
                          row->integer ? "whole number" : "number");
    if (x < row->least || x > row->most || (i == TOP_P && x == 0))
        return user_error("--%s %s: must be %s %.10g%s %.10g", row->name, text,
                          i == TOP_P ? "more than" : "from", row->least,
                          i == TOP_P ? " and at most" : " to", row->most);
    o->numbers[i] = x;
    return NULL;
}

static error *parse_device(options *o, const char *text)
{
    for (o->device = 0; o->device < DEVICE_CHOICES; o->device++)
        if (!strcmp(text, device_choice_names[o->device])) return NULL;
    return user_error("--device %s: must be auto, cpu or cuda", text);
}

static error *take_special(options *o, const char *text)
{
    o->special = strcmp(text, "allow") ? BPE_SPECIAL_TEXT : BPE_SPECIAL_ALLOW;
    return strcmp(text, "allow") && strcmp(text, "text")
               ? user_error("--special %s: say text or allow", text)
               : NULL;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    options *o = state->input;
    switch (key) {
    case KEY_LOAD:
        o->load = arg;
        return 0;
    case KEY_ADAPTER:
        o->adapter = arg;
        return 0;
    case KEY_VOCAB:
        o->vocab = arg;
        return 0;
    case KEY_PROMPT:
        o->prompt = arg;
        return 0;
    case KEY_PROMPT_IDS:
        o->prompt_ids = arg;
        return 0;
    case KEY_EVAL:
        o->eval = arg;
        return 0;
    case KEY_STREAM:
        o->stream = true;
        return 0;
    case KEY_WIDEN:
        o->widen = true;
        return 0;
    case KEY_CHAT:
        o->chat = true;
        return 0;
    case KEY_NO_STOP:
        o->no_stop = true;
        return 0;
    case KEY_TEMPLATE:
        o->template_file = arg;
        return 0;
    case KEY_SYSTEM:
        o->system = arg;
        return 0;
    case KEY_SPECIAL:
        o->failure = take_special(o, arg);
        return o->failure ? EINVAL : 0;
    case KEY_DEVICE:
        o->failure = parse_device(o, arg);
        return o->failure ? EINVAL : 0;
    case ARGP_KEY_ARG:
        o->failure = user_error("%s: no option: quote the prompt as one word, see --help", arg);
        return EINVAL;
    case '?':
        state->flags &= ~(unsigned)ARGP_NO_ERRS;            /* which would silence the help, too */
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
        return 0;
    default:
        if (key < KEY_NUMBERS || key >= KEY_NUMBERS + NUMBERS) return ARGP_ERR_UNKNOWN;
        o->failure = take_number(o, key - KEY_NUMBERS, arg);
        return o->failure ? EINVAL : 0;
    }
}

/* --chat answers a prompt, or whoever speaks. */
static error *check_chat(const options *o)
{
    const char *extra = o->eval                      ? "--eval"
                        : o->prompt_ids              ? "--prompt-ids"
                        : o->special                 ? "--special"
                        : !isnan(o->numbers[STRIDE]) ? "--stride"
                                                     : NULL;
    return extra ? user_error("%s cannot go with --chat: leave it out", extra) : NULL;
}

/* One thing to do, and nothing that belongs to another. */
static error *check_task(const options *o)
{
    int tasks = (o->prompt != NULL) + (o->prompt_ids != NULL) + (o->eval != NULL);
    if (o->chat) return check_chat(o);
    if (o->template_file || o->system)
        return user_error("%s: only with --chat", o->system ? "--system" : "--template");
    if (o->special && !o->prompt) return user_error("--special: only with --prompt");
    if (o->no_stop && o->eval) return user_error("--no-stop: not with --eval");
    if (tasks == 0)
        return user_error("nothing to do: give --prompt TEXT to continue, or --eval FILE");
    if (tasks > 1)
        return user_error("--prompt, --prompt-ids and --eval: only one of them at a time");
    if (o->prompt_ids && o->vocab) return user_error("--vocab: not needed with --prompt-ids");
    if (!o->eval && !isnan(o->numbers[STRIDE])) return user_error("--stride: only with --eval");
    return NULL;
}

static error *parse(int argc, char **argv, options *o)
{
    struct argp_option list[16 + NUMBERS] = {
        {"load", KEY_LOAD, "DIR|FILE", 0, "a trained model, as train_gpt --load takes it (needed)",
         0},
        {"adapter", KEY_ADAPTER, "DIR", 0,
         "adapters beside it (adapter_model.safetensors, adapter_config.json)", 0},
        {"vocab", KEY_VOCAB, "FILE", 0, "the tokenizer (default: the one beside the model)", 0},
        {"prompt", KEY_PROMPT, "TEXT", 0, "what to continue", 0},
        {"prompt-ids", KEY_PROMPT_IDS, "N,...", 0,
         "the same as numbers of tokens, for a model whose tokenizer cannot be read; what follows "
         "is printed so, too",
         0},
        {"stream", KEY_STREAM, NULL, 0, "print each token as it comes", 0},
        {"eval", KEY_EVAL, "FILE", 0, "measure this text instead", 0},
        {"widen", KEY_WIDEN, NULL, 0, "take 16-bit floats as f32, which keeps every value", 0},
        {"device", KEY_DEVICE, "WHERE", 0,
         "cpu, cuda, or auto: cuda where there is a GPU (default: auto)", 0},
        {"chat", KEY_CHAT, NULL, 0,
         "answer by the model's chat template: --prompt, or the standard input line by line", 0},
        {"template", KEY_TEMPLATE, "FILE", 0,
         "with --chat: the template (default: chat_template.jinja, or the one in "
         "tokenizer_config.json, beside the "
         "tokenizer)",
         0},
        {"system", KEY_SYSTEM, "TEXT", 0, "with --chat: a message of the system before all others",
         0},
        {"special", KEY_SPECIAL, "text|allow", 0,
         "the spelling of a special token in --prompt is text, or is that token (default: text)",
         0},
        {"no-stop", KEY_NO_STOP, NULL, 0, "continue after a token that ends a text", 0},
        {"help", '?', NULL, 0, "show this list", -1},
    };
    for (int i = 0; i < NUMBERS; i++) {
        o->numbers[i] = number_rows[i].otherwise;
        list[15 + i] = (struct argp_option){.name = number_rows[i].name,
                                            .key = KEY_NUMBERS + i,
                                            .arg = "N",
                                            .doc = number_rows[i].help};
    }
    struct argp parser = {.options = list, .parser = parse_option, .doc = doc};
    TRY(command_line_check(list, argc, argv));
    error_t status = argp_parse(&parser, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP, NULL, o);
    if (o->failure) return o->failure;
    if (status) return user_error("the options cannot be read: %s", strerror(status));
    if (!o->load) return user_error("no --load: name the directory of a trained model");
    return check_task(o);
}

/* ---- the model ---- */

typedef struct {
    const options *o;
    model_config config;
    weights *weights;
    adapter_file *adapters; /* ? */
    bpe *vocab;
    chat *chat; /* ? */
    stop_ids stops;
    generator *g;
    device dev;
    bool open; /* the device */
} session;

static void report_memory(const session *s)
{
    arena_summary sum = arena_summarize(s->g->arena);
    char text[200];
    fprintf(stderr, "%s: %lld parameters; %s; %.1f MiB planned:", s->config.name,
            (long long)params_count(&s->g->params), device_describe(&s->dev, text, sizeof text),
            (double)sum.peak / 1048576);
    for (int k = 0; k < KIND_COUNT; k++)
        if (sum.most[k])
            fprintf(stderr, " %s %.1f", block_kind_name((block_kind)k),
                    (double)sum.most[k] / 1048576);
    fputc('\n', stderr);
}

static error *start(session *s, int64_t stride)
{
    TRY(device_open(s->o->device, (int)s->o->numbers[THREADS], stderr, &s->dev));
    s->open = true;
    TRY(generator_plan(&gpt_kind, &s->config, s->adapters, stride, s->dev.kind, &s->g));
    return generator_commit(s->g, &s->dev, s->weights, s->o->widen);
}

/* ---- generating ---- */

/* Bytes on their way to the standard output. */
typedef struct {
    uint8_t held[4 + BPE_MAX_TOKEN];
    size_t n;
    bool stream;
    memory_stream *copy; /* ? gets them, too */
} output;

/* A token's bytes come after those held; all whole characters go out. */
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

static error *encode_text(const session *s, const char *text, size_t bytes, int32_t *ids, size_t *n)
{
    chat_example e = {
        .text = {.text = (char *)(size_t)text, .n = bytes}}; /* which speaks in special tokens */
    chat_tokens t;
    if (s->o->special == BPE_SPECIAL_TEXT)
        return bpe_encode(s->vocab, (const uint8_t *)text, bytes, ids, n);
    error *failed = chat_encode(s->vocab, &e, BPE_SPECIAL_ALLOW, &t);
    if (!failed && t.n) memcpy(ids, t.ids, t.n * sizeof *ids);
    *n = t.n;
    chat_tokens_free(&t);
    return failed;
}

static error *encode_prompt(const session *s, int32_t **ids, size_t *n)
{
    const char *prompt = s->vocab ? s->o->prompt : s->o->prompt_ids;
    size_t bytes = strlen(prompt);
    size_t most = s->vocab ? bpe_most_tokens(s->vocab, bytes) + 1 : bytes + 2;
    TRY(alloc_array(ids, most, sizeof **ids));
    if (s->vocab && bytes) {
        int32_t begin = bpe_begin_of_text(s->vocab);
        if (begin >= 0) **ids = begin;
        TRY(encode_text(s, prompt, bytes, *ids + (begin >= 0), n));
        *n += begin >= 0;
    } else if (!s->vocab)
        TRY(read_ids(s, *ids, n));
    if (!*n)
        return user_error("--prompt%s is empty: give at least one %s to continue",
                          s->vocab ? "" : "-ids", s->vocab ? "character" : "token");
    if ((int64_t)*n > s->config.context)
        return user_error("--prompt has %zu tokens, the model sees %lld at a time: use its end", *n,
                          (long long)s->config.context);
    return NULL;
}

/* Does a text end with this token? */
static bool stops_at(const session *s, int32_t id)
{
    for (int i = 0; i < s->stops.n && !s->o->no_stop; i++)
        if (s->stops.id[i] == id) return true;
    return false;
}

/* Where a text ends: as the model's file says, else at the vocabulary's end-of-text. */
static error *find_stops(session *s)
{
    char path[PATH_LENGTH];
    TRY(path_join(path, weights_directory(s->weights), "generation_config.json"));
    TRY(stop_ids_read(path, &s->stops));
    if (!s->stops.n && s->vocab && bpe_end_of_text(s->vocab) >= 0)
        s->stops.id[s->stops.n++] = bpe_end_of_text(s->vocab);
    return NULL;
}

/* What is generated of one prompt. */
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
    decoder *d = &s->g->decoder;
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
    report_memory(s);
    fprintf(stderr, "prompt: %zu tokens in %.3f s; ", n, of.began - before);
    if (of.made > 1)
        fprintf(stderr, "then %lld tokens, %.1f tokens/s\n", (long long)of.made,
                (double)(of.made - 1) / (clock_now() - of.began));
    else
        fprintf(stderr, "then %lld token%s\n", (long long)of.made, of.made == 1 ? "" : "s");
    return NULL;
}

/* ---- conversations ---- */

static error *add_message(cJSON *messages, const char *role, const char *content)
{
    cJSON *m = cJSON_CreateObject();
    bool fine = json_add(m, "role", cJSON_CreateString(role)) &&
                json_add(m, "content", cJSON_CreateString(content));
    if (fine && cJSON_AddItemToArray(messages, m)) return NULL;
    cJSON_Delete(m);
    return user_error("out of memory for the conversation");
}

/* The tokens of the conversation so far, and of the beginning of the answer. */
static error *encode_messages(session *s, const cJSON *messages, chat_tokens *out)
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

/* Answers the last message, on the standard output, and adds the answer. */
static error *answer(session *s, chooser *p, float *logits, cJSON *messages)
{
    chat_tokens t;
    memory_stream text;
    generation of = {.index = (uint64_t)cJSON_GetArraySize(messages) << 24, .copy = &text};
    TRY(memory_stream_open(&text, "the answer"));
    error *e = encode_messages(s, messages, &t), *closed;
    if (!e) e = generate_tokens(s, p, t.ids, t.n, logits, &of);
    chat_tokens_free(&t);
    closed = memory_stream_close(&text);
    if (!e)
        e = closed;
    else
        error_free(closed);
    if (!e) e = add_message(messages, "assistant", text.text);
    free(text.text);
    putchar('\n');
    fflush(stdout);
    return e ? e : stdout_check();
}

/* Each line is a message, answered with all before it. */
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

static error *generate(session *s)
{
    const double *x = s->o->numbers;
    choice_rule rule = {.temperature = x[TEMPERATURE],
                        .top_p = x[TOP_P],
                        .top_k = (int64_t)x[TOP_K],
                        .seed = (uint64_t)x[SEED]};
    chooser p = {0};
    int32_t *prompt = NULL;
    float *logits = NULL;
    size_t n = 0;
    error *e = find_stops(s);
    if (!e && !s->chat) e = encode_prompt(s, &prompt, &n);
    if (!e) e = start(s, 0);
    if (!e) e = chooser_open(&rule, s->vocab ? bpe_size(s->vocab) : (int32_t)s->config.vocab, &p);
    if (!e) e = alloc_array(&logits, (unsigned long)s->config.vocab, sizeof *logits);
    if (!e) e = s->chat ? chat_with(s, &p, logits) : generate_text(s, &p, prompt, n, logits);
    chooser_close(&p);
    free(prompt);
    free(logits);
    return e;
}

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
    TRY(start(s, stride));
    begun = clock_now();
    TRY(scorer_run(&s->g->scorer, t->ids, (int64_t)t->n, &nats));
    bpe_token(s->vocab, t->ids[0], &first);
    double tokens = (double)(t->n - 1), bytes = (double)(t->n_bytes - first);
    report_memory(s);
    fprintf(stderr, "%zu tokens in %zu bytes; context %lld, stride %lld; %.1f tokens/s\n", t->n,
            t->n_bytes, (long long)context, (long long)stride, tokens / (clock_now() - begun));
    printf("loss %.6f  perplexity %.6g  bits/byte %.6f  tokens %.0f  bytes %.0f\n", nats / tokens,
           exp(nats / tokens), nats / log(2) / bytes, tokens, bytes);
    fflush(stdout);
    return stdout_check();
}

/* ---- scoring shards, as training does ---- */

/* What has been scored of them. */
typedef struct {
    double nats, tokens;
} tally;

/* Windows of the context side by side; what is left over at the end of a shard is not. */
static error *score_windows(session *s, const token_set *set, int shard, tally *t)
{
    int64_t length = s->config.context, windows = (tokens_count(set, shard) - 1) / length,
            n = windows * length + 1;
    int32_t *ids;
    double nats = 0;
    if (windows < 1) return NULL;
    TRY(alloc_array(&ids, (unsigned long)n, sizeof *ids));
    error *e = tokens_read(set, shard, 0, n, ids);
    if (!e) e = scorer_run(&s->g->scorer, ids, n, &nats);
    free(ids);
    t->nats += nats;
    t->tokens += (double)(n - 1);
    return e;
}

/* What is learned of a document, run of tokens by run: the loss up to its end less the loss up to its beginning. */
static error *score_document(session *s, const int32_t *ids, const uint8_t *learned, int64_t n,
                             tally *t)
{
    for (int64_t i = 1, end; i < n; i = end) {
        double before = 0, with = 0;
        for (end = i; end < n && learned[end] == learned[i];)
            end++;
        if (!learned[i]) continue;
        if (i > 1) TRY(scorer_run(&s->g->scorer, ids, i, &before));
        TRY(scorer_run(&s->g->scorer, ids, end, &with));
        t->nats += with - before;
        t->tokens += (double)(end - i);
    }
    return NULL;
}

static error *score_documents(session *s, const token_set *set, int shard, const int32_t *starts,
                              tally *t)
{
    for (int64_t i = 0; i < tokens_documents(set, shard); i++) {
        int64_t first = starts[i], n = starts[i + 1] - first;
        int32_t *ids = NULL;
        uint8_t *learned = NULL;
        if (n > s->config.context + 1)
            return user_error(
                "--eval %s: document %lld has %lld tokens, the model's context is %lld", s->o->eval,
                (long long)i, (long long)n, (long long)s->config.context);
        error *e = alloc_array(&ids, (unsigned long)n, sizeof *ids);
        if (!e) e = alloc_array(&learned, (unsigned long)n, 1);
        if (!e) e = tokens_read(set, shard, first, n, ids);
        if (!e) e = tokens_learned(set, shard, first, n, learned);
        if (!e) e = score_document(s, ids, learned, n, t);
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
        return user_error("--stride: not with a shard, whose windows lie side by side");
    TRY(tokens_open(&o->eval, 1, s->config.vocab, &set));
    error *e = start(s, s->config.context);
    for (int i = 0; i < tokens_shards(set) && !e; i++)
        e = score_shard(s, set, i, &t);
    tokens_close(set);
    if (!e && t.tokens == 0)
        e = user_error("--eval %s: not one window of %lld + 1 tokens", o->eval,
                       (long long)s->config.context);
    TRY(e);
    report_memory(s);
    printf("loss %.6f  perplexity %.6g  tokens %.0f\n", t.nats / t.tokens, exp(t.nats / t.tokens),
           t.tokens);
    fflush(stdout);
    return stdout_check();
}

static error *evaluate(session *s)
{
    text t = {0};
    if (tokens_is_shard(s->o->eval)) return score_shards(s);
    error *e = score(s, &t);
    free(t.bytes);
    free(t.ids);
    return e;
}

/* The template beside the tokenizer's file, or beside the model. */
static error *open_chat(session *s)
{
    char path[PATH_LENGTH];
    if (s->o->vocab) return chat_beside(s->o->template_file, s->o->vocab, s->vocab, &s->chat);
    TRY(path_join(path, weights_directory(s->weights), "tokenizer"));
    return chat_beside(s->o->template_file, path, s->vocab, &s->chat);
}

/* ---- main ---- */

static error *run_program(int argc, char **argv)
{
    options o = {0};
    session s = {.o = &o};
    TRY(parse(argc, argv, &o));
    TRY(descriptors_fill(true));
    error *e = weights_open(o.load, NULL, &s.weights);
    if (!e) s.config = *weights_model(s.weights);
    if (!e && o.adapter) e = adapter_open(o.adapter, &s.adapters);
    if (!e && !o.prompt_ids)
        e = tokenizer_open(weights_directory(s.weights), o.vocab, &s.config, &s.vocab);
    if (!e && o.chat) e = open_chat(&s);
    if (!e) e = o.eval ? evaluate(&s) : generate(&s);
    generator_destroy(s.g);
    if (s.open) device_close(&s.dev);
    weights_close(s.weights);
    adapter_close(s.adapters);
    bpe_close(s.vocab);
    chat_close(s.chat);
    return e;
}

int main(int argc, char **argv)
{
    error *e = run_program(argc, argv);
    return e ? error_report("generate", e) : 0;
}

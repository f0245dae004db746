/* generate.c - a trained model continues a prompt, or says how well it knows a text.
 *
 *     --prompt, --prompt-ids
 *               -> tokens -> decoder (infer/decoder.h) -> choose (infer/choose_token.h) -> text on stdout
 *     --eval    -> tokens -> scorer (infer/scorer.h)   -> loss, perplexity, bits per byte on stdout
 *
 * The standard output holds the text alone; figures go to the standard error.
 */
#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/command_line.h"
#include "base/files.h"
#include "data/text_check.h"
#include "infer/generator.h"
#include "infer/choose_token.h"
#include "infer/find_tokenizer.h"
#include "infer/utf8_shown.h"
#include "train/choose_device.h"

typedef struct {
    const char *load, *adapter, *vocab, *prompt, *prompt_ids, *eval;
    bool stream, widen;
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
    "to the standard error.  When the model's context is full, the newer half of it stays.  --eval "
    "scores every token but the first, in windows of the context that slide by --stride.\n\n"
    "  generate --load runs/train --vocab runs/data/kjv.vocab --prompt 'In the beginning'\n"
    "  generate --load runs/train --vocab runs/data/kjv.vocab --eval text.txt";

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

static error *parse(int argc, char **argv, options *o)
{
    struct argp_option list[11 + NUMBERS] = {
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
        {"help", '?', NULL, 0, "show this list", -1},
    };
    for (int i = 0; i < NUMBERS; i++) {
        o->numbers[i] = number_rows[i].otherwise;
        list[10 + i] = (struct argp_option){.name = number_rows[i].name,
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
    int tasks = (o->prompt != NULL) + (o->prompt_ids != NULL) + (o->eval != NULL);
    if (tasks == 0)
        return user_error("nothing to do: give --prompt TEXT to continue, or --eval FILE");
    if (tasks > 1)
        return user_error("--prompt, --prompt-ids and --eval: only one of them at a time");
    if (o->prompt_ids && o->vocab) return user_error("--vocab: not needed with --prompt-ids");
    if (!o->eval && !isnan(o->numbers[STRIDE])) return user_error("--stride: only with --eval");
    return NULL;
}

/* ---- the model ---- */

typedef struct {
    const options *o;
    model_config config;
    weights *weights;
    adapter_file *adapters; /* ? */
    bpe *vocab;
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
    TRY(generator_plan_adapted(&gpt_kind, &s->config, s->adapters, stride, s->dev.kind, &s->g));
    return generator_commit(s->g, &s->dev, s->weights, s->o->widen);
}

/* ---- generating ---- */

/* Bytes on their way to the standard output. */
typedef struct {
    uint8_t held[4 + BPE_MAX_TOKEN];
    size_t n;
    bool stream;
} output;

static error *check_output(void)
{
    if (!ferror(stdout)) return NULL;
    return user_error("cannot write to the standard output: %s: make room, or write to another "
                      "disk",
                      strerror(errno));
}

/* A token's bytes come after those held; all whole characters go out. */
static error *put_token(output *out, const uint8_t *bytes, size_t n)
{
    memcpy(out->held + out->n, bytes, n);
    out->n += n;
    size_t complete = utf8_complete(out->held, out->n);
    fwrite(out->held, 1, complete, stdout);
    memmove(out->held, out->held + complete, out->n - complete);
    out->n -= complete;
    if (out->stream) fflush(stdout);
    return check_output();
}

static error *put_rest(output *out)
{
    fwrite(out->held, 1, out->n, stdout);
    out->n = 0;
    fflush(stdout);
    return check_output();
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

static error *encode_prompt(const session *s, int32_t **ids, size_t *n)
{
    const char *prompt = s->vocab ? s->o->prompt : s->o->prompt_ids;
    size_t bytes = strlen(prompt);
    size_t most = s->vocab ? bpe_most_tokens(s->vocab, bytes) + 1 : bytes + 2;
    TRY(alloc_array(ids, most, sizeof **ids));
    if (s->vocab && bytes) {
        int32_t begin = bpe_begin_of_text(s->vocab);
        if (begin >= 0) **ids = begin;
        TRY(bpe_encode(s->vocab, (const uint8_t *)prompt, bytes, *ids + (begin >= 0), n));
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

static error *generate_tokens(session *s, chooser *p, const int32_t *prompt, size_t n,
                              float *logits, double *began)
{
    decoder *d = &s->g->decoder;
    output out = {.stream = s->o->stream};
    int64_t count = (int64_t)s->o->numbers[TOKENS];
    decoder_begin(d);
    decoder_push(d, prompt, (int64_t)n);
    for (int64_t i = 0; i < count; i++) {
        int32_t id;
        size_t n_bytes;
        TRY(decoder_next(d, logits));
        if (i == 0) *began = clock_now();
        TRY(choose_token(p, logits, (uint64_t)i, &id));
        if (i == 0 && s->vocab) fputs(s->o->prompt, stdout);
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
    double before = clock_now(), began = before;
    int64_t count = (int64_t)s->o->numbers[TOKENS];
    TRY(generate_tokens(s, p, prompt, n, logits, &began));
    report_memory(s);
    fprintf(stderr, "prompt: %zu tokens in %.3f s; ", n, began - before);
    if (count > 1)
        fprintf(stderr, "then %lld tokens, %.1f tokens/s\n", (long long)count,
                (double)(count - 1) / (clock_now() - began));
    else
        fprintf(stderr, "then 1 token\n");
    return NULL;
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
    error *e = encode_prompt(s, &prompt, &n);
    if (!e) e = start(s, 0);
    if (!e) e = chooser_open(&rule, s->vocab ? bpe_size(s->vocab) : (int32_t)s->config.vocab, &p);
    if (!e) e = alloc_array(&logits, (unsigned long)s->config.vocab, sizeof *logits);
    if (!e) e = generate_text(s, &p, prompt, n, logits);
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
    return check_output();
}

static error *evaluate(session *s)
{
    text t = {0};
    error *e = score(s, &t);
    free(t.bytes);
    free(t.ids);
    return e;
}

/* ---- main ---- */

static error *run_program(int argc, char **argv)
{
    options o = {0};
    session s = {.o = &o};
    TRY(parse(argc, argv, &o));
    error *e = weights_open(o.load, NULL, &s.weights);
    if (!e) s.config = *weights_model(s.weights);
    if (!e && o.adapter) e = adapter_open(o.adapter, &s.adapters);
    if (!e && !o.prompt_ids)
        e = tokenizer_open(weights_directory(s.weights), o.vocab, &s.config, &s.vocab);
    if (!e) e = o.eval ? evaluate(&s) : generate(&s);
    generator_destroy(s.g);
    if (s.open) device_close(&s.dev);
    weights_close(s.weights);
    adapter_close(s.adapters);
    bpe_close(s.vocab);
    return e;
}

int main(int argc, char **argv)
{
    error *e = run_program(argc, argv);
    return e ? error_report("generate", e) : 0;
}

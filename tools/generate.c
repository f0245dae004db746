/* generate.c - a trained model continues a prompt, or says how well it knows a text.
 *
 *     --prompt, --prompt-ids
 *               -> tokens -> decoder (infer/decoder.h) -> choose (infer/choose_token.h) -> text on stdout
 *     --chat    -> the template (data/chat/chat.h) -> the same, turn after turn
 *     --prompts -> many of them -> side by side (infer/text_batch.h) -> a line of JSON each
 *     --eval    -> tokens -> scorer (infer/scorer.h)   -> loss, perplexity, bits per byte on stdout
 *     --choices -> questions (infer/choices.h) -> scorer -> how many the model answers right
 *
 * The standard output holds the text alone; figures go to the standard error.
 */
#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/command_line.h"
#include "base/descriptors.h"
#include "base/files.h"
#include "base/text_ends.h"
#include "base/unpack.h"
#include "data/text_check.h"
#include "tools/generate.h"

/* ---- options ---- */

enum {
    KEY_FIRST = 1000,
    KEY_LOAD,
    KEY_ADAPTER,
    KEY_VOCAB,
    KEY_PROMPT,
    KEY_PROMPT_IDS,
    KEY_PROMPTS,
    KEY_EVAL,
    KEY_CHOICES,
    KEY_JSON,
    KEY_DTYPE,
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
    {"batch", 1, 1024, NAN, true, "with --prompts: how many at a time (default: 8)"},
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
    "document; of a .jsonl the answers, as tokenize --chat marks them.  --chat "
    "answers --prompt, or each line of the standard input with all before it.  --choices asks "
    "which of some endings a model finds likeliest, and counts as lm-evaluation-harness does "
    "(acc, acc_norm).\n\n"
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

static error *take_type(options *o, const char *text)
{
    o->type = strcmp(text, "bf16") ? F32 : BF16;
    return strcmp(text, "bf16") && strcmp(text, "fp32")
               ? user_error("--dtype %s: must be fp32 or bf16", text)
               : NULL;
}

/* Options that are kept as they are written, and those that are there or not. */
static const struct {
    int key;
    size_t at;
} text_options[] =
    {
        {KEY_LOAD, offsetof(options, load)},
        {KEY_ADAPTER, offsetof(options, adapter)},
        {KEY_VOCAB, offsetof(options, vocab)},
        {KEY_PROMPT, offsetof(options, prompt)},
        {KEY_PROMPT_IDS, offsetof(options, prompt_ids)},
        {KEY_EVAL, offsetof(options, eval)},
        {KEY_PROMPTS, offsetof(options, prompts)},
        {KEY_CHOICES, offsetof(options, choices)},
        {KEY_TEMPLATE, offsetof(options, template_file)},
        {KEY_SYSTEM, offsetof(options, system)},
},
  flag_options[] = {
      {KEY_JSON, offsetof(options, json)},       {KEY_STREAM, offsetof(options, stream)},
      {KEY_WIDEN, offsetof(options, widen)},     {KEY_CHAT, offsetof(options, chat)},
      {KEY_NO_STOP, offsetof(options, no_stop)},
};

static bool keep_plain(options *o, int key, const char *arg)
{
    for (size_t i = 0; i < sizeof text_options / sizeof *text_options; i++)
        if (text_options[i].key == key) {
            memcpy((char *)o + text_options[i].at, &arg, sizeof arg);
            return true;
        }
    for (size_t i = 0; i < sizeof flag_options / sizeof *flag_options; i++)
        if (flag_options[i].key == key) {
            *(bool *)((char *)o + flag_options[i].at) = true;
            return true;
        }
    return false;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    options *o = state->input;
    if (keep_plain(o, key, arg)) return 0;
    switch (key) {
    case KEY_DTYPE:
        o->failure = take_type(o, arg);
        break;
    case KEY_SPECIAL:
        o->failure = take_special(o, arg);
        break;
    case KEY_DEVICE:
        o->failure = parse_device(o, arg);
        break;
    case ARGP_KEY_ARG:
        o->failure = user_error("%s: no option: quote the prompt as one word, see --help", arg);
        break;
    case '?':
        state->flags &= ~(unsigned)ARGP_NO_ERRS;            /* which would silence the help, too */
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
        break;
    default:
        if (key < KEY_NUMBERS || key >= KEY_NUMBERS + NUMBERS) return ARGP_ERR_UNKNOWN;
        o->failure = take_number(o, key - KEY_NUMBERS, arg);
    }
    return o->failure ? EINVAL : 0;
}

/* An option that does nothing beside what is to be done; NULL: there is none. */
static const char *idle_option(const options *o)
{
    bool scores = o->eval || o->choices, given = o->prompt || o->prompt_ids || o->prompts;
    const struct {
        bool idle;
        const char *name;
    } list[] = {
        {o->chat && o->special, "--special: not with --chat"},
        {(o->template_file || o->system) && !o->chat && !(o->eval && named_jsonl(o->eval)),
         o->system ? "--system: only with --chat"
                   : "--template: only with --chat, or --eval FILE.jsonl"},
        {o->system && scores, "--system: only with --chat"},
        {o->special && !o->prompt && !o->prompts, "--special: only with --prompt or --prompts"},
        {o->no_stop && scores, "--no-stop: not with --eval or --choices"},
        {o->vocab && o->prompt_ids, "--vocab: not needed with --prompt-ids"},
        {!isnan(o->numbers[STRIDE]) && !o->eval, "--stride: only with --eval"},
        {!isnan(o->numbers[BATCH]) && !o->prompts, "--batch: only with --prompts"},
        {o->stream && (scores || o->prompts),
         "--stream: only with --prompt, --prompt-ids or --chat"},
        {o->json && !scores && (given || o->chat),
         "--json: only with --eval or --choices (--prompts always writes JSON)"},
        {o->widen && o->type == BF16, "--widen: with --dtype bf16 nothing is widened"},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].idle) return list[i].name;
    return NULL;
}

/* One thing to do, and nothing that belongs to another. */
static error *check_task(const options *o)
{
    int tasks = (o->prompt != NULL) + (o->prompt_ids != NULL) + (o->prompts != NULL) +
                (o->eval != NULL) + (o->choices != NULL);
    const char *odd = o->chat && o->eval         ? "--eval"
                      : o->chat && o->choices    ? "--choices"
                      : o->chat && o->prompt_ids ? "--prompt-ids"
                                                 : NULL;
    if (odd) return user_error("%s cannot go with --chat: leave it out", odd);
    if (tasks == 0 && !o->chat)
        return user_error("nothing to do: give --prompt TEXT to continue, or --eval FILE");
    if (tasks > 1)
        return user_error(
            "--prompt, --prompt-ids, --prompts, --eval and --choices: only one of them at a time");
    const char *idle = idle_option(o);
    return idle ? user_error("%s", idle) : NULL;
}

static const struct argp_option plain_options[] = {
    {"load", KEY_LOAD, "DIR|FILE", 0, "a trained model, as train_gpt --load takes it (needed)", 0},
    {"adapter", KEY_ADAPTER, "DIR", 0,
     "adapters beside it (adapter_model.safetensors, adapter_config.json)", 0},
    {"vocab", KEY_VOCAB, "FILE", 0, "the tokenizer (default: the one beside the model)", 0},
    {"prompt", KEY_PROMPT, "TEXT", 0, "what to continue", 0},
    {"prompt-ids", KEY_PROMPT_IDS, "N,...", 0,
     "the same as numbers of tokens, for a model whose tokenizer cannot be read; what follows "
     "is printed so, too",
     0},
    {"stream", KEY_STREAM, NULL, 0, "print each token as it comes", 0},
    {"prompts", KEY_PROMPTS, "FILE", 0,
     "continue each line of a file, or of a .jsonl each prompt (or, with --chat, messages): "
     "several at a time, a line of JSON for each",
     0},
    {"eval", KEY_EVAL, "FILE", 0, "measure this text instead", 0},
    {"choices", KEY_CHOICES, "FILE", 0,
     "JSON Lines of questions with endings to choose from (HellaSwag's, or query, choices, "
     "gold): which is likeliest",
     0},
    {"json", KEY_JSON, NULL, 0, "with --eval: figures as JSON; with --choices: each question, too",
     0},
    {"dtype", KEY_DTYPE, "fp32|bf16", 0,
     "of parameters and activations: with bf16, f32 files are rounded (default: fp32)", 0},
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
    {"system", KEY_SYSTEM, "TEXT", 0, "with --chat: a message of the system before all others", 0},
    {"special", KEY_SPECIAL, "text|allow", 0,
     "the spelling of a special token in --prompt is text, or is that token (default: text)", 0},
    {"no-stop", KEY_NO_STOP, NULL, 0, "continue after a token that ends a text", 0},
    {"help", '?', NULL, 0, "show this list", -1},
};

enum { OPTIONS = sizeof plain_options / sizeof *plain_options };

static error *parse(int argc, char **argv, options *o)
{
    struct argp_option list[OPTIONS + NUMBERS + 1] = {0};
    memcpy(list, plain_options, sizeof plain_options);
    for (int i = 0; i < NUMBERS; i++) {
        o->numbers[i] = number_rows[i].otherwise;
        list[OPTIONS + i] = (struct argp_option){.name = number_rows[i].name,
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

void session_report(const session *s)
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

error *session_start(session *s, generator_job job)
{
    const options *o = s->o;
    float_cast cast = o->type == BF16 ? CAST_ROUND : cast_widening(o->widen);
    TRY(device_open(o->device, (int)o->numbers[THREADS], stderr, &s->dev));
    s->open = true;
    job.adapters = s->adapters;
    job.type = o->type;
    job.on = s->dev.kind;
    TRY(generator_plan(&gpt_kind, &s->config, job, &s->g));
    return generator_commit(s->g, &s->dev, s->weights, cast);
}

/* ---- files ---- */

bool named_jsonl(const char *path)
{
    return text_ends(path, ".jsonl") || text_ends(path, ".jsonl.gz") ||
           text_ends(path, ".jsonl.zst");
}

error *read_json_lines(const char *option, const char *path, json_line_taker take, void *context)
{
    uint8_t *bytes = NULL;
    size_t n = 0, capacity = 0;
    error *e = read_unpacked(path, &bytes, &n, &capacity);
    if (!e) e = text_check(path, bytes, n);
    if (!e) e = json_lines(path, (const char *)bytes, n, take, context);
    free(bytes);
    return error_context(e, "%s", option);
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
    options o = {.type = F32};
    session s = {.o = &o};
    TRY(parse(argc, argv, &o));
    TRY(descriptors_fill(true));
    error *e = weights_open(o.load, NULL, &s.weights);
    if (!e) s.config = *weights_model(s.weights);
    if (!e && o.adapter) e = adapter_open(o.adapter, &s.adapters);
    if (!e && !o.prompt_ids)
        e = tokenizer_open(weights_directory(s.weights), o.vocab, &s.config, &s.vocab);
    if (!e && (o.chat || (o.eval && named_jsonl(o.eval)))) e = open_chat(&s);
    if (!e)
        e = o.eval      ? generate_eval(&s)
            : o.choices ? generate_choices(&s)
            : o.prompts ? generate_many(&s)
                        : generate_one(&s);
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

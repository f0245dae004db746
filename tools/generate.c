/* generate.c - continues a prompt with a trained model, or scores a text.
 *
 *     --prompt, --prompt-ids
 *               -> tokens -> decoder (infer/decoder.h) -> choose (infer/choose_token.h) -> text on stdout
 *     --chat    -> the template (data/chat/chat.h) -> the same, turn by turn
 *     --prompts -> many prompts -> side by side (infer/text_batch.h) -> a line of JSON each
 *     --eval    -> tokens -> scorer (infer/scorer.h)   -> loss, perplexity, bits per byte on stdout
 *     --choices -> questions (infer/choices.h) -> scorer -> how many the model answers correctly
 *
 * Standard output carries only the text; figures go to standard error.
 */
#include <argp.h>
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

enum { KEY_DTYPE = 1000, KEY_DEVICE, KEY_SPECIAL, KEY_NUMBERS };

/* The headings of --help. */
enum { THE_MODEL = 1, THE_TEXT, A_CHAT, EVALUATION };

typedef struct {
    const char *name;
    double least, most, otherwise;
    bool integer;
    int group;
    const char *help;
} number_row;

static const number_row number_rows[NUMBERS] = {
    {"tokens", 1, 1e9, 128, true, THE_TEXT, "number of tokens to generate [default: 128]"},
    {"temperature", 0, 100, 0.8, false, THE_TEXT,
     "divide logits by this; 0 = always the most likely token [default: 0.8]"},
    {"top-k", 0, 1e9, 0, true, THE_TEXT,
     "sample from the K most likely tokens; 0 = all [default: 0]"},
    {"top-p", 0, 1, 1, false, THE_TEXT,
     "sample from the fewest tokens whose probabilities sum to P, more than 0 and at most 1 "
     "[default: 1]"},
    {"seed", 0, 9e15, 1, true, THE_TEXT, "random seed: same seed, same text [default: 1]"},
    {"stride", 1, 1e9, NAN, true, EVALUATION,
     "with --eval: how far the window moves, at most the context [default: half of it]"},
    {"threads", 1, 1024, 0, true, THE_MODEL, "CPU threads [default: all cores]"},
    {"batch", 1, 1024, NAN, true, THE_TEXT, "with --prompts: prompts at a time [default: 8]"},
};

static const char doc[] =
    "Generate text with a trained model, or measure its perplexity or accuracy.\v"
    "The standard output gets the prompt and its continuation, nothing else; tokens per second go "
    "to the standard error. Generation stops after --tokens, or at an eos_token_id of the model's "
    "generation_config.json, or else at that of its config.json and at the vocabulary's "
    "end-of-text token. When the context is full, its newer half is kept. --eval scores every "
    "token but the first, in windows that slide "
    "by --stride; a shard of tokens (_val.bin) is scored as during training: in whole windows side "
    "by side, or, if it has a loss mask, document by document; of a .jsonl the answers are scored, "
    "as tokenize --chat marks them. --chat answers --prompt, or each line of the standard input "
    "with the conversation so far. --choices counts as lm-evaluation-harness does (acc, "
    "acc_norm).\n\n"
    "  generate --load runs/train --prompt 'In the beginning'\n"
    "  generate --load runs/train --eval text.txt\n"
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

static error *take_word(options *o, int key, const char *text)
{
    static const char *const types[] = {"fp32", "bf16"}, *const specials[] = {"text", "allow"};
    int i;
    if (key == KEY_DTYPE) {
        TRY(command_line_word("dtype", text, types, 2, &i));
        o->type = i ? BF16 : F32;
    } else if (key == KEY_SPECIAL) {
        TRY(command_line_word("special", text, specials, 2, &i));
        o->special = i ? BPE_SPECIAL_ALLOW : BPE_SPECIAL_TEXT;
    } else {
        TRY(command_line_word("device", text, device_choice_names, DEVICE_CHOICES, &i));
        o->device = (device_choice)i;
    }
    return NULL;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    options *o = state->input;
    if (command_line_store(NULL, 0, key, arg, o)) return 0;
    if (key == KEY_DTYPE || key == KEY_SPECIAL || key == KEY_DEVICE)
        o->failure = take_word(o, key, arg);
    else if (key == ARGP_KEY_ARG)
        o->failure = user_error("%s: no option: quote the prompt as one word, see --help", arg);
    else if (key >= KEY_NUMBERS && key < KEY_NUMBERS + NUMBERS)
        o->failure = take_number(o, key - KEY_NUMBERS, arg);
    else
        return command_line_key(key, state);
    return o->failure ? EINVAL : 0;
}

/* An option that has no effect on this job; NULL: there is none. */
static const char *idle_option(const options *o)
{
    bool scores = o->eval || o->choices;
    const struct {
        bool idle;
        const char *name;
    } list[] = {
        {o->chat && o->special, "--special: not with --chat"},
        {o->system && !o->chat, "--system: only with --chat"},
        {o->template_file && !o->chat && !(o->eval && named_jsonl(o->eval)),
         "--template: only with --chat, or --eval FILE.jsonl"},
        {o->special && !o->prompt && !o->prompts, "--special: only with --prompt or --prompts"},
        {o->no_stop && scores, "--no-stop: not with --eval or --choices"},
        {o->vocab && o->prompt_ids, "--vocab: not needed with --prompt-ids"},
        {!isnan(o->numbers[STRIDE]) && !o->eval, "--stride: only with --eval"},
        {!isnan(o->numbers[BATCH]) && !o->prompts, "--batch: only with --prompts"},
        {o->stream && (scores || o->prompts),
         "--stream: only with --prompt, --prompt-ids or --chat"},
        {o->json && !scores,
         "--json: only with --eval or --choices (--prompts always writes JSON)"},
        {o->widen && o->type == BF16, "--widen: with --dtype bf16 nothing is widened"},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].idle) return list[i].name;
    return NULL;
}

/* Exactly one job, and no options of another. */
static error *check_task(const options *o)
{
    int tasks = (o->prompt != NULL) + (o->prompt_ids != NULL) + (o->prompts != NULL) +
                (o->eval != NULL) + (o->choices != NULL);
    const char *odd = o->chat && o->eval         ? "--eval"
                      : o->chat && o->choices    ? "--choices"
                      : o->chat && o->prompt_ids ? "--prompt-ids"
                                                 : NULL;
    if (odd) return user_error("%s cannot be combined with --chat: leave it out", odd);
    if (tasks == 0 && !o->chat)
        return user_error("nothing to do: give --prompt TEXT to continue, or --eval FILE");
    if (tasks > 1)
        return user_error(
            "--prompt, --prompt-ids, --prompts, --eval and --choices: only one of them at a time");
    const char *idle = idle_option(o);
    return idle ? user_error("%s", idle) : NULL;
}

static const struct argp_option plain_options[] = {
    {NULL, 0, NULL, 0, "Model:", THE_MODEL},
    {"load", STORED(load), "DIR|FILE", 0, "trained model, as for train_gpt --load (required)",
     THE_MODEL},
    {"adapter", STORED(adapter), "DIR", 0,
     "LoRA adapters of that model (adapter_model.safetensors, adapter_config.json)", THE_MODEL},
    {"vocab", STORED(vocab), "FILE", 0, "tokenizer [default: the one beside the model]", THE_MODEL},
    {"dtype", KEY_DTYPE, "fp32|bf16", 0,
     "type of parameters and activations; bf16 rounds fp32 files [default: fp32]", THE_MODEL},
    {"widen", STORED(widen), NULL, 0, "convert 16-bit floats to f32, which preserves every value",
     THE_MODEL},
    {"device", KEY_DEVICE, "WHERE", 0, "cpu, cuda, or auto: cuda if there is a GPU [default: auto]",
     THE_MODEL},
    {NULL, 0, NULL, 0, "Text:", THE_TEXT},
    {"prompt", STORED(prompt), "TEXT", 0, "text to continue", THE_TEXT},
    {"prompt-ids", STORED(prompt_ids), "N,...", 0,
     "the same as token ids, for a model whose tokenizer cannot be read; the output is token "
     "ids, too",
     THE_TEXT},
    {"prompts", STORED(prompts), "FILE", 0,
     "continue each line of a file, or each prompt of a .jsonl (with --chat, messages): several "
     "at a time, one line of JSON for each",
     THE_TEXT},
    {"special", KEY_SPECIAL, "text|allow", 0,
     "treat the spelling of a special token in --prompt as plain text, or as that token "
     "[default: text]",
     THE_TEXT},
    {"stream", STORED(stream), NULL, 0, "print each token as it comes", THE_TEXT},
    {"no-stop", STORED(no_stop), NULL, 0, "continue past end-of-text tokens", THE_TEXT},
    {NULL, 0, NULL, 0, "Chat:", A_CHAT},
    {"chat", STORED(chat), NULL, 0,
     "use the model's chat template: answer --prompt, or each line of the standard input", A_CHAT},
    {"template", STORED(template_file), "FILE", 0,
     "with --chat or --eval FILE.jsonl: the template [default: chat_template.jinja, or the one in "
     "tokenizer_config.json, beside the tokenizer]",
     A_CHAT},
    {"system", STORED(system), "TEXT", 0, "with --chat: the system message", A_CHAT},
    {NULL, 0, NULL, 0, "Evaluation:", EVALUATION},
    {"eval", STORED(eval), "FILE", 0, "score this text or shard instead of generating", EVALUATION},
    {"choices", STORED(choices), "FILE", 0,
     "multiple choice: JSON Lines of questions with endings (HellaSwag's, or query, choices, "
     "gold); which ending is the most likely",
     EVALUATION},
    {"json", STORED(json), NULL, 0,
     "with --eval: print the figures as JSON; with --choices: each question, too", EVALUATION},
    COMMAND_LINE_ROWS,
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
                                                 .doc = number_rows[i].help,
                                                 .group = number_rows[i].group};
    }
    struct argp parser = {.options = list, .parser = parse_option, .doc = doc};
    TRY(command_line_parse(&parser, argc, argv, 0, o, &o->failure));
    if (!o->load) return user_error("no --load: name the directory of a trained model");
    return check_task(o);
}

/* ---- the model ---- */

void session_report(const session *s)
{
    arena_summary sum = arena_summarize(s->inf->arena);
    char text[200];
    fprintf(stderr, "%s: %lld parameters; %s; %.1f MiB planned:", s->config.name,
            (long long)params_count(&s->inf->params), device_describe(&s->dev, text, sizeof text),
            (double)sum.peak / 1048576);
    for (int k = 0; k < KIND_COUNT; k++)
        if (sum.most[k])
            fprintf(stderr, " %s %.1f", block_kind_name((block_kind)k),
                    (double)sum.most[k] / 1048576);
    fputc('\n', stderr);
}

error *session_start(session *s, inference_job job)
{
    const options *o = s->o;
    float_cast cast = o->type == BF16 ? CAST_ROUND : cast_widening(o->widen);
    TRY(device_open(o->device, (int)o->numbers[THREADS], stderr, &s->dev));
    s->open = true;
    job.adapters = s->adapters;
    job.type = o->type;
    job.on = s->dev.kind;
    TRY(inference_plan(&gpt_kind, &s->config, job, &s->inf));
    return inference_commit(s->inf, &s->dev, s->weights, cast);
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
    inference_destroy(s.inf);
    if (s.open) device_close(&s.dev);
    weights_close(s.weights);
    adapter_close(s.adapters);
    bpe_close(s.vocab);
    chat_close(s.chat);
    return e;
}

int main(int argc, char **argv)
{
    char *room[3], **words = command_line_words(&argc, argv, room);
    error *e = run_program(argc, words);
    return e ? error_report("generate", e) : 0;
}

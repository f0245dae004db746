/* generate.h - shared by the parts of ./generate: its options, and a model ready to run.
 *
 *     generate.c         options, files, the device
 *     generate_text.c    --prompt, --prompt-ids, --chat: one text
 *     generate_many.c    --prompts: many, side by side
 *     generate_score.c   --eval, --choices: how likely a text is
 *
 * All belong to one program; nothing else includes this.
 */
#ifndef REGRAD_TOOLS_GENERATE_H
#define REGRAD_TOOLS_GENERATE_H

#include "data/chat/stop_ids.h"
#include "infer/chat_tokens.h"
#include "infer/choose_token.h"
#include "infer/find_tokenizer.h"
#include "base/json_lines.h"
#include "infer/inference.h"
#include "train/choose_device.h"

enum { TOKENS, TEMPERATURE, TOP_K, TOP_P, SEED, STRIDE, THREADS, BATCH, NUMBERS };

typedef struct {
    const char *load, *adapter, *vocab, *prompt, *prompt_ids, *prompts, *eval, *choices,
        *template_file, *system;
    bool stream, widen, chat, no_stop, json;
    bpe_special special;
    device_choice device;
    dtype type;              /* of parameters and activations */
    double numbers[NUMBERS]; /* NAN: not given, without a default */
    error *failure;
} options;

typedef struct {
    const options *o;
    model_config config;
    weights *weights;
    adapter_file *adapters; /* ? */
    bpe *vocab;
    chat *chat; /* ? */
    stop_ids stops;
    inference *inf;
    device dev;
    bool open; /* the device */
} session;

/* Plans the job's program (adapters, type and device are the session's) and reads the model. */
error *session_start(session *s, inference_job job) NODISCARD;
/* Parameters, device, memory: one line on standard error. */
void session_report(const session *s);

/* Runs the option's job, from files to standard output. */
error *generate_one(session *s) NODISCARD;     /* --prompt, --prompt-ids, --chat */
error *generate_many(session *s) NODISCARD;    /* --prompts */
error *generate_eval(session *s) NODISCARD;    /* --eval */
error *generate_choices(session *s) NODISCARD; /* --choices */

/* ---- of prompts (generate_text.c) ---- */

/* The tokens of a prompt, with the token that begins a text; of messages; of the beginning of an
 * answer. Call chat_tokens_free in any case. */
error *prompt_encode(const session *s, const char *text, size_t bytes, chat_tokens *out) NODISCARD;
error *messages_encode(const session *s, const cJSON *messages, chat_tokens *out) NODISCARD;
error *add_message(cJSON *messages, const char *role, const char *content) NODISCARD;

/* The tokens that end a text: those of the model's file, else the vocabulary's end-of-text. */
error *find_stops(session *s) NODISCARD;
bool stops_at(const session *s, int32_t id);

choice_rule choice_rule_of(const options *o);
int32_t tokens_to_choose(const session *s); /* ids 0 .. n - 1 */

/* ---- of files ---- */

/* A.jsonl, possibly compressed. */
bool named_jsonl(const char *path);

/* Gives the lines of a JSON Lines file, decompressed, to the callback (base/json_lines.h). */
error *read_json_lines(const char *option, const char *path, json_line_taker take,
                       void *context) NODISCARD;

#endif

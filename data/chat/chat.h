/* chat.h - renders one example of a conversation as text, and marks which parts of it are learned.
 *
 *     {"messages": [{"role": "user", "content": "3 + 4"}, {"role": "assistant", "content": "7"}]}
 *           |  the chat template (jinja.h)
 *           v
 *     <|user|>3 + 4<|end|><|assistant|>7<|end|>
 *                                      ^^^^^^^^   learned: the model's answer to the prompt
 *
 * The template determines where an answer begins and ends: its output for the earlier messages with
 * a request for an answer (add_generation_prompt) must be a prefix of its output with the answer,
 * and that a prefix of the whole; or it marks answers itself by {% generation %}.  A template that
 * does neither is refused, because a wrong mask would go unnoticed.  An answer with "weight": 0 is
 * not learned.
 *
 * Other forms of an example: {"prompt": TEXT, "completion": TEXT}, where the completion is learned;
 * the same with lists of messages; {"text": TEXT}, where everything is.
 */
#ifndef REGRAD_CHAT_H
#define REGRAD_CHAT_H

#include <stdbool.h>

#include "data/chat/jinja.h"

typedef struct chat chat;

/* Reads the template from a file (? NULL: chat_template.jinja or tokenizer_config.json in the
 * directory, if present), and the spellings of special tokens from tokenizer_config.json; ? begin
 * and end replace a missing bos_token and eos_token. */
error *chat_open(const char *file, const char *directory, const char *begin, const char *end,
                 chat **out) NODISCARD;
void chat_close(chat *c); /* NULL is ignored */

/* Its source, NUL-terminated; NULL without a template. */
const char *chat_source(const chat *c, size_t *n);

typedef struct {
    jinja_text text; /* whose spans are the learned parts */
    bool plain;      /* no template was used: the tokens that begin and end a text must be added */
} chat_example;

/* all: everything is learned, not only answers.  Call chat_example_free in any case. */
error *chat_read(const chat *c, const cJSON *line, bool all, chat_example *out) NODISCARD;
void chat_example_free(chat_example *e);

/* Renders messages, and the beginning of the answer. */
error *chat_prompt(const chat *c, const cJSON *messages, jinja_text *out) NODISCARD;

#endif

/* chat.h - one example of a conversation as a text, and which parts of that are learned.
 *
 *     {"messages": [{"role": "user", "content": "3 + 4"}, {"role": "assistant", "content": "7"}]}
 *           |  the chat template (jinja.h)
 *           v
 *     <|user|>3 + 4<|end|><|assistant|>7<|end|>
 *                                      ^^^^^^^^   learned: what the model has to say after the prompt
 *
 * Where an answer begins and ends the template says: what it writes of the messages before, asked for an
 * answer (add_generation_prompt), must be the beginning of what it writes with the answer, and that the
 * beginning of the whole; or it marks answers itself by {% generation %}.  A template that does neither is
 * refused, for a wrong mask would not be seen.
 *
 * Other forms of an example: {"prompt": TEXT, "completion": TEXT}, of which the completion is learned; the same
 * with lists of messages; {"text": TEXT}, all of it.
 */
#ifndef REGRAD_CHAT_H
#define REGRAD_CHAT_H

#include <stdbool.h>

#include "data/chat/jinja.h"

typedef struct chat chat;

/* The template of a file (? NULL: chat_template.jinja or tokenizer_config.json in the directory, if there),
 * and the spellings of special tokens that tokenizer_config.json has; ? begin and end stand for its bos_token
 * and eos_token where there are none. */
error *chat_open(const char *file, const char *directory, const char *begin, const char *end,
                 chat **out) NODISCARD;
void chat_close(chat *c); /* NULL is fine */

/* Its source, zero at the end; NULL without a template. */
const char *chat_source(const chat *c, size_t *n);

typedef struct {
    jinja_text text; /* with the learned parts as its spans */
    bool plain; /* no template was used: the tokens that begin and end a text belong around it */
} chat_example;

/* all: everything is learned, not only answers.  chat_example_free in any case. */
error *chat_read(const chat *c, const cJSON *line, bool all, chat_example *out) NODISCARD;
void chat_example_free(chat_example *e);

/* Messages, and the beginning of the answer. */
error *chat_prompt(const chat *c, const cJSON *messages, jinja_text *out) NODISCARD;

#endif

/* chat_tokens.h - the tokens of a conversation, and which of them are learned (the loss mask).
 *
 * The whole text is encoded at once, including special tokens, as in transformers; a token is
 * learned if part of it is in a learned part.  If the tokenizer changes the text (NFC, tokens that
 * strip spaces), the learned parts are encoded separately, which is accepted if it gives the same
 * tokens.
 */
#ifndef REGRAD_CHAT_TOKENS_H
#define REGRAD_CHAT_TOKENS_H

#include "data/bpe/bpe.h"
#include "data/chat/chat.h"

typedef struct {
    int32_t *ids;     /* (n) */
    uint8_t *learned; /* (n) 0 or 1 */
    size_t n, capacity, learned_capacity;
} chat_tokens;

/* `special`: whether a plain example's text may contain special tokens; the output of a template
 * always may. Call chat_tokens_free in any case. */
error *chat_encode(const bpe *v, const chat_example *e, bpe_special special,
                   chat_tokens *out) NODISCARD;
void chat_tokens_free(chat_tokens *t);

/* A chat with the template file, or with the template beside the vocabulary file. */
error *chat_beside(const char *template_file, const char *vocab_path, const bpe *v,
                   chat **out) NODISCARD;

#endif

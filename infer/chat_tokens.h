/* chat_tokens.h - the tokens of an example of a conversation, and which of them are learned.
 *
 * The whole text is encoded at once, special tokens included, as transformers does it; a token is learned if part
 * of it is in a learned part.  Where a vocabulary changes the text (NFC, tokens that take spaces away), the
 * learned parts are encoded by themselves, and count if that makes the same tokens.
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

/* `special`: whether a plain example's text may speak in special tokens; what a template has made does.
 * chat_tokens_free in any case. */
error *chat_encode(const bpe *v, const chat_example *e, bpe_special special,
                   chat_tokens *out) NODISCARD;
void chat_tokens_free(chat_tokens *t);

/* A chat of the template file, or of what is beside the vocabulary's file. */
error *chat_beside(const char *template_file, const char *vocab_path, const bpe *v,
                   chat **out) NODISCARD;

#endif

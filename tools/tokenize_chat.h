/* tokenize_chat.h - tokenize --chat: converts conversations to marked token shards. */
#ifndef REGRAD_TOKENIZE_CHAT_H
#define REGRAD_TOKENIZE_CHAT_H

#include "data/bpe/bpe.h"

typedef enum { TOO_LONG_REFUSE, TOO_LONG_CUT, TOO_LONG_SKIP } too_long;

typedef struct {
    const char *const *inputs; /* (n_inputs) JSON Lines */
    int n_inputs;
    const char *vocab, *prefix; /* prefix: NULL to only show examples */
    const char *template_file;  /* ? */
    bool all;                   /* everything is learned */
    bpe_special special;        /* for texts that no template has made */
    double fraction;            /* fraction of the examples, for validation */
    int64_t max_tokens;         /* of an example; 0: no limit */
    too_long too_long;
    int64_t show; /* number of examples to show instead of writing */
} chat_job;

/* PREFIX_train.bin, PREFIX_val.bin, PREFIX.vocab, and PREFIX.jinja, if there is a template; prints
 * a report. */
error *tokenize_chat(const chat_job *job) NODISCARD;

#endif

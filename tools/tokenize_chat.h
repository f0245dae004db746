/* tokenize_chat.h - tokenize --chat: converts conversations to marked token shards. */
#ifndef REGRAD_TOKENIZE_CHAT_H
#define REGRAD_TOKENIZE_CHAT_H

#include "base/files.h"
#include "data/bpe/bpe.h"
#include "data/tokens.h"

/* The files of a PREFIX, and those that are being written. */
typedef struct {
    char train[PATH_LENGTH], val[PATH_LENGTH], vocab[PATH_LENGTH], template_file[PATH_LENGTH];
    token_writer *writer[2]; /* train, val; ? */
} shard_files;

error *shard_files_name(shard_files *f, const char *prefix) NODISCARD;
/* User error: an earlier run left a validation part or a template, and none is written now. */
error *shard_files_check(const shard_files *f, bool val, bool template) NODISCARD;
error *shard_files_finish(shard_files *f) NODISCARD; /* gives both their names */
void shard_files_discard(shard_files *f);            /* those that have none yet */

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

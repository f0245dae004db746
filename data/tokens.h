/* tokens.h - token shards: files of token ids, in llm.c's format.
 *
 *     byte 0        256 x int32, little endian                    1024       end
 *     | magic | version | number of tokens | 0 ...                | id id id ... |
 *       20240520    1      uint16 ids: vocabularies up to 65,536
 *       20240801    7      uint32 ids: larger ones
 *
 * A marked shard also records where its documents begin and which of its tokens are learned, that
 * is, predicted in training:
 *
 *     | magic | version | number of tokens | number of documents | 0 ... | id ... | first ... | mask ... |
 *       20261129  1       uint16 ids                                                int32 of      bit i % 8 of
 *       20261130  1       uint32 ids                                                each document byte i / 8
 *
 * Other programs' files are read, too (token_shard.h).
 *
 * A shard holds 1 to 2^31 - 1 tokens.  A training set is any number of shards, together a
 * token_set.  It is read by pread, not mapped, so that the text does not count as memory of the
 * run; files stay open, so that replacing one does not affect a run.  Reading changes no state: any
 * number of threads may read the same set.
 */
#ifndef REGRAD_TOKENS_H
#define REGRAD_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fingerprint.h"
#include "base/files.h"
#include "data/token_shard.h"

/* ---- reading ---- */

typedef struct token_set token_set;

/* Opens the shards that match the patterns, in the order of the patterns, each pattern's files
 * sorted by name.  A pattern is a file's name or, if there is no such file, a glob(3) pattern; for
 * the prefixes raw16: and raw32:, and a weight at the end, which is ignored here, see
 * token_pattern.h. Checks of every shard: it can be read, magic, version, size = header + tokens,
 * at least one token; for other programs' files see token_shard.h.  User errors name the file and
 * how to fix it.  vocab_size (1..2^31 - 1) is the model's number of tokens; ids are compared with
 * it when they are read. */
error *tokens_open(const char *const *patterns /* (n) */, int n, int64_t vocab_size,
                   token_set **out) NODISCARD;
void tokens_close(token_set *s); /* NULL is ignored */

int tokens_shards(const token_set *s);
const char *tokens_path(const token_set *s, int shard);
int64_t tokens_count(const token_set *s, int shard); /* tokens in that shard */

/* Tokens first .. first + count of one shard, which must be inside it.  User error for an id
 * outside the vocabulary (file, position, id) and for a file that can no longer be read. */
error *tokens_read(const token_set *s, int shard, int64_t first, int64_t count,
                   int32_t *ids /* (count) */) NODISCARD;

/* Fingerprint of all shards of n sets, in order, and of `also`; known: ? see fingerprint_files. */
error *tokens_fingerprint(const token_set *const *sets, int n, uint64_t also,
                          const fingerprint *known, fingerprint *out) NODISCARD;

/* Documents in a marked shard; 0 for a plain one. */
int64_t tokens_documents(const token_set *s, int shard);

/* Where each document begins, and finally the shard's length.  User error unless they ascend from
 * 0. */
error *tokens_document_starts(const token_set *s, int shard,
                              int32_t *starts /* (documents + 1) */) NODISCARD;

/* Whether tokens first .. first + count of a marked shard are learned. */
error *tokens_learned(const token_set *s, int shard, int64_t first, int64_t count,
                      uint8_t *learned /* (count) */) NODISCARD;

/* Does the file start like a shard: ours, llm.c's, NumPy's, or Megatron's with its index beside
 * it? */
bool tokens_is_shard(const char *path);

/* Is one of the files that match the patterns a marked shard?  Unreadable files are not. */
bool tokens_look_marked(const char *const *patterns /* (n) */, int n);

/* ---- writing ---- */

typedef struct token_writer token_writer;

/* Starts a shard; vocab_size determines its width.  The file appears under its name when the shard
 * is finished, complete or not at all (outfile.h). */
error *tokens_create(const char *path, int64_t vocab_size, token_writer **out) NODISCARD;
error *tokens_append(token_writer *w, const int32_t *ids /* (n) */, size_t n) NODISCARD;
int64_t tokens_written(const token_writer *w);

/* Starts a marked shard instead. */
error *tokens_create_marked(const char *path, int64_t vocab_size, token_writer **out) NODISCARD;
/* A document of n > 0 tokens. */
error *tokens_append_document(token_writer *w, const int32_t *ids /* (n) */,
                              const uint8_t *learned /* (n) */, size_t n) NODISCARD;

/* Writes the header and everything buffered to disk; all but the rename. */
error *tokens_seal(token_writer *w) NODISCARD;

/* Seals if necessary, renames, frees w; on failure nothing is left of the shard. */
error *tokens_finish(token_writer *w) NODISCARD;
void tokens_discard(token_writer *w); /* NULL is ignored */

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

#endif

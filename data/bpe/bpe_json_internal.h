/* bpe_json_internal.h - shared by the readers of tokenizer.json: the tree, the rules around the
 * model. */
#ifndef REGRAD_BPE_JSON_INTERNAL_H
#define REGRAD_BPE_JSON_INTERNAL_H

#include "base/json.h"

#include "data/bpe/spellings.h"

bool json_is(const cJSON *item, const char *text);
bool json_is_null(const cJSON *item); /* or absent */
/* "WHAT: 'type' is not supported: ..." */
error *json_refused(const char *what, const cJSON *item) NODISCARD;
/* An option that must be absent, null, or have the value without effect. */
error *json_must_be_off(const cJSON *object, const char *name, const char *where) NODISCARD;

/* Normalizer, pre-tokenizer, post-processor and decoder: v->compose, step, metaspace, space,
 * cut_at_spaces, begin_of_text. */
error *bpe_json_rules(bpe *v, const cJSON *root) NODISCARD;

/* tekken.json, the other kind of JSON (bpe_tekken.c). */
bool bpe_is_tekken(const cJSON *root);
error *bpe_read_tekken(const cJSON *root, bpe **out) NODISCARD;

#endif

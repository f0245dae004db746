/* bpe_json_internal.h - between bpe_json.c and bpe_metaspace.c: the parts of a tokenizer.json. */
#ifndef REGRAD_BPE_JSON_INTERNAL_H
#define REGRAD_BPE_JSON_INTERNAL_H

#include <cjson/cJSON.h>

#include "data/bpe/spellings.h"

const cJSON *json_get(const cJSON *object, const char *name);
bool json_is(const cJSON *item, const char *text);
/* "WHAT: 'type' is not known here: ..." */
error *json_refused(const char *what, const cJSON *item) NODISCARD;

/* Normalizer, pre-tokenizer and post-processor of a file with byte_fallback. */
error *bpe_metaspace_rules(bpe *v, const cJSON *root) NODISCARD;
/* The byte of "<0x41>", or -1. */
int bpe_metaspace_byte(const char *name);
/* When all tokens are spelled, and those in front and around are special. */
error *bpe_metaspace_finish(bpe *v, const int32_t *byte_token /* (256), -1: none */) NODISCARD;

#endif

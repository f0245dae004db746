/* stop_ids.h - the tokens that end an answer: eos_token_id in a model's generation_config.json. */
#ifndef REGRAD_STOP_IDS_H
#define REGRAD_STOP_IDS_H

#include <stdint.h>

#include "base/error.h"

enum { MOST_STOP_IDS = 32 };

typedef struct {
    int32_t id[MOST_STOP_IDS];
    int n;
} stop_ids;

/* Reads the file; none if it is missing or gives none.  User error if it is not JSON, or ids are
 * not numbers. */
error *stop_ids_read(const char *path, stop_ids *out) NODISCARD;

#endif

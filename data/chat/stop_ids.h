/* stop_ids.h - the tokens at which an answer ends: eos_token_id of a model's generation_config.json. */
#ifndef REGRAD_STOP_IDS_H
#define REGRAD_STOP_IDS_H

#include <stdint.h>

#include "base/error.h"

enum { MOST_STOP_IDS = 32 };

typedef struct {
    int32_t id[MOST_STOP_IDS];
    int n;
} stop_ids;

/* Of the file; none if it is not there, or says none.  User error: it is not JSON, or ids are not numbers. */
error *stop_ids_read(const char *path, stop_ids *out) NODISCARD;

#endif

/* token_pattern.h - parses a word of --train-data that names token files:
 *
 *     [raw16:|raw32:]PATH[:WEIGHT]          PATH: a file's name, or a glob(3) pattern
 *
 * If a file's name is the whole word, it means that file.
 */
#ifndef REGRAD_TOKEN_PATTERN_H
#define REGRAD_TOKEN_PATTERN_H

#include "base/files.h"
#include "data/token_shard.h"

typedef struct {
    char path[PATH_LENGTH];
    token_form form;
    double weight; /* 0: none was given */
} token_pattern;

error *token_pattern_parse(const char *word, token_pattern *out) NODISCARD;

#endif

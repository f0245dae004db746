/* token_pattern.c - see token_pattern.h */
#include "data/token_pattern.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ":0.7" at the end; if it is not a number, it belongs to the name. */
static bool find_weight(const char *word, size_t *length, double *weight)
{
    const char *colon = strrchr(word, ':');
    char *end;
    if (!colon || !colon[1] || strspn(colon + 1, "0123456789.eE+-") != strlen(colon + 1))
        return false;
    double number = strtod(colon + 1, &end);
    if (end == colon + 1 || *end) return false;
    *weight = number;
    *length = (size_t)(colon - word);
    return true;
}

error *token_pattern_parse(const char *word, token_pattern *out)
{
    const char *path = word;
    size_t n = strlen(word);
    *out = (token_pattern){.form = TOKENS_AS_THEY_SAY};
    if (access(word, F_OK)) {
        if (!strncmp(word, "raw16:", 6)) out->form = TOKENS_RAW_16;
        if (!strncmp(word, "raw32:", 6)) out->form = TOKENS_RAW_32;
        if (out->form) path += 6;
    }
    n = strlen(path);
    if (access(path, F_OK) && find_weight(path, &n, &out->weight) &&
        !(out->weight > 0 && out->weight <= 1e6))
        return user_error("'%s': a weight must be above 0, and at most 1e6", word);
    if (n >= sizeof out->path) return user_error("'%.80s...' is too long a name", word);
    memcpy(out->path, path, n);
    return NULL;
}

/* safetensors_internal.h - shared by the parts of safetensors.h */
#ifndef REGRAD_SAFETENSORS_INTERNAL_H
#define REGRAD_SAFETENSORS_INTERNAL_H

#include "io/safetensors.h"

typedef struct {
    safetensors_entry *row; /* owns its names */
    int64_t n, room;
} entry_list;

void entries_free(entry_list *list);

/* Sorts by name; user error if two are equal. */
error *entries_by_name(const char *path, entry_list *list) NODISCARD;

/* Parses the header `text` (n bytes, text[n] == 0; modified and restored), which begins at byte 8
 * of a file of file_bytes, and appends its entries, checked and sorted by name. */
error *header_parse(const char *path, char *text, int64_t n, int64_t file_bytes,
                    entry_list *list) NODISCARD;

/* "F32" etc. for one of our types. */
const char *file_dtype(dtype type);

/* "PATH is not a whole safetensors file: ...; fetch or write it again" */
error *damaged(const char *path, const char *fmt, ...) PRINTF_LIKE(2, 3) NODISCARD;

#endif

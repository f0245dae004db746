/* hf_internal.h - between the parts of hf.h: what a family's config.json may say.
 *
 * A family is a row: the options that all of its models have, a table of fields, and two functions
 * between what the fields say and the options they mean.
 *
 *   config.json --fields--> hf_model --settle--> model_config        reading
 *   config.json <--fields-- hf_model <--unsettle-- model_config      writing
 */
#ifndef REGRAD_HF_INTERNAL_H
#define REGRAD_HF_INTERNAL_H

#include "model/hf/hf.h"

typedef struct {
    const char *path;
    const cJSON *json; /* NULL: none; what is refused has no value then */
} hf_source;

/* A configuration, and what is there as a field but no option of ours. */
typedef struct {
    model_config c;
    double rotary_part;           /* of a head is turned */
    bool qkv_bias, linear_bias;   /* of attention's entry; of other projections */
    bool grouped, parallel, both; /* few key heads; attention beside the MLP; Falcon's later form */
    int64_t parallel_norms;       /* Falcon: 1 or 2, 0 unknown */
    int64_t twice_inner, same_vocab;
} hf_model;

typedef enum {
    HF_SIZE,      /* int64_t: a whole number, 1 to `most` */
    HF_EPSILON,   /* double: between 0 and 1, without both */
    HF_PART,      /* double: more than 0, at most 1 */
    HF_BASE,      /* double: 1 or more */
    HF_FLAG,      /* bool */
    HF_ACT,       /* activation: a word */
    HF_MUST,      /* the number `unset`, or it is refused */
    HF_MUST_FLAG, /* the same for true and false */
    HF_EMPTY,     /* an object with nothing in it, or it is refused; never written */
    HF_DROPOUT,   /* a rate, passed over: no part of the function.  0 is written */
    HF_ELSEWHERE  /* read by other code */
} hf_kind;

typedef struct {
    const char *name, *older; /* two names of the same; `older` is never written */
    hf_kind kind;
    size_t at; /* in hf_model */
    double unset, most;
} hf_field;

typedef struct {
    const char *type, *architecture;
    model_config options;
    const hf_field *fields;
    int n_fields;
    const char *const *harmless; /* names of fields that change nothing, NULL behind the last */
    error *(*settle)(const hf_source *, hf_model *);
    void (*unsettle)(hf_model *);
} hf_family;

extern const hf_family hf_families[];
extern const int hf_n_families;

/* The field, or NULL when it is absent or null. */
const cJSON *hf_get(const hf_source *s, const char *name);
/* "PATH: FIELD is VALUE, WHY" */
error *hf_refuse(const hf_source *s, const char *name, const char *why) NODISCARD;

/* All fields of the table; refuses what neither the table nor a list knows. */
error *hf_read_fields(const hf_source *s, const hf_family *f, hf_model *m) NODISCARD;
/* False: out of memory. */
bool hf_write_fields(cJSON *json, const hf_family *f, const hf_model *m);
/* The table's members of `from`, and nothing else. */
void hf_copy_fields(const hf_family *f, hf_model *to, const hf_model *from);

#endif

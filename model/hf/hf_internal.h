/* hf_internal.h - shared by the parts of hf.h: the description of a family's config.json.
 *
 * A family is a row: the options that all of its models share, a table of fields, and two functions
 * that convert between fields and options where they do not correspond one to one.
 *
 *   config.json --fields--> hf_model --decode--> model_config      reading
 *   config.json <--fields-- hf_model <--encode-- model_config      writing
 */
#ifndef REGRAD_HF_INTERNAL_H
#define REGRAD_HF_INTERNAL_H

#include "model/hf/hf.h"

typedef struct {
    const char *path;
    const cJSON *json;          /* NULL: none; refused fields have no value then */
    const char *const *ignored; /* ? fields that may be present, NULL after the last */
} hf_source;

/* A configuration, and the values of fields that are not options of ours. */
typedef struct {
    model_config c;
    double rotary_part;           /* fraction of each head that is rotated */
    bool qkv_bias, linear_bias;   /* of attention's entry; of other projections */
    bool grouped, parallel, both; /* few key heads; attention beside the MLP; Falcon's later form */
    int64_t parallel_norms;       /* Falcon: 1 or 2, 0 unknown */
    int64_t twice_inner, same_vocab;
    int64_t window_pattern; /* Gemma 3: window_skip if layer_types does not give it */
} hf_model;

typedef enum {
    HF_OPTION, /* an option of ours: type, limits and usual name are in its row of model_fields */
    HF_SIZE,   /* int64_t: a whole number, 1 to 1e7 */
    HF_PART,   /* double: more than 0, at most 1 */
    HF_FLAG,   /* bool */
    HF_MUST,   /* must be the number `unset` */
    HF_MUST_FLAG, /* must be that flag */
    HF_EMPTY,     /* must be an empty object; never written */
    HF_ROPE,      /* "rope_scaling", an object: RoPE frequencies */
    HF_NONE,      /* a number or null, read elsewhere; null is written */
    HF_LAYERS, /* "layer_types": read elsewhere; written from window and window_skip, if there is a
                * window */
    HF_DROPOUT,  /* a dropout rate, ignored; 0 is written */
    HF_ELSEWHERE /* read elsewhere */
} hf_kind;

typedef struct {
    const char *name, *older; /* two names of the same; `older` is never written.  name: ? NULL: the
                               * usual one */
    hf_kind kind;
    model_field_id option; /* of HF_OPTION */
    size_t at;             /* of others, in hf_model */
    double unset;
} hf_field;

typedef struct {
    const char *type, *architecture;
    model_config options;
    const hf_field *fields;
    int n_fields;
    const char *const *harmless; /* names of fields that change nothing, NULL after the last */
    error *(*decode)(const hf_source *, hf_model *);
    void (*encode)(hf_model *); /* ? */
} hf_family;

extern const hf_family hf_families[];
extern const int hf_n_families;

/* The field's name. */
const char *hf_name(const hf_field *f);
/* The field, or NULL if it is absent or null. */
const cJSON *hf_get(const hf_source *s, const char *name);
/* "PATH: FIELD is VALUE, WHY" */
error *hf_refuse(const hf_source *s, const char *name, const char *why) NODISCARD;

/* Reads all fields of the table; refuses what neither the table nor a list knows. */
error *hf_read_fields(const hf_source *s, const hf_family *f, hf_model *m) NODISCARD;
/* False: out of memory. */
bool hf_write_fields(cJSON *json, const hf_family *f, const hf_model *m);
/* bos_token_id, eos_token_id, pad_token_id, as they are. */
error *hf_read_tokens(const hf_source *s, model_config *c) NODISCARD;
bool hf_write_tokens(cJSON *json, const model_config *c);
/* Copies only the members that the family's fields represent. */
void hf_copy_fields(const hf_family *f, hf_model *to, const hf_model *from);

#endif

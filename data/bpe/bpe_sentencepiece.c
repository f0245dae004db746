/* bpe_sentencepiece.c - SentencePiece's own .model: BPE and unigram.
 *
 * A protocol buffers message (sentencepiece_model.proto of SentencePiece 0.2):
 *
 *     1  pieces, one after another      1 spelling   2 score (float)   3 type
 *     2  trainer_spec                   3 model_type   35 byte_fallback   40, 41, 42: unk, bos, eos
 *     3  normalizer_spec                2 charsmap   3 add_dummy_prefix   4 remove_extra_whitespaces
 *
 * Types: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.  Any two pieces that
 * spell a third one join, the highest score first; user-defined ones stay whole and join nothing,
 * like added tokens here.  A model with a charsmap (nmt_nfkc, the trainer's default) normalizes by
 * tables of its own, and is refused, as is one that removes white space: use its tokenizer.json.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe/bpe_internal.h"
#include "data/bpe/unigram.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { UNIGRAM = 1, BPE = 2 };

static const char mend[] = "get the file again, or use the model's tokenizer.json";

/* ---- protocol buffers ---- */

typedef struct {
    const uint8_t *at, *end;
} message;

typedef struct {
    uint32_t number;
    uint64_t value;  /* of a number; the bits of a float */
    message content; /* of a text or a message */
} field;

static bool varint(message *m, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        uint8_t c = *m->at++;
        *out |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) return true;
    }
    return false;
}

/* The next field; false if there is none, or if the message is damaged (m->at is NULL then). */
static bool next_field(message *m, field *f)
{
    uint64_t key = 0, n = 0;
    *f = (field){0};
    if (m->at == m->end) return false;
    if (!varint(m, &key) || key >> 3 > UINT32_MAX) goto damaged;
    f->number = (uint32_t)(key >> 3);
    switch (key & 7) {
    case 0:
        if (!varint(m, &f->value)) goto damaged;
        return true;
    case 1:
    case 5:
        n = (key & 7) == 1 ? 8 : 4;
        if ((uint64_t)(m->end - m->at) < n) goto damaged;
        memcpy(&f->value, m->at, n);
        m->at += n;
        return true;
    case 2:
        if (!varint(m, &n) || n > (uint64_t)(m->end - m->at)) goto damaged;
        f->content = (message){m->at, m->at + n};
        m->at += n;
        return true;
    default:
        break;
    }
damaged:
    m->at = NULL;
    return false;
}

/* ---- the parts ---- */

typedef struct {
    bpe_spelling *list; /* (size) */
    float *score;       /* (size) */
    uint8_t *type;      /* (size) */
    int32_t size;
    bpe_special_token *special; /* (n_special) */
    int32_t n_special;
    uint8_t *plain; /* spellings with spaces */
    uint64_t model_type;
    int32_t unk, bos, eos;
    bool byte_fallback, dummy_prefix, remove_spaces, charsmap;
} model;

static error *damaged(const char *what)
{
    return user_error("%s cannot be read as that of a SentencePiece model: %s", what, mend);
}

static error *read_trainer(model *m, message from)
{
    field f;
    while (next_field(&from, &f)) {
        int32_t id = (int32_t)(uint32_t)f.value;
        if (f.number == 3) m->model_type = f.value;
        if (f.number == 35) m->byte_fallback = f.value;
        if (f.number == 40) m->unk = id;
        if (f.number == 41) m->bos = id;
        if (f.number == 42) m->eos = id;
    }
    return from.at ? NULL : damaged("trainer_spec");
}

static error *read_normalizer(model *m, message from)
{
    field f;
    while (next_field(&from, &f)) {
        if (f.number == 2) m->charsmap = f.content.end > f.content.at;
        if (f.number == 3) m->dummy_prefix = f.value;
        if (f.number == 4) m->remove_spaces = f.value;
    }
    return from.at ? NULL : damaged("normalizer_spec");
}

static error *read_piece(model *m, message from)
{
    field f;
    int32_t id = m->size++;
    m->type[id] = NORMAL;
    while (next_field(&from, &f)) {
        uint32_t bits = (uint32_t)f.value;
        if (f.number == 1)
            m->list[id] = (bpe_spelling){f.content.at, (size_t)(f.content.end - f.content.at)};
        if (f.number == 2) memcpy(&m->score[id], &bits, sizeof bits);
        if (f.number == 3) m->type[id] = f.value <= BYTE ? (uint8_t)f.value : 0;
    }
    if (!from.at || !m->list[id].bytes || !m->list[id].n || m->type[id] < NORMAL)
        return damaged("a piece");
    return NULL;
}

static error *count_pieces(message from, size_t *n)
{
    field f;
    for (*n = 0; next_field(&from, &f);)
        *n += f.number == 1;
    if (from.at && *n > 0 && *n <= BPE_MAX_SIZE) return NULL;
    return damaged(from.at ? "the number of pieces" : "the file");
}

static error *read_parts(model *m, message from)
{
    size_t n, bytes = (size_t)(from.end - from.at);
    field f;
    TRY(count_pieces(from, &n));
    TRY(alloc_array(&m->list, n, sizeof *m->list));
    TRY(alloc_array(&m->score, n, sizeof *m->score));
    TRY(alloc_array(&m->type, n, sizeof *m->type));
    TRY(alloc_array(&m->special, n, sizeof *m->special));
    TRY(alloc_array(&m->plain, bytes, 1));
    while (next_field(&from, &f)) {
        if (f.number == 1) TRY(read_piece(m, f.content));
        if (f.number == 2) TRY(read_trainer(m, f.content));
        if (f.number == 3) TRY(read_normalizer(m, f.content));
    }
    return NULL;
}

static error *check(const model *m)
{
    const char *what = NULL;
    if (m->model_type != UNIGRAM && m->model_type != BPE) what = "is of words or characters";
    if (m->charsmap) what = "normalizes text by tables of its own (precompiled_charsmap)";
    if (m->remove_spaces) what = "removes white space (remove_extra_whitespaces)";
    for (int32_t id = 0; id < m->size; id++)
        if (m->type[id] == UNUSED)
            what = "has unused pieces";
        else if (m->type[id] == USER_DEFINED && m->model_type == UNIGRAM)
            what = "is unigram with pieces of the user's own";
    if (!what) return NULL;
    return user_error("the SentencePiece model %s, which is not supported: use its tokenizer.json",
                      what);
}

/* ---- the vocabulary ---- */

/* Spaces for U+2581; <0x41> is its byte; pieces that are not ordinary are special. */
static error *spell_all(model *m, bpe *v)
{
    uint8_t *to = m->plain;
    memset(v->byte_token, 0xff, sizeof v->byte_token); /* all -1 */
    for (int32_t id = 0; id < m->size; id++) {
        bpe_spelling *s = &m->list[id];
        char name[7] = "";
        int byte = -1;
        if (m->type[id] == BYTE && s->n == 6) {
            memcpy(name, s->bytes, 6);
            byte = bpe_metaspace_byte(name);
        }
        if (m->type[id] == BYTE && byte < 0) return damaged("a piece of a byte");
        size_t n = bpe_metaspace_plain(s->bytes, s->n, to);
        if (byte >= 0) {
            *to = (uint8_t)byte;
            n = 1;
            if (m->byte_fallback) v->byte_token[byte] = id;
        } else if (m->type[id] != NORMAL) {
            m->special[m->n_special++] = (bpe_special_token){.id = id,
                                                             .always = m->type[id] == USER_DEFINED,
                                                             .normalized = true,
                                                             .content = to,
                                                             .n = (uint32_t)n};
        }
        *s = (bpe_spelling){to, n};
        to += n;
    }
    TRY(bpe_spell(v, m->list, m->size));
    TRY(alloc_array(&v->is_special, (size_t)v->size, sizeof *v->is_special));
    for (int32_t id = 0; id < v->size; id++)
        v->is_special[id] = m->type[id] != NORMAL;
    return bpe_set_special(v, m->special, m->n_special);
}

typedef struct {
    float score;
    int32_t id;
} ranked;

static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score) - (x->score > y->score)
                                : (x->id > y->id) - (x->id < y->id);
}

static error *join_by_score(const model *m, bpe *v)
{
    ranked *list;
    int32_t *order, n = 0;
    TRY(alloc_array(&list, (size_t)m->size, sizeof *list));
    error *e = alloc_array(&order, (size_t)m->size, sizeof *order);
    for (int32_t id = 0; id < m->size && !e; id++)
        if (m->type[id] == NORMAL) list[n++] = (ranked){m->score[id], id};
    if (!e) {
        qsort(list, (size_t)n, sizeof *list, by_score);
        for (int32_t i = 0; i < n; i++)
            order[i] = list[i].id;
        e = bpe_join_all(v, order, n);
    }
    free(order);
    free(list);
    return e;
}

static error *check_bytes(const model *m, bpe *v)
{
    bool all = true;
    for (int byte = 0; byte < 256; byte++)
        all = all && v->byte_token[byte] >= 0;
    v->unknown = all ? -1 : m->unk;
    v->fuse_unknown = true;
    if (v->unknown < m->size && (all || m->unk >= 0)) return NULL;
    return user_error("its unknown piece %" PRId32 " is not there: %s", m->unk, mend);
}

static error *take_scores(const model *m, bpe *v)
{
    float least = 0;
    bool any = false;
    TRY(alloc_array(&v->score, (size_t)v->size, sizeof *v->score));
    for (int32_t id = 0; id < m->size; id++) {
        v->score[id] = (double)m->score[id];
        if (m->type[id] == NORMAL && (!any || m->score[id] < least)) least = m->score[id];
        any = any || m->type[id] == NORMAL;
    }
    v->least_score = (double)least;
    v->single_sums = true;
    return NULL;
}

static error *fill(model *m, bpe *v)
{
    v->metaspace = v->replaces = true;
    v->space = m->dummy_prefix ? SPACE_ONCE : SPACE_NEVER;
    TRY(spell_all(m, v));
    TRY(check_bytes(m, v));
    TRY(bpe_index(v));
    if (m->eos >= 0 && m->eos < v->size) v->end_of_text = m->eos;
    if (m->bos >= 0 && m->bos < v->size && m->type[m->bos] == CONTROL) v->begin_of_text = m->bos;
    if (m->model_type == BPE) return join_by_score(m, v);
    TRY(take_scores(m, v));
    unigram_prepare(v);
    return NULL;
}

error *bpe_read_sentencepiece(uint8_t *bytes, size_t n, bpe **out)
{
    model m = {.model_type = UNIGRAM,
               .unk = 0,
               .bos = 1,
               .eos = 2,
               .dummy_prefix = true,
               .remove_spaces = true};
    TRY(bpe_new(BPE_SENTENCEPIECE, out));
    error *e = read_parts(&m, (message){bytes, bytes + n});
    if (!e) e = check(&m);
    if (!e) e = fill(&m, *out);
    if (!e) e = bpe_keep_source(*out, bytes, n);
    free(m.list);
    free(m.score);
    free(m.type);
    free(m.special);
    free(m.plain);
    if (e) bpe_close(*out);
    return e;
}

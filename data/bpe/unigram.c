/* unigram.c - see unigram.h */
#include "data/bpe/unigram.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "data/bpe/spellings.h"

/* How far an unknown character scores below the least likely token: SentencePiece's number. */
static const double unknown_penalty = 10;

typedef struct {
    double score;   /* of the best way up to here */
    uint32_t begin; /* its last token */
    int32_t id;     /* or NOTHING ends here, or a character that is UNKNOWN */
} node;

enum { NOTHING = -1, UNKNOWN = -2 };

static void reach(const bpe *v, node *to, double score, uint32_t begin, int32_t id)
{
    if (to->id != NOTHING && score <= to->score) return;
    *to = (node){v->single_sums ? (double)(float)score : score, begin, id};
}

static double lowest_score(const bpe *v)
{
    double lowest = 0;
    bool any = false;
    for (int32_t id = 0; id < v->size; id++)
        if (!bpe_is_special(v, id) && (!any || v->score[id] < lowest)) {
            lowest = v->score[id];
            any = true;
        }
    return lowest;
}

static size_t char_length(const uint8_t *p, size_t n)
{
    size_t length = utf8_length(p, n);
    return length ? length : 1;
}

/* The token that a text like "<0x41>" spells out. */
static int32_t byte_by_name(const bpe *v, const uint8_t *p, size_t n)
{
    char name[7] = "";
    if (n < 6 || *p != '<') return -1;
    memcpy(name, p, 6);
    int byte = bpe_metaspace_byte(name);
    return byte < 0 ? -1 : v->byte_token[byte];
}

static void find_ways(const bpe *v, node *best, const uint8_t *piece, size_t k)
{
    double unknown = v->least_score - unknown_penalty;
    for (size_t at = 0, one; at < k; at += one) {
        bool alone = false;
        one = char_length(piece + at, k - at);
        for (size_t n = one; at + n <= k && n <= v->longest;) {
            int32_t id = spellings_find(v->words, piece + at, n);
            if (id >= 0) reach(v, &best[at + n], best[at].score + v->score[id], (uint32_t)at, id);
            alone |= id >= 0 && n == one;
            if (at + n == k) break;
            n += char_length(piece + at + n, k - at - n);
        }
        int32_t byte = v->bytes_by_name ? byte_by_name(v, piece + at, k - at) : -1;
        if (byte >= 0) reach(v, &best[at + 6], best[at].score + v->score[byte], (uint32_t)at, byte);
        if (!alone) reach(v, &best[at + one], best[at].score + unknown, (uint32_t)at, UNKNOWN);
    }
}

/* An unknown character as byte tokens if there are any, else as the unknown token. */
static void put_token(const bpe *v, bpe_workspace *w, const node *x, const uint8_t *piece,
                      size_t end, uint32_t *before)
{
    bool bytes = x->id == UNKNOWN;
    int32_t id = x->id == UNKNOWN ? v->unknown : x->id;
    for (size_t p = x->begin; p < end; p++)
        bytes = bytes && v->byte_token[piece[p]] >= 0;
    if (!bytes && id == v->unknown && v->fuse_unknown && *before != BPE_NONE &&
        w->token[*before] == (uint32_t)id)
        return;
    for (size_t p = x->begin; p < (bytes ? end : x->begin + 1u); p++) {
        w->token[p] = (uint32_t)(bytes ? v->byte_token[piece[p]] : id);
        w->prev[p] = *before;
        if (*before != BPE_NONE) w->next[*before] = (uint32_t)p;
        w->next[p] = BPE_NONE;
        *before = (uint32_t)p;
    }
}

/* An unknown character, or the unknown token by its own spelling. */
static bool is_unknown(const bpe *v, int32_t id)
{
    return id == UNKNOWN || id == v->unknown;
}

error *unigram_piece(const bpe *v, bpe_workspace *w, const uint8_t *piece, size_t k)
{
    node *best;
    uint32_t *ends, before = BPE_NONE;
    size_t n = 0;
    TRY(bpe_workspace_fit(w, k));
    TRY(alloc_array(&best, k + 1, sizeof *best));
    error *e = alloc_array(&ends, k + 1, sizeof *ends);
    if (e) {
        free(best);
        return e;
    }
    for (size_t i = 1; i <= k; i++)
        best[i].id = NOTHING;
    find_ways(v, best, piece, k);
    for (size_t end = k; end > 0; end = best[end].begin)
        ends[n++] = (uint32_t)end;
    for (bool last = false, unknown; n-- > 0; last = unknown) {
        node x = best[ends[n]];
        unknown = is_unknown(v, x.id);
        /* Hugging Face treats several in a row as one, whose spelling is not a token: so they
         * become bytes */
        bool run = unknown && (last || (n > 0 && is_unknown(v, best[ends[n - 1]].id)));
        if (run && v->bytes_by_name) x.id = UNKNOWN;
        put_token(v, w, &x, piece, ends[n], &before);
    }
    free(ends);
    free(best);
    return NULL;
}

void unigram_prepare(bpe *v)
{
    if (!v->single_sums) v->least_score = lowest_score(v);
    for (int32_t id = 0; id < v->size; id++) {
        size_t n;
        (void)bpe_token(v, id, &n);
        if (!bpe_is_special(v, id) && n > v->longest) v->longest = n;
    }
}

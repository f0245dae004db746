/* ids.c - the tokens of many texts, for the comparison with other programs
 * (test/peers/against_tokenizers.py).
 *
 *     ids VOCABULARY text|allow < texts > ids
 *
 * Texts are a length (4 bytes, low one first) and the bytes; ids are a count and
 * the numbers, 4 bytes each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "data/bpe/bpe.h"

typedef struct {
    int32_t *ids;
    size_t n, capacity;
} list;

static error *append(void *to, const int32_t *ids, size_t n)
{
    list *l = to;
    TRY(grow_array(&l->ids, &l->capacity, l->n + n, sizeof *l->ids));
    memcpy(l->ids + l->n, ids, n * sizeof *ids);
    l->n += n;
    return NULL;
}

static error *encode_one(const bpe *v, uint32_t n, bpe_special special, list *l)
{
    uint8_t *text;
    TRY(alloc_array(&text, n, 1));
    error *e = fread(text, 1, n, stdin) == n ? NULL : user_error("a text is cut");
    l->n = 0;
    if (!e) e = bpe_encode_to(v, text, n, special, append, l);
    free(text);
    if (e) return e;
    uint32_t count = (uint32_t)l->n;
    fwrite(&count, sizeof count, 1, stdout);
    fwrite(l->ids, sizeof *l->ids, l->n, stdout);
    return NULL;
}

int main(int argc, char **argv)
{
    bpe *v = NULL;
    list l = {0};
    uint32_t n;
    if (argc != 3) return error_report("ids", user_error("ids VOCABULARY text|allow"));
    bpe_special special = strcmp(argv[2], "allow") ? BPE_SPECIAL_TEXT : BPE_SPECIAL_ALLOW;
    error *e = bpe_open(argv[1], &v);
    while (!e && fread(&n, sizeof n, 1, stdin) == 1)
        e = encode_one(v, n, special, &l);
    free(l.ids);
    bpe_close(v);
    return e ? error_report("ids", e) : 0;
}

/* fuzz_token_files.c - token files of other programs: data/token_shard.h,
 * data/token_pattern.h, data/mixture.h
 *
 * The bytes are NumPy's array; the index of a Megatron data set, whose ids do not change; and
 * what --train-data says. */
#include "data/token_pattern.h"
#include "data/mixture.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { VOCAB = 256, BLOCK = 64, IDS = 64 };

static void read_all(const char *path)
{
    token_set *set;
    int32_t ids[BLOCK];
    if (!fuzz_fine(tokens_open(&path, 1, VOCAB, &set))) return;
    int64_t count = tokens_count(set, 0);
    if (count < 1) abort(); /* it was to be checked */
    for (int64_t at = 0, n; at < count && at < 16 * BLOCK; at += n) {
        n = count - at < BLOCK ? count - at : BLOCK;
        if (!fuzz_fine(tokens_read(set, 0, at, n, ids))) break;
    }
    tokens_close(set);
}

static void mix(const char *path, const uint8_t *bytes, size_t n)
{
    char words[2][100];
    const char *both[] = {words[0], words[1]};
    int32_t in[3 * 4], out[3 * 4], starts[3 * 4];
    mixture *m;
    if (n < 4) return;
    for (int i = 0; i < 2; i++)
        snprintf(words[i], sizeof words[i], "%s:%.2s", path, (const char *)bytes + 2 * i);
    if (!fuzz_fine(mixture_open(both, 2, VOCAB, 4, 1, BATCHES_SHUFFLED, 1, &m))) return;
    fuzz_fine(mixture_read(m, bytes[n - 1], 3, in, out, mixture_packed(m) ? starts : NULL));
    mixture_close(m);
}

static void parse(const uint8_t *bytes, size_t n)
{
    static token_pattern pattern; /* large */
    char *word = malloc(n + 1);
    if (!word) return;
    memcpy(word, bytes, n);
    word[n] = 0;
    if (fuzz_fine(token_pattern_parse(word, &pattern)) && !(pattern.weight >= 0)) abort();
    free(word);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const uint8_t ids[IDS] = {1, 0, 2, 0, 3};
    const char *bin = memory_file("x.bin", ids, sizeof ids);
    memory_file("x.idx", bytes, n);
    switch (n % 4) { /* one way for each length: lengths change all the time */
    case 0:
        read_all(memory_file("file", bytes, n));
        break;
    case 1:
        read_all(bin);
        break;
    case 2:
        parse(bytes, n);
        break;
    default:
        mix(bin, bytes, n);
    }
    return 0;
}

static void npy(const char *dictionary, size_t ids)
{
    uint8_t file[400] = "\x93NUMPY\1";
    size_t n = strlen(dictionary);
    file[8] = (uint8_t)n;
    memcpy(file + 10, dictionary, n);
    for (size_t more = 0; more < 4; more++) /* for each of the ways */
        fuzz_keep(file, 10 + n + ids + more);
}

static void megatron(uint8_t type, int32_t width)
{
    static const int32_t lengths[] = {20, 0, 12};
    static const int64_t firsts[] = {0, 20, 20};
    uint8_t file[34 + 3 * 4 + 3 * 8 + 8] = "MMIDIDX\0";
    file[9] = 1;
    file[17] = type;
    file[18] = 3;
    file[26] = 1;
    for (int i = 0; i < 3; i++) {
        int64_t first = firsts[i] * width;
        memcpy(file + 34 + 4 * i, &lengths[i], 4);
        memcpy(file + 46 + 8 * i, &first, 8);
    }
    fuzz_keep(file, sizeof file);
    fuzz_keep(file, sizeof file - 1);
}

void fuzz_seed(void)
{
    npy("{'descr': '<u2', 'fortran_order': False, 'shape': (20,), }", 40);
    npy("{'descr': '<i8', 'fortran_order': False, 'shape': (5,), }", 40);
    npy("{'descr': '|u1', 'fortran_order': True, 'shape': (5, 3), }", 15);
    megatron(8, 2);
    megatron(1, 1);
    fuzz_keep("raw16:x.bin:0.7", 15);
    fuzz_keep("7 31", 4);
}

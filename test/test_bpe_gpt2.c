/* test_bpe_gpt2.c - .tiktoken vocabularies: the ids of an independent GPT-2 BPE
 * (test/golden/bpe.py), and what is refused.  REGRAD_R50K names GPT-2's own r50k_base.tiktoken,
 * where one has it. */
#include "test/long.h"
#include "test/ranks_file.h"

#include <inttypes.h>
#include <stdbool.h>

#include "base/rng.h"
#include "data/bpe/bpe_internal.h"
#include "base/hash.h"
#include "base/utf8.h"

static const char vocabulary[] = "test/golden/bpe.tiktoken";

#define NEEDS_PCRE2()                                                                              \
    if (!pattern_available()) skip()

/* ---- golden ids ---- */

typedef struct {
    int32_t *ids; /* (capacity) */
    size_t n, capacity;
} id_list;

static error *collect(void *to, const int32_t *ids, size_t n)
{
    id_list *l = to;
    if (l->n + n > l->capacity) {
        l->capacity = 2 * (l->n + n);
        l->ids = realloc(l->ids, l->capacity * sizeof *l->ids);
        assert_non_null(l->ids);
    }
    memcpy(l->ids + l->n, ids, n * sizeof *ids);
    l->n += n;
    return NULL;
}

/* The bytes of a word in hex; the caller frees them. */
static uint8_t *from_hex(const char *hex, size_t *n)
{
    *n = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    uint8_t *bytes = malloc(*n + 1);
    for (size_t i = 0; i < *n; i++) {
        unsigned value;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
        bytes[i] = (uint8_t)value;
    }
    return bytes;
}

static void check_text(const bpe *v, char *words, int line)
{
    size_t n, n_back;
    uint8_t *text = from_hex(strtok(words, " "), &n), *back;
    id_list got = {0};
    ok(bpe_encode_to(v, text, n, BPE_SPECIAL_TEXT, collect, &got));
    size_t k = 0;
    for (const char *id; (id = strtok(NULL, " ")) != NULL; k++)
        if (k >= got.n || atoi(id) != got.ids[k])
            fail_msg("line %d: id %zu is %d, and %s is golden", line, k,
                     k < got.n ? got.ids[k] : -1, id);
    assert_int_equal(k, got.n);
    ok(bpe_decode(v, got.ids, got.n, &back, &n_back));
    assert_int_equal(n_back, n);
    assert_memory_equal(back, text, n);
    free(back);
    free(got.ids);
    free(text);
}

static size_t utf8_encode(uint32_t c, uint8_t *to)
{
    if (c < 0x80) return to[0] = (uint8_t)c, 1;
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        to[i] = (uint8_t)(0x80 | (c & 0x3F));
    to[0] = (uint8_t)(0xF00 >> n | c);
    return n;
}

/* bpe.py's char_text of all characters in the ranges. */
static void check_chars(const bpe *v, char *ranges, const char *golden)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325), n = 0;
    for (char *range = strtok(ranges, " "); range; range = strtok(NULL, " ")) {
        uint32_t first, last;
        assert_int_equal(sscanf(range, "%" SCNx32 "-%" SCNx32, &first, &last), 2);
        for (uint32_t c = first; c <= last; c++) {
            uint8_t one[4], text[32];
            int length = (int)utf8_encode(c, one);
            assert_int_equal(utf8_length(one, 4), length);
            assert_int_equal(utf8_decode(one, (size_t)length), c);
            size_t at = 0, count;
            for (const char *p = " xc1c c\n"; *p; p++) {
                if (*p != 'c') text[at++] = (uint8_t)*p;
                if (*p == 'c') memcpy(text + at, one, (size_t)length), at += (size_t)length;
            }
            int32_t ids[32];
            ok(bpe_encode(v, text, at, ids, &count));
            n += count;
            for (size_t i = 0; i < count; i++)
                for (int shift = 0; shift < 32; shift += 8)
                    hash = (hash ^ ((uint32_t)ids[i] >> shift & 255)) * UINT64_C(0x100000001b3);
        }
    }
    char got[64];
    snprintf(got, sizeof got, "%" PRIu64 " %016" PRIx64, n, hash);
    assert_string_equal(got, golden);
}

static void check_golden(const char *vocab, const char *golden)
{
    bpe *v;
    ok(open_ranks(vocab, &v));
    FILE *f = fopen(golden, "rb");
    if (!f) fail_msg("cannot open %s: tests run from the root of the repository", golden);
    char *line = NULL, *chars = NULL;
    size_t capacity = 0;
    int n_texts = 0, n_chars = 0, number = 0;
    for (ssize_t n; (n = getline(&line, &capacity, f)) > 0;) {
        line[n - 1] = 0;
        number++;
        if (strncmp(line, "text ", 5) == 0) {
            check_text(v, line + 5, number);
            n_texts++;
        } else if (strncmp(line, "chars ", 6) == 0) {
            chars = strdup(line + 6);
        } else if (strncmp(line, "ids ", 4) == 0) {
            check_chars(v, chars, line + 4);
            n_chars++;
        }
    }
    assert_true(n_texts > 400 && n_chars == 1);
    free(chars);
    free(line);
    fclose(f);
    bpe_close(v);
}

static void test_golden(void **state)
{
    (void)state;
    NEEDS_PCRE2();
    check_golden(vocabulary, "test/golden/bpe.txt");
}

static void test_golden_r50k(void **state)
{
    (void)state;
    NEEDS_PCRE2();
    const char *path = getenv("REGRAD_R50K");
    if (!path) skip();
    bpe *v;
    ok(open_ranks(path, &v));
    assert_int_equal(bpe_size(v), 50257);
    assert_int_equal(bpe_end_of_text(v), 50256);
    bpe_close(v);
    check_golden(path, "test/golden/bpe_r50k.txt");
}

/* ---- nothing is lost ---- */

static const char fragments[][16] = {
    " the",     "'s",       "  ",       "\n",   "\xe2\x82\xac", "\xf0\x9f\x99\x82",
    "123",      "...",      "\xc2\xa0", "word", "\xe3\x80\x80", "<|endoftext|>",
    "\xcc\x81", "\xed\xa0", "\xff\xfe", " "};

/* 0 to 15 bytes, or up to 7 fragments and bytes, from one number. */
static size_t random_string(uint64_t index, uint8_t *text)
{
    uint32_t bits[4];
    uint8_t draw[16];
    rng_bits(11, RNG_TEST, index, bits);
    memcpy(draw, bits, sizeof draw);
    size_t n = 0, k = draw[0] >> 4;
    if (draw[0] & 1) {
        memcpy(text, draw + 1, k);
        return k;
    }
    for (size_t i = 1; i <= k / 2; i++) {
        if (draw[i] < 80) {
            text[n++] = draw[i + 8];
            continue;
        }
        const char *fragment = fragments[draw[i] & 15];
        memcpy(text + n, fragment, strlen(fragment));
        n += strlen(fragment);
    }
    return n;
}

static void check_strings(const bpe *v, bpe_special special, uint64_t first, uint64_t count)
{
    int32_t ids[128];
    uint8_t text[128], *back;
    for (uint64_t i = first; i < first + count; i++) {
        size_t n = random_string(i, text), n_back;
        id_list got = {.ids = ids, .capacity = 128};
        ok(bpe_encode_to(v, text, n, special, collect, &got));
        assert_true(got.n <= n);
        ok(bpe_decode(v, got.ids, got.n, &back, &n_back));
        if (n_back != n || memcmp(back, text, n) != 0) fail_msg("string %" PRIu64 " is lost", i);
        free(back);
    }
}

static void test_million_strings(void **state)
{
    (void)state;
    NEEDS_PCRE2();
    bpe *v;
    ok(open_ranks(vocabulary, &v));
    check_strings(v, BPE_SPECIAL_TEXT, 0, thin_run() ? 90000 : 900000);
    check_strings(v, BPE_SPECIAL_ALLOW, 900000, thin_run() ? 10000 : 100000);
    bpe_close(v);
}

/* Pieces of megabytes: by the square of the length these would take hours. */
static void test_long_pieces(void **state)
{
    (void)state;
    NEEDS_PCRE2();
    bpe *v;
    ok(open_ranks(vocabulary, &v));
    size_t n = thin_run() ? 1 << 18 : 1 << 21;
    uint8_t *text = malloc(n), *back;
    static const char *const fills[] = {"a", " ", "\n", "the", "\xff", "\xe3\x80\x80", "1", "."};
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        size_t length = strlen(fills[i]), n_back;
        for (size_t k = 0; k < n; k++)
            text[k] = (uint8_t)fills[i][k % length];
        text[n - 1] = 'x';
        id_list got = {0};
        ok(bpe_encode_to(v, text, n, BPE_SPECIAL_TEXT, collect, &got));
        ok(bpe_decode(v, got.ids, got.n, &back, &n_back));
        assert_int_equal(n_back, n);
        assert_memory_equal(back, text, n);
        free(back);
        free(got.ids);
    }
    free(text);
    bpe_close(v);
}

static void test_special_tokens(void **state)
{
    (void)state;
    NEEDS_PCRE2();
    bpe *v;
    ok(open_ranks(vocabulary, &v));
    int32_t end = bpe_end_of_text(v);
    assert_int_equal(end, 900);
    assert_int_equal(bpe_size(v), 901);
    const char *text = "a<|endoftext|><|endoftext|> <|endoftext|";
    id_list got = {0}, plain = {0};
    ok(bpe_encode_to(v, (const uint8_t *)text, strlen(text), BPE_SPECIAL_ALLOW, collect, &got));
    ok(bpe_encode_to(v, (const uint8_t *)text, strlen(text), BPE_SPECIAL_TEXT, collect, &plain));
    assert_int_equal(got.ids[0], 'a' - '!');
    assert_int_equal(got.ids[1], end);
    assert_int_equal(got.ids[2], end);
    for (size_t i = 3; i < got.n; i++)
        assert_int_not_equal(got.ids[i], end);
    for (size_t i = 0; i < plain.n; i++)
        assert_int_not_equal(plain.ids[i], end);
    uint8_t *back;
    size_t n;
    ok(bpe_decode(v, got.ids, got.n, &back, &n));
    assert_int_equal(n, strlen(text));
    assert_memory_equal(back, text, n);
    free(back);
    free(got.ids);
    free(plain.ids);
    bpe_close(v);
}

/* ---- files ---- */

static void test_saving(void **state)
{
    NEEDS_PCRE2();
    char *path = scratch_path(state, "saved.vocab");
    bpe *v;
    ok(open_ranks(vocabulary, &v));
    ok(bpe_save(v, path));
    bpe_close(v);
    size_t n, n_saved;
    uint8_t *golden = file_read(vocabulary, &n), *saved = file_read(path, &n_saved);
    assert_int_equal(n, n_saved);
    assert_memory_equal(golden, saved, n);
    free(golden);
    free(saved);
    free(path);
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The 256 bytes, without `missing` if that is one. */
static int write_bytes(FILE *f, int missing)
{
    int id = 0;
    for (int b = 0; b < 256; b++)
        if (b != missing) fprintf(f, "%c%c== %d\n", base64[b >> 2], base64[b << 4 & 63], id++);
    return id;
}

static void test_damaged_lines(void **state)
{
    NEEDS_PCRE2();
    static const struct {
        const char *lines, *complaint; /* the lines follow upon 256 good ones */
    } cases[] = {
        {"YWI= 256\nYWI= 257\n", "tokens 256 and 257 are spelled alike (ab)"},
        {"YWI= 257\n", "line 257 has id 257 where 256 must follow"},
        {"YWI= 255\n", "line 257 has id 255 where 256 must follow"},
        {"YWI= 256\nYWM= 258\n", "line 258 has id 258 where 257"},
        {"YWJj 256\n", "token 256 (abc) is not two earlier tokens"},
        {"YWI 256\n", "line 257: the token is not base64"},
        {"YW=I 256\n", "line 257: the token is not base64"},
        {"Y*I= 256\n", "line 257: the token is not base64"},
        {"YWJ= 256\n", "line 257: the token is not base64"}, /* bits past the end */
        {"==== 256\n", "line 257: the token is not base64"},
        {" 256\n", "line 257: the token is not base64"},
        {"YWI=256\n", "line 257 is not a token"},
        {"YWI= \n", "line 257 is not a token"},
        {"YWI= 2x6\n", "line 257 is not a token"},
        {"YWI= -256\n", "line 257 is not a token"},
        {"YWI= 256\r\n", "line 257 is not a token"},
        {"YWI=  256\n", "line 257 is not a token"},
        {"YWI= 99999999999999999999\n", "line 257 is not a token"},
        {"\n", "line 257 is not a token"},
        {"YWI= 256", "its last line has no end"},
    };
    char *path = scratch_path(state, "damaged.tiktoken");
    bpe *v;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *f = fopen(path, "wb");
        write_bytes(f, -1);
        fputs(cases[i].lines, f);
        fclose(f);
        fails(open_ranks(path, &v), "damaged.tiktoken", cases[i].complaint);
    }
    FILE *f = fopen(path, "wb");
    fprintf(f, "YWI= %d\n", write_bytes(f, 'Q'));
    fclose(f);
    fails(open_ranks(path, &v), "damaged.tiktoken", "no token for the byte 0x51");
    file_write(path, "IQ== 0\nIg== 1\n", 14);
    fails(open_ranks(path, &v), "damaged.tiktoken", "has 2 tokens");
    free(path);
}

/* 256 bytes, then pairs of two bytes: any number of tokens. */
static void write_pairs(const char *path, int n_tokens)
{
    FILE *f = fopen(path, "wb");
    int id = write_bytes(f, -1);
    for (int k = 0; id < n_tokens && k < 65536; k++, id++)
        fprintf(f, "%c%c%c= %d\n", base64[k >> 10], base64[k >> 4 & 63], base64[k << 2 & 63], id);
    for (int k = 0; id < n_tokens; k++, id++) /* a pair and a byte */
        fprintf(f, "%c%c%c%c %d\n", base64[k >> 18 & 63], base64[k >> 12 & 63], base64[k >> 6 & 63],
                base64[k & 63], id);
    fclose(f);
}

/* A list of tokens says neither how text is cut nor what is special: one that is not known is
 * refused, whatever its length. */
static void test_unknown_refused(void **state)
{
    static const int sizes[] = {300, 50256, 100256, 128000, 151643};
    char *path = scratch_path(state, "other.tiktoken");
    bpe *v;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        write_pairs(path, sizes[i]);
        fails(bpe_open(path, &v), "Llama 3's", "tokenizer.json");
    }
    fails(bpe_open(vocabulary, &v), "bpe.tiktoken", "900 tokens");
    free(path);
}

static void test_large_ids(void **state)
{
    NEEDS_PCRE2();
    char *path = scratch_path(state, "large.tiktoken");
    write_pairs(path, 70000);
    bpe *v;
    ok(open_ranks(path, &v));
    assert_int_equal(bpe_end_of_text(v), 70000);
    int32_t ids[8];
    size_t n;
    ok(bpe_encode(v, (const uint8_t *)"\xff\xfe\xfd", 3, ids, &n)); /* the lowest rank first */
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 255);
    assert_int_equal(ids[1], 256 + 0xfefd);
    ok(bpe_encode(v, (const uint8_t *)"\xff\xff", 2, ids, &n));
    assert_int_equal(ids[0], 65791);
    check_strings(v, BPE_SPECIAL_TEXT, 0, 1000);
    bpe_close(v);
    free(path);
}

/* Flips and cuts: an error of one line, or a vocabulary that loses nothing. */
static void test_flipped_and_cut(void **state)
{
    NEEDS_PCRE2();
    char *path = scratch_path(state, "fuzz.tiktoken");
    size_t n;
    uint8_t *good = file_read(vocabulary, &n);
    int accepted = 0, attempts = 400;
    for (int attempt = 0; attempt < attempts; attempt++) {
        uint32_t bits[4];
        rng_bits(12, RNG_TEST, (uint64_t)attempt, bits);
        size_t at = bits[0] % n;
        uint8_t old = good[at];
        if (attempt % 2)
            good[at] = attempt % 4 == 1 ? (uint8_t)base64[bits[1] % 64] : (uint8_t)bits[1];
        file_write(path, good, attempt % 2 ? n : at);
        good[at] = old;
        bpe *v;
        error *e = open_ranks(path, &v);
        if (e) assert_int_equal(error_kind_of(e), ERR_USER);
        error_free(e);
        if (e) continue;
        check_strings(v, BPE_SPECIAL_TEXT, 0, 200);
        bpe_close(v);
        accepted++;
    }
    assert_true(accepted > 0 && accepted < attempts); /* both ways were tried */
    free(good);
    free(path);
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xe2\x82",
                                      "\xe2\x82\x20",
                                      "\xf0\x9f\x99",
                                      "\xc3\xc3"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(utf8_length((const uint8_t *)bad[i], strlen(bad[i])), 0);
    static const struct {
        const char *text;
        uint32_t c;
    } good[] = {{"\x7f", 0x7f},
                {"\xc2\x80", 0x80},
                {"\xdf\xbf", 0x7ff},
                {"\xe0\xa0\x80", 0x800},
                {"\xed\x9f\xbf", 0xd7ff},
                {"\xee\x80\x80", 0xe000},
                {"\xef\xbf\xbf", 0xffff},
                {"\xf0\x90\x80\x80", 0x10000},
                {"\xf4\x8f\xbf\xbf", 0x10ffff}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const uint8_t *text = (const uint8_t *)good[i].text;
        assert_int_equal(utf8_length(text, 4), strlen(good[i].text));
        assert_int_equal(utf8_decode(text, strlen(good[i].text)), good[i].c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_golden_r50k),
        cmocka_unit_test(test_million_strings),
        cmocka_unit_test(test_long_pieces),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_saving),
        cmocka_unit_test(test_damaged_lines),
        cmocka_unit_test(test_unknown_refused),
        cmocka_unit_test(test_large_ids),
        cmocka_unit_test(test_flipped_and_cut),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests_name("bpe_gpt2", tests, scratch_make, scratch_remove);
}

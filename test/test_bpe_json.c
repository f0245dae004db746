/* test_bpe_json.c - Hugging Face's tokenizer.json: written and read back, read in its other forms,
 * and refused by name where ids could come out otherwise. */
#include "test/ranks_file.h"

#include <inttypes.h>
#include <stdbool.h>

#include "base/rng.h"
#include "data/bpe/bpe_internal.h"

#define NEEDS_PCRE2()                                                                              \
    if (!pattern_available()) skip()

static const char learned_text[] = "In the beginning God created the heaven and the earth. the the "
                                   "the  then\n\n\tthen na\xc3\xafve "
                                   "na\xc3\xafve 1234 1234 12 don't don't  ((x)) ((y)) "
                                   "\xe6\x97\xa5\xe6\x9c\xac \xe6\x97\xa5\xe6\x9c\xac";

static bpe *learned(void)
{
    bpe *v;
    ok(bpe_learn((const uint8_t *)learned_text, strlen(learned_text), 280, &v));
    return v;
}

/* Writes the Hugging Face files of v; the text of its tokenizer.json, which the caller frees. */
static char *json_of(void **state, const bpe *v)
{
    char *path = scratch_path(state, "tokenizer.json");
    size_t n;
    ok(bpe_write_hf(v, *state));
    char *text = (char *)file_read(path, &n);
    text[n] = 0;
    free(path);
    return text;
}

/* The text with its first `from` replaced by `to`; frees the text. */
static char *replaced(char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at) fail_msg("no '%s' in the file", from);
    size_t before = (size_t)(at - text), n_to = strlen(to), rest = strlen(at + strlen(from)) + 1;
    char *out = malloc(before + n_to + rest);
    assert_non_null(out);
    memcpy(out, text, before);
    memcpy(out + before, to, n_to);
    memcpy(out + before + n_to, at + strlen(from), rest);
    free(text);
    return out;
}

static error *open_text(void **state, const char *text, bpe **v)
{
    char *path = scratch_path(state, "changed.json");
    file_write(path, text, strlen(text));
    error *e = bpe_open(path, v);
    free(path);
    return e;
}

static size_t random_text(uint64_t index, bool valid, uint8_t *text, size_t n)
{
    static const char *const words[] = {
        " ",  "  ", "the",   "\n", "na\xc3\xafve", "\xe6\x97\xa5\xe6\x9c\xac", "12", "((",
        "'t", "\t", " then", "x",  "\v",           "\xf0\x9f\x99\x82",         "?",  "\x01"};
    size_t at = 0;
    for (uint64_t k = 0; at + 8 < n && k < n; k++) {
        uint32_t bits[4];
        rng_bits(13, RNG_TEST, index << 12 | k, bits);
        const char *word = words[bits[0] % 16];
        if (!valid && bits[1] % 8 == 0) {
            text[at++] = (uint8_t)bits[2];
        } else {
            memcpy(text + at, word, strlen(word));
            at += strlen(word);
        }
    }
    return at;
}

/* Both give the same ids for many texts, and the texts come back. */
static void check_same(const bpe *a, const bpe *b, bool valid)
{
    enum { N = 100 };
    assert_int_equal(bpe_size(a), bpe_size(b));
    for (uint64_t attempt = 0; attempt < 3000; attempt++) {
        uint8_t text[N], *back;
        int32_t ids_a[N], ids_b[N];
        size_t n_a, n_b, n_back, n = random_text(attempt, valid, text, 16 + attempt % 80);
        ok(bpe_encode(a, text, n, ids_a, &n_a));
        ok(bpe_encode(b, text, n, ids_b, &n_b));
        assert_int_equal(n_a, n_b);
        assert_memory_equal(ids_a, ids_b, n_a * sizeof *ids_a);
        ok(bpe_decode(b, ids_b, n_b, &back, &n_back));
        assert_int_equal(n_back, n);
        assert_memory_equal(back, text, n);
        free(back);
    }
}

/* A .vocab goes out and comes back with the same ids for any bytes, with or without PCRE2. */
static void test_learned_round_trip(void **state)
{
    bpe *v = learned(), *w;
    char *text = json_of(state, v);
    ok(open_text(state, text, &w));
    check_same(v, w, false);
    assert_int_equal(bpe_end_of_text(w), -1);
    char *again = json_of(state, w);
    assert_string_equal(text, again);
    free(again);
    free(text);
    bpe_close(w);
    bpe_close(v);
}

static void test_learned_end_of_text(void **state)
{
    bpe *v = learned(), *w, *x;
    ok(bpe_add_end_of_text(v));
    assert_int_equal(bpe_end_of_text(v), 280);
    assert_int_equal(bpe_size(v), 281);
    char *text = json_of(state, v), *path = scratch_path(state, "ended.vocab");
    ok(open_text(state, text, &w));
    assert_int_equal(bpe_end_of_text(w), 280);
    check_same(v, w, false);
    ok(bpe_save(v, path));
    ok(bpe_open(path, &x));
    assert_int_equal(bpe_end_of_text(x), 280);
    check_same(v, x, false);
    free(path);
    free(text);
    bpe_close(x);
    bpe_close(w);
    bpe_close(v);
}

/* The expression says what our rule does: here it is not recognised, so PCRE2 goes by it. */
static void test_expression_is_the_rule(void **state)
{
    NEEDS_PCRE2();
    bpe *v = learned(), *w;
    char *text = replaced(json_of(state, v), "\"Regex\": \"", "\"Regex\": \"(?:)");
    ok(open_text(state, text, &w));
    assert_int_equal(w->n_steps, 1);
    check_same(v, w, true);
    free(text);
    bpe_close(w);
    bpe_close(v);
}

static void test_tiktoken_round_trip(void **state)
{
    NEEDS_PCRE2();
    bpe *v, *w;
    ok(open_ranks("test/golden/bpe.tiktoken", &v));
    char *text = json_of(state, v);
    assert_non_null(strstr(text, "\"use_regex\": true}"));
    ok(open_text(state, text, &w));
    check_same(v, w, false);
    assert_int_equal(bpe_end_of_text(w), bpe_end_of_text(v));

    char *path = scratch_path(state, "saved.vocab"); /* bpe_save of one that was read as JSON */
    bpe *saved;
    ok(bpe_save(w, path));
    ok(bpe_open(path, &saved));
    check_same(v, saved, false);
    free(path);
    free(text);
    bpe_close(saved);
    bpe_close(w);
    bpe_close(v);
}

static void check_file(void **state, const char *name, const char *wanted)
{
    char *path = scratch_path(state, name);
    size_t n;
    uint8_t *bytes = file_read(path, &n);
    bytes[n] = 0;
    if (!strstr((char *)bytes, wanted)) fail_msg("no '%s' in %s: %s", wanted, name, bytes);
    free(bytes);
    free(path);
}

static void test_other_files(void **state)
{
    bpe *v;
    ok(bpe_learn((const uint8_t *)" \"\\ \"\\ \"\\", 9, 258, &v));
    free(json_of(state, v));
    check_file(state, "merges.txt", "#version: 0.2\n\xc4\xa0 \"\n\xc4\xa0\" \\\n");
    check_file(state, "vocab.json", "{\"\\u0100\": 0, ");
    check_file(state, "vocab.json", "\"\\u0120\\\"\": 256, \"\\u0120\\\"\\\\\": 257}");
    check_file(state, "tokenizer_config.json", "\"PreTrainedTokenizerFast\"");
    bpe_close(v);
    if (!pattern_available()) return;
    ok(open_ranks("test/golden/bpe.tiktoken", &v));
    free(json_of(state, v));
    check_file(state, "vocab.json", "{\"!\": 0, \"\\\"\": 1, ");
    check_file(state, "vocab.json", "\"<|endoftext|>\": 900}");
    check_file(state, "tokenizer_config.json", "\"eos_token\": \"<|endoftext|>\"");
    check_file(state, "tokenizer_config.json", "\"GPT2Tokenizer\"");
    bpe_close(v);
}

static void test_merges_as_pairs(void **state)
{
    bpe *v, *w;
    ok(bpe_learn((const uint8_t *)"ab ab ab", 8, 257, &v));
    char *text = replaced(json_of(state, v), "[\"a b\"]", "[[\"a\", \"b\"]]");
    ok(open_text(state, text, &w));
    check_same(v, w, false);
    bpe_close(w);
    text = replaced(text, "[[\"a\", \"b\"]]", "[[\"a\", \"b\", \"c\"]]");
    fails(open_text(state, text, &w), "merge 0", "is not two tokens");
    free(text);
    bpe_close(v);
}

#define ADDED(id, content, special)                                                                \
    "{\"id\": " id ", \"content\": \"" content "\", \"special\": " special "}"

static void test_added_tokens(void **state)
{
    bpe *v = learned(), *w;
    char *text = replaced(json_of(state, v), "\"added_tokens\": [",
                          "\"added_tokens\": [" ADDED("280", "<a>", "true") ", " ADDED(
                              "282", "<a>\\u00e9", "true") ", " ADDED("281", "  ", "false"));
    ok(open_text(state, text, &w));
    assert_int_equal(bpe_size(w), 283);
    assert_int_equal(bpe_end_of_text(w), -1);
    int32_t ids[16];
    size_t n;
    ok(bpe_encode(w, (const uint8_t *)"<a>  (", 6, ids, &n)); /* the special one is text */
    assert_int_equal(n, 5);
    assert_int_equal(ids[0], '<');
    assert_int_equal(ids[3], 281);
    char *again = json_of(state, w); /* the file as it was read */
    assert_string_equal(again, text);
    bpe *x;
    ok(open_text(state, again, &x));
    check_same(w, x, false);
    free(again);
    bpe_close(x);
    bpe_close(w);
    free(text);
    bpe_close(v);
}

static error *store(void *to, const int32_t *ids, size_t n)
{
    memcpy(to, ids, n * sizeof *ids);
    return NULL;
}

static void test_longest_special(void **state)
{
    bpe *v = learned(), *w;
    char *text = replaced(
        json_of(state, v), "\"added_tokens\": [",
        "\"added_tokens\": [" ADDED("280", "<a>", "true") ", " ADDED("281", "<a>\\u00e9", "true"));
    ok(open_text(state, text, &w));
    const char *said = "<a><a>\xc3\xa9<a>\xc3\xa8";
    const int32_t wanted[] = {280, 281, 280, 0xc3, 0xa8};
    int32_t ids[32];
    ok(bpe_encode_to(w, (const uint8_t *)said, strlen(said), BPE_SPECIAL_ALLOW, store, ids));
    assert_memory_equal(ids, wanted, sizeof wanted);
    bpe_close(w);
    free(text);
    bpe_close(v);
}

static const struct {
    const char *from, *to, *complaint;
} refusals[] = {
    {"\"normalizer\": null", "\"normalizer\": {\"type\": \"NFKC\"}", "normalizer: 'NFKC'"},
    {"\"post_processor\": null", "\"post_processor\": {\"type\": \"TemplateProcessing\"}",
     "post_processor: 'TemplateProcessing'"},
    {"\"decoder\": {\"type\": \"ByteLevel\"", "\"decoder\": {\"type\": \"Metaspace\"",
     "decoder: 'Metaspace'"},
    {"\"type\": \"Split\"", "\"type\": \"Whitespace\"", "pre_tokenizer: 'Whitespace'"},
    {"\"Regex\"", "\"Regexp\"", "neither a Regex nor a String"},
    {"\"Isolated\"", "\"Removed\"", "pre_tokenizer.behavior: 'Removed'"},
    {"\"invert\": false", "\"invert\": true", "pre_tokenizer.invert: 'true'"},
    {"\"add_prefix_space\": false", "\"add_prefix_space\": true",
     "pre_tokenizer.add_prefix_space: 'true'"},
    {"\"type\": \"Sequence\"", "\"type\": \"BertPreTokenizer\"",
     "pre_tokenizer: 'BertPreTokenizer'"},
    {"\"pretokenizers\"", "\"pretokenizer\"", "without ByteLevel"},
    {"\"type\": \"BPE\"", "\"type\": \"WordPiece\"", "model.type: 'WordPiece'"},
    {"\"dropout\": null", "\"dropout\": 0.1", "model.dropout"},
    {"\"byte_fallback\": false", "\"byte_fallback\": true", "normalizer: 'null'"},
    {"\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"",
     "model.end_of_word_suffix: '</w>'"},
    {"\"continuing_subword_prefix\": null", "\"continuing_subword_prefix\": \"##\"", "'##'"},
    {"\"vocab\":", "\"words\":", "model.vocab or model.merges is missing"},
    {"\"merges\": [", "\"merges\": 7, \"x\": [", "model.vocab or model.merges is missing"},
    {"\"merges\": [", "\"merges\": [\"a\", ", "merge 0 is not two tokens"},
    {"\"merges\": [", "\"merges\": [\"a b c\", ", "merge 0 is not two tokens"},
    {"\"merges\": [", "\"merges\": [5, ", "merge 0 is not two tokens"},
    {"\"merges\": [", "\"merges\": [\"q q\", ", "makes a token that is not in model.vocab"},
    {"\"merges\": [", "\"merges\": [\"qq q\", ", "joins 'qq q'"},
    {"\"merges\": [\"h e\"", "\"merges\": [\"h e\", \"h e\"", "join the same two"},
    {"\"a\": 97", "\"a\": 98", "id 98 is given to two tokens"},
    {"\"a\": 97", "\"a\": 97.5", "'a' has no id from 0 to"},
    {"\"a\": 97", "\"a\": -1", "'a' has no id"},
    {"\"a\": 97", "\"a\": 1e300", "'a' has no id"},
    {"\"a\": 97", "\"a\": 280", "'a' has no id"},
    {"\"a\": 97", "\"a\": null", "'a' has no id"},
    {"\"a\": 97", "\"aaa\": 97", "no token for the byte 0x61"},
    {"\"a\": 97", "\"b\": 97", "no token for the byte 0x61"},
    {"\"he\": 256", "\"b\": 256", "spelled alike (b)"},
    {"\"a\": 97", "\"\": 97", "is not spelled in the characters for bytes"},
    {"\"a\": 97", "\"\\u4e00\": 97", "is not spelled in the characters for bytes"},
    {"\"a\": 97", "\"a\\u0000\": 97", "zero byte"},
    {"\"added_tokens\": [", "\"added_tokens\": [5", "added_tokens: an entry has no content"},
    {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": 280, \"content\": \"\"}",
     "added_tokens: an entry has no content"},
    {"\"added_tokens\": [", "\"added_tokens\": [" ADDED("285", "<x>", "true"), "too large"},
    {"\"added_tokens\": [", "\"added_tokens\": [" ADDED("280", "the", "true"), "spelled alike"},
    {"\"added_tokens\": [", "\"added_tokens\": [" ADDED("97", "<x>", "true"),
     "id 97 is given to two tokens"},
    {"\"added_tokens\": [", "\"added_tokens\": [" ADDED("1e9", "<x>", "true"), "no id from 0"},
    {"\"version\"", "version", "is not JSON at byte"},
    {"}\n}\n", "}\n} x\n", "is not JSON at byte"},
};

/* A tokenizer.json that would give other ids is refused, and the line says by what. */
static void test_refused_by_name(void **state)
{
    bpe *v = learned();
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char *text = replaced(json_of(state, v), refusals[i].from, refusals[i].to);
        bpe *w;
        fails(open_text(state, text, &w), "changed.json", refusals[i].complaint);
        free(text);
    }
    bpe_close(v);
}

static error *open_with_expression(void **state, const char *expression, bpe **w)
{
    bpe *v = learned();
    char *member, *text = json_of(state, v);
    assert_true(asprintf(&member, "\"Regex\": \"%s\", \"x\": \"", expression) > 0);
    text = replaced(text, "\"Regex\": \"", member);
    error *e = open_text(state, text, w);
    free(member);
    free(text);
    bpe_close(v);
    return e;
}

/* What lies between two matches is a piece, too. */
static void test_between_matches(void **state)
{
    NEEDS_PCRE2();
    static const char text[] = "the12then3, don't";
    bpe *v = learned(), *w;
    int32_t ids[32], wanted[32];
    size_t n, n_wanted;
    const char *const expressions[] = {"[0-9, ]+", "[^0-9]+"}; /* our rule has one more cut: ' */
    ok(bpe_encode(v, (const uint8_t *)text, strlen(text), wanted, &n_wanted));
    for (size_t i = 0; i < 2; i++) {
        ok(open_with_expression(state, expressions[i], &w));
        ok(bpe_encode(w, (const uint8_t *)text, 10, ids, &n));
        assert_int_equal(ids[0], wanted[0]);
        assert_memory_equal(ids, wanted, n * sizeof *ids);
        assert_true(n > 3);
        uint8_t *back;
        ok(bpe_encode(w, (const uint8_t *)text, strlen(text), ids, &n));
        ok(bpe_decode(w, ids, n, &back, &n));
        assert_int_equal(n, strlen(text));
        assert_memory_equal(back, text, n);
        free(back);
        bpe_close(w);
    }
    bpe_close(v);
}

/* An expression that tries too many ways gives up, and says so. */
static void test_endless_expression(void **state)
{
    NEEDS_PCRE2();
    bpe *w;
    uint8_t text[100];
    int32_t ids[100];
    size_t n;
    memset(text, 'a', sizeof text);
    text[99] = 'c';
    ok(open_with_expression(state, "(?:a|aa)+$", &w));
    fails(bpe_encode(w, text, sizeof text, ids, &n), "regular expression fails at byte 0",
          "match limit");
    bpe_close(w);
}

static void test_expressions_refused(void **state)
{
    NEEDS_PCRE2();
    bpe *w;
    fails(open_with_expression(state, "(((", &w), "changed.json", "group without an end");
    fails(open_with_expression(state, "\\\\C", &w), "changed.json", "'\\C'");
}

/* White space that Unicode counts as such and PCRE2 does not, or the other way round. */
static void test_white_space_in_classes(void **state)
{
    (void)state;
    NEEDS_PCRE2();
    static const struct {
        const char *expression, *text;
        size_t begin, end;
    } cases[] = {
        {"\\s+", "a\xe1\xa0\x8e\xc2\x85 b", 4, 7}, /* not U+180E; U+0085 */
        {"[^\\s]+", " \xe1\xa0\x8e\xc2\x85", 1, 4},
        {"\\S+", " \xe1\xa0\x8e\xc2\x85", 1, 4},
        {"[]\\s]+", "a] \xe1\xa0\x8e", 1, 3},
        {"[^]\\s]+", "] a\xe1\xa0\x8e]", 2, 6},
        {"\\\\s", "s\\s", 1, 3},
        {"x*", "ab", 2, 2},
        {"\\[\\s", " [ ", 1, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pattern *p;
        pattern_match *m;
        size_t begin, end;
        ok(pattern_compile(cases[i].expression, &p));
        ok(pattern_match_create(p, &m));
        ok(pattern_next(p, m, (const uint8_t *)cases[i].text, strlen(cases[i].text), 0, &begin,
                        &end));
        if (begin != cases[i].begin || end != cases[i].end)
            fail_msg("%s: %zu to %zu", cases[i].expression, begin, end);
        pattern_match_free(m);
        pattern_free(p);
    }
}

/* Deep nesting, and more parts than memory should be given for. */
static void test_absurd(void **state)
{
    enum { N = 9 << 20 };
    char *text = malloc(N + 1);
    bpe *v;
    memset(text, '[', N);
    memcpy(text, "{\"a\":", 5);
    text[100000] = 0;
    fails(open_text(state, text, &v), "changed.json", "nested too deeply");
    text[100000] = '[';
    for (size_t i = 6; i < N; i++)
        text[i] = i % 2 ? '0' : ',';
    text[N] = 0;
    fails(open_text(state, text, &v), "changed.json", "more parts");
    free(text);
}

static void test_alike_cannot_be_written(void **state)
{
    const bpe_merge merges[] = {{'a', 'b'}, {'b', 'c'}, {256, 'c'}, {'a', 257}};
    bpe *v;
    ok(bpe_from_merges(merges, 4, &v));
    fails(bpe_write_hf(v, *state), "cannot be written",
          "tokens 258 and 259 are spelled alike (abc)");
    bpe_close(v);
    char *nowhere = scratch_path(state, "no/such");
    v = learned();
    fails(bpe_write_hf(v, nowhere), "no/such", "directory exists");
    free(nowhere);
    bpe_close(v);
}

static void test_flipped_and_cut(void **state)
{
    bpe *v = learned(), *w;
    char *good = json_of(state, v), *path = scratch_path(state, "fuzz.json");
    size_t n = strlen(good);
    int accepted = 0, attempts = 1500;
    for (int attempt = 0; attempt < attempts; attempt++) {
        uint32_t bits[4];
        rng_bits(14, RNG_TEST, (uint64_t)attempt, bits);
        size_t at = bits[0] % n;
        char old = good[at];
        if (attempt % 3) good[at] = attempt % 3 == 1 ? good[bits[1] % n] : (char)bits[1];
        file_write(path, good, attempt % 3 ? n : at);
        good[at] = old;
        error *e = bpe_open(path, &w);
        if (e) assert_int_equal(error_kind_of(e), ERR_USER);
        error_free(e);
        if (e) continue;
        uint8_t text[64];
        int32_t ids[64];
        size_t count, n_text = random_text((uint64_t)attempt, false, text, 64);
        ok(bpe_encode(w, text, n_text, ids, &count));
        bpe_close(w);
        accepted++;
    }
    assert_true(accepted > 0 && accepted < attempts);
    free(good);
    free(path);
    bpe_close(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learned_round_trip),
        cmocka_unit_test(test_learned_end_of_text),
        cmocka_unit_test(test_expression_is_the_rule),
        cmocka_unit_test(test_tiktoken_round_trip),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_merges_as_pairs),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_longest_special),
        cmocka_unit_test(test_refused_by_name),
        cmocka_unit_test(test_between_matches),
        cmocka_unit_test(test_endless_expression),
        cmocka_unit_test(test_expressions_refused),
        cmocka_unit_test(test_white_space_in_classes),
        cmocka_unit_test(test_absurd),
        cmocka_unit_test(test_alike_cannot_be_written),
        cmocka_unit_test(test_flipped_and_cut),
    };
    return cmocka_run_group_tests_name("bpe_json", tests, scratch_make, scratch_remove);
}

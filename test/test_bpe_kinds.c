/* test_bpe_kinds.c - tokenizer.json of every kind that is read: the ids that the `tokenizers`
 * library gives (golden/kinds.py), and added tokens by their rules. */
#include "base/json.h"
#include "data/bpe/bpe_internal.h"
#include "data/bpe/normal.h"
#include "data/bpe/onig.h"
#include "test/scratch.h"

enum { MOST_JSON = 4 << 20, MOST = 1000 };

static error *open_item(void **state, const cJSON *item, bpe **out)
{
    char *path = scratch_path(state, "kind.json"), *text = cJSON_PrintUnformatted(item);
    file_write(path, text, strlen(text));
    error *e = bpe_open(path, out);
    cJSON_free(text);
    free(path);
    return e;
}

static error *store(void *to, const int32_t *ids, size_t n)
{
    cJSON *list = to;
    for (size_t i = 0; i < n; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(ids[i]));
    return NULL;
}

static void check_text(const bpe *v, const char *name, const cJSON *pair)
{
    const char *text = pair->child->valuestring;
    cJSON *ours = cJSON_CreateArray();
    ok(bpe_encode_to(v, (const uint8_t *)text, strlen(text), BPE_SPECIAL_ALLOW, store, ours));
    char *a = cJSON_PrintUnformatted(ours), *b = cJSON_PrintUnformatted(pair->child->next);
    if (strcmp(a, b)) fail_msg("%s: '%s'\n  ours   %s\n  theirs %s", name, text, a, b);
    cJSON_free(a);
    cJSON_free(b);
    cJSON_Delete(ours);
}

static void test_ids_of_the_library(void **state)
{
    cJSON *json;
    int kinds = 0;
    ok(json_read("test/golden/kinds.json", MOST_JSON, &json));
    const cJSON *kind, *pair;
    cJSON_ArrayForEach(kind, cJSON_GetObjectItem(json, "kinds"))
    {
        const char *name = cJSON_GetObjectItem(kind, "name")->valuestring;
        bpe *v;
        error *e = open_item(state, cJSON_GetObjectItem(kind, "tokenizer"), &v);
        if (e && !pattern_available() && strstr(error_text(e), "PCRE2")) {
            error_free(e);
            continue;
        }
        if (e) print_message("%s\n", name);
        ok(e);
        kinds++;
        cJSON_ArrayForEach(pair, cJSON_GetObjectItem(kind, "texts"))
        {
            if (!nfc_available() && v->compose) continue;
            check_text(v, name, pair);
        }
        bpe_close(v);
    }
    assert_true(kinds >= (pattern_available() ? 23 : 6));
    cJSON_Delete(json);
}

/* ---- Oniguruma ---- */

static void test_translation(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a{1,2}+", "(?:a{1,2})+"},
        {"(ab){2}?c", "(?:(?:ab){2})?c"},
        {"a{,3}", "a{0,3}"},
        {"^a$", "(?m:^)a(?m:$)"},
        {"(?m:.)(?i:'s)", "(?s:.)(?i:'s)"},
        {"\\h[\\h_]", "[0-9A-Fa-f][0-9A-Fa-f_]"},
        {"\\p{Han}\\p{^L}", "\\p{sc:Han}\\P{L}"},
        {"\\u3042\\x41", "\\x{3042}\\x{41}"},
        {"[a[b-d]e]", "[ab-de]"},
        {"[a-z&&[^b]]+", "(?:(?=[^b])[a-z])+"},
        {"a{x", "a\\{x"},
        {"\\s++a?+", "\\s++a?+"},
        {"[]a]", "[\\]a]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out;
        ok(onig_translate(cases[i][0], &out));
        assert_string_equal(out, cases[i][1]);
        free(out);
    }
    char *literal;
    ok(onig_literal(".(", &literal));
    assert_string_equal(literal, "\\.\\(");
    free(literal);
}

/* Refused by the construct's name. */
static void test_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"(a)\\1", "'\\1'"},
        {"\\Ga", "'\\G'"},
        {"\\Ka", "'\\K'"},
        {"(?~a)", "'(?~'"},
        {"(?<n>a)", "'(?<'"},
        {"(?i)a", "'(?i)'"},
        {"[[:alpha:]]", "'[:'"},
        {"[a[^b]]", "'[^'"},
        {"\\p{Alnum}", "'\\p{Alnum}'"},
        {"\\X", "'\\X'"},
        {"[\\W]", "'\\W'"},
        {"(?x:a b)", "'(?x:'"},
        {"a)", "')'"},
        {"(a", "group without an"},
        {"[a", "class without an"},
        {"+a", "'+'"},
        {"a**", "'*'"},
        {"\\k<n>", "'\\k'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = NULL;
        fails(onig_translate(cases[i][0], &out), "regular expression", cases[i][1]);
    }
}

/* ---- long texts in SentencePiece's manner ---- */

static void test_long_text(void **state)
{
    (void)state;
    enum { N = 65 << 20 };
    static const char line[] = "the light, that it was good. ";
    size_t count = 0, n_line = sizeof line - 1;
    bpe *v;
    ok(bpe_open("test/golden/bpe_llama.json", &v));
    uint8_t *text = malloc(N);
    assert_non_null(text);
    for (size_t i = 0; i < N; i++)
        text[i] = (uint8_t)line[i % n_line];
    int32_t *ids = malloc((N + 1) * sizeof *ids), few[200];
    assert_non_null(ids);
    ok(bpe_encode(v, text, N, ids, &count));
    size_t n_few, n_two;
    ok(bpe_encode(v, text, n_line, few, &n_few));
    assert_memory_equal(ids, few, (n_few - 1) * sizeof *ids);
    ok(bpe_encode(v, text, 2 * n_line, few, &n_two));
    size_t each = n_two - n_few; /* tokens of a line inside of the text */
    assert_memory_equal(ids + n_two - 1 - each, ids + n_two - 1 + 1000 * each, each * sizeof *ids);
    free(ids);
    free(text);
    bpe_close(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_of_the_library),
        cmocka_unit_test(test_translation),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_text),
    };
    return cmocka_run_group_tests_name("bpe_kinds", tests, scratch_make, scratch_remove);
}

/* test_bpe_metaspace.c - tokenizer.json in SentencePiece's manner: the ids that the `tokenizers`
 * library gives (golden/bpe_metaspace.py), bytes back, and what is refused by name. */
#include <stdbool.h>

#include "data/bpe/bpe_internal.h"
#include "base/json.h"
#include "test/scratch.h"

enum { MOST_JSON = 1 << 20, MOST = 200 };

static const char *const files[] = {"bpe_llama.json", "bpe_gemma.json", "bpe_bloom.json"};

static bpe *open_golden(const char *name)
{
    char path[100];
    bpe *v;
    snprintf(path, sizeof path, "test/golden/%s", name);
    ok(bpe_open(path, &v));
    return v;
}

/* The ids in bytes are the text, with plain spaces, behind one of its own or not. */
static void check_bytes(const bpe *v, const char *text, const int32_t *ids, size_t n, bool space)
{
    uint8_t *back;
    size_t n_back, at = 0;
    ok(bpe_decode(v, ids, n, &back, &n_back));
    if (space) assert_int_equal(back[at++], ' ');
    for (const char *p = text; *p; p++) {
        bool meta = !strncmp(p, "\xe2\x96\x81", 3);
        assert_true(at < n_back);
        assert_int_equal(back[at++], meta ? ' ' : (uint8_t)*p);
        p += meta ? 2 : 0;
    }
    assert_int_equal(at, n_back);
    free(back);
}

static void test_ids_of_the_library(void **state)
{
    (void)state;
    cJSON *json;
    ok(json_read("test/golden/bpe_metaspace.json", MOST_JSON, &json));
    for (int f = 0; f < (pattern_available() ? 3 : 2); f++) {
        bpe *v = open_golden(files[f]);
        const cJSON *item, *id;
        cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, files[f]))
        {
            const char *text = cJSON_GetObjectItem(item, "text")->valuestring;
            int32_t ids[MOST];
            size_t n, k = 0, bytes = strlen(text);
            assert_true(bytes + 1 < MOST);
            ok(bpe_encode(v, (const uint8_t *)text, bytes, ids, &n));
            cJSON_ArrayForEach(id, cJSON_GetObjectItem(item, "ids"))
            {
                if (k >= n || ids[k] != id->valueint)
                    fail_msg("%s, '%s': id %zu is %d, the library has %d", files[f], text, k,
                             k < n ? ids[k] : -1, id->valueint);
                k++;
            }
            assert_int_equal(k, n);
            if (f < 2) check_bytes(v, text, ids, n, f == 0);
        }
        assert_int_equal(bpe_begin_of_text(v), f < 2 ? 1 : -1);
        bpe_close(v);
    }
    cJSON_Delete(json);
}

static void test_bytes_that_are_no_text(void **state)
{
    (void)state;
    static const char bad[] = "a\xff\xe2\x82\xc3(\xf0";
    bpe *v = open_golden(files[1]);
    int32_t ids[MOST];
    size_t n;
    ok(bpe_encode(v, (const uint8_t *)bad, sizeof bad - 1, ids, &n));
    check_bytes(v, bad, ids, n, false);
    ok(bpe_encode(v, (const uint8_t *)bad, 0, ids, &n));
    assert_int_equal(n, 0);
    bpe_close(v);
}

static void test_written_as_it_was(void **state)
{
    char *path = scratch_path(state, "copy.json");
    bpe *v = open_golden(files[0]);
    size_t n, m;
    ok(bpe_save(v, path));
    uint8_t *a = file_read("test/golden/bpe_llama.json", &n), *b = file_read(path, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    char *again = scratch_path(state, "tokenizer.json");
    ok(bpe_write_hf(v, *state));
    uint8_t *c = file_read(again, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, c, n);
    free(a), free(b), free(c), free(path), free(again);
    bpe_close(v);
}

static void test_refusals(void **state)
{
    static const char *const bad[][3] = {
        {"\"type\":\"Prepend\"", "\"type\":\"NFKC\"", "normalizer: 'NFKC'"},
        {"\"content\":\"\xe2\x96\x81\"", "\"content\":\"_\"", "normalizer: 'Replace'"},
        {"\"pre_tokenizer\":null", "\"pre_tokenizer\":{\"type\":\"Digits\"}",
         "pre_tokenizer: 'Digits'"},
        {"\"type\":\"TemplateProcessing\"", "\"type\":\"BertProcessing\"",
         "post_processor: 'BertProcessing'"},
        {"\"ids\":[1]", "\"ids\":[1,2]", "post_processor"},
        {"\"ids\":[1]", "\"ids\":[99999]", "token 99999"},
        {"\"unk_token\":\"<unk>\"", "\"byte_fallback\":false,\"x\":0", "<0x00>"},
    };
    size_t n;
    char *path = scratch_path(state, "bad.json");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = (char *)file_read("test/golden/bpe_llama.json", &n), *changed;
        text[n] = 0;
        char *at = strstr(text, bad[i][0]);
        if (!at) fail_msg("no %s in the file", bad[i][0]);
        bpe *v;
        assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, bad[i][1],
                             at + strlen(bad[i][0])) > 0);
        file_write(path, changed, strlen(changed));
        fails(bpe_open(path, &v), path, bad[i][2]);
        free(text), free(changed);
    }
    free(path);
}

/* What a class in a class would mean otherwise. */
static void test_classes_in_classes(void **state)
{
    static const char *const bad[][2] = {
        {"[^a[^b]]+", "'[^'"}, {"[^a-z&&[aeiou]]+", "'&&'"}, {"[a[b]", "class"}};
    if (!pattern_available()) skip();
    size_t n;
    char *path = scratch_path(state, "class.json");
    for (int i = 0; i < 3; i++) {
        char *text = (char *)file_read("test/golden/bpe_bloom.json", &n), *changed, *end;
        text[n] = 0;
        char *at = strstr(text, "\"Regex\":\"");
        assert_non_null(at);
        at += strlen("\"Regex\":\"");
        end = strchr(at, '"');
        bpe *v;
        assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, bad[i][0], end) > 0);
        file_write(path, changed, strlen(changed));
        fails(bpe_open(path, &v), path, bad[i][1]);
        free(text), free(changed);
    }
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_of_the_library), cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_written_as_it_was),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_classes_in_classes),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

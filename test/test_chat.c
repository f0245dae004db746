/* test_chat.c - conversations: templates against transformers, what is learned, lines of JSON,
 * packed files.
 *
 * test/golden/chat.jsonl has been made by test/golden/chat.py with transformers and Jinja2:
 * templates in the manners of the families and corners of the language, each with its text or the
 * fact that it is refused.
 */
#include "test/scratch.h"

#include <zlib.h>

#include "base/files.h"
#include "base/grow.h"
#include "base/json_lines.h"
#include "base/unpack.h"
#include "data/chat/chat.h"
#include "infer/chat_tokens.h"

/* ---- against transformers ---- */

static void compare(const cJSON *line, const jinja_text *text)
{
    const char *want = cJSON_GetStringValue(cJSON_GetObjectItem(line, "text"));
    const cJSON *spans = cJSON_GetObjectItem(line, "spans");
    assert_non_null(want);
    assert_string_equal(text->text, want);
    assert_int_equal(2 * text->n_spans, cJSON_GetArraySize(spans));
    for (size_t i = 0; i < text->n_spans; i++) {
        assert_int_equal(text->spans[i].begin,
                         cJSON_GetArrayItem(spans, (int)(2 * i))->valuedouble);
        assert_int_equal(text->spans[i].end,
                         cJSON_GetArrayItem(spans, (int)(2 * i + 1))->valuedouble);
    }
}

static error *against_golden(void *context, const cJSON *line)
{
    const char *source = cJSON_GetStringValue(cJSON_GetObjectItem(line, "template"));
    bool refused = cJSON_IsNull(cJSON_GetObjectItem(line, "text"));
    int *n = context;
    jinja *t = NULL;
    jinja_text text = {0};
    error *e = jinja_parse("it", source, strlen(source), &t);
    if (!e) e = jinja_render(t, cJSON_GetObjectItem(line, "variables"), &text);
    if (refused) {
        if (!e) fail_msg("%s: rendered, but transformers refuses it", source);
        assert_int_equal(error_kind_of(e), ERR_USER);
        error_free(e);
    } else {
        if (e) fail_msg("%s: %s", source, error_text(e));
        compare(line, &text);
    }
    jinja_text_free(&text);
    jinja_free(t);
    n[refused]++;
    return NULL;
}

static void test_templates_against_transformers(void **state)
{
    (void)state;
    uint8_t *lines;
    size_t size;
    int n[2] = {0};
    ok(file_read_all("test/golden/chat.jsonl", 1 << 24, &lines, &size));
    ok(json_lines("chat.jsonl", (const char *)lines, size, against_golden, n));
    free(lines);
    assert_int_equal(n[0], 92);
    assert_int_equal(n[1], 42);
}

static error *render(const char *source, const char *variables, char *out, size_t room)
{
    jinja *t;
    jinja_text text = {0};
    cJSON *v = cJSON_Parse(variables);
    error *e = jinja_parse("FILE", source, strlen(source), &t);
    if (!e) {
        e = jinja_render(t, v, &text);
        snprintf(out, room, "%s", text.text ? text.text : "");
        jinja_text_free(&text);
        jinja_free(t);
    }
    cJSON_Delete(v);
    return e;
}

static const struct {
    const char *source, *word;
} refused_constructs[] = {
    {"\n{% include 'x' %}", "include"},
    {"\n{{ 'x' | wordcount }}", "wordcount"},
    {"\n{{ 1 is sameas(1) }}", "sameas"},
    {"\n{{ 'x'.encode() }}", "encode"},
    {"\n{{ strftime_now('%d') }}", "strftime_now"},
    {"\n{% for a in [1] recursive %}{% endfor %}", "recursive"},
    {"\n{{ cycler(1) }}", "cycler"},
    {"\n{{ 1 < 2 < 3 }}", "chain"},
    {"\n{{ [1] }}", "tojson"},
    {"\n{{ 'x' | safe }}", "safe"},
    {"\n{{ 'x'.startswith('x', 1) }}", "startswith with 2 positional arguments"},
    {"\n{{ 'x'.replace('x', 'y', 1) }}", "replace with 3 positional arguments"},
    {"\n{{ 'x' | replace('x', 'y', count=1) }}", "replace(count=)"},
    {"\n{% set x = [1] | reverse %}{{ x | join }}{{ x | join }}", "second use"},
    {"\n{{ 'x' | trim('x', chars='y') }}", "chars twice"},
    {"\n{{ [1] | tojson(sort_keys=true) }}", "tojson(sort_keys=)"},
    {"\n{{ [1] | tojson(indent=-1) }}", "indent from 0"},
    {"\n{{ [1] | tojson(true) }}", "ensure_ascii"},
    {"\n{{ '9223372036854775808' | int }}", "too large"},
    {"\n{{ '\u0663' | int }}", "beyond ASCII"},
    {"\n{{ 'x' }}{{ '\\N{DIGIT ONE}' }}", "\\N in a string"},
    {"\n{{ '\\ud83d' }}", "\\u in a string"},
    {"\n{{ 'a b'.split(maxsplit=1) }}", "maxsplit"},
    {"\n{{ [{}] | map(attribute='a.b') }}", "dots"},
    {"\n{% if {'items': 1}.items is defined %}{% endif %}", "['items']"},
    {"\n{% if 'x'.upper is defined %}{% endif %}", "a method"},
    {"\n{% if [1].sort %}{% endif %}", "a method"},
    {"\n{% set a = [1:2:'x'] %}", "where"},
    {"\n{{ [1][::'x'] }}", "nonzero integer"},
    {"\n{{ \u00e9 }}", "'\u00e9' has no meaning"},
    {"\n{% endfor %}", "has nothing to end"},
    {"\n{% generation %}{% generation %}{% endgeneration %}x{% endgeneration %}", "inside another"},
    {"\n{% macro f() %}{% generation %}x{% endgeneration %}{% endmacro %}{{ f() }}",
     "inside of a macro"},
    {"\n{% macro f() %}{{ varargs | length }}{% endmacro %}", "varargs of a macro"},
    {"\n{% macro f(varargs) %}{% macro g() %}{{ varargs }}{% endmacro %}{% endmacro %}",
     "varargs of a macro"},
    {"\n{% set kwargs = 3 %}{% macro f() %}{{ kwargs }}{% endmacro %}", "kwargs of a macro"},
    {"\n{% macro f() %}{{ caller() }}{% endmacro %}", "caller of a macro"},
    {"\n{% macro f() %}{% endmacro %}{{ f.name }}", "attribute of a macro"},
    {"\n{{ range(3).stop }}", "attribute of a range"},
    {"\n{{ range(3) == range(3) }}", "comparison of two"},
    {"\n{{ range(3)[1:] }}", "slice of a range"},
    {"\n{{ range(3) }}", "list | tojson"},
};

/* What is not rendered is named, with its line. */
static void test_refused_constructs(void **state)
{
    (void)state;
    char text[100];
    for (size_t i = 0; i < sizeof refused_constructs / sizeof *refused_constructs; i++)
        fails(render(refused_constructs[i].source, "{}", text, sizeof text), "FILE: line 2",
              refused_constructs[i].word);
}

/* A template that does not end, or grows without bounds, is stopped. */
static void test_bounds(void **state)
{
    (void)state;
    char text[100], deep[3000] = "{% for a in range(90000) %}{% if ";
    for (int i = 0; i < 100; i++)
        strcat(deep, "not ");
    strcat(deep, "1 %}{% endif %}{% endfor %}");
    fails(render(deep, "{}", text, sizeof text), "FILE: line 1: it takes more than", "steps");
    strcpy(deep, "{{ ");
    fails(render("{% set n = namespace(s='xxxxxxxx') %}{% for a in range(100) %}{% set n.s = n.s + "
                 "n.s %}{% endfor %}",
                 "{}", text, sizeof text),
          "MiB of values", "");
    fails(
        render("{% set ns = namespace(l=[],k=[]) %}{% for i in range(50000) %}{% set ns.l=[ns.l] %}"
               "{% set ns.k=[ns.k] %}{% endfor %}{{ ns.l == ns.k }}",
               "{}", text, sizeof text),
        "deeper than 200", "");
    fails(
        render(
            "{% set ns = namespace(l=[],k=[]) %}{% for i in range(60) %}{% set ns.l=[ns.l,ns.l] %}"
            "{% set ns.k=[ns.k,ns.k] %}{% endfor %}{{ ns.l is eq(ns.k) }}",
            "{}", text, sizeof text),
        "line 1: it takes more than", "steps");
    ok(render(
        "{% set l = namespace(x=[]) %}{% for i in range(60) %}{% set l.x=[l.x,l.x] %}{% endfor %}"
        "{{ l.x == l.x }}",
        "{}", text, sizeof text));
    assert_string_equal(text, "True");
    ok(render("{{ range(50000) | join('0123456789 0123456789 0123456789') | length }}", "{}", text,
              sizeof text)); /* no copy for each item */
    assert_string_equal(text, "1838858");
    for (int i = 0; i < 1200; i++)
        strcat(deep, "(");
    strcat(deep, "1");
    for (int i = 0; i < 1200; i++)
        strcat(deep, ")");
    strcat(deep, " }}");
    fails(render(deep, "{}", text, sizeof text), "nests deeper", "");
    strcpy(deep, "{{ 1");
    for (int i = 0; i < 1200; i++)
        strcat(deep, "+1");
    strcat(deep, " }}");
    fails(render(deep, "{}", text, sizeof text), "nests deeper", "");
    fails(render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{}", text, sizeof text),
          "nests deeper", "");
}

/* ---- what is learned ---- */

#define TURNS "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
#define ASKS  TURNS "{% if add_generation_prompt %}[assistant]{% endif %}"
#define TALK                                                                                       \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"3+4\"},{\"role\":\"assistant\",\"content\":"  \
    "\"7\"},"                                                                                      \
    "{\"role\":\"user\",\"content\":\"so\"},{\"role\":\"assistant\",\"content\":\"ok\"}]}"

/* The learned parts of an example, with | between. */
static error *learned(void **state, const char *template, const char *line, bool all, char *out)
{
    char *path = scratch_path(state, "it.jinja");
    chat *c = NULL;
    chat_example e = {0};
    cJSON *json = cJSON_Parse(line);
    if (template) ok(file_write_all(path, template, strlen(template)));
    ok(chat_open(template ? path : NULL, *state, NULL, "</s>", &c));
    error *failed = chat_read(c, json, all, &e);
    *out = 0;
    for (size_t i = 0; i < e.text.n_spans && !failed; i++)
        sprintf(out + strlen(out), "%.*s|", (int)(e.text.spans[i].end - e.text.spans[i].begin),
                e.text.text + e.text.spans[i].begin);
    chat_example_free(&e);
    chat_close(c);
    cJSON_Delete(json);
    free(path);
    return failed;
}

#define MARKS                                                                                      \
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"         \
    "{% endgeneration %}{% endif %};{% endfor %}"
#define WEIGHS(first, second)                                                                      \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"3+4\",\"weight\":5},{\"role\":\"assistant\"," \
    "\"content\":\"7\",\"weight\":" first "},{\"role\":\"user\",\"content\":\"so\"},{\"role\":"    \
    "\"assistant\",\"content\":\"ok\",\"weight\":" second "}]}"

/* Answers that are to be read and not learned. */
static void check_weights(void **state)
{
    static const char *const lines[] = {WEIGHS("0", "1"), WEIGHS("1", "0.0"), WEIGHS("null", "1"),
                                        WEIGHS("0", "0")},
                             *const found[] = {"ok</s>|", "7</s>|", "7</s>|ok</s>|", ""},
                             *const marked[] = {"ok|", "7|", "7|ok|", ""};
    char text[300];
    for (int i = 0; i < 4; i++) {
        ok(learned(state, ASKS, lines[i], false, text));
        assert_string_equal(text, found[i]);
        ok(learned(state, MARKS, lines[i], false, text));
        assert_string_equal(text, marked[i]);
    }
    fails(learned(state, ASKS, WEIGHS("1", "0.5"), false, text), "message 4", "weight");
    fails(learned(state, ASKS, WEIGHS("true", "0"), false, text), "message 2", "weight");
    fails(learned(state, MARKS MARKS, WEIGHS("0", "1"), false, text), "marks 4 parts of 2", "");
}

static void test_answers(void **state)
{
    char text[300];
    ok(learned(state, ASKS, TALK, false, text));
    assert_string_equal(text, "7</s>|ok</s>|");
    ok(learned(state, ASKS, TALK, true, text));
    assert_string_equal(text, "[user]3+4</s>[assistant]7</s>[user]so</s>[assistant]ok</s>|");
    ok(learned(state, MARKS, TALK, false, text));
    assert_string_equal(text, "7|ok|");
    ok(learned(state, NULL, "{\"prompt\":\"a \",\"completion\":\"b\"}", false, text));
    assert_string_equal(text, "b|");
    ok(learned(state, NULL, "{\"text\":\"all of it\"}", false, text));
    assert_string_equal(text, "all of it|");
    ok(learned(state, ASKS,
               "{\"prompt\":[{\"role\":\"user\",\"content\":\"x\"}],\"completion\":[{\"role\":"
               "\"assistant\",\"content\":"
               "\"y\"}]}",
               false, text));
    assert_string_equal(text, "y</s>|");
    check_weights(state);
    /* no telling where the answer begins, or ends */
    fails(learned(state, TURNS "{% if add_generation_prompt %}<answer>{% endif %}", TALK, false,
                  text),
          "message 2", "generation");
    fails(learned(state, "{{ messages | length }}" ASKS, TALK, false, text), "message 2",
          "--learn all");
    fails(learned(state, NULL, "{\"messages\":[]}", false, text), "--template",
          "there is none beside");
    fails(learned(state, ASKS, "{\"messages\":[]}", false, text), "a non-empty list", "");
    fails(learned(state, ASKS, "{\"messages\":[{\"content\":\"x\"}]}", false, text), "message 1",
          "role");
    fails(learned(state, ASKS, "{\"prompt\":\"x\"}", false, text), "neither messages", "");
}

static void test_tokenizer_config(void **state)
{
    static const char config[] =
        "{\"bos_token\":{\"content\":\"<b>\"},\"eos_token\":\"<e>\",\"chat_template\":[{\"name\":"
        "\"tools\",\"template\":\"no\"},{\"name\":\"default\",\"template\":\"{{ bos_token }}"
        "{{ messages[0].content }}{{ eos_token }}\"}]}";
    char *path = scratch_path(state, "tokenizer_config.json");
    chat *c;
    jinja_text text;
    cJSON *messages = cJSON_Parse("[{\"role\":\"user\",\"content\":\"x\"}]");
    ok(file_write_all(path, config, strlen(config)));
    ok(chat_open(NULL, *state, "other", "other", &c));
    ok(chat_prompt(c, messages, &text));
    assert_string_equal(text.text, "<b>x<e>");
    jinja_text_free(&text);
    chat_close(c);
    static const char others[] = "{\"chat_template\":[{\"name\":\"tools\",\"template\":\"no\"}]}";
    ok(file_write_all(path, others, strlen(others)));
    ok(chat_open(NULL, *state, NULL, NULL, &c));
    fails(chat_prompt(c, messages, &text), "none of them called default", "--template");
    chat_close(c);
    cJSON_Delete(messages);
    assert_int_equal(remove(path), 0);
    free(path);
}

/* Tokens that reach into a learned part are learned; the end of a text is. */
static void test_tokens(void **state)
{
    (void)state;
    bpe *v;
    chat_tokens t;
    static const char text[] = "aaab aaab aaab";
    jinja_span span = {3, 6};
    chat_example e = {
        .text = {.text = (char *)(size_t) "aaabaaaaaa", .n = 10, .spans = &span, .n_spans = 1},
        .plain = true};
    ok(bpe_learn((const uint8_t *)text, sizeof text - 1, 257, &v)); /* 256: aa */
    ok(bpe_add_end_of_text(v));
    ok(chat_encode(v, &e, BPE_SPECIAL_TEXT, &t)); /* aa a b aa aa aa end */
    const uint8_t want[] = {0, 0, 1, 1, 0, 0, 1};
    assert_int_equal(t.n, sizeof want);
    assert_memory_equal(t.learned, want, sizeof want);
    assert_int_equal(t.ids[6], 257);
    chat_tokens_free(&t);
    bpe_close(v);
}

/* A tokenizer.json of bytes and spaces, by these rules. */
static error *open_bytes(void **state, const char *normalizer, const char *scheme, bpe **out)
{
    char text[6000], *path = scratch_path(state, "tokenizer.json");
    size_t used = (size_t)sprintf(
        text,
        "{\"added_tokens\":[],\"normalizer\":%s,\"pre_tokenizer\":{\"type\":\"Metaspace\","
        "\"replacement\":\"\u2581\",\"prepend_scheme\":\"%s\",\"split\":false},\"model\":{\"type\":"
        "\"BPE\",\"byte_fallback\":true,\"vocab\":{\"\u2581\":256",
        normalizer, scheme);
    for (unsigned byte = 0; byte < 256; byte++)
        used += (size_t)sprintf(text + used, ",\"<0x%02X>\":%u", byte, byte);
    used += (size_t)sprintf(text + used, "},\"merges\":[]}}");
    ok(file_write_all(path, text, used));
    error *e = bpe_open(path, out);
    free(path);
    return e;
}

static error *mask_of(const bpe *v, const char *text, jinja_span span, char *mask)
{
    chat_tokens t;
    chat_example e = {
        .text = {.text = (char *)(size_t)text, .n = strlen(text), .spans = &span, .n_spans = 1}};
    error *failed = chat_encode(v, &e, BPE_SPECIAL_TEXT, &t);
    for (size_t i = 0; i < t.n; i++)
        mask[i] = t.learned[i] ? '1' : '0';
    mask[t.n] = 0;
    chat_tokens_free(&t);
    return failed;
}

/* Tokens that are not the text's bytes: one space more, or composed characters. */
static void test_other_bytes(void **state)
{
    bpe *v;
    char mask[100];
    ok(open_bytes(state, "null", "first", &v));
    ok(mask_of(v, "abcd", (jinja_span){0, 2}, mask));
    assert_string_equal(mask, "01100"); /* the space in front is no part of it */
    ok(mask_of(v, "abcd", (jinja_span){1, 3}, mask));
    assert_string_equal(mask, "00110");
    bpe_close(v);
    error *e = open_bytes(state, "{\"type\":\"NFC\"}", "never", &v);
    if (e && strstr(error_text(e), "utf8proc")) { /* a build may be without */
        error_free(e);
        return;
    }
    ok(e);
    ok(mask_of(v, "e\u0301 xy z", (jinja_span){4, 6}, mask));
    assert_string_equal(mask, "0001100"); /* c3 a9, then " xy z" */
    fails(mask_of(v, "xe\u0301 y", (jinja_span){0, 2}, mask), "the vocabulary changes the text",
          "--learn all");
    bpe_close(v);
}

/* ---- files ---- */

static error *count_line(void *context, const cJSON *line)
{
    ++*(int *)context;
    return cJSON_GetObjectItem(line, "bad") ? user_error("it is bad") : NULL;
}

static void test_lines(void **state)
{
    (void)state;
    static const char
        fine[] = "{}\n \r\n{\"a\":[1]}",
        bad[] = "{}\n{\"bad\":1}\n[1]\n{\n{\"a\":\"\\u0000\"}\n{}\n",
        twice[] = "{\"a\":1,\"b\":{\"a\":1},\"A\":[{\"a\":1},{\"a\":2}]}\n"
                  "{\"c\":1,\"b\":2,\"a\":3,\"\\u0062\":4}\n{\"a\":[{\"c\":{\"d\":1,\"d\":1}}]}\n";
    int n = 0;
    ok(json_lines("FILE", fine, sizeof fine - 1, count_line, &n));
    assert_int_equal(n, 2);
    fails(json_lines("FILE", bad, sizeof bad - 1, count_line, &n), "FILE, line 2: it is bad",
          "3 more: lines 3, 4, 5");
    assert_int_equal(n, 5);
    n = 0;
    fails(json_lines("FILE", twice, sizeof twice - 1, count_line, &n),
          "FILE, line 2: ", "'b' twice: only one can be meant (and 1 more: line 3)");
    assert_int_equal(n, 1);
}

/* A text of n bytes in the array at bytes + 3, unpacked with that limit. */
static error *unpacked(const void *packed, size_t n, size_t most, uint8_t **bytes, size_t *used)
{
    size_t capacity = 0;
    *bytes = NULL;
    ok(grow_array(bytes, &capacity, n + 3, 1));
    memcpy(*bytes, "abc", 3);
    memcpy(*bytes + 3, packed, n);
    *used = n + 3;
    return unpack("FILE", bytes, used, &capacity, 3, most);
}

/* n bytes as a member of gzip's. */
static size_t gzip(const uint8_t *bytes, size_t n, uint8_t *out, size_t room)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(size_t)bytes, z.avail_in = (uInt)n, z.next_out = out,
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static void test_gzip(void **state)
{
    (void)state;
    enum { N = 3000000, ROOM = 100000 };
    uint8_t *text, *packed, *bytes;
    size_t n, used;
    ok(alloc_array(&text, N, 1));
    ok(alloc_array(&packed, ROOM, 1));
    for (size_t i = 0; i < N; i++)
        text[i] = (uint8_t)('a' + i / 1000 % 26);
    n = gzip(text, N, packed, ROOM);
    n += gzip(text, 5, packed + n, ROOM - n); /* another member */
    for (size_t zeros = 0; zeros < 1000;
         zeros += 512) { /* with which a tape's block is filled up */
        ok(unpacked(packed, n + zeros, SIZE_MAX, &bytes, &used));
        assert_int_equal(used, 3 + N + 5);
        assert_memory_equal(bytes, "abc", 3);
        assert_memory_equal(bytes + 3, text, N);
        assert_memory_equal(bytes + 3 + N, text, 5);
        free(bytes);
    }
    fails(unpacked(packed, n - 1, SIZE_MAX, &bytes, &used), "FILE", "not a complete gzip file");
    free(bytes);
    fails(unpacked(packed, n, 1000, &bytes, &used), "more than 1000 bytes", "");
    free(bytes);
    packed[n + 1] = 1;
    fails(unpacked(packed, n + 2, SIZE_MAX, &bytes, &used), "FILE", "not a complete gzip file");
    free(bytes);
    free(packed);
    free(text);
}

/* A frame of Zstandard's (RFC 8878): what it says of its window, and a raw block of 2 bytes. */
#define FRAME(window) "\x28\xb5\x2f\xfd\0" window "\x11\0\0hi"

static void test_zstandard(void **state)
{
    (void)state;
    static const char plain[] = FRAME("\x00"), skip[] = "\x50\x2a\x4d\x18\1\0\0\0x" FRAME("\x00"),
                      two[] = FRAME("\x00") FRAME("\x00"),
                      long_28[] = FRAME("\x90"), /* zstd --long=28 */
        long_32[] = FRAME("\xb0"), old[] = FRAME("\x00") "\x27\xb5\x2f\xfd\0\0\0\0";
    static const struct {
        const char *bytes;
        size_t n, most;
        const char *text, *wrong;
    } cases[] = {
        {plain, sizeof plain - 1, SIZE_MAX, "hi", NULL},
        {skip, sizeof skip - 1, SIZE_MAX, "hi", NULL},
        {two, sizeof two - 1, SIZE_MAX, "hihi", NULL},
        {long_28, sizeof long_28 - 1, SIZE_MAX, "hi", NULL},
        {long_28, sizeof long_28 - 1, 1 << 20, NULL, "too much memory"},
        {long_32, sizeof long_32 - 1, SIZE_MAX, NULL, "cannot be unpacked as Zstandard"},
        {plain, sizeof plain - 2, SIZE_MAX, NULL, "not a complete Zstandard file"},
        {old, sizeof old - 1, SIZE_MAX, NULL, "not a complete Zstandard file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *bytes;
        size_t used;
        error *e = unpacked(cases[i].bytes, cases[i].n, cases[i].most, &bytes, &used);
        if (e && strstr(error_text(e), "built without libzstd")) {
            error_free(e);
        } else if (cases[i].wrong) {
            fails(e, "FILE", cases[i].wrong);
        } else {
            ok(e);
            assert_int_equal(used, 3 + strlen(cases[i].text));
            assert_memory_equal(bytes + 3, cases[i].text, used - 3);
        }
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_templates_against_transformers),
        cmocka_unit_test(test_refused_constructs),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test_setup_teardown(test_answers, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_tokenizer_config, scratch_make, scratch_remove),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test_setup_teardown(test_other_bytes, scratch_make, scratch_remove),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_zstandard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* fuzz_chat.c - chat templates and lines of JSON: data/chat/chat.h over
 * data/chat/jinja.h, base/json_lines.h
 *
 * The input is a template, a byte of zero, and lines.  Each line is read as an example; what is
 * learned of it must lie inside of its text, in order. */
#include "base/json_lines.h"
#include "data/chat/chat.h"
#include "data/chat/jinja.h"
#include "fuzz/fuzz.h"
#include "infer/chat_tokens.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    chat *chat;
    const bpe *vocab;
} example_reader;

/* A token is learned exactly if part of it is, and for this vocabulary all the text comes back. */
static error *encode(const bpe *v, const chat_example *e)
{
    chat_tokens t;
    size_t bytes = 0, learned = 0, n;
    error *failed = chat_encode(v, e, BPE_SPECIAL_TEXT, &t);
    for (size_t i = 0; i < t.n && !failed; i++) {
        bpe_token(v, t.ids[i], &n);
        bytes += n;
        learned += t.learned[i] ? n : 0;
    }
    for (size_t i = 0; i < e->text.n_spans && !failed; i++) {
        size_t size = e->text.spans[i].end - e->text.spans[i].begin;
        if (size > learned) abort();
        learned -= size;
    }
    if (!failed && bytes != e->text.n) abort();
    chat_tokens_free(&t);
    return failed;
}

static error *take(void *context, const cJSON *line)
{
    chat_example e;
    example_reader *r = context;
    error *failed = chat_read(r->chat, line, false, &e);
    size_t at = 0;
    for (size_t i = 0; i < e.text.n_spans && !failed; i++) {
        if (e.text.spans[i].begin > e.text.spans[i].end || e.text.spans[i].end > e.text.n) abort();
        if (!e.text.text || e.text.spans[i].begin < at) abort();
        at = e.text.spans[i].end;
    }
    if (!failed) failed = encode(r->vocab, &e);
    chat_example_free(&e);
    return failed;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *zero = memchr(bytes, 0, n);
    size_t length = zero ? (size_t)(zero - bytes) : n, rest = zero ? n - length - 1 : 0;
    static const char text[] = "aaab aaab aaab user user";
    static bpe *vocab;
    if (!vocab && !fuzz_fine(bpe_learn((const uint8_t *)text, sizeof text - 1, 262, &vocab)))
        abort();
    example_reader r = {.vocab = vocab};
    if (!fuzz_fine(
            chat_open(memory_file("file", bytes, length), "/nowhere", NULL, "</s>", &r.chat)))
        return 0;
    fuzz_fine(json_lines("FILE", zero ? (const char *)zero + 1 : "", rest, take, &r));
    chat_close(r.chat);
    return 0;
}

#define TALK                                                                                       \
    "\0{\"messages\":[{\"role\":\"user\",\"content\":\" a "                                        \
    "b\"},{\"role\":\"assistant\",\"content\":\"c\"}]}\n"                                          \
    "{\"prompt\":\"x\",\"completion\":\"y\"}\n{\"text\":\"z\"}"

static void seed(const char *template)
{
    char text[2000];
    size_t n = strlen(template);
    memcpy(text, template, n);
    memcpy(text + n, TALK, sizeof TALK - 1);
    fuzz_keep(text, n + sizeof TALK - 1);
}

void fuzz_seed(void)
{
    seed("{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}{% if "
         "add_generation_prompt "
         "%}[assistant]{% endif %}");
    seed("{%- set ns = namespace(n=0, s='') -%}{% for m in messages[::-1] %}{% set ns.n = ns.n + "
         "loop.index %}"
         "{% if m.role in ['user', \"x\"] and not m.tool is defined %}{{ m['content'] | trim | "
         "tojson(indent=2) }}{% elif "
         "1 // 2 == 0 %}{{ m.content.split(' ')[-1].lstrip('\\n') ~ 1.5 }}{% else %}{% break %}{% "
         "endif %}{% endfor %}");
    seed("{# c #}{% macro f(a, b='x') %}{{ a }}{{ b }}{% endmacro %}{{ f(messages | length) }}{% "
         "set y %}{{ {'a': [1, "
         "none]} | tojson }}{% endset %}{{ y[1:3] }}{{ range(3) | join(',') }}");
    seed("{{ 20.0 }}{{ '\\x41\\u00e9' | title }}{{ messages | map(attribute='role') | reverse | "
         "join(d='\\n') }}{{ '-3.5' | int(1) }}{{ 'a' is eq('b') }}{{ {'a': [1.5]} == {'a': [1]} "
         "}}");
    seed("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}{{ "
         "messages | "
         "selectattr('role', 'equalto', 'user') | map(attribute='content') | list | first }}");
}

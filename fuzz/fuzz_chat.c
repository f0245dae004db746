/* fuzz_chat.c - chat templates and lines of JSON: data/chat/chat.h over data/chat/jinja.h, base/json_lines.h
 *
 * The input is a template, a byte of zero, and lines.  Each line is read as an example; what is learned of it must
 * lie inside of its text, in order. */
#include "base/json_lines.h"
#include "data/chat/chat.h"
#include "data/chat/jinja.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static error *take(void *context, const cJSON *line)
{
    chat_example e;
    error *failed = chat_read(context, line, false, &e);
    size_t at = 0;
    for (size_t i = 0; i < e.text.n_spans && !failed; i++) {
        if (e.text.spans[i].begin > e.text.spans[i].end || e.text.spans[i].end > e.text.n) abort();
        if (!e.text.text || e.text.spans[i].begin < at) abort();
        at = e.text.spans[i].end;
    }
    chat_example_free(&e);
    return failed;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *zero = memchr(bytes, 0, n);
    size_t length = zero ? (size_t)(zero - bytes) : n, rest = zero ? n - length - 1 : 0;
    chat *c;
    if (!fuzz_fine(chat_open(fuzz_file(bytes, length), "/nowhere", NULL, "</s>", &c))) return 0;
    fuzz_fine(json_lines("FILE", zero ? (const char *)zero + 1 : "", rest, take, c));
    chat_close(c);
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
    seed("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}{{ "
         "messages | "
         "selectattr('role', 'equalto', 'user') | map(attribute='content') | list | first }}");
}

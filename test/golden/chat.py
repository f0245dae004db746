#!/usr/bin/env python3
"""Chat templates rendered by transformers, for test_chat.c.

    python test/golden/chat.py >test/golden/chat.jsonl      (transformers 5.24.0, Jinja2 3.1.6)

Each line has a template, its variables, the text, and the spans (bytes) that {% generation %} marks; or, where the
template raises or is wrong, a null text.  The templates are written for this test in the manners in which
families write theirs, and for the corners of white space, numbers, slices and text.
"""
import json

from transformers.utils.chat_template_utils import render_jinja_template

U = lambda text: {"role": "user", "content": text}
A = lambda text: {"role": "assistant", "content": text}
S = lambda text: {"role": "system", "content": text}
TALK = [S("Be brief."), U(" 2 + 2? "), A("4"), U("caf\u00e9\u00a0?\u3000"), A("oui \"yes\" \\ <b>\n")]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"a": 1, "b": [1.5, None, True], "c": {}}}}

FAMILIES = [
    # ChatML: system first, or one of its own
    """{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nHelp.<|im_end|>\\n' }}{% endif %}
{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    # headers, with a set inside of the loop
    """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\\n\\n' }}{% endif %}""",
    # turns that must alternate
    """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set offset = 1 %}{% else %}{% set offset = 0 %}{% endif %}
{%- for message in messages[offset:] %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('turns must alternate: ' + message.role) }}
    {%- endif %}
    {%- if message.role == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message.role %}{% endif %}
    {{- '<turn>' ~ role ~ '\\n' ~ (message.content | trim) ~ '<end>\\n' }}
{%- endfor %}{{ '<turn>model\\n' if add_generation_prompt }}""",
    # instructions in brackets, the system's in the last
    """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] | trim + eos_token }}
    {%- else %}
        {{- raise_exception("only user and assistant") }}
    {%- endif %}
{%- endfor %}
""",
    # tools, a namespace, thoughts, the last query looked for from behind
    """{%- if tools %}
    {{- '<tools>' }}
    {%- for tool in tools %}{{ "\\n" }}{{ tool | tojson }}{%- endfor %}
    {{- "\\n</tools>\\n" }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or thought) %}
            {{- 'A:<think>' + thought.strip('\\n') + '</think>' + content.lstrip('\\n') }}
        {%- else %}
            {{- 'A:' + content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {{- '{"name": "' ~ call.function.name ~ '", "arguments": ' ~ (call.function.arguments if call.function.arguments is string else call.function.arguments | tojson) ~ '}' }}
        {%- endfor %}
        {{- '\\n' }}
    {%- else %}
        {{- message.role|upper ~ ':' ~ content ~ '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'A:' }}{%- if enable is defined and enable is false %}{{- '<think></think>' }}{%- endif %}{%- endif %}""",
    # what is learned is marked
    """{% for m in messages %}{% if m.role == 'assistant' %}<a>{% generation %}{{ m.content }}</a>{% endgeneration %}{% else %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endif %}
{% endfor %}{% if add_generation_prompt %}<a>{% endif %}""",
    # a macro, with a default
    """{%- macro show(role, content, end='|') -%}
[{{ role }}: {{ content | trim }}{{ end }}]
{%- endmacro -%}
{% for m in messages %}{{ show(m.role, m.content) }}{{ show(m['role'], content='x', end='.') }}{% endfor %}""",
]
CORNERS = [
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    "a \n {%- if true -%} \n b \n {%- endif -%} \n c",
    "  {%+ if true %}\n x {%+ endif +%}\n y",
    "{# c #}\n  {#- d -#}  e {# f #}g\n\n",
    "  {{ 1 }}\n  {{- 2 -}}  \n 3",
    "{% set x %}a{{ 1 + 1 }}b{% endset %}{{ x }}{{ x | length }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 1 / 3 }} {{ 2 * 3.5 }}",
    "{{ true }} {{ none }} {{ 1.0 }} {{ 1234567.25 }} {{ undefined_name }}|",
    "{{ 'abc'[1] }}{{ 'h\u00e9llo'[1:3] }}{{ 'abc'[-2:] }}{{ [1,2,3][-1] }}{{ [1,2,3,4][::2] | join('-') }}{{ [1,2,3][::-1] | join(',') }}",
    "{{ 'h\u00e9llo' | length }} {{ {'a': 1, 'b': {}} | length }} {{ [] | length }}",
    "{{ messages | tojson }}",
    "{{ tools | tojson(indent=2) }}",
    "{{ 'a' in 'abc' }} {{ 1 in [1, 2] }} {{ 'role' in messages[0] }} {{ 'x' not in messages[0] }}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }}{{ ', ' if not loop.last }}{% endfor %}",
    "{% for i in range(5) if i is odd %}{{ i }}:{{ loop.index }}/{{ loop.length }} {% else %}none{% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | map(attribute='role') | join(' ') }} {{ messages | rejectattr('content') | list | length }}",
    "{{ (messages | first).role }} {{ (messages | last)['role'] }} {{ messages[9] is defined }} {{ messages[0].nothing is defined }}",
    "{{ nothing | default('d') }} {{ '' | default('e', true) }} {{ none is none }} {{ '' or 'f' }} {{ 0 and 1 }}",
    "{{ ' x '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,c'.split(',', 1)[1] }}|{{ 'a b  c'.split() | join('_') }}|{{ 'aXb'.replace('X', 'YY') }}",
    "{{ 'a' ~ 1 ~ none ~ true }} {{ 'a' 'b' }} {{ \"\\t\\\\n\" }} {{ '\\u00e9' }}",
    "{{ 1 < 2 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ [1] == [1] }} {{ {'a': 1} == {'a': 2} }} {{ not 1 > 2 }}",
    "{{ messages[0].get('role') }} {{ messages[0].get('x', 'y') }} {{ messages[0].keys() | list | join('+') }}",
    "{{ 'hello world' | title }} {{ 'ABC' | lower | capitalize }} {{ '12' | int + 1 }} {{ 'a' if false else 'b' }}",
    "{% if 1 %}1{% elif 2 %}2{% else %}3{% endif %}{% if 0 %}1{% elif 2 %}2{% endif %}",
    "{{ loop is defined }}{% for a in 'xyz' %}{{ loop.revindex0 }}{{ loop.first }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}",
    "{{ raise_exception('stop') }}", "{{ nothing.attribute }}", "{{ 'a' + 1 }}", "{{ 1 // 0 }}", "{% for %}", "{{ 'a' ", "{% endif %}",
    "{% if true %}", "{{ f(1) }}", "{{ nothing + 1 }}",
    # numbers as Python prints them, and int
    "{{ 20.0 }} {{ 40 / 2 }} {{ 0.1 + 0.2 }} {{ 123456789.0 * 1000000 }} {{ 1234567890123456.0 * 10 }} {{ 1 / 100000 }} {{ 1 / 8192 }} {{ -2.5 }}",
    "{{ '-3' | int }} {{ ' 3\u00a0' | int }} {{ '3.7' | int }} {{ 'abc' | int(5) }} {{ '1_000' | int }} {{ '1e3' | int }} {{ '.' | int }} {{ '' | int(default=2) }} {{ '+7' | int }} {{ -3.7 | int }} {{ none | int(1) }} {{ true | int }} {{ '1__0' | int }} {{ '-.5e1' | int }} {{ [] | int('no') }}",
    "{{ 9007199254740993 == 9007199254740992 }} {{ 9007199254740993 > 9007199254740992 }} {{ 1 == true }}",
    "{{ numbers | tojson }} {{ numbers.one }} {{ numbers.large }} {{ numbers.list[0] }} {{ numbers.one is float }} {{ numbers.large + 1 }}",
    # arguments by name, too many, of other names
    "{{ 'xax' | trim(chars='x') }} {{ [1, 2] | join(d=',') }} {{ [1, 2] | join(3) }} {{ 'a' | replace(old='a', new='b') }} {{ x | default(default_value=1) }} {{ [1] | tojson(false, 1) }}",
    "{{ 'xx' | trim('x', 'y') }}", "{{ range(1, 2, 3, 4) }}", "{{ 'a' | upper(1) }}", "{{ ','.join([1]) }}", "{{ 1 is defined(1) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=1) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=1) }}", "{{ 'a'.strip(chars='a') }}",
    "{{ [1] | join(',', d=',') }}", "{{ {}.get() }}", "{{ 'a' | default(x=1) }}", "{{ range() }}", "{{ 'a' is odd }}",
    # texts
    r"{{ '\x41\101\1|\U0001f600\u20ac\q\'\"\\' }}{{ 'a\
b' }}", r"{{ '\x4' }}", r"{{ '\u12' }}", r"{{ '\U00110000' }}", r"{{ '\77\777\78\400' }}",
    "{{ 'a\u00a0b\u3000 c\x1fd\x85e'.split() | join('_') }}|{{ ' a  b '.split(' ') | join('_') }}|{{ 'a,b,c'.split(',', -1) | join('_') }}|{{ 'a,b,c'.split(',', maxsplit=1) | join('_') }}|{{ ',a,'.split(',') | join('_') }}",
    '{{ "it\'s o-k (a [b {c <d 1e_f" | title }} {{ "it\'s o-k 1e" .title() }} {{ "aB cD" | capitalize }}',
    "a\u00a0\n\u3000{%- if true -%}\u2003b\u00a0{%\u00a0endif %}\n \u2002{% if true %}c{% endif %}\rd\r\n{% if true %}\re{% endif %}",
    "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}", "{% for a, b in [[1]] %}{{ a }}{% endfor %}",
    "{{ f is callable }} {{ [1, 2][true] }} {{ 'x'.split('y') | join('|') }} {{ ''.split() | length }} {{ 'aaa'.replace('aa', 'b') }} {{ 'ab'.startswith('') }} {{ 'ab'.endswith('ab') }}",
    "{% set x = messages | selectattr('role', 'equalto', 'nobody') %}{% if x %}true{% endif %} {{ x is iterable }}{{ x is sequence }}{{ (messages | map(attribute='role'))[0] }}|{{ [1, 2] | reverse | join }}{{ [1, 2] | reverse | reverse | length }}{% for a in [] | map(attribute='x') %}x{% else %}none{% endfor %}{{ [1] | map(attribute='x') == [1] }}{% for k, v in {'a': 1} | items %}{{ k }}{{ v }}{% endfor %}{{ (messages | selectattr('content') | first).role }}",
    "{{ messages | map(attribute='role') | length }}", "{{ messages | map(attribute='role') | last }}", "{{ messages | map(attribute='role') | tojson }}",
    # what is set inside, and what a macro sees
    "{% set w %}{% set q = 2 %}x{% endset %}{{ w }}{{ q }}{% generation %}{% set q = 3 %}{{ q }}{% endgeneration %}{{ q }}|{% for a in [1, 2] %}{% macro f(b) %}{{ a }}{{ b }}{{ loop is defined }}{% endmacro %}{{ f(3) }}{% endfor %}{% set c = 4 %}{% macro g() %}{{ c }}{{ a }}{% set c = 5 %}{% endmacro %}{% for a in [1] %}{{ g() }}{% endfor %}{% set c = 6 %}{{ g() }}{{ c }}",
    "{% for a in [1, 2] %}{{ loop is mapping }}{{ loop is iterable }}{{ loop.index }}{% endfor %}",
    # ranges and views of mappings are no lists
    "{{ range(3) == [0, 1, 2] }}{{ range(3)[1] }}{{ range(3)[-9] }}{{ range(3) is sequence }}{{ range(3) | length }}{{ range(3) | last }}{{ 1 in range(3) }}{{ [] in range(3) }}{{ range(0) or 'empty' }}{{ range(3) | list | tojson }}{{ range(3) | reverse | join }}",
    "{% set d = {'a': 1, 'b': [2]} %}{{ d.keys() == ['a', 'b'] }}{{ d.items() is sequence }}{{ d.keys() is iterable }}{{ d.keys() | last }}{{ d.values() | length }}{{ d.items()[0] }}{{ 'a' in d.keys() }}{{ d.items() | list | tojson }}{{ {}.keys() or 'empty' }}{% for k, v in d.items() %}{{ k }}{% endfor %}{{ d.values() | list == [1, [2]] }}",
    "{{ nothing in {'a': 1} }}{{ 1 in {'a': 1} }}{{ none in {'a': 1} }}{{ {'a': 1} in [{'a': 1}] }}{{ {} in nothing }}",
    "{{ range(3) | tojson }}", "{{ [range(3)] | tojson }}", "{{ {'a': 1}.keys() | tojson }}", "{{ range(3) + [1] }}", "{{ {'a': {'b': 1}.items()} | tojson }}",
    "{{ {} in {'a': 1} }}", "{{ [] not in {'a': 1} }}", "{{ [] in {'a': 1}.keys() }}",
]
NUMBERS = {"one": 1.0, "large": 9007199254740993, "list": [1e3, 1e16, -0.0, 12345678901234567, 1.5, 0.1], "x": "1.0", 'a"1': 2}


def main():
    cases = [(t, TALK, tools, answer) for t in FAMILIES for tools in (None, [TOOL]) for answer in (False, True)]
    cases += [(t, m, None, False) for t in FAMILIES for m in ([U("a"), U("b")], [A("<think>\nx\n</think>\n\ny")], [
        U("do"), {"role": "assistant", "content": None, "tool_calls": [TOOL | {"function": {"name": "f", "arguments": {"x": "\u00e9"}}}]}])]
    cases += [(t, TALK, [TOOL], False) for t in CORNERS]
    for template, messages, tools, answer in cases:
        tokens = {"bos_token": "<s>", "eos_token": "</s>"}
        spans = []
        try:
            text, found = render_jinja_template([messages], tools=tools, chat_template=template, add_generation_prompt=answer, numbers=NUMBERS,
                                                return_assistant_tokens_mask="{% generation %}" in template, **tokens)
            text = text[0]
            for begin, end in found[0] if found else []:
                spans += [len(text[:begin].encode()), len(text[:end].encode())]
        except Exception:
            text = None
        print(json.dumps({"template": template, "text": text, "spans": spans, "variables": dict(
            messages=messages, tools=tools, documents=None, add_generation_prompt=answer, **(dict(numbers=NUMBERS) if "numbers" in template else {}), **tokens)}, ensure_ascii=False))


main()

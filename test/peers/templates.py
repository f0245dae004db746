#!/usr/bin/env python3
"""Chat templates of published models, rendered by transformers and by ours (peer_templates).

    templates.py PROGRAM DIRECTORY      every *.jinja under DIRECTORY, on several conversations

The templates come out of a public package (test/peers/run.sh: the source of llama-cpp-python has a folder of
them).  Each pair must give the same text, or be refused by both; what ours alone refuses is listed by name and
construct and must be one that docs/formats.md says is refused.
"""
import datetime
import json
import pathlib
import subprocess
import sys

from transformers.utils.chat_template_utils import render_jinja_template

TOOL = {"type": "function", "function": {"name": "add", "description": "Adds \u00e9 <two> & numbers",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "number"}},
                       "required": ["a"]}}}
U = lambda text: {"role": "user", "content": text}
A = lambda text: {"role": "assistant", "content": text}
S = lambda text: {"role": "system", "content": text}
CONVERSATIONS = [
    ([U("3 + 4"), A("7")], None),
    ([S("Be brief."), U(" what is\n2 + 2? "), A("4 "), U("and\u00a0one more\u3000"), A("\n5")], None),
    ([U("caf\u00e9 \"quoted\" \\ back")], None),
    ([A("I begin"), U("no")], None),
    ([U("a"), U("b")], None),
    ([S("only")], None),
    ([], None),
    ([U("q"), A("<think>\nlong\n</think>\n\nshort"), U("r"), A("<think>x</think>y")], None),
    ([S("with tools"), U("add 1 and 2"),
      {"role": "assistant", "content": "", "tool_calls": [{"id": "call00001", "type": "function", "function":
       {"name": "add", "arguments": {"a": 1, "b": 2.5}}}]},
      {"role": "tool", "name": "add", "tool_call_id": "call00001", "content": "3.5"}, A("3.5")], [TOOL]),
    ([U("use it")], [TOOL]),
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
# what ours refuses by design
DESIGNED = ("strftime_now", "only has a form in Python", "chain of comparisons", "is not supported")


def theirs(template, messages, tools, generate):
    try:
        text, _ = render_jinja_template([messages], tools=tools, chat_template=template,
                                        add_generation_prompt=generate, **TOKENS)
        today = datetime.date.today().strftime("%d %b %Y")
        return text[0].replace(f"Today Date: {today}", "Today Date: 26 Jul 2024"), None  # as without strftime_now
    except Exception as e:  # whatever a template raises
        return None, f"{type(e).__name__}: {e}"


def main():
    program, directory = sys.argv[1:3]
    cases = []
    for path in sorted(pathlib.Path(directory).rglob("*.jinja")):
        template = path.read_text()
        for messages, tools in CONVERSATIONS:
            for generate in (False, True):
                cases.append((path.name, template, messages, tools, generate))
    lines = "".join(json.dumps({"template": t, "variables": dict(
        messages=m, tools=tools, documents=None, add_generation_prompt=g, **TOKENS)}) + "\n"
        for _, t, m, tools, g in cases)
    ours = subprocess.run([program], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    same = both = lazy = 0
    wrong, alone = [], {}
    for (name, template, messages, tools, generate), line in zip(cases, ours, strict=True):
        got = json.loads(line)
        want, raised = theirs(template, messages, tools, generate)
        if "error" in got:
            if raised is not None:
                both += 1
            elif any(word in got["error"] for word in DESIGNED):
                alone.setdefault((name, got["error"]), 0)
                alone[name, got["error"]] += 1
            else:
                wrong.append(f"{name}: ours refuses: {got['error']}")
        elif want is None and "generator is not JSON" in raised:
            lazy += 1  # map without list: a list here, there a generator, which tojson refuses
        elif want is None:
            wrong.append(f"{name}: theirs refuses, ours does not: {raised}")
        elif got["text"] != want:
            wrong.append(f"{name}: {messages!r:.200} {generate}\n  theirs {want!r}\n  ours   {got['text']!r}")
        else:
            same += 1
    for (name, why), n in sorted(alone.items()):
        print(f"# {name}: {n} x refused by ours alone: {why}")
    for text in wrong[:40]:
        print(f"# {text}")
    print(f"{'not ok' if wrong or not same else 'ok'} templates of {len({c[0] for c in cases})} files: {same} texts "
          f"the same, {both} refused by both, {sum(alone.values())} by ours alone, {lazy} by theirs alone, {len(wrong)} wrong")
    return bool(wrong) or not same


sys.exit(main())

"""Ollama's templates: Go's language, and how Ollama gives them conversations."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktd.daemon.chat.go.errors import GoTemplateError
from ktd.daemon.chat.go.parser import parse
from ktd.daemon.chat.go.render import is_go, render
from ktd.daemon.chat.go.run import Run
from ktd.daemon.chat.go.values import Record

DATA = {
    "A": "a",
    "Empty": "",
    "List": ["x", "y", "z"],
    "Map": {"k": "v"},
    "Three": 3,
    "Yes": True,
    "Record": Record({"Name": "n", "Inner": Record({"Deep": "d"}, {})}, {"name": "<n>"}),
}


def run(template: str) -> str:
    return Run(DATA).text(parse(template))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{ .A }}", "a"),
        ("x \n {{- .A -}} \n\t y", "xay"),
        ("x {{ .A }} y", "x a y"),
        ("x {{- /* said\naside */ -}} y", "xy"),
        ("{{/* so */}}{{ .A }}", "a"),
        ('{{ "q\\n\\"\\u00e9" }}{{ `raw\\n` }}', 'q\n"éraw\\n'),
        ("{{ 3 }} {{ 1.5 }} {{ true }} {{ nil }}", "3 1.5 true <no value>"),
        ("{{ .Missing }}", "<no value>"),
        ("{{ .Map.k }}{{ .Map.none }}", "v<no value>"),
        ("{{ .Record.Inner.Deep }}{{ .Record }}{{ .List }}", 'd{"name":"\\u003cn\\u003e"}["x","y","z"]'),
        ("{{ if .A }}yes{{ end }}{{ if .Empty }}no{{ end }}", "yes"),
        ("{{ if .Empty }}1{{ else if .A }}2{{ else }}3{{ end }}", "2"),
        ("{{ if .Empty }}1{{ else }}3{{ end }}", "3"),
        ("{{ if $x := .A }}{{ $x }}{{ end }}", "a"),
        ("{{ with .Record }}{{ .Name }}{{ $.A }}{{ else }}no{{ end }}", "na"),
        ("{{ with .Empty }}no{{ else with .A }}{{ . }}{{ end }}", "a"),
        ("{{ range .List }}{{ . }},{{ end }}", "x,y,z,"),
        ("{{ range $i, $v := .List }}{{ $i }}{{ $v }}{{ end }}", "0x1y2z"),
        ("{{ range $v := .List }}{{ $v }}{{ end }}", "xyz"),
        ("{{ range $k, $v := .Map }}{{ $k }}={{ $v }}{{ end }}", "k=v"),
        ("{{ range .Missing }}no{{ else }}none{{ end }}", "none"),
        ("{{ range .List }}{{ if eq . \"y\" }}{{ continue }}{{ end }}{{ . }}{{ end }}", "xz"),
        ("{{ range .List }}{{ if eq . \"y\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "x"),
        ("{{ $last := 0 }}{{ range $i, $_ := .List }}{{ $last = $i }}{{ end }}{{ $last }}", "2"),
        ("{{ $x := 1 }}{{ if .A }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ range $i, $_ := .List }}{{ if eq (len (slice $.List $i)) 1 }}{{ $i }}{{ end }}{{ end }}", "2"),
        ("{{ and .A .Three }}{{ and .Empty .Record.None }}{{ or .Empty .A }}{{ not .A }}", "3afalse"),
        ("{{ if and (eq .A \"b\") (gt (index .List 9) 1) }}{{ end }}fine", "fine"),
        ("{{ eq .Three 3 }}{{ eq .A \"b\" \"a\" }}{{ ne .A \"a\" }}", "truetruefalse"),
        ("{{ lt 1 .Three }}{{ ge 1 2 }}{{ gt \"b\" .A }}{{ le 2 2 }}", "truefalsetruetrue"),
        ("{{ index .List 1 }}{{ index .Map \"k\" }}{{ len .List }}{{ len \"é\" }}", "yv32"),
        ("{{ .List | len | printf \"%d of %v%%\" 4 }}", "4 of 3%"),
        ("{{ json .Map }}{{ .A | json }}", '{"k":"v"}"a"'),
        ("{{ print .A .Three }}{{ (index .List 0) }}{{ (.Record).Name }}", "a3xn"),
    ],
)  # fmt: skip
def test_what_the_language_says(template: str, text: str) -> None:
    assert run(template) == text


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ('a\n{{ define "x" }}{{ end }}', "line 2: {{define}} is not supported"),
        ('{{ template "x" }}', "{{template}} is not supported"),
        ('{{ block "x" . }}{{ end }}', "{{block}} is not supported"),
        ("{{ html .A }}", "function 'html' is not supported"),
        ("{{ eq .A html }}", "function 'html' is not supported"),
        ("{{ if .A }}", "{{if}} has no {{end}}"),
        ("{{ if .A }}{{ else }}", "{{else}} has no {{end}}"),
        ("{{ if .A }}{{ else range .A }}{{ end }}", "'range' is not expected after else"),
        ("{{ end }}", "{{end}} belongs to nothing"),
        ("{{ .A", "no }}"),
        ("{{ .A ? }}", "'? }}' is not understood"),
        ("{{ .A .B }}", "'.B' is not expected"),
        ("{{ (.A }}", "something is missing"),
        ("{{ .A | .B }}", "'.B' is no function"),
        ("{{ break }}", "{{break}} outside of a range"),
        ('{{ "\\400" }}{{ "\\x" }}', "is no string"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(template: str, reason: str) -> None:
    with pytest.raises(GoTemplateError) as caught:
        parse(template)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ .A.B }}", "there is no field .B"),
        ("{{ .Missing.B }}", "no field .B in nothing"),
        ("{{ .Record.None }}", "no field .None"),
        ("{{ $x }}", "no variable $x"),
        ("{{ range .A }}{{ end }}", "a range needs a list"),
        ("{{ index .List 9 }}", "nothing at index 9"),
        ("{{ slice .List 4 }}", "outside of 3"),
        ("{{ lt .A 1 }}", "different kinds"),
        ("{{ len .Three }}", "len cannot be used so"),
        ("{{ not }}", "not cannot be used so"),
    ],
)
def test_what_goes_wrong_is_told(template: str, reason: str) -> None:
    with pytest.raises(GoTemplateError, match=reason.replace("$", r"\$")):
        run(template)


@given(
    st.lists(
        st.sampled_from(
            ["{{", "}}", "{{-", "-}}", " ", ".A", "$x", ":=", "=", "(", ")", "|", "if", "range", "else", "end", "with",
             '"s"', "`", "1", "and", "eq", "len", "/*", "*/", "{{ if .A }}", "{{ end }}", "{{ range .List }}", "text"]
        ),
        max_size=15,
    ).map("".join)
)  # fmt: skip
def test_no_template_breaks_the_parser(template: str) -> None:
    with suppress(GoTemplateError):
        run(template)


def said(role: str, content: str = "", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


TURNS = [said("system", "Be kind."), said("user", "Hi"), said("assistant", "Hello."), said("user", "Bye")]
OLD = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}{{ if .Prompt }}<|im_start|>user\n"
    "{{ .Prompt }}<|im_end|>\n{{ end }}<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
)
CHATML = (
    "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
)
NEW = (
    "{{- range $i, $_ := .Messages }}\n{{- $last := eq (len (slice $.Messages $i)) 1 }}"
    "{{- if eq .Role \"assistant\" }}<|im_start|>assistant\n{{ .Content }}{{ if not $last }}<|im_end|>\n{{ end }}"
    "{{- else }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "{{- if and (ne .Role \"assistant\") $last }}<|im_start|>assistant\n{{ end }}\n{{- end }}"
)  # fmt: skip


@pytest.mark.parametrize("template", [OLD, NEW], ids=["by turns", "by messages"])
def test_conversations_come_as_ollama_gives_them(template: str) -> None:
    assert render(template, {"messages": TURNS}) == CHATML
    begun = [*TURNS[:2], said("assistant", "Hello. I")]
    assert render(template, {"messages": begun}) == CHATML.partition("Hello.")[0] + "Hello. I"


def test_a_template_without_an_answer_has_it_at_its_end() -> None:
    assert render("[{{ .Prompt }}]", {"messages": TURNS}) == "[Hi]Hello.[Bye]"


TOOLS = (
    "{{- if .Tools }}{{ range .Tools }}{{ . }}\n"
    "{{ .Function.Name }}:{{ range $n, $p := .Function.Parameters.Properties }}"
    "{{ $n }} {{ $p.Type }};{{ end }}\n{{ end }}{{ end }}{{ range .Messages }}{{ .Role }}:{{ .Content }}"
    '{{ range .ToolCalls }}<tool_call>{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}'
    "</tool_call>{{ end }}{{ .ToolName }}\n{{ end }}"
)


def test_tools_and_calls_are_there() -> None:
    function = {
        "name": "f",
        "description": "",
        "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}},
    }
    tool = {"type": "function", "function": function}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1, "s": "é"}}}
    messages = [said("user", "q"), {"role": "assistant", "content": None, "tool_calls": [call]},
                said("tool", "2", tool_name="f"), said("tool", "3", tool_name="f")]  # fmt: skip
    assert render(TOOLS, {"messages": messages, "tools": [tool]}) == (
        '{"type":"function","function":{"name":"f","description":"","parameters":{"type":"object","properties":'
        '{"x":{"type":"integer"}}}}}\nf:x integer;\n'
        'user:q\nassistant:<tool_call>{"name": "f", "arguments": {"x":1,"s":"é"}}</tool_call>\ntool:2f\ntool:3f\n'
    )


@pytest.mark.parametrize(
    ("variables", "text"),
    [({}, ".."), ({"thinking": False}, "off.."), ({"thinking": True, "reasoning_effort": "low"}, "on.low.")],
)
def test_thinking_is_told(variables: dict[str, Any], text: str) -> None:
    template = (
        "{{ if .IsThinkSet }}{{ if .Think }}on{{ else }}off{{ end }}{{ end }}.{{ .ThinkLevel }}."
        "{{ range .Messages }}{{ end }}"
    )
    assert render(template, {"messages": TURNS, **variables}) == text


@pytest.mark.parametrize(
    "template", ["{{ .Prompt }}", "{{- if .System }}x{{ end }}", "{{ range $i, $m := .Messages }}{{ end }}"]
)
def test_go_is_told_from_jinja(template: str) -> None:
    assert is_go(template)
    assert not is_go("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert not is_go("{{ bos_token }}{{ messages[0].content }}")


CREATED = (
    "{{ if .System }}{{ .System }}{{ end }}<｜User｜>{{ .Prompt }}<｜Assistant｜>{{ .Response }}<｜end▁of▁sentence｜>"
)


async def test_a_created_model_has_its_own_template(daemon: Any) -> None:
    status, _ = await daemon.post(
        "/api/create", {"model": "mine", "from": "demo", "template": CREATED, "stream": False}
    )
    assert status == 200
    shown = (await daemon.post("/api/show", {"model": "mine"}))[1]
    assert shown["template"] == CREATED and "tools" not in shown["capabilities"]
    daemon.engine.answer = ["4", "2"]
    status, answer = await daemon.post(
        "/api/chat", {"model": "mine", "messages": [said("user", "a"), said("assistant", "b"), said("user", "c")],
                      "stream": False}
    )  # fmt: skip
    assert (status, answer["message"]["content"]) == (200, "42")
    assert (
        daemon.engine.prompts[-1].text == "<｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜><｜User｜>c<｜Assistant｜>"
    )


async def test_what_cannot_be_run_is_refused_when_it_is_created(daemon: Any) -> None:
    body = {"model": "mine", "from": "demo", "template": "{{ range .Messages }}{{ html .Content }}{{ end }}"}
    status, answer = await daemon.post("/api/create", body)
    assert (status, answer["error"]) == (
        400, "the template cannot be run: line 1: function 'html' is not supported"
    )  # fmt: skip

"""Tool calls as each family of models writes them, and any text cut into any pieces."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.formats import deepseek, dsml, glm, hermes, kimi, llama, mistral, qwen_coder
from ktd.daemon.chat.style import FORMATS, THOUGHTS, Style
from ktd.daemon.chat.toolbox import Toolbox

THINK = THOUGHTS[0]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "exact": {"type": "boolean"},
                    "near": {"type": ["array", "null"]},
                    "unit": {"enum": ["C", "F"]},
                    "at": {"anyOf": [{"type": "number"}, {"type": "string"}]},
                },
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
]
OSLO = ("weather", {"city": "Oslo", "days": 2})
NOW: tuple[str, dict[str, Any]] = ("now", {})
STYLES = {
    "deepseek": Style(THINK, deepseek.FENCED),
    "deepseek v3.1": Style(THINK, deepseek.PLAIN),
    "deepseek v3.2": Style(THINK, dsml.DSML),
    "hermes": Style(THINK, hermes.HERMES),
    "qwen coder": Style(THINK, qwen_coder.QWEN_CODER),
    "glm": Style(THINK, glm.GLM),
    "kimi": Style(THINK, kimi.KIMI),
    "mistral list": Style(THOUGHTS[1], mistral.LISTED),
    "mistral names": Style(THOUGHTS[1], mistral.NAMED),
    "llama": Style(None, llama.LLAMA),
    "harmony": Style(harmony=True),
}
Split = tuple[str, str, list[tuple[str, dict[str, Any]]]]


def split(
    style: Style, pieces: Sequence[str], *, prompt: str = "", thinking: bool = False, tools: Any = TOOLS
) -> Split:
    splitter = style.splitter(prompt, thinking, Toolbox(tools))
    found: list[Piece] = []
    for piece in pieces:
        found += splitter.feed(piece)
    found += splitter.finish()
    calls = [call for piece in found for call in piece.calls]
    assert [call.index for call in calls] == list(range(len(calls)))
    assert len({call.id for call in calls}) == len(calls)
    content, thought = ("".join(getattr(piece, part) for piece in found) for part in ("content", "thinking"))
    return content, thought, [(call.name, call.arguments) for call in calls]


WRITTEN = {
    "deepseek": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
        '{"city": "Oslo", "days": 2}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n'
        "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "deepseek v3.1": (
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Oslo", "days": 2}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "deepseek v3.2": (
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="weather">\n<｜DSML｜parameter name="city" string="true">Oslo'
        '</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        '<｜DSML｜invoke name="now">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>'
    ),
    "hermes": (
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    ),
    "qwen coder": (
        "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
        "</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>"
    ),
    "glm": (
        "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>2</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>"
    ),
    "kimi": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
        '{"city": "Oslo", "days": 2}<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>'
        "{}<|tool_call_end|><|tool_calls_section_end|>"
    ),
    "mistral list": (
        '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Oslo", "days": 2}, "id": "abcdefghi"}, '
        '{"name": "now", "arguments": {}}]'
    ),
    "mistral names": '[TOOL_CALLS]weather[ARGS]{"city": "Oslo", "days": 2}[TOOL_CALLS]now[CALL_ID]123456789[ARGS]{}',
    "llama": '{"name": "weather", "parameters": {"city": "Oslo", "days": 2}}; {"name": "now", "parameters": {}}',
    "harmony": (
        '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Oslo", "days": 2}<|call|>'
        "<|start|>assistant to=functions.now<|channel|>commentary json<|message|>{}<|call|>"
    ),
}
WEATHER = '<｜DSML｜invoke name="weather">'
THOUGHT = {
    "mistral list": "[THINK]needed[/THINK]",
    "mistral names": "[THINK]needed[/THINK]",
    "llama": "",
    "harmony": "<|channel|>analysis<|message|>needed<|end|><|start|>assistant",
}
SAID = {"llama": "", "harmony": "<|channel|>commentary<|message|>Let me see.<|end|>\n<|start|>assistant"}


@pytest.mark.parametrize("name", WRITTEN)
def test_calls_are_read_behind_thought_and_content(name: str) -> None:
    said = SAID.get(name, "\n\nLet me see.\n\n")
    text = THOUGHT.get(name, "<think>\nneeded\n</think>") + said + WRITTEN[name]
    content, thinking = ("Let me see." if said else ""), ("needed" if name != "llama" else "")
    assert split(STYLES[name], [text]) == (content, thinking, [OSLO, NOW])
    assert split(STYLES[name], list(text)) == (content, thinking, [OSLO, NOW])


@pytest.mark.parametrize("name", WRITTEN)
def test_calls_are_read_where_the_last_tags_are_missing(name: str) -> None:
    """They are tokens that end an answer in some models, or the model forgets them."""
    text = WRITTEN[name]
    for ending in ("<｜tool▁calls▁end｜>", "<｜tool▁call▁end｜>", "</tool_call>", "\n</function>\n", "<|call|>",
                   "<|tool_calls_section_end|>", "<|tool_call_end|>",
                   "\n</｜DSML｜function_calls>", "\n</｜DSML｜invoke>"):  # fmt: skip
        text = text.removesuffix(ending)
    assert split(STYLES[name], [text])[2] == [OSLO, NOW]


@pytest.mark.parametrize("name", set(WRITTEN) - {"llama"})
def test_text_behind_a_call_is_content(name: str) -> None:
    behind = {
        "mistral list": None,
        "mistral names": None,
        "harmony": "<|start|>assistant<|channel|>final<|message|>So much.",
    }.get(name, "\nSo much.")
    if behind:
        assert split(STYLES[name], [WRITTEN[name] + behind]) == ("So much.", "", [OSLO, NOW])


@pytest.mark.parametrize(
    ("name", "text", "calls"),
    [
        ("deepseek", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now```json\n{}``` and so<｜tool▁call▁end｜>", [NOW]),
        ("deepseek v3.2", f'{WEATHER}<｜DSML｜parameter name="city">Oslo<｜DSML｜parameter name="days">2', [OSLO]),
        ("deepseek v3.2", '<｜DSML｜invoke name="now">{}</｜DSML｜invoke>', [NOW]),
        ("hermes", '<tool_call>{"name": "now", "arguments": "{}"}</tool_call>', [NOW]),
        ("hermes", '<tool_call>{"name": "now"}}}</tool_call>', [NOW]),
        ("hermes", '<tool_call>{"type": "function", "function": {"name": "now"}}</tool_call>', [NOW]),
        ("hermes", '<tool_call>{"name": "now"}\n{"name": "now"}</tool_call>', [NOW, NOW]),
        ("qwen coder", "<function=now></function>", [NOW]),
        ("qwen coder", "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n<parameter=days>\n2", [OSLO]),
        ("glm", "<tool_call>now</tool_call>", [NOW]),
        ("kimi", "<|tool_call_begin|>now<|tool_call_argument_begin|>{}<|tool_call_end|>", [NOW]),
        ("mistral list", '[TOOL_CALLS]{"name": "now", "arguments": {}}', [NOW]),
        ("mistral names", "[TOOL_CALLS]now{}", [NOW]),
        ("llama", '<|python_tag|>{"type": "function", "name": "now", "parameters": {}}', [NOW]),
        ("llama", '\n{ "type" : "function", "function": {"name": "now", "parameters": {}}}', [NOW]),
        ("harmony", "<|channel|>analysis to=functions.now<|message|><|call|>", [NOW]),
        ("harmony", " to=functions.now<|channel|>commentary<|message|>{}", [NOW]),
    ],
)  # fmt: skip
def test_calls_are_read_as_models_vary_them(name: str, text: str, calls: Any) -> None:
    assert split(STYLES[name], [text]) == ("", "", calls)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deepseek", "<｜tool▁call▁begin｜>now<｜tool▁call▁end｜>"),
        ("deepseek v3.2", "<｜DSML｜invoke now></｜DSML｜invoke>"),
        ("deepseek v3.2", '<｜DSML｜invoke name="now">as I said</｜DSML｜invoke> more'),
        ("hermes", "<tool_call>{bad</tool_call> more"),
        ("hermes", '<tool_call>{"name": 3}</tool_call>'),
        ("hermes", '<tool_call>{"name": "now", "arguments": NaN}</tool_call>'),
        ("hermes", "<tool_call>" + "[" * 5000),
        ("qwen coder", "<function=two words></function>"),
        ("glm", "<tool_call>a tag, as I said</tool_call> more"),
        ("kimi", "<|tool_call_begin|>now<|tool_call_end|>"),
        ("mistral list", "[TOOL_CALLS] none"),
        ("mistral names", "[TOOL_CALLS]now[ARGS]none"),
        ("llama", '{"name": "Ada", "parameters": {}}'),
        ("llama", '{"name": "Ada"'),
        ("llama", '{"city": "Oslo"}'),
        ("llama", '<|python_tag|>{"name": "Ada"}'),
        ("harmony", "no header"),
        ("harmony", "to=day"),
    ],
)
def test_what_is_no_call_is_not_lost(name: str, text: str) -> None:
    assert split(STYLES[name], [text]) == (text, "", [])


@pytest.mark.parametrize("name", ["hermes", "glm"])
def test_a_thought_may_speak_of_tags(name: str) -> None:
    text = "<think>I write <tool_call> and then</think>" + WRITTEN[name]
    assert split(STYLES[name], [text]) == ("", "I write <tool_call> and then", [OSLO, NOW])
    text = "<think>I write <tool_call> </tool_call> then</think>hi"
    assert split(STYLES[name], [text]) == ("hi", "I write <tool_call> </tool_call> then", [])


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        ("city", "2", "2"),
        ("city", "null", "null"),
        ("city", '"Oslo"', '"Oslo"'),
        ("days", "2", 2),
        ("days", "two", "two"),
        ("exact", "true", True),
        ("exact", "True", True),
        ("near", "[1, 2]", [1, 2]),
        ("near", "null", None),
        ("unit", "C", "C"),
        ("unit", "1", "1"),
        ("at", "1.5", 1.5),
        ("at", "noon", "noon"),
        ("at", "[1]", "[1]"),
        ("unknown", "1", 1),
        ("unknown", "one", "one"),
    ],
)
@pytest.mark.parametrize("name", ["glm", "qwen coder", "deepseek v3.2"])
def test_bare_values_are_what_the_schema_says(name: str, parameter: str, text: str, value: object) -> None:
    written = {
        "glm": f"<tool_call>weather<arg_key>{parameter}</arg_key><arg_value>{text}</arg_value></tool_call>",
        "qwen coder": f"<function=weather><parameter={parameter}>\n{text}\n</parameter></function>",
        "deepseek v3.2": f'{WEATHER}<｜DSML｜parameter name="{parameter}">{text}</｜DSML｜parameter>',
    }
    assert split(STYLES[name], [written[name]])[2] == [("weather", {parameter: value})]


def test_dsml_says_what_is_text() -> None:
    call = f'{WEATHER}<｜DSML｜parameter name="days" string="true"> 2 </｜DSML｜parameter></｜DSML｜invoke>'
    assert split(STYLES["deepseek v3.2"], [call])[2] == [("weather", {"days": " 2 "})]


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_script_writes_is_read(name: str) -> None:
    """Answers that are forced to be calls are made from it."""
    script = STYLES[name].script
    assert script
    before, after = script.around("weather")
    one = f'{before}{{"city": "Oslo", "days": 2}}{after}'
    assert split(STYLES[name], [script.before + one + script.after]) == ("", "", [OSLO])
    if script.between is not None:
        text = script.before + script.between.join([one, one]) + script.after
        assert split(STYLES[name], [text]) == ("", "", [OSLO, OSLO])


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ '<think>' }}{{ '</think>' }}<｜tool▁calls▁begin｜> <｜tool▁sep｜> ```json", "deepseek"),
        ("</think> <｜tool▁calls▁begin｜> <｜tool▁sep｜>", "deepseek v3.1"),
        ("</think> {% set dsml = '｜DSML｜' %}<{{ dsml }}function_calls> <{{ dsml }}invoke", "deepseek v3.2"),
        ("</think> <tool_call> {{ '\"arguments\": ' }}", "hermes"),
        ("</think> <tool_call> <function= <parameter=", "qwen coder"),
        ("</think> <tool_call>{{ name }} <arg_key>", "glm"),
        ("</think> <|tool_calls_section_begin|> <|tool_call_argument_begin|>", "kimi"),
        ("[/THINK] [TOOL_CALLS]", "mistral list"),
        ("[/THINK] [TOOL_CALLS] [ARGS]", "mistral names"),
        ("<|start_header_id|> {{ '\"parameters\": ' }}", "llama"),
        ("<|start|> <|channel|> <|message|>", "harmony"),
    ],
)
def test_formats_are_known_by_the_template(template: str, name: str) -> None:
    assert Style.of(template) == STYLES[name]


def test_a_plain_template_has_no_style() -> None:
    assert Style.of("{{ messages }}") == Style()
    assert not Style().calls_tools and Style().markers(tools=True) == ()


@pytest.mark.parametrize(
    ("prompt", "text", "split_into"),
    [
        ("<|start|>user<|message|>hi<|end|><|start|>assistant", "<|channel|>analysis<|message|>a", ("", "a", [])),
        ("<|start|>assistant<|channel|>final<|message|>It is", " so.", (" so.", "", [])),
        ("<|start|>assistant<|channel|>analysis<|message|>", "a<|end|><|start|>assistant<|channel|>final<|message|>b",
         ("b", "a", [])),
        ("<|start|>assistant", "<|channel|>fin", ("", "", [])),
    ],
)  # fmt: skip
def test_harmony_goes_on_where_the_prompt_ends(prompt: str, text: str, split_into: Split) -> None:
    assert split(STYLES["harmony"], list(text), prompt=prompt) == split_into


def test_without_tools_harmony_has_no_calls() -> None:
    assert split(STYLES["harmony"], [WRITTEN["harmony"]], tools=[])[2] == []


TAGS = sorted({tag for style in STYLES.values() for tag in style.markers(tools=True)})
FRAGMENTS = [
    *(TAGS + [tag[: len(tag) // 2] for tag in TAGS] + list(WRITTEN.values())),
    *('{"name": "now", "parameters": {}}', "now", "{}", '{"a": "', '"}', "\n", "  ", "<", "[", "```json\n"),
    *("to=functions.now", "analysis", "final"),
]
TEXTS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=5)), max_size=10).map("".join)


@pytest.mark.parametrize("name", STYLES)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 500), max_size=8), thinking=st.booleans(), tools=st.booleans())
def test_any_chunking_gives_the_same(name: str, text: str, cuts: list[int], thinking: bool, tools: bool) -> None:
    style = STYLES[name]
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    how: Any = {"thinking": thinking and style.thought is not None, "tools": TOOLS if tools else []}
    whole = split(style, [text], **how)
    assert split(style, [text[start:end] for start, end in pairwise(edges)], **how) == whole
    assert split(style, list(text), **how) == whole


@pytest.mark.parametrize("name", STYLES)
@given(words=st.lists(st.text("abc{}[]\"':,<> \n", min_size=1), max_size=10))
def test_text_without_tags_is_passed_on_whole(name: str, words: list[str]) -> None:
    text = "x" + "".join(words)
    assert split(STYLES[name], words and ["x", *words]) == (text if words else "", "", [])


@pytest.mark.parametrize("name", set(STYLES) - {"harmony"})
@given(text=TEXTS)
def test_nothing_but_tags_and_calls_is_lost(name: str, text: str) -> None:
    """Letters that no tag and no call has come out again, in their order."""
    style = STYLES[name]
    marked = "".join(f"{part}\u2603{number}" for number, part in enumerate(text.split("\n")))
    content, thinking, calls = split(style, [marked])
    if not calls:
        said = thinking + content
        assert [each for each in marked if each in "\u26030123456789"] == [
            each for each in said if each in "\u26030123456789"
        ]


def test_every_format_is_tried() -> None:
    assert {id(style.calls) for style in STYLES.values() if style.calls} == {id(each) for each in FORMATS}

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.formats.deepseek import CALL, PLAIN, SECTION, SEPARATOR
from ktd.daemon.chat.style import THOUGHTS, Style
from ktd.daemon.chat.toolbox import Toolbox

THINK = THOUGHTS[0]
DEEPSEEK = Style(THINK, PLAIN)
OFFERED = Toolbox([{"function": {"name": "f"}}])
Split = tuple[str, str, list[tuple[str, object, int]]]


def split(pieces: Sequence[str], *, style: Style = DEEPSEEK, thinking: bool = False, tools: bool = True) -> Split:
    splitter = style.splitter("", thinking, OFFERED if tools else Toolbox([]))
    found: list[Piece] = []
    for piece in pieces:
        found += splitter.feed(piece)
    found += splitter.finish()
    calls = [(call.name, call.arguments, call.index) for piece in found for call in piece.calls]
    return "".join(piece.content for piece in found), "".join(piece.thinking for piece in found), calls


def call(name: str, arguments: str) -> str:
    body = f"function{SEPARATOR}{name}\n```json\n{arguments}\n```"
    return f"{CALL.opening}{body}{CALL.closing}"


def calls(*parts: str) -> str:
    return SECTION.opening + "\n".join(parts) + SECTION.closing


@pytest.mark.parametrize(
    ("text", "content", "thinking"),
    [
        ("<think>\nI add.\n</think>\n\nIt is 42.", "It is 42.", "I add."),
        ("\n <think>x</think>y", "y", "x"),
        ("plain", "plain", ""),
        (" plain ", " plain ", ""),
        ("<think>never closed ", "", "never closed"),
        ("<think>\n\n</think>\n\nshort", "short", ""),
        ("a <think>b</think>", "a <think>b</think>", ""),
        ("<thin", "<thin", ""),
        ("<think>a</thin", "", "a</thin"),
        ("<think>a</think>", "", "a"),
        ("", "", ""),
    ],
)
def test_thinking_is_split_off(text: str, content: str, thinking: str) -> None:
    assert split([text]) == (content, thinking, [])


def test_a_thought_begun_by_the_prompt_needs_no_tag() -> None:
    assert split(["\nI add.\n</think>\n\n42"], thinking=True) == ("42", "I add.", [])


def test_a_model_that_does_not_think_may_write_tags() -> None:
    plain = Style()
    assert split(["<think>a</think>"], style=plain) == ("<think>a</think>", "", [])


def test_text_is_passed_on_as_soon_as_it_cannot_be_a_tag() -> None:
    splitter = DEEPSEEK.splitter("", thinking=False, toolbox=OFFERED)
    assert splitter.feed("<") == []
    assert splitter.feed("b>") == [Piece(content="<b>")]
    assert splitter.feed("more") == [Piece(content="more")]


def test_calls_come_whole_and_numbered() -> None:
    text = "<think>\nneeded\n</think>\n\nLet me see." + calls(
        call("get_weather", '{"city": "Oslo", "days": 2}'), call("get_time", "{}")
    )
    assert split([text]) == (
        "Let me see.",
        "needed",
        [("get_weather", {"city": "Oslo", "days": 2}, 0), ("get_time", {}, 1)],
    )


@pytest.mark.parametrize(
    "written",
    [
        f"function{SEPARATOR}add\n```json\n" + '{"a": 1}\n```',
        f"function{SEPARATOR}add\n```json\n" + '{"a": 1}\n``` and so on',
        f"function{SEPARATOR}add\n```json\n" + '{"a": 1}',
        f"add{SEPARATOR}" + '{"a": 1}',
    ],
    ids=["r1", "garbage after it", "fence never closed", "v3.1"],
)
def test_the_ways_to_write_a_call(written: str) -> None:
    text = calls(CALL.opening + written + CALL.closing)
    assert split([text]) == ("", "", [("add", {"a": 1}, 0)])


@pytest.mark.parametrize("cut", ["call end", "calls end"])
def test_a_call_that_is_not_ended_is_still_a_call(cut: str) -> None:
    text = calls(call("add", '{"a": 1}'))
    tags = (SECTION.closing,) if cut == "calls end" else (SECTION.closing, CALL.closing)
    for tag in tags:
        text = text.removesuffix(tag)
    assert split([text])[2] == [("add", {"a": 1}, 0)]


@pytest.mark.parametrize("arguments", ["{bad", "[1]", '{"a": NaN}', "3"])
def test_what_is_no_call_is_not_lost(arguments: str) -> None:
    written = call("add", arguments)
    assert split([calls(written)]) == (written, "", [])


def test_tool_tags_are_text_when_no_tools_were_offered() -> None:
    text = calls(call("add", "{}"))
    assert split([text], tools=False) == (text, "", [])


FRAGMENTS = [
    *(THINK.opening, THINK.closing, SECTION.opening, SECTION.closing, CALL.opening, CALL.closing),
    *(call("f", '{"x": [1, "é"]}'), f"g{SEPARATOR}{{}}", SEPARATOR, " ", "\n\n", "<", "</think", "<｜tool"),
]  # fmt: skip


@given(
    parts=st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=5)), max_size=12),
    cuts=st.lists(st.integers(0, 200), max_size=12),
    thinking=st.booleans(),
    tools=st.booleans(),
)
def test_any_chunking_gives_the_same_result(parts: list[str], cuts: list[int], thinking: bool, tools: bool) -> None:
    text = "".join(parts)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    whole = split([text], thinking=thinking, tools=tools)
    assert split(pieces, thinking=thinking, tools=tools) == whole
    assert split(list(text), thinking=thinking, tools=tools) == whole

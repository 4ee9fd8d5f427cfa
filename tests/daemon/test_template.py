import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ktd.daemon.chat.chat import Chat, Message, Piece, Terms, ToolCall
from ktd.daemon.chat.framing import Framing
from ktd.daemon.chat.prompt import Framed, framed
from ktd.daemon.chat.renderer import MOST_KEPT, Renderer
from ktd.daemon.chat.template import render
from ktd.daemon.errors import TemplateFailed


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer()
    yield renderer
    await renderer.close()


async def frame(template: str, renderer: Renderer, *messages: Message, **chat: Any) -> Framed:
    return await framed(Chat(messages, **chat), Framing(template, "<bos>", "<eos>"), Terms(), renderer)


HELLO = Message("user", "Hello")


async def test_a_template_gets_what_transformers_gives(renderer: Renderer) -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}\n  {{ m.role }}: {{ m['content'] }}\n{% endfor %}\n"
        "{% if tools is defined %}tools{% endif %}{% if thinking is defined %}think{% endif %}"
        "{% if add_generation_prompt %}>{% endif %}{{ eos_token }}"
    )
    assert (await frame(template, renderer, HELLO)).prompt.text == "<bos>  user: Hello\n><eos>"
    assert "think" in (await frame(template, renderer, HELLO, think=False)).prompt.text
    assert "tools" in (await frame(template, renderer, HELLO, tools=({"type": "function"},))).prompt.text


def test_tojson_is_plain_json() -> None:
    value = {"b": "<&'é>", "a": [1, None]}
    assert render("{{ v | tojson }}", {"v": value}) == json.dumps(value, ensure_ascii=False)
    assert render("{{ v | tojson(indent=2) }}", {"v": value}) == json.dumps(value, ensure_ascii=False, indent=2)


def test_the_helpers_of_transformers_are_there() -> None:
    assert len(render("{{ strftime_now('%Y') }}", {})) == 4
    assert render("{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", {}) == "1"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ nothing.here.at_all }}", "UndefinedError"),
        ("{{ '\\ud800' }}", "UnicodeEncodeError"),
        ("{{ 'a' * 20000000 }}", "more than the 16777216 allowed"),
        ("{{ 'a' * 10 ** 10 }}", "needs too much memory"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "ran longer than 5 seconds"),
    ],
)
async def test_a_hostile_template_fails_alone(renderer: Renderer, template: str, reason: str) -> None:
    with pytest.raises(TemplateFailed, match=reason):
        await renderer.render(template, {"messages": []})
    assert await renderer.render("still {{ x }}", {"x": "alive"}) == "still alive"


async def test_a_render_that_is_given_up_does_not_answer_the_next(renderer: Renderer) -> None:
    assert await renderer.render("warm", {}) == "warm"
    slow = asyncio.create_task(renderer.render("{% for a in range(99999) %}{{ a }}{% endfor %}", {}))
    await asyncio.sleep(0)
    slow.cancel()
    assert await renderer.render("mine", {}) == "mine"


async def test_a_slow_template_keeps_nobody_else_waiting(renderer: Renderer) -> None:
    slow = asyncio.create_task(renderer.render("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}"
                                               "{% endfor %}", {}))  # fmt: skip
    assert [await renderer.render(f"quick {number}", {}) for number in range(6)] == [f"quick {n}" for n in range(6)]
    assert not slow.done()
    assert len(renderer._lanes) <= MOST_KEPT
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


async def killed_while_idle(renderer: Renderer) -> None:
    assert await renderer.render("warm", {}) == "warm"
    (lane,) = renderer._lanes.values()
    process = lane._process
    assert process is not None
    process.kill()
    await process.wait()


async def test_an_idle_process_ends_by_itself() -> None:
    command = "from ktd.daemon.chat import render_process as it; it.IDLE = 0.01; it.main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    assert process.stdin
    process.stdin.close()


async def test_a_process_that_just_ended_costs_no_render(renderer: Renderer) -> None:
    """It may end between the look at it and the question."""
    await killed_while_idle(renderer)
    (lane,) = renderer._lanes.values()
    stopped = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ""), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    await lane._ended()
    lane._process = stopped
    assert await renderer.render("warm", {}) == "warm"


async def test_a_process_that_ended_while_idle_costs_no_render(renderer: Renderer) -> None:
    await killed_while_idle(renderer)
    assert await renderer.render("warm", {}) == "warm"


async def test_a_process_that_ended_while_idle_can_be_closed(renderer: Renderer) -> None:
    await killed_while_idle(renderer)
    await renderer.close()


async def test_renders_at_the_same_time_keep_apart(renderer: Renderer) -> None:
    texts = [f"text {number}" for number in range(20)]
    assert await asyncio.gather(*(renderer.render("{{ t }}", {"t": text}) for text in texts)) == texts


ECHO = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[A]{% endif %}"


@pytest.mark.parametrize(
    ("ending", "message", "starts_thinking"),
    [
        ("<think>\n", "hi", True),
        ("<think>\n\n</think>\n\n", "hi", False),
        ("</think>", "hi", False),
        ("", "hi", False),
        ("", "what is <think>?", False),
        ("", "", False),
    ],
)
async def test_thinking_starts_where_the_prompt_leaves_it(
    renderer: Renderer, ending: str, message: str, starts_thinking: bool
) -> None:
    template = ECHO + ending + "{# </think> #}"
    found = await frame(template, renderer, Message("user", message))
    pieces = [*found.splitter.feed("abc"), *found.splitter.finish()]
    assert [bool(piece.thinking) for piece in pieces] == [starts_thinking]


async def test_a_begun_thought_is_gone_on_with(renderer: Renderer) -> None:
    found = await frame(ECHO + "{# </think> #}", renderer, HELLO, Message("assistant", "<think>\nI add"))
    assert found.prompt.text.endswith("<think>\nI add")
    assert found.splitter.feed(" up</think>42") == [Piece(thinking="up"), Piece(content="42")]


async def test_a_begun_answer_is_gone_on_with(renderer: Renderer) -> None:
    found = await frame(ECHO + "<eos>", renderer, HELLO, Message("assistant", "e "))
    assert found.prompt.text == "[user]Hello[assistant]e"


ONCE_CALLED = (HELLO, Message("assistant", calls=(ToolCall("f", {"x": 1}, "call_1"),)), Message("tool", "2"))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [("'' + c.function.arguments", '{"x": 1}'), ("c.function.arguments | tojson", '{"x": 1}'),
     ("c.function.arguments.items() | list", "[('x', 1)]")],
)  # fmt: skip
async def test_arguments_come_as_the_template_wants_them(renderer: Renderer, arguments: str, wanted: str) -> None:
    template = (
        "{% for m in messages %}{% if m.tool_calls is defined and m.content is none %}"
        "{% for c in m.tool_calls %}{{ " + arguments + " }}{% endfor %}{% endif %}{% endfor %}"
    )
    assert (await frame(template, renderer, *ONCE_CALLED)).prompt.text == wanted


async def test_markers_are_asked_for_when_they_matter(renderer: Renderer) -> None:
    deepseek = "{# </think> <｜tool▁calls▁begin｜> <｜tool▁sep｜> #}"
    assert (await frame(deepseek, renderer, HELLO)).prompt.markers == ("<think>", "</think>")
    assert "<｜tool▁sep｜>" in (await frame(deepseek, renderer, HELLO, tools=({},))).prompt.markers
    assert (await frame("plain", renderer, HELLO)).prompt.markers == ()

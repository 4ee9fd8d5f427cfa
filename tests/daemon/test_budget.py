"""Budgets of thoughts, from the dialects to the worker."""

from typing import Any

import pytest

from ktd.daemon.chat.chat import Chat, Message
from ktd.daemon.chat.format import Tags
from ktd.daemon.chat.formats import harmony
from ktd.daemon.chat.style import Style
from ktd.daemon.chat.thinking import bounded
from ktd.engine.messages import Document, Grammar, Thought

ASK: Any = [{"role": "user", "content": "What is 12 + 30?"}]
TAGS = Style(thought=Tags("<think>", "</think>"))
HARMONY = Style(harmony=True)
ANSWER = harmony.END + harmony.NEXT + harmony.FINAL
ENDING = "\n</think>"
GRAMMAR = Grammar((Document("{}"),))
TOOL: Any = ({"type": "function", "function": {"name": "add"}},)


def chat(**facts: Any) -> Chat:
    return Chat((Message("user", "Hi"), *facts.pop("more", ())), **({"budget": 9} | facts))


@pytest.mark.parametrize(
    ("style", "prompt", "chat", "grammar", "wanted"),
    [
        (TAGS, "...<think>\n", chat(), None, Thought(9, "</think>", ENDING)),
        (TAGS, "...", chat(), None, Thought(9, "</think>", ENDING, "<think>")),
        (TAGS, "...<think>\n", chat(budget=None), None, None),
        (TAGS, "...<think>\n\n</think>\n\n", chat(think=False), None, None),
        (TAGS, "...", chat(more=[Message("assistant", "The sum")]), None, None),
        (Style(), "...", chat(), None, None),
        (HARMONY, harmony.NEXT, chat(), None, Thought(9, harmony.END, ANSWER, harmony.ANALYSIS)),
        (HARMONY, harmony.NEXT, chat(tools=TOOL), None, Thought(9, harmony.END, harmony.END, harmony.ANALYSIS)),
        (HARMONY, harmony.NEXT + harmony.ANALYSIS, chat(), GRAMMAR, Thought(9, harmony.END, harmony.END)),
        (HARMONY, harmony.UNTHOUGHT, chat(think=False), None, None),
    ],
)  # fmt: skip
def test_which_thoughts_are_bounded(style: Style, prompt: str, chat: Chat, grammar: Any, wanted: Any) -> None:
    assert bounded(prompt, chat, style, grammar) == wanted


async def test_anthropics_and_openrouters_budget(daemon: Any) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    await daemon.anthropic.messages.create(model="demo", max_tokens=5000, messages=ASK, thinking=thinking)
    ask = {"model": "demo", "messages": ASK}
    assert (await daemon.post("/v1/chat/completions", ask | {"reasoning": {"max_tokens": 77}}))[0] == 200
    thoughts = [prompt.thought for prompt in daemon.engine.prompts]
    assert [thought.tokens for thought in thoughts] == [1024, 77]
    assert {thought.closing for thought in thoughts} == {"</think>"}


async def test_a_budget_of_nothing_is_refused(daemon: Any) -> None:
    ask = {"model": "demo", "messages": ASK, "max_tokens": 9}
    status, reply = await daemon.post("/v1/messages", ask | {"thinking": {"type": "enabled", "budget_tokens": 0}})
    assert (status, reply["error"]["message"]) == (400, "thinking.budget_tokens must be positive")
    status, reply = await daemon.post("/v1/chat/completions", ask | {"reasoning": {"max_tokens": -1}})
    assert (status, reply["error"]["message"]) == (400, "reasoning.max_tokens must be positive")

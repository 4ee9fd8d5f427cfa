"""Thinking: whether an answer begins within a thought, how long that may be, and how one is prevented."""

import re

from ktd.daemon.chat.chat import Chat
from ktd.daemon.chat.format import Tags
from ktd.daemon.chat.formats import harmony
from ktd.daemon.chat.style import Style
from ktd.daemon.chat.variables import begun
from ktd.engine.messages import Grammar, Thought

# How templates ask whether to think: Jinja's, and Go's.
_SWITCH = re.compile(r"thinking|\.(Is)?Think")


def opened(prompt: str, chat: Chat, tags: Tags | None) -> bool:
    """The template opened a thought, or the client's begun answer did."""
    if tags is None:
        return False
    answer = begun(chat.messages)
    return prompt.rstrip().endswith(tags.opening) or answer.rfind(tags.opening) > answer.rfind(tags.closing)


def bounded(prompt: str, chat: Chat, style: Style, grammar: Grammar | None) -> Thought | None:
    """How long the thought may be that this prompt, or the answer to it, begins; None where that is not bounded."""
    if chat.budget is None:
        return None
    if style.harmony:
        return _bounded_harmony(prompt, chat, chat.budget, grammar)
    tags = style.thought
    if tags is None or (not (begins := opened(prompt, chat, tags)) and (chat.think is False or begun(chat.messages))):
        return None
    return Thought(chat.budget, tags.closing, f"\n{tags.closing}", "" if begins else tags.opening)


def _bounded_harmony(prompt: str, chat: Chat, budget: int, grammar: Grammar | None) -> Thought | None:
    """Behind its end another thought might come: where no tool can be called either, the answer is begun."""
    begins = prompt.endswith(harmony.ANALYSIS)
    if not begins and (not prompt.endswith(harmony.NEXT) or prompt.endswith(harmony.UNTHOUGHT)):
        return None
    answer = "" if grammar or chat.tools else harmony.NEXT + harmony.FINAL
    return Thought(budget, harmony.END, harmony.END + answer, "" if begins else harmony.ANALYSIS)


def settled(prompt: str, chat: Chat, style: Style, template: str) -> str:
    """The prompt, with an empty thought at its end if there shall be none and the template does not see to it."""
    if chat.think is not False or begun(chat.messages):
        return prompt
    if style.harmony:
        return prompt.removesuffix(harmony.NEXT) + harmony.UNTHOUGHT if prompt.endswith(harmony.NEXT) else prompt
    if style.thought is None:
        return prompt
    empty = f"{style.thought.opening}\n\n{style.thought.closing}\n\n"
    if prompt.rstrip().endswith(style.thought.opening):
        return prompt.rstrip().removesuffix(style.thought.opening) + empty
    return prompt if _SWITCH.search(template) else prompt + empty

"""Thinking: whether an answer begins within a thought, and how one is prevented where the template cannot."""

import re

from ktd.daemon.chat.chat import Chat
from ktd.daemon.chat.format import Tags
from ktd.daemon.chat.formats import harmony
from ktd.daemon.chat.style import Style
from ktd.daemon.chat.variables import begun

# How templates ask whether to think: Jinja's, and Go's.
_SWITCH = re.compile(r"thinking|\.(Is)?Think")


def opened(prompt: str, chat: Chat, tags: Tags | None) -> bool:
    """The template opened a thought, or the client's begun answer did."""
    if tags is None:
        return False
    answer = begun(chat.messages)
    return prompt.rstrip().endswith(tags.opening) or answer.rfind(tags.opening) > answer.rfind(tags.closing)


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

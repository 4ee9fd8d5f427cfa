"""Thinking: whether an answer begins within a thought, and how one is prevented where the template cannot."""

from ktd.daemon.chat.chat import Chat
from ktd.daemon.chat.format import Tags
from ktd.daemon.chat.formats import harmony
from ktd.daemon.chat.style import Style
from ktd.daemon.chat.variables import begun


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
    knows = "thinking" in template  # `thinking` or `enable_thinking`
    return prompt if knows else prompt + empty

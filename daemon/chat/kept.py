"""What an answer is kept to, and the end of the prompt that leads there."""

from msgspec.structs import replace

from ktd.daemon.chat.chat import Chat, Terms
from ktd.daemon.chat.forced import forced
from ktd.daemon.chat.formats import harmony
from ktd.daemon.chat.style import Style
from ktd.daemon.chat.thinking import opened
from ktd.daemon.chat.variables import begun
from ktd.engine.messages import Document, Grammar


def kept(prompt: str, chat: Chat, terms: Terms, style: Style) -> tuple[str, Grammar | None]:
    """The prompt and a grammar. Models that think do so first, unless they shall not or have done it.

    Raises BadRequest.
    """
    if chat.forced and (script := style.script):
        grammar = forced(chat, script)
    elif terms.schema is not None:
        before = harmony.FINAL if style.harmony and prompt.endswith(harmony.NEXT) else ""
        grammar = Grammar((Document(terms.schema),), before=before)
    else:
        return prompt, None
    if style.harmony:
        return _behind_harmony(prompt, grammar)
    return prompt, _behind_a_thought(prompt, chat, style, grammar)


def _behind_a_thought(prompt: str, chat: Chat, style: Style, grammar: Grammar) -> Grammar:
    tags = style.thought
    if tags is None:
        return grammar
    if opened(prompt, chat, tags):
        return replace(grammar, closing=tags.closing)
    done = chat.think is False or begun(chat.messages) or prompt.rstrip().endswith(tags.closing)
    return grammar if done else replace(grammar, opening=tags.opening, closing=tags.closing)


def _behind_harmony(prompt: str, grammar: Grammar) -> tuple[str, Grammar]:
    """Such models always think first: the prompt begins the thought, the grammar the message behind it."""
    if not prompt.endswith(harmony.NEXT) or prompt.endswith(harmony.UNTHOUGHT):
        return prompt, grammar
    return prompt + harmony.ANALYSIS, replace(grammar, before=harmony.NEXT + grammar.before, closing=harmony.END)

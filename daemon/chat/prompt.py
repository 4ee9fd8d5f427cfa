"""From a chat to the prompt that the worker gets, and to the splitter that will read the answer."""

from dataclasses import dataclass

from ktd.daemon.chat.chat import Chat, Terms
from ktd.daemon.chat.framing import Framing
from ktd.daemon.chat.kept import kept
from ktd.daemon.chat.renderer import Renderer
from ktd.daemon.chat.splitter import Splitter
from ktd.daemon.chat.style import Style
from ktd.daemon.chat.thinking import bounded, opened, settled
from ktd.daemon.chat.toolbox import Toolbox
from ktd.daemon.chat.variables import CUT, begun, tool, variables, without_system
from ktd.daemon.errors import TemplateFailed
from ktd.engine.messages import Prompt


@dataclass(frozen=True, slots=True)
class Framed:
    prompt: Prompt
    splitter: Splitter


async def framed(chat: Chat, framing: Framing, terms: Terms, renderer: Renderer) -> Framed:
    """Raises TemplateFailed."""
    style = Style.of(framing.template)
    text = settled(await _rendered(chat, framing, style, renderer), chat, style, framing.template)
    if chat.before:  # an answer's tokens lack the one that ended it
        text = framing.eos + text.removeprefix(framing.bos)
    text, grammar = kept(text, chat, terms, style)
    splitter = style.splitter(text, opened(text, chat, style.thought), Toolbox([tool(each) for each in chat.tools]))
    prompt = Prompt(
        text=text,
        stops=terms.stops,
        markers=style.markers(bool(chat.tools)),
        before=chat.before,
        grammar=grammar,
        thought=bounded(text, chat, style, grammar),
    )
    return Framed(prompt, splitter)


async def _rendered(chat: Chat, framing: Framing, style: Style, renderer: Renderer) -> str:
    """Some templates refuse system messages: then the user says what they say."""
    try:
        return await _render(chat, framing, style, renderer)
    except TemplateFailed:
        if (other := without_system(chat)) == chat:
            raise
        try:
            return await _render(other, framing, style, renderer)
        except TemplateFailed:
            pass
        raise


async def _render(chat: Chat, framing: Framing, style: Style, renderer: Renderer) -> str:
    text = await renderer.render(framing.template, variables(chat, framing, style))
    return text.rpartition(CUT)[0] if begun(chat.messages) and CUT in text else text

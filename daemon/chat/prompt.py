"""From a chat to the prompt that the worker gets, and to the splitter that will read the answer."""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from ktd.daemon.chat.chat import Chat, Message, Terms, ToolCall
from ktd.daemon.chat.forced import forced
from ktd.daemon.chat.framing import Framing
from ktd.daemon.chat.renderer import Renderer
from ktd.daemon.chat.splitter import Splitter
from ktd.daemon.chat.style import THINK, Style
from ktd.daemon.errors import TemplateFailed
from ktd.engine.messages import Document, Grammar, Prompt

CUT = f"\ue000{secrets.token_hex(8)}\ue000"
"""Put behind a begun answer, to find where the prompt must end: nothing a client can send contains it."""


@dataclass(frozen=True, slots=True)
class Framed:
    prompt: Prompt
    splitter: Splitter


async def framed(chat: Chat, framing: Framing, terms: Terms, renderer: Renderer) -> Framed:
    """Raises TemplateFailed."""
    text = await _rendered(chat, framing, renderer)
    if chat.before:  # an answer's tokens lack the one that ended it
        text = framing.eos + text.removeprefix(framing.bos)
    style = Style.of(framing.template)
    tools = bool(chat.tools)
    thinking = style.thinks and _opens_thinking(text, _begun(chat.messages))
    splitter = Splitter(style, thinking, tools)
    grammar = _grammar(chat, terms, style, text, thinking)
    return Framed(Prompt(text, terms.stops, style.markers(tools), chat.before, grammar), splitter)


def _grammar(chat: Chat, terms: Terms, style: Style, prompt: str, thinking: bool) -> Grammar | None:
    """What the answer is kept to. Models that think may do so first, unless they were told not to or have done it."""
    if chat.forced:
        kept = forced(chat, style)
    elif terms.schema is not None:
        kept = Grammar((Document(terms.schema),))
    else:
        return None
    if thinking:
        return replace(kept, closing=THINK.closing)
    done = chat.think is False or _begun(chat.messages) or prompt.rstrip().endswith(THINK.closing)
    return kept if done or not style.thinks else replace(kept, opening=THINK.opening, closing=THINK.closing)


async def _rendered(chat: Chat, framing: Framing, renderer: Renderer) -> str:
    """Some templates want the arguments of earlier tool calls as objects, some as JSON text: try both."""
    try:
        return await _render(chat, framing, renderer, arguments_as_text=False)
    except TemplateFailed:
        if not any(message.calls for message in chat.messages):
            raise
    return await _render(chat, framing, renderer, arguments_as_text=True)


async def _render(chat: Chat, framing: Framing, renderer: Renderer, *, arguments_as_text: bool) -> str:
    messages = [_message(message, arguments_as_text) for message in chat.messages]
    begun = _begun(chat.messages)
    if begun:
        messages[-1]["content"] = begun + CUT
    variables: dict[str, Any] = {
        "messages": messages,
        "add_generation_prompt": not begun,
        "bos_token": framing.bos,
        "eos_token": framing.eos,
    }
    if chat.tools:
        variables["tools"] = chat.tools
    if chat.think is not None:
        variables["thinking"] = variables["enable_thinking"] = chat.think
    if chat.effort is not None:
        variables["reasoning_effort"] = chat.effort
    text = await renderer.render(framing.template, variables)
    return text.rpartition(CUT)[0] if begun and CUT in text else text


def _begun(messages: Iterable[Message]) -> str:
    """The begun answer that the model shall go on with, when the last message is one."""
    *_, last = messages
    return last.content.strip() if last.role == "assistant" and not last.calls else ""


def _message(message: Message, arguments_as_text: bool) -> dict[str, Any]:
    """As transformers' templates expect it: keys are absent when there is nothing to say."""
    known: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        # DeepSeek's templates know a message of calls by its missing content.
        known["content"] = message.content or None
        known["tool_calls"] = [_call(call, arguments_as_text) for call in message.calls]
    if message.thinking:
        known["thinking"] = known["reasoning_content"] = message.thinking
    if message.tool_name:
        known["name"] = known["tool_name"] = message.tool_name
    if message.tool_call_id:
        known["tool_call_id"] = message.tool_call_id
    return known


def _call(call: ToolCall, arguments_as_text: bool) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False) if arguments_as_text else call.arguments
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _opens_thinking(prompt: str, begun: str) -> bool:
    """Whether the answer starts inside a thought: the template opened it, or the client's begun answer did."""
    return prompt.rstrip().endswith(THINK.opening) or begun.rfind(THINK.opening) > begun.rfind(THINK.closing)

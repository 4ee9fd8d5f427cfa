"""From a chat to the prompt that the worker gets, and to the splitter that will read the answer."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ktd.daemon.chat.chat import Chat, Message, ToolCall
from ktd.daemon.chat.framing import Framing
from ktd.daemon.chat.renderer import Renderer
from ktd.daemon.chat.splitter import Splitter
from ktd.daemon.chat.style import THINK, Style
from ktd.daemon.errors import TemplateFailed
from ktd.engine.messages import Prompt


@dataclass(frozen=True, slots=True)
class Framed:
    prompt: Prompt
    splitter: Splitter


async def framed(chat: Chat, framing: Framing, stops: tuple[str, ...], renderer: Renderer) -> Framed:
    """Raises TemplateFailed."""
    text = await _rendered(chat, framing, renderer)
    style = Style.of(framing.template)
    tools = bool(chat.tools)
    splitter = Splitter(style, thinking=style.thinks and _opens_thinking(text, chat.messages), tools=tools)
    return Framed(Prompt(text, stops, style.markers(tools)), splitter)


async def _rendered(chat: Chat, framing: Framing, renderer: Renderer) -> str:
    """Some templates want the arguments of earlier tool calls as objects, some as JSON text: try both."""
    try:
        return await _render(chat, framing, renderer, arguments_as_text=False)
    except TemplateFailed:
        if not any(message.calls for message in chat.messages):
            raise
    return await _render(chat, framing, renderer, arguments_as_text=True)


async def _render(chat: Chat, framing: Framing, renderer: Renderer, *, arguments_as_text: bool) -> str:
    resume = _resumed(chat.messages)
    variables: dict[str, Any] = {
        "messages": [_message(message, arguments_as_text) for message in chat.messages],
        "add_generation_prompt": not resume,
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
    # A resumed answer goes on where it stopped: cut off what the template writes after it.
    return text[: text.rindex(resume) + len(resume)] if resume and resume in text else text


def _resumed(messages: Iterable[Message]) -> str:
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


def _opens_thinking(prompt: str, messages: tuple[Message, ...]) -> bool:
    """Whether the prompt ends inside an open thinking tag. A tag that a user quotes does not count."""
    last = messages[-1]
    quoted = last.content.strip() if last.role != "assistant" else ""
    tail = prompt[prompt.rindex(quoted) + len(quoted) :] if quoted and quoted in prompt else prompt
    return tail.rfind(THINK.opening) > tail.rfind(THINK.closing)

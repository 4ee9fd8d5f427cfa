"""Kimi-K2: each call begins with its id, `functions.name:number`."""

import re

from ktd.daemon.chat import call_json
from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.format import CallFormat, Script, Tags
from ktd.daemon.chat.toolbox import Toolbox

SECTION = Tags("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>")
CALL = Tags("<|tool_call_begin|>", "<|tool_call_end|>")
ARGUMENTS = "<|tool_call_argument_begin|>"

_ID = re.compile(r"\s*(?:functions\.)?(?P<name>[^\s:]+)(?::\d+)?\s*")


def read(text: str, toolbox: Toolbox) -> list[ToolCall]:
    head, separator, rest = text.partition(ARGUMENTS)
    named = _ID.fullmatch(head)
    return call_json.calls(named["name"], rest) if separator and named else []


def call_id(name: str, number: int) -> str:
    return f"functions.{name}:{number}"


KIMI = CallFormat(
    marks=(SECTION.opening, ARGUMENTS),
    call=CALL,
    read=read,
    section=SECTION,
    inner=(ARGUMENTS,),
    script=Script(
        before=SECTION.opening,
        head=f"{CALL.opening}functions.",
        middle=f":0{ARGUMENTS}",
        tail=CALL.closing,
        between="",
        after=SECTION.closing,
    ),
    call_id=call_id,
)

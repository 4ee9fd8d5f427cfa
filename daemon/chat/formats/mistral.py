"""Mistral: a list of calls behind one tag, or since 2025 a tag before each call and one before its arguments."""

import re

from ktd.daemon.chat import call_json
from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.format import CallFormat, Script, Tags
from ktd.daemon.chat.toolbox import Toolbox

CALL = Tags("[TOOL_CALLS]", "")
ID, ARGUMENTS = "[CALL_ID]", "[ARGS]"

_NAMED = re.compile(
    r"\s*(?P<name>[^\s\[\]{}]+?)\s*(?:\[CALL_ID\][^\[]*)?(?:\[ARGS\]|(?=\{))(?P<arguments>.*)", re.DOTALL
)
_ID_SIZE = 9  # the templates insist on it


def read(text: str, toolbox: Toolbox) -> list[ToolCall]:
    if named := _NAMED.fullmatch(text):
        return call_json.calls(named["name"], named["arguments"])
    found = [call_json.call(value) for value in _items(text)]
    return [call for call in found if call]


def call_id(name: str, number: int) -> str:
    return f"{number:0{_ID_SIZE}d}"[-_ID_SIZE:]


def _items(text: str) -> list[object]:
    listed = next(call_json.values(text), None)
    return listed if isinstance(listed, list) else [listed]


LISTED = CallFormat(
    marks=(CALL.opening,),
    call=CALL,
    read=read,
    script=Script(
        before=f"{CALL.opening}[",
        head='{"name": "',
        middle='", "arguments": ',
        tail="}",
        between=", ",
        after="]",
    ),
    call_id=call_id,
)

NAMED = CallFormat(
    marks=(CALL.opening, ARGUMENTS),
    call=CALL,
    read=read,
    inner=(ID, ARGUMENTS),
    script=Script(head=CALL.opening, middle=ARGUMENTS, tail="", between=""),
    call_id=call_id,
)

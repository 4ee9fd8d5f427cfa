"""Hermes, as Qwen2.5, Qwen3 and many others write it: an object with "name" and "arguments" between tags."""

from ktd.daemon.chat import call_json
from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.format import CallFormat, Script, Tags
from ktd.daemon.chat.toolbox import Toolbox

CALL = Tags("<tool_call>", "</tool_call>")


def read(text: str, toolbox: Toolbox) -> list[ToolCall]:
    found = (call_json.call(value) for value in call_json.values(text))
    return [call for call in found if call]


HERMES = CallFormat(
    marks=(CALL.opening, '"arguments"'),
    call=CALL,
    read=read,
    script=Script(
        head=f'{CALL.opening}\n{{"name": "',
        middle='", "arguments": ',
        tail=f"}}\n{CALL.closing}",
        between="\n",
    ),
)

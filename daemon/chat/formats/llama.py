"""Llama 3: the whole answer is one object with "name" and "parameters", at times behind a tag."""

from ktd.daemon.chat import call_json
from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.format import CallFormat, Script, Tags
from ktd.daemon.chat.toolbox import Toolbox

CALL = Tags("<|python_tag|>", "")


def read(text: str, toolbox: Toolbox) -> list[ToolCall]:
    """Calls of the tools that there are: other objects are what the user asked for."""
    found = (call_json.call(value) for value in call_json.values(text))
    return [call for call in found if call and call.name in toolbox]


LLAMA = CallFormat(
    marks=("<|start_header_id|>", '"parameters": '),
    call=CALL,
    read=read,
    bare=True,
    script=Script(head='{"name": "', middle='", "parameters": ', tail="}"),
)

"""GLM-4.5: the tool's name, then each argument as a key and a value between tags; texts have no quotes.

Calls that are forced have their arguments as JSON instead: text of any kind cannot be kept to a schema.
"""

import re

from ktd.daemon.chat import call_json
from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.format import CallFormat, Script, Tags
from ktd.daemon.chat.toolbox import Toolbox

CALL = Tags("<tool_call>", "</tool_call>")
KEY = Tags("<arg_key>", "</arg_key>")
VALUE = Tags("<arg_value>", "</arg_value>")

_NAME = re.compile(r"\s*([^\s<>{}]+)\s*(?=<arg_key>|\{|\Z)")
_ARGUMENT = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)(?:</arg_value>|(?=<arg_key>)|\Z)", re.DOTALL)


def read(text: str, toolbox: Toolbox) -> list[ToolCall]:
    """Keys and values, or JSON in their place."""
    named = _NAME.match(text)
    if not named:
        return []
    name, rest = named[1], text[named.end() :]
    if rest.startswith("{"):
        return call_json.calls(name, rest)
    arguments = {key.strip(): toolbox.typed(name, key.strip(), value) for key, value in _ARGUMENT.findall(text)}
    return [ToolCall(name, arguments)]


GLM = CallFormat(
    marks=(CALL.opening, KEY.opening),
    call=CALL,
    read=read,
    inner=(KEY.opening, KEY.closing, VALUE.opening, VALUE.closing),
    script=Script(head=CALL.opening, middle="\n", tail=f"\n{CALL.closing}", between="\n"),
)

"""Qwen3-Coder: `<function=name>` with a `<parameter=name>` element for each argument.

Calls that are forced have their arguments as JSON instead: elements with text of any kind cannot be kept to a schema.
"""

import re

from ktd.daemon.chat import call_json
from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.format import CallFormat, Script, Tags
from ktd.daemon.chat.toolbox import Toolbox

SECTION = Tags("<tool_call>", "</tool_call>")  # around each call; left out as often as not
CALL = Tags("<function=", "</function>")

_NAME = re.compile(r"\s*([^\s<>]+)\s*>\s*")
_PARAMETER = re.compile(r"<parameter=([^<>\n]+)>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL)


def read(text: str, toolbox: Toolbox) -> list[ToolCall]:
    """Elements, or JSON in their place."""
    named = _NAME.match(text)
    if not named:
        return []
    name, rest = named[1], text[named.end() :]
    if rest.startswith("{"):
        return call_json.calls(name, rest)
    parameters = {key.strip(): toolbox.typed(name, key.strip(), value) for key, value in _PARAMETER.findall(rest)}
    return [ToolCall(name, parameters)] if parameters or not rest.strip() else []


QWEN_CODER = CallFormat(
    marks=(SECTION.opening, CALL.opening, "<parameter="),
    call=CALL,
    read=read,
    section=SECTION,
    script=Script(
        head=f"{SECTION.opening}\n{CALL.opening}",
        middle=">\n",
        tail=f"\n{CALL.closing}\n{SECTION.closing}",
        between="\n",
    ),
)

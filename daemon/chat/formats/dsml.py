"""DSML, as DeepSeek V3.2 writes it: an element for each call, and in it one for each argument, told to be text or JSON.

Calls that are forced have their arguments as JSON instead: text of any kind cannot be kept to a schema.
"""

import re

from ktd.daemon.chat import call_json
from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.format import CallFormat, Script, Tags
from ktd.daemon.chat.toolbox import Toolbox

TOKEN = "｜DSML｜"
SECTION = Tags(f"<{TOKEN}function_calls>", f"</{TOKEN}function_calls>")
CALL = Tags(f"<{TOKEN}invoke", f"</{TOKEN}invoke>")
PARAMETER = Tags(f"<{TOKEN}parameter", f"</{TOKEN}parameter>")

_NAME = re.compile(r'\s*name="(?P<name>[^"]+)"\s*>\s*')
_PARAMETER = re.compile(
    rf'{PARAMETER.opening}\s+name="(?P<key>[^"]+)"(?:\s+string="(?P<string>true|false)")?\s*>'
    rf"(?P<value>.*?)(?:{PARAMETER.closing}|(?={PARAMETER.opening})|\Z)",
    re.DOTALL,
)


def read(text: str, toolbox: Toolbox) -> list[ToolCall]:
    """Elements, or JSON in their place."""
    named = _NAME.match(text)
    if not named:
        return []
    name, rest = named["name"], text[named.end() :]
    if rest.startswith("{"):
        return call_json.calls(name, rest)
    arguments = {found["key"]: _value(found, name, toolbox) for found in _PARAMETER.finditer(rest)}
    return [ToolCall(name, arguments)] if arguments or not rest.strip() else []


def _value(found: re.Match[str], tool: str, toolbox: Toolbox) -> object:
    value = found["value"]
    return value if found["string"] == "true" else toolbox.typed(tool, found["key"], value.strip())


DSML = CallFormat(
    marks=(TOKEN, "invoke", "function_calls"),
    call=CALL,
    read=read,
    section=SECTION,
    inner=(TOKEN,),
    script=Script(
        before=f"{SECTION.opening}\n",
        head=f'{CALL.opening} name="',
        middle='">\n',
        tail=f"\n{CALL.closing}",
        between="\n",
        after=f"\n{SECTION.closing}",
    ),
)

"""DeepSeek: V3, V3-0324, R1 and R1-0528 put the arguments into a fenced block, V3.1 writes them as they are."""

import re

from ktd.daemon.chat import call_json
from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.format import CallFormat, Script, Tags
from ktd.daemon.chat.toolbox import Toolbox

SECTION = Tags("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
CALL = Tags("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>")
SEPARATOR = "<｜tool▁sep｜>"

_FENCED = re.compile(r"\s*(?P<name>[^\s`]+)\s*```(?:json)?\s*(?P<arguments>.*)", re.DOTALL)


def read(text: str, toolbox: Toolbox) -> list[ToolCall]:
    """`function<sep>name` and a fenced block, or `name<sep>{arguments}`; models mix them."""
    head, separator, rest = text.partition(SEPARATOR)
    if not separator:
        return []
    if fenced := _FENCED.fullmatch(rest):
        return call_json.calls(fenced["name"], fenced["arguments"].removesuffix("```"))
    return call_json.calls(head.strip(), rest.removesuffix("```"))


FENCED = CallFormat(
    marks=(SECTION.opening, SEPARATOR, "```json"),
    call=CALL,
    read=read,
    section=SECTION,
    inner=(SEPARATOR,),
    script=Script(
        before=SECTION.opening,
        head=f"{CALL.opening}function{SEPARATOR}",
        middle="\n```json\n",
        tail=f"\n```{CALL.closing}",
        between="\n",
        after=SECTION.closing,
    ),
)

PLAIN = CallFormat(
    marks=(SECTION.opening, SEPARATOR),
    call=CALL,
    read=read,
    section=SECTION,
    inner=(SEPARATOR,),
    script=Script(
        before=SECTION.opening,
        head=CALL.opening,
        middle=SEPARATOR,
        tail=CALL.closing,
        between="",
        after=SECTION.closing,
    ),
)

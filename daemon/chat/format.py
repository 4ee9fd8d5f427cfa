"""CallFormat: how a family of models writes tool calls, as facts. Each format is a file in `formats/`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Tags:
    opening: str
    closing: str


@dataclass(frozen=True, slots=True)
class Script:
    """Calls as text around the JSON of their arguments: `before`, a call, `between`, a call, ..., `after`.

    One call is head, name, middle, arguments, tail. Without `between`, an answer has only one.
    """

    head: str
    middle: str
    tail: str
    before: str = ""
    between: str | None = None
    after: str = ""

    def around(self, name: str) -> tuple[str, str]:
        """What comes before and after the arguments of a call to this tool."""
        return self.head + name + self.middle, self.tail


Reader = Callable[[str, Toolbox], Sequence[ToolCall]]
"""The calls in the text between the tags of one, without ids; none when it is no call."""


@dataclass(frozen=True, slots=True)
class CallFormat:
    marks: tuple[str, ...]  # all of them stand in the chat templates of such models
    call: Tags  # around a call; without a closing one it lasts until the next begins, or to the end
    read: Reader
    script: Script  # by which calls are forced
    section: Tags | None = None  # around all calls together; models forget it at times
    inner: tuple[str, ...] = ()  # other special tokens that calls are written with
    bare: bool = False  # an answer that is nothing but JSON may be a call, too
    call_id: Callable[[str, int], str] | None = None  # from a tool's name and the call's number in the whole chat

    @property
    def tags(self) -> tuple[str, ...]:
        around = (self.section.opening, self.section.closing) if self.section else ()
        return tuple(tag for tag in (*around, self.call.opening, self.call.closing, *self.inner) if tag)

"""Splitter: tells thinking, content and tool calls apart while an answer streams in.

However the text is cut into pieces, the joined result is the same: what may still become a tag is held back.
"""

from collections.abc import Callable, Sequence

from ktd.daemon.chat.calls import read_call
from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.style import THINK, TOOL_CALL, TOOL_CALLS, Style


class Splitter:
    """Feed it text, then `finish` it. `thinking`: the prompt already opened the thinking tag."""

    def __init__(self, style: Style, thinking: bool, tools: bool) -> None:
        self._tools = (TOOL_CALLS.opening,) if tools and style.calls_tools else ()
        self._held = ""
        self._final = False
        self._trim = thinking  # drop blanks before the next text
        self._called = 0
        self._out: list[Piece] = []
        if thinking:
            self._step: Callable[[], bool] = self._thinking
        else:
            self._step = self._start if style.thinks else self._content

    def feed(self, text: str) -> Sequence[Piece]:
        self._held += text
        return self._run()

    def finish(self) -> Sequence[Piece]:
        """What was still held back."""
        self._final = True
        return self._run()

    def _run(self) -> Sequence[Piece]:
        self._out = []
        while self._step():
            pass
        return self._out

    def _enter(self, step: Callable[[], bool]) -> bool:
        self._step = step
        return True

    def _start(self) -> bool:
        """Thinking begins with its tag, at the very beginning and nowhere else."""
        text = self._held.lstrip()
        if text.startswith(THINK.opening):
            self._held = text.removeprefix(THINK.opening)
            self._trim = True
            return self._enter(self._thinking)
        if THINK.opening.startswith(text) and not self._final:
            return False
        return self._enter(self._content)

    def _thinking(self) -> bool:
        text, tag = self._until(THINK.closing, *self._tools)
        kept = text.rstrip()
        if tag is None and not self._final:
            self._held = text[len(kept) :] + self._held  # blanks before the closing tag are not part of the thought
        self._emit(thinking=kept)
        if tag is None:
            return False
        self._trim = True
        return self._enter(self._content if tag == THINK.closing else self._calls)

    def _content(self) -> bool:
        text, tag = self._until(*self._tools)
        self._emit(content=text)
        return tag is not None and self._enter(self._calls)

    def _calls(self) -> bool:
        _, tag = self._until(TOOL_CALL.opening, TOOL_CALLS.closing)
        if tag is None:
            return False
        self._trim = True
        return self._enter(self._call if tag == TOOL_CALL.opening else self._content)

    def _call(self) -> bool:
        """One call, held back until it is whole; what is no call after all is content, so that nothing is lost."""
        ends = (TOOL_CALL.closing, TOOL_CALLS.closing)
        if not self._final and not any(end in self._held for end in ends):
            return False
        text, tag = self._until(*ends)
        if call := read_call(text, self._called):
            self._called += 1
            self._out.append(Piece(calls=(call,)))
        else:
            self._out.append(Piece(content=TOOL_CALL.opening + text + (tag or "")))
        return tag is not None and self._enter(self._calls if tag == TOOL_CALL.closing else self._content)

    def _until(self, *tags: str) -> tuple[str, str | None]:
        """Take the held text up to the first of the tags, and that tag; or all that cannot be part of a tag."""
        if self._trim:
            self._held = self._held.lstrip()
        found = [(at, tag) for tag in tags if (at := self._held.find(tag)) >= 0]
        if found:
            at, tag = min(found)
            text, self._held = self._held[:at], self._held[at + len(tag) :]
        else:
            tag = None
            at = len(self._held) - (0 if self._final else _overlap(self._held, tags))
            text, self._held = self._held[:at], self._held[at:]
        self._trim = self._trim and not text
        return text, tag

    def _emit(self, content: str = "", thinking: str = "") -> None:
        if content or thinking:
            self._out.append(Piece(content, thinking))


def _overlap(text: str, tags: tuple[str, ...]) -> int:
    """How many characters at the end of the text may be the beginning of a tag."""
    longest = max(map(len, tags), default=1) - 1
    sizes = range(min(longest, len(text)), 0, -1)
    return next((size for size in sizes if any(tag.startswith(text[-size:]) for tag in tags)), 0)

"""HarmonySplitter: reads answers that are messages with channels, as gpt-oss writes them."""

import re

from ktd.daemon.chat import call_json
from ktd.daemon.chat.formats.harmony import CALL, CHANNEL, END, MESSAGE, RETURN, START
from ktd.daemon.chat.splitter import Splitter
from ktd.daemon.chat.toolbox import Toolbox

_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([^\s<]+)")
_HEADER = re.compile(r"<\|(?:start|channel)\|>")
_THOUGHT = re.compile(r"<\|channel\|>\s*analysis\b")


class HarmonySplitter(Splitter):
    """`prompt` is what the prompt says of the answer already: a header, or a header and the text behind it."""

    def __init__(self, prompt: str = "", toolbox: Toolbox | None = None) -> None:
        super().__init__(self._between)
        self._toolbox = toolbox
        self._header = ""
        header, message, _ = prompt.rpartition(START)[2].rpartition(MESSAGE)
        if message:
            self._open(header)

    def _between(self) -> bool:
        """A message begins with its header. Text without one is content."""
        begins = self._held.begins(START, CHANNEL, "to=")
        if begins is None:
            return False
        self._state = self._reading_header if begins else self._text
        return True

    def _reading_header(self) -> bool:
        if (found := self._held.whole(MESSAGE)) is None:
            return False
        text, tag = found
        if tag is None:  # a header that nothing follows says nothing to anyone
            self._out.content(_HEADER.split(text)[0])
            return False
        self._open(text)
        return True

    def _open(self, header: str) -> None:
        self._header = header
        self._state = self._call if self._toolbox and _RECIPIENT.search(header) else self._text

    def _text(self) -> bool:
        text, tag = self._held.until(END, RETURN, CALL, START, CHANNEL)
        say = self._out.thinking if _THOUGHT.search(self._header) else self._out.content
        say(text)
        return self._behind(tag)

    def _call(self) -> bool:
        """Arguments are held back until they are whole. What is no call after all is content."""
        if (found := self._held.whole(END, RETURN, CALL, START, CHANNEL)) is None:
            return False
        text, tag = found
        named = _RECIPIENT.search(self._header)
        calls = call_json.calls(named[1], text) if named else []
        self._out.calls(calls)
        self._out.content("" if calls else text)
        return self._behind(tag)

    def _behind(self, tag: str | None) -> bool:
        if tag is None:
            return False
        if tag in (START, CHANNEL):
            self._held.text = tag + self._held.text
        self._header, self._state = "", self._between
        return True

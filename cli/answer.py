"""Writing one streamed answer to the terminal or to a pipe."""

import os
import shutil
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from ktd.cli import human
from ktd.cli.client import Client, Interrupted, Record
from ktd.cli.screen import printable, say
from ktd.cli.waiting import Waiting
from ktd.cli.wrap import WordWrap

GREY, PLAIN = "\x1b[90m", "\x1b[0m"
OPENING, CLOSING = "Thinking...", "...done thinking."
NANOSECOND = 1e-9


@dataclass
class Style:
    """How an answer is shown."""

    hide_thinking: bool = False
    word_wrap: bool = True
    verbose: bool = False


class Writer:
    """Puts thinking between its two lines, grey on a terminal, and the answer after it."""

    def __init__(self, style: Style) -> None:
        self._terminal = sys.stdout.isatty()
        self._style = style
        self._color = self._terminal and not os.environ.get("NO_COLOR")
        self._write = wrapped() if self._terminal and style.word_wrap else sys.stdout.write
        self._thinking = False
        self._line_open = False

    def feed(self, thinking: str, content: str) -> None:
        if thinking and not self._style.hide_thinking:
            self._think(printable(thinking, sys.stdout))
        if content:
            self._stop_thinking()
            self._text(printable(content, sys.stdout))
        sys.stdout.flush()

    def end(self) -> None:
        """Close what is open; an answer always ends its line."""
        self._stop_thinking()
        if self._line_open:
            self._text("\n")
        sys.stdout.flush()

    def _think(self, text: str) -> None:
        if not self._thinking:
            self._thinking = True
            self._paint(GREY)
            self._text(OPENING + "\n")
            text = text.lstrip("\n")
        self._text(text)

    def _stop_thinking(self) -> None:
        if not self._thinking:
            return
        self._thinking = False
        self._text(("\n" if self._line_open else "") + CLOSING)
        self._paint(PLAIN)
        self._text("\n\n")

    def _text(self, text: str) -> None:
        if text:
            self._write(text)
            self._line_open = not text.endswith("\n")

    def _paint(self, code: str) -> None:
        if self._color:
            sys.stdout.write(code)


def wrapped() -> Callable[[str], object]:
    return WordWrap(sys.stdout.write, shutil.get_terminal_size().columns).write


async def show(client: Client, request: Record, style: Style) -> str:
    """Stream a chat request to stdout and return the answer's text, without the thinking.

    Raises what Client.stream raises, and Interrupted when the stream ends before the answer does.
    """
    writer, parts = Writer(style), list[str]()
    async with Waiting(client) as waiting, aclosing(client.stream("/api/chat", request)) as records:
        try:
            last = await _write(records, writer, waiting, parts)
        finally:
            waiting.end()
            writer.end()
    if style.verbose:
        say("\n" + timings(last), err=True)
    return "".join(parts)


async def _write(records: AsyncGenerator[Record], writer: Writer, waiting: Waiting, parts: list[str]) -> Record:
    async for record in records:
        waiting.end()
        message = record.get("message") or {}
        parts.append(message.get("content") or "")
        writer.feed(message.get("thinking") or "", parts[-1])
        if record.get("done"):
            return record
    raise Interrupted("the daemon ended before the answer did")


def timings(last: Record) -> str:
    """What the last record of an answer says about time, a line each."""
    rows = [("total duration", human.nanoseconds(last.get("total_duration", 0)))]
    rows.append(("load duration", human.nanoseconds(last.get("load_duration", 0))))
    for name in ("prompt_eval", "eval"):
        tokens, duration = last.get(f"{name}_count", 0), last.get(f"{name}_duration", 0)
        title = name.replace("_", " ")
        rows.append((f"{title} count", f"{tokens} token(s)"))
        rows.append((f"{title} duration", human.nanoseconds(duration)))
        rows.append((f"{title} rate", f"{tokens / (duration * NANOSECOND):.2f} tokens/s" if duration else "-"))
    return "\n".join(f"{title + ':':22}{value}" for title, value in rows)

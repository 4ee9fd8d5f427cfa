"""What reaches the terminal: text of models and files may hold anything, and some of it talks to terminals."""

import sys
from typing import TextIO

# All that would move the cursor, change a title or colour, or end a line in another way than a newline.
_CONTROLS = {code: None for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\n\t"}


def printable(text: str, stream: TextIO) -> str:
    """`text` as it may be written to this stream: whole into a pipe, without control characters on a terminal."""
    return text.translate(_CONTROLS) if stream.isatty() else text


def say(text: str = "", *, err: bool = False) -> None:
    """A line to stdout or stderr."""
    stream = sys.stderr if err else sys.stdout
    stream.write(printable(text, stream) + "\n")
    stream.flush()

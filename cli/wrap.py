"""Breaking a streamed answer at words while it is being written."""

from collections.abc import Callable
from unicodedata import combining, east_asian_width

TAB = " " * 4


class WordWrap:
    """Passes text on at once. A word that reaches the edge is taken back and begun again on a new line."""

    def __init__(self, write: Callable[[str], object], width: int) -> None:
        self._write = write
        self._edge = width - 1  # a full last column leaves terminals in doubt where the cursor is
        self._column = 0
        self._word = ""

    def write(self, text: str) -> None:
        self._write("".join(self._place(character) for character in text.replace("\t", TAB)))

    def _place(self, character: str) -> str:
        if character == "\n":
            self._column, self._word = 0, ""
            return character
        width = cells(character)
        if character.isspace():
            self._word = ""
            return self._advance(character, width) if self._column + width <= self._edge else self._new_line()
        if width > 1:  # Chinese and Japanese break between any two characters, and behind any word
            self._word = ""
        broken = self._new_line() if self._column + width > self._edge else ""
        if width <= 1:
            self._word += character
        return broken + self._advance(character, width)

    def _advance(self, text: str, width: int) -> str:
        self._column += width
        return text

    def _new_line(self) -> str:
        """Move the word that did not fit, unless it is a whole line by itself."""
        width = sum(map(cells, self._word))
        if not 0 < width < self._column:
            self._column, self._word = 0, ""
            return "\n"
        self._column = width
        return f"\x1b[{width}D\x1b[K\n{self._word}"


def cells(character: str) -> int:
    """Terminal columns of one character."""
    if combining(character) or character in "\u200b\u200d\ufe0f":
        return 0
    return 2 if east_asian_width(character) in "WF" else 1

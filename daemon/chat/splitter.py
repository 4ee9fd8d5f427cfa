"""Splitter: tells thinking, content and tool calls apart while an answer streams in.

However the text is cut into pieces, the joined result is the same: what may still become a tag is held back.
"""

from collections.abc import Callable, Sequence

from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.held import Held
from ktd.daemon.chat.pieces import Out

State = Callable[[], bool]
"""Takes what it can of the held text, and is true when there is a state to go on with."""


class Splitter:
    """Each way of writing answers is a subclass, whose states are its methods."""

    def __init__(self, state: State) -> None:
        self._held, self._out = Held(), Out()
        self._state = state

    def feed(self, text: str) -> Sequence[Piece]:
        self._held.text += text
        while self._state():
            pass
        return self._out.take()

    def finish(self) -> Sequence[Piece]:
        """What was still held back."""
        self._held.ended = True
        return self.feed("")

"""Out: the pieces of an answer as they are found."""

import secrets
import string
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ktd.daemon.chat.chat import Piece, ToolCall

_ID_LETTERS = string.ascii_lowercase + string.digits


class Out:
    """Calls get their ids and numbers here."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._called = 0

    def content(self, text: str) -> None:
        if text:
            self._pieces.append(Piece(content=text))

    def thinking(self, text: str) -> None:
        if text:
            self._pieces.append(Piece(thinking=text))

    def calls(self, calls: Iterable[ToolCall]) -> None:
        for call in calls:
            self._pieces.append(Piece(calls=(replace(call, id=_new_id(), index=self._called),)))
            self._called += 1

    def take(self) -> Sequence[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces


def _new_id() -> str:
    return "call_" + "".join(secrets.choice(_ID_LETTERS) for _ in range(8))

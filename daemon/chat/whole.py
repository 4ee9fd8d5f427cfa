"""Answers in one piece each, for those who do not want them as they grow."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.ending import Ending
from ktd.daemon.chat.together import together

Answer = AsyncGenerator[Piece | Ending, None]


async def whole(answer: Answer) -> tuple[Piece, Ending]:
    """The answer in one piece, and its ending."""
    (found,) = await wholes([answer])
    return found


async def wholes(answers: Sequence[Answer]) -> list[tuple[Piece, Ending]]:
    """All of them, in their order. What one raises ends them all."""
    pieces: list[list[Piece]] = [[] for _ in answers]
    endings: dict[int, Ending] = {}
    async with aclosing(together(answers)) as items:
        async for index, item in items:
            if isinstance(item, Ending):
                endings[index] = item
            else:
                pieces[index].append(item)
    return [(joined(found), endings[index]) for index, found in enumerate(pieces)]


def joined(pieces: Iterable[Piece]) -> Piece:
    pieces = tuple(pieces)
    return Piece(
        content="".join(piece.content for piece in pieces),
        thinking="".join(piece.thinking for piece in pieces),
        calls=tuple(call for piece in pieces for call in piece.calls),
        logprobs=tuple(each for piece in pieces for each in piece.logprobs),
    )

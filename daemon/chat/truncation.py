"""Truncation: a chat that is longer than the context loses its oldest turns."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from ktd.daemon.chat.chat import Chat, Message

Fits = Callable[[Chat], Awaitable[bool]]


async def shortened(chat: Chat, fits: Fits) -> Chat | None:
    """The chat with as little of its oldest turns left out as will do, or None when none of it fits.

    System messages and the last message stay; of tokens of earlier turns, the first stays, which begins the text.
    """
    if chat.before:
        return await _longest(chat, range(1, len(chat.before) + 1), _without, fits)
    return await _longest(chat, beginnings(chat.messages), _from, fits)


async def _longest(chat: Chat, cuts: Sequence[int], cut: Callable[[Chat, int], Chat], fits: Fits) -> Chat | None:
    """The first that fits of chats that are cut ever shorter."""
    low, high = 0, len(cuts)
    while low < high:
        middle = (low + high) // 2
        if await fits(cut(chat, cuts[middle])):
            high = middle
        else:
            low = middle + 1
    return cut(chat, cuts[low]) if low < len(cuts) else None


def beginnings(messages: tuple[Message, ...]) -> list[int]:
    """Where a shorter chat may begin, best first: at a user's message, so that templates find the order they expect;
    within the last turn at an answer, but never at what a tool said to a call that is gone; else at the last message.
    """
    last = len(messages) - 1
    users = [at for at, message in enumerate(messages) if message.role == "user" and at > 0]
    inner = range(max(users, default=0) + 1, last)
    return [*users, *(at for at in inner if messages[at].role not in ("system", "tool")), *({last} - {0, *users})]


def _without(chat: Chat, count: int) -> Chat:
    """The chat without so many of the tokens that come before it."""
    first = chat.before[:1] if count < len(chat.before) else ()
    return replace(chat, before=first + chat.before[count + 1 :])


def _from(chat: Chat, start: int) -> Chat:
    kept = (message for at, message in enumerate(chat.messages) if at >= start or message.role == "system")
    return replace(chat, messages=tuple(kept))

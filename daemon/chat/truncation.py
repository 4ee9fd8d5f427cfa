"""Truncation: a chat that is longer than the context loses its oldest turns."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from ktd.daemon.chat.chat import Chat, Message


async def shortened(chat: Chat, fits: Callable[[Chat], Awaitable[bool]]) -> Chat | None:
    """The chat with as few of its oldest turns left out as will do, or None when none of it fits.

    System messages and the last message stay.
    """
    starts = beginnings(chat.messages)
    low, high = 0, len(starts)
    while low < high:  # the later it starts, the shorter it is
        middle = (low + high) // 2
        if await fits(_from(chat, starts[middle])):
            high = middle
        else:
            low = middle + 1
    return _from(chat, starts[low]) if low < len(starts) else None


def beginnings(messages: tuple[Message, ...]) -> list[int]:
    """Where a shorter chat may begin, best first: at a user's message, so that templates find the order they expect;
    within the last turn at an answer, but never at what a tool said to a call that is gone; else at the last message.
    """
    last = len(messages) - 1
    users = [at for at, message in enumerate(messages) if message.role == "user" and at > 0]
    inner = range(max(users, default=0) + 1, last)
    return [*users, *(at for at in inner if messages[at].role not in ("system", "tool")), *({last} - {0, *users})]


def _from(chat: Chat, start: int) -> Chat:
    kept = (message for at, message in enumerate(chat.messages) if at >= start or message.role == "system")
    return replace(chat, messages=tuple(kept))

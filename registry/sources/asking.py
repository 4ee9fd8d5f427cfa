"""Asking: the hubs' clients block, some for minutes when a hub is dead; nobody here waits for that."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from ktd.registry.errors import AccessDenied, HubUnreachable, NotAtHub, PullError
from ktd.registry.sources.hub import Hub

T = TypeVar("T")
HESITATION = 2.0  # seconds that a hub may be silent before the next one is asked too


async def asked(question: Callable[..., T], *arguments: object) -> T:
    """The answer to a blocking question. Its thread is left behind when the caller goes, and keeps no process alive."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def deliver(give: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(lambda: None if answer.done() else give())

    def ask() -> None:
        try:
            result = question(*arguments)
        except Exception as error:
            failure = error
            deliver(lambda: answer.set_exception(failure))
        else:
            deliver(lambda: answer.set_result(result))

    threading.Thread(target=ask, name="hub", daemon=True).start()
    return await answer


async def first_answer(hubs: Sequence[Hub], ask: Callable[[Hub], Awaitable[T]]) -> T:
    """What the first hub answers that has an answer; each is asked when those before have failed or hesitate.

    Raises the gravest of the hubs' refusals when all fail, and at once what is no matter of a single hub.
    """
    waiting, problems = list(hubs), list[PullError]()
    running = set[asyncio.Task[T]]()
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(ask(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=HESITATION if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                try:
                    return task.result()
                except (NotAtHub, HubUnreachable, AccessDenied) as error:
                    problems.append(error)
    finally:
        for task in running:
            task.cancel()
    kinds = [kind for kind in (AccessDenied, HubUnreachable) if any(isinstance(error, kind) for error in problems)]
    raise (kinds[0] if kinds else NotAtHub)("; ".join(map(str, problems)))

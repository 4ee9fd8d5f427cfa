"""What the terminal shows until the first word comes."""

import asyncio
import contextlib
import sys
import time
from types import TracebackType
from typing import Self

from ktd.cli import human
from ktd.cli.client import Client, CliError, Record

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_TIME = 0.1
ASK_TIME = 1.0
CLEAR = "\r\x1b[K"


class Waiting:
    """A spinner on stderr, with the progress of a model being loaded. Nothing when that is no terminal."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._text = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        if sys.stderr.isatty():
            self._tasks = [asyncio.create_task(self._spin()), asyncio.create_task(self._ask())]
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """Clear the line; more calls do nothing."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()
        self._tasks = []

    async def _spin(self) -> None:
        began = time.monotonic()
        while True:
            frame = FRAMES[int((time.monotonic() - began) / FRAME_TIME) % len(FRAMES)]
            sys.stderr.write(f"{CLEAR}{frame} {self._text}")
            sys.stderr.flush()
            await asyncio.sleep(FRAME_TIME)

    async def _ask(self) -> None:
        with contextlib.suppress(CliError):  # whatever is wrong, the request that is waited for will say it
            while True:
                await asyncio.sleep(ASK_TIME)
                self._text = loading(await self._client.models("/api/ps"))


def loading(models: list[Record]) -> str:
    """The load in progress, if any: `loading demo:latest: 1.2 GB of 140 GB`."""
    for model in models:
        if progress := model.get("loading"):
            done, total = human.size(progress["completed"]), human.size(progress["total"])
            return f"loading {model['name']}: {done} of {total}"
    return ""

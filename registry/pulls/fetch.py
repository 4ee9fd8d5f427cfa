"""Fetch: one file from a hub into the blobs, going on where the last attempt ended."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from ktd.registry.errors import BadDownload
from ktd.registry.pulls.limits import Limits, Pace, Slots
from ktd.registry.pulls.partial import Partial, Stopped
from ktd.registry.pulls.relay import Line, Progress, Relay, Source
from ktd.registry.pulls.stage import Stage


class Fetch:
    """The means of all transfers of one daemon; `threads` do what blocks."""

    def __init__(self, limits: Limits, threads: Executor, stage: Stage) -> None:
        self.limits = limits
        self._stage = stage
        self._line = Line(limits, threads)
        self._files = Slots(lambda: limits.connections)

    @property
    def pace(self) -> Pace:
        return self._line.pace

    async def file(self, source: Source, progress: Progress) -> Partial:
        """A complete and proved partial file, still open.

        Raises `PullError`. Whatever stops it, cancellation included, what has arrived stays for the next time.
        """
        async with self._files:
            partial = self._stage.open(source.file.digest, source.file.size)
            try:
                await self._work(lambda stopped: partial.catch_up(progress, stopped))
                return await self._proved(source, partial, progress)
            except BaseException:
                partial.__exit__(None, None, None)
                raise

    async def _proved(self, source: Source, partial: Partial, progress: Progress) -> Partial:
        for _ in range(2):  # a bad digest is given one more chance, from the first byte
            await Relay(self._line, source, partial, progress).run()
            await self._work(partial.finish)
            got = partial.digest
            if got == source.file.digest:
                return partial
            partial.restart()
        raise BadDownload(
            f"digest mismatch, file must be downloaded again: want sha256:{source.file.digest}, "
            f"got sha256:{got} ({source.file.path}, twice from {source.hub.label})"
        )

    async def _work(self, read: Callable[[Stopped], None]) -> None:
        """Read what is here, in a thread that ends early when the pull is cancelled."""
        left = False
        work = asyncio.get_running_loop().run_in_executor(self._line.threads, read, lambda: left)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            left = True
            await asyncio.wait([work])
            raise

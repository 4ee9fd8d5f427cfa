"""Fetch: one file from a hub into the blobs, going on where the last attempt ended."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from ktd.registry.disk import is_full
from ktd.registry.errors import BadDownload, HubUnreachable, NoSpace, PullError
from ktd.registry.pulls.limits import Limits, Pace
from ktd.registry.pulls.partial import Partial
from ktd.registry.sources.hub import Hub, HubFile, Listing
from ktd.registry.sources.transfer import Broken, RangeRefused, Transfer

GATHERED = 1 << 20  # bytes handed to the disk at a time
LONGEST_PAUSE = 30.0

Progress = Callable[[int], None]  # bytes of the file that are here


class Fetch:
    """The means of all transfers of one daemon; `threads` do what blocks."""

    def __init__(self, limits: Limits, threads: Executor) -> None:
        self.limits = limits
        self._threads = threads
        self._pace = Pace(limits.rate)
        self._slots = asyncio.Semaphore(limits.connections)

    async def file(
        self, hub: Hub, transfer: Transfer, listing: Listing, file: HubFile, staged: Path, progress: Progress
    ) -> Partial:
        """A complete and proved partial file, still open.

        Raises `PullError`. Whatever stops it, cancellation included, what has arrived stays for the next time.
        """
        async with self._slots:
            partial = Partial(staged, file.size)
            try:
                await self._catch_up(partial, progress)
                for _ in range(2):  # a bad digest is given one more chance, from the first byte
                    await self._complete(hub, transfer, listing, file, partial, progress)
                    got = partial.digest
                    if got == file.sha256:
                        return partial
                    partial.restart()
                raise BadDownload(
                    f"digest mismatch, file must be downloaded again: want sha256:{file.sha256}, "
                    f"got sha256:{got} ({file.path}, twice from {hub.label})"
                )
            except BaseException:
                partial.__exit__(None, None, None)
                raise

    async def _catch_up(self, partial: Partial, progress: Progress) -> None:
        """Hash what is here already, in a thread that ends early when the pull is cancelled."""
        left = False
        work = asyncio.get_running_loop().run_in_executor(self._threads, partial.catch_up, progress, lambda: left)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            left = True
            await asyncio.wait([work])
            raise

    async def _complete(
        self, hub: Hub, transfer: Transfer, listing: Listing, file: HubFile, partial: Partial, progress: Progress
    ) -> None:
        """Fetch what is missing, in as many attempts as bring something."""
        idle = 0
        while not partial.complete:
            before = partial.received
            try:
                await self._attempt(hub, transfer, listing, file, partial, progress)
            except RangeRefused:
                partial.restart()
                idle += 1
                problem = Broken("the hub has no bytes from that offset on")
            except Broken as error:
                problem = error
                idle = 1 if partial.received > before else idle + 1
            else:
                continue
            if idle >= self.limits.attempts:
                raise HubUnreachable(f"{hub.label} broke off {idle} times in a row for {file.path}: {problem}")
            await asyncio.sleep(max(problem.wait, min(self.limits.first_wait * 2 ** (idle - 1), LONGEST_PAUSE)))

    async def _attempt(
        self, hub: Hub, transfer: Transfer, listing: Listing, file: HubFile, partial: Partial, progress: Progress
    ) -> None:
        loop = asyncio.get_running_loop()
        address = await loop.run_in_executor(self._threads, hub.address, listing, file)
        async with transfer.open(address, file, partial.received) as opened:
            if opened.offset != partial.received:
                partial.restart()
            waiting = bytearray()
            try:
                async for chunk in opened.chunks:
                    waiting += chunk
                    await self._pace.spend(len(chunk))
                    if len(waiting) >= GATHERED:
                        ready, waiting = waiting, bytearray()
                        await self._write(partial, ready, progress)
            finally:
                if waiting:
                    await self._write(partial, waiting, progress)
        if not partial.complete:
            raise Broken(f"the connection ended after {partial.received} of {file.size} bytes")

    async def _write(self, partial: Partial, data: bytearray, progress: Progress) -> None:
        work = asyncio.get_running_loop().run_in_executor(self._threads, partial.write, bytes(data))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])  # nobody else may write meanwhile
            raise
        except OSError as error:
            raise disk_error(error, partial.path) from error
        finally:
            progress(partial.received)


def disk_error(error: OSError, path: Path) -> PullError:
    if is_full(error):
        return NoSpace(f"the disk with {path.parent} is full; free some space and pull again, nothing is lost")
    return PullError(f"{path} cannot be written: {error.strerror}")

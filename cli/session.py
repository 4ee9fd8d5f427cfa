"""Reaching the daemon: find it, or have one for the length of a command."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from ktd.cli import settings
from ktd.cli.client import Client, CliError, Unreachable
from ktd.cli.daemon_process import DaemonProcess
from ktd.cli.screen import say

START_LIMIT = 120.0  # seconds for a daemon to answer; a cold disk reads many Python files
POLL = 0.05
STOPPED = 130  # what shells report for a command ended by Ctrl-C


def run(command: Callable[[Client], Coroutine[None, None, None]], *, start: bool = True) -> None:
    """Run a command with a client; when no daemon answers and `start`, with a daemon of its own.

    Ctrl-C ends it with status 130 after the daemon it started has gone.
    """
    try:
        asyncio.run(_session(command, start))
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except BrokenPipeError:
        raise  # whoever read the output has enough: click ends the command quietly
    except OSError as error:
        raise CliError(f"the output could not be written: {error.strerror or error}") from None


async def _session(command: Callable[[Client], Coroutine[None, None, None]], start: bool) -> None:
    async with connected(start) as client:
        await command(client)


@asynccontextmanager
async def connected(start: bool) -> AsyncIterator[Client]:
    """A client of a daemon that answers. Raises Unreachable when there is none and none may be started."""
    try:
        url = settings.base_url()
    except ValueError as error:
        raise CliError(str(error)) from None
    async with Client(url, settings.home()) as client:
        if await client.answers():
            yield client
            return
        if not (start and settings.is_local(url)):
            raise Unreachable(f"no daemon answers at {url}; `ktd serve` starts one")
        async with _own_daemon(client):
            yield client


@asynccontextmanager
async def _own_daemon(client: Client) -> AsyncIterator[None]:
    daemon = DaemonProcess.start(settings.home())
    try:
        await _wait_for(client, daemon)
        yield
    finally:
        await asyncio.shield(daemon.stop())


async def _wait_for(client: Client, daemon: DaemonProcess) -> None:
    limit = time.monotonic() + START_LIMIT
    while not await client.answers():
        if daemon.ended:
            raise CliError(f"a daemon could not be started:\n{daemon.last_words()}")
        if time.monotonic() > limit:
            raise CliError(f"the daemon does not answer after {START_LIMIT:.0f} s:\n{daemon.last_words()}")
        await asyncio.sleep(POLL)
    if not daemon.ended:  # else another command's daemon won the race for the port, and serves both
        say(
            f"no daemon at {client.url}: started one for this command; `ktd serve` keeps one running",
            err=True,
        )

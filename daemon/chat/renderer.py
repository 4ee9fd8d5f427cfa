"""Renderer: the daemon's side of the processes that render chat templates."""

import asyncio
import json
import signal
import sys
from contextlib import suppress
from typing import Any

from ktd.daemon.chat.render_frames import HEADER, SECONDS, pack
from ktd.daemon.errors import TemplateFailed

MOST_KEPT = 4  # processes that wait for their next render


class Renderer:
    """A process for each template, so that a slow one keeps nobody waiting but those who use it.

    They start at the first render, and end by themselves when they have been idle for a while.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}  # by template, the one used last at the end

    async def render(self, template: str, variables: dict[str, Any]) -> str:
        """The prompt's text. Raises TemplateFailed."""
        lane = self._lanes.pop(template) if template in self._lanes else _Lane()
        self._lanes[template] = lane
        try:
            reply = await lane.ask(pack({"template": template, "variables": variables}))
        finally:
            await self._let_go()
        if "error" in reply:
            raise TemplateFailed(f"the model's chat template failed: {reply['error']}")
        text: str = reply["text"]
        return text

    async def close(self) -> None:
        for lane in self._lanes.values():
            await lane.close()

    async def _let_go(self) -> None:
        """End the processes that have waited longest, if there are too many."""
        idle = [template for template, lane in self._lanes.items() if not lane.busy]
        for template in idle[: max(0, len(self._lanes) - MOST_KEPT)]:
            await self._lanes.pop(template).close()


class _Lane:
    """One process, and those who wait for it. It starts anew after its template has killed it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._asking = 0

    @property
    def busy(self) -> bool:
        return self._asking > 0

    async def ask(self, request: bytes) -> dict[str, str]:
        """Raises TemplateFailed."""
        self._asking += 1
        try:
            async with self._turn:
                reply = await self._answer(request) or await self._answer(request)
        finally:
            self._asking -= 1
        if reply is None:
            raise _failure(0)
        return reply

    async def close(self) -> None:
        async with self._turn:
            if self._process is not None:
                await self._kill()

    async def _answer(self, request: bytes) -> dict[str, str] | None:
        """None when the process had just ended by itself. Raises TemplateFailed."""
        process = await self._running()
        try:
            return await _exchange(process, request)
        except (asyncio.IncompleteReadError, OSError) as error:
            if (code := await self._ended()) == 0:
                return None
            raise _failure(code) from error
        except BaseException:
            await self._kill()  # it would answer the next request with this one's text
            raise

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is not None:
            await self._ended()  # it has been idle for long
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "ktd.daemon.chat.render_process"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                process_group=0,  # Ctrl-C is for the daemon alone
            )
        return self._process

    async def _kill(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._ended()

    async def _ended(self) -> int:
        """The exit code of a process that ends."""
        process, self._process = self._process, None
        assert process is not None and process.stdin is not None
        process.stdin.close()
        return await process.wait()


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> dict[str, str]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(request)
    await process.stdin.drain()
    (length,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
    reply: dict[str, str] = json.loads(await process.stdout.readexactly(length))
    return reply


def _failure(code: int) -> TemplateFailed:
    if code == -signal.SIGPROF:
        return TemplateFailed(f"the model's chat template failed: it ran longer than {SECONDS:g} seconds")
    return TemplateFailed(f"the model's chat template failed: its process ended with code {code}")

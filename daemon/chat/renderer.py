"""Renderer: the daemon's side of the process that renders chat templates."""

import asyncio
import json
import signal
import sys
from contextlib import suppress
from typing import Any

from ktd.daemon.chat.render_process import HEADER, SECONDS, pack
from ktd.daemon.errors import TemplateFailed


class Renderer:
    """Starts its process at the first render and anew after a template has killed it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def render(self, template: str, variables: dict[str, Any]) -> str:
        """The prompt's text. Raises TemplateFailed."""
        request = pack({"template": template, "variables": variables})
        async with self._turn:
            process = await self._running()
            try:
                reply = await _exchange(process, request)
            except (asyncio.IncompleteReadError, OSError) as error:
                raise TemplateFailed(_last_words(await self._ended())) from error
            except BaseException:
                await self._kill()  # it would answer the next request with this one's text
                raise
        if "error" in reply:
            raise TemplateFailed(f"the model's chat template failed: {reply['error']}")
        text: str = reply["text"]
        return text

    async def close(self) -> None:
        async with self._turn:
            if self._process is not None:
                await self._kill()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is not None:
            await self._ended()  # something else ended it while it was idle
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


def _last_words(code: int) -> str:
    if code == -signal.SIGPROF:
        return f"the model's chat template failed: it ran longer than {SECONDS:g} seconds"
    return f"the model's chat template failed: its process ended with code {code}"

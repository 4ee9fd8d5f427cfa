"""The command line's side of the daemon's HTTP API.

CliError(ClickException)    printed as `Error: ...`, exit status 1
├── Unreachable             nothing answers at the address, or something that is not HTTP
├── Refused                 the daemon answered with an error: status and its text
│   └── NotFound            404: no such model
└── Interrupted             the connection or the answer ended in the middle
"""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import click

from ktd.cli.screen import say

Record = dict[str, Any]
MAX_LINE = 64 << 20
# Loading a model can take many minutes before the first byte: only connecting is timed.
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10)
ASK_TIMEOUT = aiohttp.ClientTimeout(total=30)
KEY_HEADER = "X-Ktd-Local-Key"


class CliError(click.ClickException):
    """What the user is told: `Error: ...` on stderr, exit status 1."""

    def show(self, file: object = None) -> None:
        say(f"Error: {self.format_message()}", err=True)


class Unreachable(CliError):
    pass


class Refused(CliError):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotFound(Refused):
    pass


class Interrupted(CliError):
    pass


class Client:
    """One connection pool to the daemon at `url`. Use it as an async context manager."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self._home = home
        key = os.environ.get("KTD_ADMIN_KEY") or os.environ.get("KTD_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._session = aiohttp.ClientSession(timeout=TIMEOUT, read_bufsize=1 << 16, headers=headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._session.close()

    async def answers(self) -> bool:
        """Whether a ktd daemon listens at the address. Raises Unreachable when something else does."""
        try:
            async with self._session.get(f"{self.url}/api/version", timeout=ASK_TIMEOUT) as reply:
                found = _object(await reply.text())
        except aiohttp.ClientConnectorError:
            return False
        except TimeoutError:
            raise Unreachable(f"what listens at {self.url} has not answered for {ASK_TIMEOUT.total} s") from None
        except (aiohttp.ClientError, ValueError, Interrupted):
            found = {}
        if "ktd" in found:
            return True
        program = "Ollama" if "version" in found else "something else"
        raise Unreachable(f"{program} listens at {self.url}; give ktd another address: KTD_HOST=127.0.0.1:11435")

    async def request(self, method: str, path: str, body: Record | None = None, *, local: bool = False) -> Record:
        """One call with a JSON reply (or none). `local` proves to be the daemon's own user.

        Raises Refused, NotFound, Unreachable, Interrupted.
        """
        async with self._reply(method, path, body, local) as reply:
            text = await reply.text()
        return _object(text) if text else {}

    async def stream(self, path: str, body: Record, *, local: bool = False) -> AsyncGenerator[Record]:
        """The NDJSON lines of a POST; an error line is raised. Raises what `request` raises."""
        async with self._reply("POST", path, body, local) as reply, aclosing(_lines(reply)) as lines:
            async for line in lines:
                record = _object(line)
                if error := record.get("error"):
                    raise Refused(reply.status, str(error))
                yield record

    async def show(self, model: str, *, verbose: bool = False) -> Record:
        return await self.request("POST", "/api/show", {"model": model, "verbose": verbose})

    async def models(self, path: str) -> list[Record]:
        """The list of /api/tags (models on disk) or /api/ps (loaded ones)."""
        return list((await self.request("GET", path)).get("models") or [])

    async def files(self, model: str) -> list[str]:
        """Where the GGUF shards of a model are, in order."""
        return list((await self.request("GET", f"/api/files?model={quote(model, safe='')}", local=True))["files"])

    @asynccontextmanager
    async def _reply(
        self, method: str, path: str, body: Record | None, local: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {KEY_HEADER: self._local_key()} if local else {}
        try:
            async with self._session.request(method, self.url + path, json=body, headers=headers) as reply:
                if reply.status >= 400:
                    raise _refusal(reply.status, await reply.text())
                yield reply
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"no daemon answers at {self.url}: {error.strerror or error}") from None
        except aiohttp.ClientPayloadError:
            raise Interrupted(f"the daemon at {self.url} ended in the middle of its answer") from None
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise Interrupted(f"the daemon at {self.url} broke off: {error or type(error).__name__}") from None

    def _local_key(self) -> str:
        path = self._home / "local.key"
        try:
            return path.read_text().strip()
        except OSError as error:
            raise CliError(
                f"cannot read {path} ({error.strerror}): this needs the user and the KTD_HOME of the daemon"
            ) from None


async def _lines(reply: aiohttp.ClientResponse) -> AsyncGenerator[str]:
    """Whole lines of a body; a verbose answer can make one longer than aiohttp's own line limit."""
    rest = b""
    async for chunk in reply.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            raise Interrupted(f"the daemon sent a line of more than {MAX_LINE >> 20} MiB")
        for line in whole:
            if line.strip():
                yield line.decode(errors="replace")
    if rest.strip():
        yield rest.decode(errors="replace")


def _object(text: str) -> Record:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Interrupted(f"the daemon sent what is not a JSON object: {text[:200]}")
    return value


def _refusal(status: int, text: str) -> Refused:
    """An error reply's own text; not every 4xx has a body (403), and not every body is JSON (404 page)."""
    try:
        message = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        message = text.strip()
    message = str(message) or f"the daemon refused the request (HTTP {status})"
    return NotFound(status, message) if status == 404 else Refused(status, message)

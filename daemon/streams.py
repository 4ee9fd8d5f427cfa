"""Streams: records written as NDJSON or server-sent events, no faster than the client reads them.

The reply begins with the first record, so that what fails before it still gets its own status. When the client goes
away the records' generator is closed, and with it whatever makes them.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec
from aiohttp import ClientConnectionResetError, web

from ktd.daemon.errors import Failure, failure_of

PULSE = 10.0  # seconds of silence before a sign of life: a long prompt takes minutes, and proxies cut what is silent
COMMENT = b": \n\n"  # readers of server-sent events pass over it


class Event(msgspec.Struct, tag=True):
    """A record with a tag, which is the event's name."""


Records = AsyncGenerator[msgspec.Struct, None]


@dataclass(frozen=True, slots=True)
class Form:
    """How records stand in the stream, how an error in its middle does, and what is a sign of life."""

    content_type: str
    frame: Callable[[msgspec.Struct], bytes]
    error: Callable[[Failure], msgspec.Struct]
    pulse: Callable[[], bytes] | None = None
    end: bytes = b""


async def stream(request: web.Request, records: Records, form: Form) -> web.StreamResponse:
    reply = _Reply(request, form.content_type)
    try:
        async with aclosing(records), reply.living(form.pulse):
            async for record in records:
                await reply.write(form.frame(record))
        await reply.write(form.end)
    except ClientConnectionResetError:
        pass  # the client has gone, and the generator is closed: nothing is left to tell anyone
    except Exception as error:
        if not reply.response.prepared:
            raise
        with suppress(ClientConnectionResetError):
            await reply.write(form.frame(form.error(failure_of(error))))
    return reply.response


class _Reply:
    """It begins with the first bytes."""

    def __init__(self, request: web.Request, content_type: str) -> None:
        self.response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-cache"})
        self._request = request
        self._clock = asyncio.get_running_loop().time
        self._silent_since = self._clock()

    async def write(self, data: bytes) -> None:
        self._silent_since = math.inf
        if not self.response.prepared:
            await self.response.prepare(self._request)
        await self.response.write(data)
        self._silent_since = self._clock()

    @asynccontextmanager
    async def living(self, pulse: Callable[[], bytes] | None) -> AsyncIterator[None]:
        """Write a sign of life whenever nothing else was for PULSE seconds."""
        beating = asyncio.create_task(self._beat(pulse)) if pulse else None
        try:
            yield
        finally:
            if beating is not None:
                beating.cancel()
                await asyncio.wait([beating])

    async def _beat(self, pulse: Callable[[], bytes]) -> None:
        with suppress(ClientConnectionResetError):
            while True:
                silent = max(0.0, self._clock() - self._silent_since)
                await asyncio.sleep(PULSE - silent)
                if self._clock() - self._silent_since >= PULSE:
                    await self.write(pulse())


def ndjson(error: Callable[[Failure], msgspec.Struct], pulse: Callable[[], msgspec.Struct] | None = None) -> Form:
    return Form("application/x-ndjson", _line, error, None if pulse is None else lambda: _line(pulse()))


def events(error: Callable[[Failure], msgspec.Struct]) -> Form:
    return Form("text/event-stream", _data, error, lambda: COMMENT, b"data: [DONE]\n\n")


def named_events(error: Callable[[Failure], Event], pulse: Callable[[], Iterable[Event]]) -> Form:
    """Every event is named by its record's type, and the last one is the end."""
    return Form("text/event-stream", _event, error, lambda: b"".join(map(_event, pulse())))


def _line(record: msgspec.Struct) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def _event(record: msgspec.Struct) -> bytes:
    return f"event: {record.__struct_config__.tag}\n".encode() + _data(record)


def _data(record: msgspec.Struct) -> bytes:
    return b"data: " + msgspec.json.encode(record) + b"\n\n"

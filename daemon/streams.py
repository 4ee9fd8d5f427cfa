"""Streams: records written as NDJSON or server-sent events, no faster than the client reads them.

The reply begins with the first record, so that what fails before it still gets its own status. When the client goes
away the records' generator is closed, and with it whatever makes them.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

import msgspec
from aiohttp import ClientConnectionResetError, web

from ktd.daemon.errors import Failure, failure_of


class Event(msgspec.Struct, tag=True):
    """A record with a tag, which is the event's name."""


Records = AsyncGenerator[msgspec.Struct, None]


@dataclass(frozen=True, slots=True)
class Form:
    """How records stand in the stream, and how an error in its middle does."""

    content_type: str
    frame: Callable[[msgspec.Struct], bytes]
    error: Callable[[Failure], msgspec.Struct]
    end: bytes = b""


async def stream(request: web.Request, records: Records, form: Form) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": form.content_type, "Cache-Control": "no-cache"})
    try:
        async with aclosing(records):
            async for record in records:
                if not response.prepared:
                    await response.prepare(request)
                await response.write(form.frame(record))
        await response.write(form.end)
    except ClientConnectionResetError:
        pass  # the client has gone, and the generator is closed: nothing is left to tell anyone
    except Exception as error:
        if not response.prepared:
            raise
        with suppress(ClientConnectionResetError):
            await response.write(form.frame(form.error(failure_of(error))))
    return response


def ndjson(error: Callable[[Failure], msgspec.Struct]) -> Form:
    return Form("application/x-ndjson", lambda record: msgspec.json.encode(record) + b"\n", error)


def events(error: Callable[[Failure], msgspec.Struct]) -> Form:
    return Form("text/event-stream", _data, error, b"data: [DONE]\n\n")


def named_events(error: Callable[[Failure], Event]) -> Form:
    """Every event is named by its record's type, and the last one is the end."""
    return Form("text/event-stream", _event, error)


def _event(record: msgspec.Struct) -> bytes:
    return f"event: {record.__struct_config__.tag}\n".encode() + _data(record)


def _data(record: msgspec.Struct) -> bytes:
    return b"data: " + msgspec.json.encode(record) + b"\n\n"

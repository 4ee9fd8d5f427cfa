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

Records = AsyncGenerator[msgspec.Struct, None]


@dataclass(frozen=True, slots=True)
class Form:
    """How records stand in the stream, and how an error in its middle does."""

    content_type: str
    frame: Callable[[bytes], bytes]
    error: Callable[[Failure], msgspec.Struct]
    end: bytes = b""


async def stream(request: web.Request, records: Records, form: Form) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": form.content_type, "Cache-Control": "no-cache"})
    try:
        async with aclosing(records):
            async for record in records:
                if not response.prepared:
                    await response.prepare(request)
                await response.write(form.frame(msgspec.json.encode(record)))
        await response.write(form.end)
    except ClientConnectionResetError:
        pass  # the client has gone, and the generator is closed: nothing is left to tell anyone
    except Exception as error:
        if not response.prepared:
            raise
        with suppress(ClientConnectionResetError):
            await response.write(form.frame(msgspec.json.encode(form.error(failure_of(error)))))
    return response


def ndjson(error: Callable[[Failure], msgspec.Struct]) -> Form:
    return Form("application/x-ndjson", lambda body: body + b"\n", error)


def events(error: Callable[[Failure], msgspec.Struct]) -> Form:
    return Form("text/event-stream", lambda body: b"data: " + body + b"\n\n", error, b"data: [DONE]\n\n")

"""Channel: one end of the socket between daemon and worker."""

import asyncio
import socket
from collections.abc import Callable
from typing import Generic

import msgspec

from ktd.engine.frames import FrameError, Frames, Record, encode


class Channel(asyncio.Protocol, Generic[Record]):
    """Hands each record to `take` as it comes, and calls `ended` once, with what was wrong if something was.

    A protocol rather than a pair of streams: a token costs the daemon half as much without their tasks and futures.
    """

    def __init__(
        self,
        decoder: msgspec.msgpack.Decoder[Record],
        take: Callable[[Record], None],
        ended: Callable[[Exception | None], None],
    ) -> None:
        self._frames = Frames(decoder)
        self._take = take
        self._ended: Callable[[Exception | None], None] | None = ended
        self._transport: asyncio.Transport | None = None

    async def open(self, end: socket.socket) -> None:
        """The socket is the channel's from here on."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=end)

    def send(self, record: msgspec.Struct) -> None:
        """Raises FrameError."""
        self.write(encode(record))

    def write(self, frames: bytes) -> None:
        """Whole frames; lost when the other end is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames)

    def close(self) -> None:
        """When all has been sent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for record in self._frames.feed(data):
                self._take(record)
        except FrameError as error:
            self._end(error)
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        try:
            self._frames.finish()
        except FrameError as broken:
            error = error or broken
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(error)

"""Frames: one record each, a little-endian u32 length and a msgpack body."""

import struct
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from ktd.engine.messages import MAX_FRAME

Record = TypeVar("Record")

_LENGTH = struct.Struct("<I")
HEADER = _LENGTH.size  # bytes
_ENCODER = msgspec.msgpack.Encoder()


class FrameError(ValueError):
    """A frame is longer than allowed, breaks off, or holds no record of the expected kind."""


def encode(record: msgspec.Struct) -> bytes:
    """Raises FrameError."""
    body = _ENCODER.encode(record)
    if len(body) > MAX_FRAME:
        raise FrameError(f"a record of {len(body)} bytes is longer than a frame may be ({MAX_FRAME})")
    return _LENGTH.pack(len(body)) + body


class Frames(Generic[Record]):
    """The records in a stream of bytes, however it is cut."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[Record]) -> None:
        self._decoder = decoder
        self._held = bytearray()  # of a frame that is not whole

    def feed(self, data: bytes) -> Iterator[Record]:
        """Those that are whole by now. Raises FrameError."""
        held, at = self._held, 0
        held += data
        while (begin := at + HEADER) <= len(held):
            end = begin + _length(held, at)
            if end > len(held):
                break
            yield self._record(held[begin:end])
            at = end
        del held[:at]

    def finish(self) -> None:
        """The stream has ended. Raises FrameError."""
        if self._held:
            raise FrameError("the stream breaks off inside a frame")

    def _record(self, body: bytearray) -> Record:
        try:
            return self._decoder.decode(body)
        except msgspec.DecodeError as error:
            raise FrameError(f"a frame holds no such record: {error}") from error


def _length(held: bytearray, at: int) -> int:
    (length,) = _LENGTH.unpack_from(held, at)
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length} bytes is longer than it may be ({MAX_FRAME})")
    return int(length)

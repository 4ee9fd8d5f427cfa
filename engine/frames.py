"""Frames: one record each, a little-endian u32 length and a msgpack body."""

import asyncio
import struct
from typing import TypeVar

import msgspec

from ktd.engine.messages import MAX_FRAME

Record = TypeVar("Record")

_LENGTH = struct.Struct("<I")
_ENCODER = msgspec.msgpack.Encoder()


class FrameError(ValueError):
    """A frame is longer than allowed, breaks off, or holds no record of the expected kind."""


def encode(record: msgspec.Struct) -> bytes:
    body = _ENCODER.encode(record)
    if len(body) > MAX_FRAME:
        raise FrameError(f"a record of {len(body)} bytes is longer than a frame may be ({MAX_FRAME})")
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[Record]) -> Record | None:
    """The next record, or None at the end of the stream."""
    try:
        header = await reader.readexactly(_LENGTH.size)
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return None
        raise FrameError("the stream breaks off inside a frame") from end
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length} bytes is longer than it may be ({MAX_FRAME})")
    return await _body(reader, decoder, length)


async def _body(reader: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[Record], length: int) -> Record:
    try:
        return decoder.decode(await reader.readexactly(length))
    except asyncio.IncompleteReadError as end:
        raise FrameError("the stream breaks off inside a frame") from end
    except msgspec.DecodeError as error:
        raise FrameError(f"a frame holds no such record: {error}") from error

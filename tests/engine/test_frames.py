import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktd.engine import frames
from ktd.engine.messages import MAX_FRAME, Cancel, Delta, FromWorker, Job, Load, Prompt, Sampling, ToWorker

TO_WORKER: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)


def read_all(data: bytes, size: int = 1 << 30) -> list[ToWorker]:
    """The records in the data, which comes in pieces of this size."""
    reader = frames.Frames(TO_WORKER)
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    records = [record for piece in pieces for record in reader.feed(piece)]
    reader.finish()
    return records


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1000])
def test_records_come_out_as_they_went_in(size: int) -> None:
    records = [Load(("a.gguf",)), Job(7, Prompt("hé", ("stop",)), Sampling(seed=-1)), Cancel(7)]
    assert read_all(b"".join(frames.encode(record) for record in records), size) == records


def test_the_length_is_little_endian() -> None:
    data = frames.encode(Cancel(1))
    assert struct.unpack("<I", data[:4]) == (len(data) - 4,)


@given(st.integers(1, 12))
def test_a_stream_that_breaks_off_is_no_clean_end(kept: int) -> None:
    with pytest.raises(frames.FrameError, match="breaks off"):
        read_all(frames.encode(Cancel(1 << 40))[:kept])


@given(st.binary(max_size=40))
def test_bytes_that_are_no_record_are_refused(body: bytes) -> None:
    with pytest.raises(frames.FrameError):
        read_all(struct.pack("<I", len(body)) + body + b"\x00")


def test_records_of_the_other_direction_are_refused() -> None:
    with pytest.raises(frames.FrameError, match="no such record"):
        read_all(frames.encode(Delta(1, "a", 1)))
    assert isinstance(msgspec.msgpack.decode(frames.encode(Delta(1, "a", 1))[4:], type=FromWorker), Delta)


def test_a_frame_is_bounded_both_ways() -> None:
    with pytest.raises(frames.FrameError, match="longer than it may be"):
        read_all(struct.pack("<I", MAX_FRAME + 1))
    with pytest.raises(frames.FrameError, match="longer than a frame"):
        frames.encode(Job(1, Prompt("x" * (MAX_FRAME + 1)), Sampling()))

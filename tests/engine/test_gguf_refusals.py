"""The GGUF reader on files that are wrong: each is refused, and the message names file and place."""

import os
import struct

import pytest
from gguf_writer import ARRAY, BOOL, F32, INT32, STRING, UINT32, UINT64, RawGguf, RawTensor, array, small_model, string

from ktd.engine.gguf import Gguf, GGUFError


def edited(**changes) -> RawGguf:
    model = small_model()
    for name, value in changes.items():
        setattr(model, name, value)
    return model


def big_endian() -> bytes:
    return b"GGUF" + struct.pack(">IQQ", 3, 0, 0)


def strings_of_length(length: int) -> bytes:
    return struct.pack("<IQQ", STRING, 1, length)


def tensor(*shape, name="x", type=F32, offset=None) -> bytes:
    return RawGguf().tensor(RawTensor(name, shape, type, bytes(4096), offset)).build()


CASES = {
    "empty file": (b"", "the magic number ends at byte 4, but the file has 0"),
    "other magic": (b"PK\3\4" + bytes(100), r"is not a GGUF file: it starts with b'PK\\x03\\x04'"),
    "version 1": (edited(version=1), "GGUF version 1, which is no longer read"),
    "version 4": (edited(version=4), "GGUF version 4; versions 2 and 3 are read"),
    "version 0": (edited(version=0), "GGUF version 0;"),
    "big endian": (big_endian(), "big-endian"),
    "tensor count": (edited(tensor_count=1 << 63), f"the tensor count is {1 << 63}, over the limit"),
    "more tensors than there are": (edited(tensor_count=9), "name of tensor 3 is empty"),
    "key count": (edited(key_count=1 << 40), f"the metadata count is {1 << 40}, over the limit"),
    "key twice": (
        RawGguf(keys=[("a", BOOL, b"\1"), ("a", BOOL, b"\0")]),
        "metadata key 'a' occurs twice",
    ),
    "key empty": (RawGguf(keys=[("", BOOL, b"\1")]), "metadata key 0 is empty"),
    "key not UTF-8": (RawGguf(keys=[(b"\xff\xfe", BOOL, b"\1")]), "metadata key 0 is not UTF-8"),
    "key too long": (RawGguf(keys=[("k" * 70000, BOOL, b"\1")]), "length of metadata key 0 is 70000"),
    "value type": (RawGguf(keys=[("k", 13, b"")]), "metadata key 'k' has the unknown value type 13"),
    "bool of 2": (RawGguf(keys=[("k", BOOL, b"\2")]), "'k' is a bool of value 2"),
    "string past the end": (
        RawGguf(keys=[("k", STRING, struct.pack("<Q", 5000) + b"abc")]),
        r"metadata key 'k' ends at byte \d+, but the file has",
    ),
    "string over the cap": (
        RawGguf(keys=[("k", STRING, struct.pack("<Q", 1 << 62))]),
        f"length of metadata key 'k' is {1 << 62}, over the limit of 16777216",
    ),
    "array of arrays": (
        RawGguf(keys=[("k", ARRAY, struct.pack("<IQ", ARRAY, 1) + array(INT32, [1]))]),
        "'k' is an array of arrays",
    ),
    "array of unknown type": (
        RawGguf(keys=[("k", ARRAY, struct.pack("<IQ", 77, 1))]),
        "the elements of metadata key 'k' has the unknown value type 77",
    ),
    "array over the cap": (
        RawGguf(keys=[("k", ARRAY, struct.pack("<IQ", UINT64, 1 << 61))]),
        "length of metadata key 'k' is",
    ),
    "array past the end": (
        RawGguf(keys=[("k", ARRAY, struct.pack("<IQ", UINT64, 1 << 20))]),
        "metadata key 'k' ends at byte",
    ),
    "strings past the end": (
        RawGguf(keys=[("k", ARRAY, struct.pack("<IQ", STRING, 1 << 20) + string("a"))]),
        r"metadata key 'k'\[1\] ends at byte",
    ),
    "a string of an array over the cap": (
        RawGguf(keys=[("k", ARRAY, strings_of_length(1 << 63))]),
        rf"length of metadata key 'k'\[0\] is {1 << 63}",
    ),
    "alignment 0": (small_model().key("general.alignment", UINT32, 0), "general.alignment is 0"),
    "alignment 48": (small_model().key("general.alignment", UINT32, 48), "general.alignment is 48"),
    "alignment huge": (small_model().key("general.alignment", UINT32, 1 << 31), "general.alignment is 2147483648"),
    "alignment as text": (small_model().key("general.alignment", STRING, "32"), "'general.alignment' must be an"),
    "tensor twice": (
        small_model().tensor(RawTensor("blk.0.attn_norm.weight", (32,))),
        "tensor 'blk.0.attn_norm.weight' occurs twice",
    ),
    "tensor name empty": (tensor(32, name=""), "name of tensor 0 is empty"),
    "tensor name too long": (tensor(32, name="n" * 65), "length of name of tensor 0 is 65, over the limit of 64"),
    "no dimension": (tensor(), "tensor 'x' has 0 dimensions; 1 to 4 are possible"),
    "five dimensions": (tensor(32, 1, 1, 1, 1), "tensor 'x' has 5 dimensions"),
    "dimension 0": (tensor(32, 0), r"impossible shape \(32, 0\)"),
    "dimension below 0": (tensor(32, -4), r"impossible shape \(32, -4\)"),
    "both dimensions below 0": (tensor(-32, -4), r"impossible shape \(-32, -4\)"),
    "product overflows": (tensor(1 << 32, 1 << 32), "impossible shape"),
    "row is no whole blocks": (tensor(33, type=8), "rows of 33 weights, not a multiple of Q8_0's block of 32"),
    "removed type": (tensor(32, type=4), r"type 4 \(Q4_2\), removed from GGUF"),
    "unknown type": (tensor(32, type=999), "tensor 'x' has the unknown type 999"),
    "offset unaligned": (tensor(32, offset=4), "tensor 'x' is at 4, not a multiple of the alignment 32"),
    "offset past the end": (tensor(32, offset=1 << 63), f"tensor 'x' starts at byte {1 << 63} of a file of"),
    "data past the end": (tensor(1 << 20), "tensor 'x' ends at byte 4194368, but the file has 4160"),
    "tensors overlap": (
        RawGguf().tensor(RawTensor("x", (64,)), RawTensor("y", (64,), offset=128)),
        "tensor 'y' at byte 224 overlaps the one before it, which ends at 352",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_by_name(tmp_path, case):
    contents, message = CASES[case]
    path = tmp_path / "bad.gguf"
    path.write_bytes(contents if isinstance(contents, bytes) else contents.build())
    with pytest.raises(GGUFError, match=message) as caught:
        Gguf.open(path)
    assert str(path) in str(caught.value)


def test_architecture_must_be_text(tmp_path):
    missing = Gguf.open(RawGguf().tensor(RawTensor("x", (8,))).write(tmp_path / "missing.gguf"))
    with pytest.raises(GGUFError, match=r"'general\.architecture' is missing"):
        _ = missing.architecture


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.gguf")
    for path, reason in (
        (tmp_path / "absent.gguf", "No such file"),
        (tmp_path, "is not a regular file"),
        (tmp_path / "pipe.gguf", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        ("nul\0byte", "null byte"),
    ):
        with pytest.raises(GGUFError, match=reason):
            Gguf.open(path)
    with pytest.raises(GGUFError, match="no file was given"):
        Gguf.open([])


def test_every_truncation_is_refused(tmp_path):
    whole = small_model().build()
    path = tmp_path / "cut.gguf"
    end = len(whole) - 28  # the padding after the last tensor may be missing
    for length in range(end):
        path.write_bytes(whole[:length])
        with pytest.raises(GGUFError, match=r"cut\.gguf"):
            Gguf.open(path)
    path.write_bytes(whole[:end])
    assert len(Gguf.open(path).tensors) == 3

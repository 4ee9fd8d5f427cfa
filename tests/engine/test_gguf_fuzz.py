"""Damaged GGUF files: a valid model or a `GGUFError`, in bounded memory, and nothing else."""

import tempfile
import tracemalloc
from pathlib import Path

import pytest
from gguf_writer import small_model, write_shards
from hypothesis import given, settings
from hypothesis import strategies as st

from ktd.engine.gguf import Array, Gguf, GGUFError

SMALL = small_model().build()
DEMO = Path(__file__).resolve().parents[2] / "packaging" / "demo" / "model" / "ktd-tiny-q8_0.gguf"
DEMO_START = DEMO.read_bytes()[: 96 << 10]  # the header, 92 000 bytes, and a little more

# What a header of at most 96 KiB may cost: its bytes, its arrays as lists of small objects, and tables of entries.
# The largest count inside a file could ask for 2^63 bytes, so any cap of this order tells bounded from unbounded.
MEMORY = 32 << 20

# Numbers that break readers: zero, signs, powers of two, limits of types.
HARD = [value.to_bytes(8, "little") for value in (0, 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1)]


def read_all(path: Path) -> None:
    """Open a file and touch everything that it says."""
    tracemalloc.start()
    try:
        with Gguf.open(path) as opened:
            for value in opened.metadata.values():
                if isinstance(value, Array):
                    assert len(value.to_list()) == len(value)
            assert opened.architecture
            for tensor in opened.tensors.values():
                assert len(opened.data(tensor.name)) == tensor.nbytes
    except GGUFError as error:
        assert str(path.parent) in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY


def read_bytes(contents: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed.gguf"
        path.write_bytes(contents)
        read_all(path)


@st.composite
def mutations(draw, contents: bytes) -> bytes:
    """The file with some bytes changed, numbers planted, parts cut out, doubled or moved."""
    result = bytearray(contents)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(result) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "byte", "number", "cut", "double", "truncate"]))
        if kind == "flip" and result:
            result[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte" and result:
            result[at] = draw(st.integers(0, 255))
        elif kind == "number":
            result[at : at + 8] = draw(st.sampled_from(HARD))
        elif kind == "cut":
            del result[at : at + draw(st.integers(1, 64))]
        elif kind == "double":
            result[at:at] = result[at : at + draw(st.integers(1, 64))]
        else:
            del result[at:]
    return bytes(result)


@settings(max_examples=400, deadline=None)
@given(mutations(SMALL))
def test_small_model_damaged(contents):
    read_bytes(contents)


@settings(max_examples=60, deadline=None)
@given(mutations(DEMO_START))
def test_demo_header_damaged(contents):
    read_bytes(contents + bytes(256 << 10))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_anything_after_the_magic(tail):
    read_bytes(b"GGUF\3\0\0\0" + tail)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_one_shard_damaged(data):
    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(Path(folder), 3)
        victim = data.draw(st.sampled_from(shards))
        victim.write_bytes(data.draw(mutations(victim.read_bytes())))
        read_all(shards[0])


@pytest.mark.parametrize("hard", HARD)
def test_hard_numbers_everywhere(hard, tmp_path):
    """Each eight bytes of the header in turn."""
    path = tmp_path / "fuzzed.gguf"
    for at in range(0, 700, 3):
        path.write_bytes(SMALL[:at] + hard + SMALL[at + 8 :])
        read_all(path)

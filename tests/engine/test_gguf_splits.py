"""Models in several files."""

import pytest
from gguf_writer import INT32, STRING, UINT16, RawGguf, RawTensor, small_model, write_shards

from ktd.engine.gguf import Gguf, GGUFError, SplitName, SplitPosition, read_split


def test_any_part_finds_its_siblings(tmp_path):
    shards = write_shards(tmp_path, 3)
    for path in shards:
        opened = Gguf.open(path)
        assert opened.paths == tuple(shards)
        assert opened.architecture == "deepseek2"
        assert {tensor.shard for tensor in opened.tensors.values()} == {0, 1, 2}
        assert bytes(opened.data("token_embd.weight")) == bytes(range(102))
    assert opened.size == sum(path.stat().st_size for path in shards)


def test_explicit_parts_need_no_names(tmp_path):
    shards = [path.rename(tmp_path / f"sha256-{index}") for index, path in enumerate(write_shards(tmp_path, 3))]
    assert len(Gguf.open(shards).tensors) == 3
    with pytest.raises(GGUFError, match=r"sha256-1: is part 2 of 3, but its name does not end in -00002-of-00003"):
        Gguf.open(shards[1])


def test_missing_part_is_named(tmp_path):
    shards = write_shards(tmp_path, 3)
    shards[1].unlink()
    with pytest.raises(GGUFError, match=r"model-00002-of-00003\.gguf: is missing, of the 3 parts"):
        Gguf.open(shards[0])
    with pytest.raises(GGUFError, match=r"has 3 parts, 2 are given; part 2 \(model-00002-of-00003\.gguf\) is missing"):
        Gguf.open([shards[0], shards[2]])


def test_parts_out_of_order(tmp_path):
    one, two = write_shards(tmp_path, 2)
    with pytest.raises(GGUFError, match="is part 2 of 2, but was given as part 1 of 2"):
        Gguf.open([two, one])
    with pytest.raises(GGUFError, match="is part 1 of 2, but was given as part 2 of 2"):
        Gguf.open([one, one])


def test_tensor_in_two_parts(tmp_path):
    one, two = write_shards(tmp_path, 2)
    part = RawGguf().tensor(RawTensor("token_embd.weight", (8,)))
    part.key("split.no", UINT16, 1).key("split.count", UINT16, 2).write(two)
    with pytest.raises(GGUFError, match=r"00002.*tensor 'token_embd.weight' is also in .*00001"):
        Gguf.open(one)


def test_number_of_tensors_is_checked(tmp_path):
    one, two = write_shards(tmp_path, 2)
    part = RawGguf().tensor(RawTensor("other.weight", (8,)))
    part.key("split.no", UINT16, 1).key("split.count", UINT16, 2).write(two)
    with pytest.raises(GGUFError, match=r"split.tensors.count is 3, the parts hold 2 tensors"):
        Gguf.open(one)


def test_part_of_another_model(tmp_path):
    one, two = write_shards(tmp_path, 2)
    part = RawGguf().key("general.architecture", STRING, "llama").tensor(RawTensor("other.weight", (8,)))
    part.key("split.no", UINT16, 1).key("split.count", UINT16, 2).write(two)
    with pytest.raises(GGUFError, match="is of architecture 'llama', unlike"):
        Gguf.open(one)


@pytest.mark.parametrize(("number", "count"), [(3, 3), (-1, 3), (0, 0), (0, 100_000)])
def test_impossible_positions(tmp_path, number, count):
    model = small_model().key("split.no", INT32, number).key("split.count", INT32, count)
    path = model.write(tmp_path / "model.gguf")
    with pytest.raises(GGUFError, match=f"split.no is {number} and split.count is {count}"):
        Gguf.open(path)


def test_first_part_without_tensors(tmp_path):
    head = RawGguf(keys=small_model().keys).key("split.no", UINT16, 0).key("split.count", UINT16, 2)
    one = head.write(tmp_path / "m-00001-of-00002.gguf")
    one.write_bytes(one.read_bytes().rstrip(b"\0") + b"\0")  # nothing follows the header, not even padding
    body = RawGguf().tensor(*small_model().tensors).key("split.no", UINT16, 1).key("split.count", UINT16, 2)
    body.write(tmp_path / "m-00002-of-00002.gguf")
    assert {tensor.shard for tensor in Gguf.open(one).tensors.values()} == {1}


def test_names_and_positions(tmp_path):
    path = write_shards(tmp_path, 2, prefix="R1-UD-IQ1_S")[1]
    assert SplitName.parse(path) == SplitName(tmp_path, "R1-UD-IQ1_S", 2, 2)
    assert SplitName.parse(tmp_path / "R1-2-of-2.gguf") is None
    assert read_split(path) == SplitPosition(1, 2)
    assert read_split(small_model().write(tmp_path / "whole.gguf")) == SplitPosition(0, 1)

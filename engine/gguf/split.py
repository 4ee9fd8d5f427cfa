"""How a model is spread over several files: the file names and the split.* keys."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktd.engine.gguf.cursor import GGUFError
from ktd.engine.gguf.metadata import Metadata
from ktd.engine.gguf.shard import Shard, read_shard

NAME = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
MAX_SHARDS = 99_999  # what five digits hold


@dataclass(frozen=True, slots=True)
class SplitName:
    """prefix-00001-of-00003.gguf, taken apart; `number` counts from 1."""

    folder: Path
    prefix: str
    number: int
    count: int

    @classmethod
    def parse(cls, path: Path) -> "SplitName | None":
        match = NAME.fullmatch(path.name)
        return match and cls(path.parent, match["prefix"], int(match["number"]), int(match["count"]))

    def sibling(self, number: int) -> Path:
        return self.folder / f"{self.prefix}-{number:05}-of-{self.count:05}.gguf"

    def siblings(self) -> list[Path]:
        return [self.sibling(number) for number in range(1, self.count + 1)]


@dataclass(frozen=True, slots=True)
class SplitPosition:
    """What a file says of itself: part `number` (from 0) of `count`."""

    number: int
    count: int

    @classmethod
    def of(cls, path: Path, metadata: Metadata) -> "SplitPosition":
        count = metadata.integer("split.count", 1)
        number = metadata.integer("split.no", 0)
        if not 1 <= count <= MAX_SHARDS or not 0 <= number < count:
            raise GGUFError(f"{path}: split.no is {number} and split.count is {count}")
        return cls(number, count)


def read_split(path: str | os.PathLike[str]) -> SplitPosition:
    """The place of one file among its shards, without looking for the others."""
    shard = read_shard(Path(path))
    return SplitPosition.of(shard.path, shard.metadata)


def find_shards(path: Path) -> list[Shard]:
    """The shards of the model that `path` is, or is a part of, found by their names."""
    first = read_shard(path)
    position = SplitPosition.of(path, first.metadata)
    if position.count == 1:
        return [first]
    name = SplitName.parse(path)
    if name is None or (name.number, name.count) != (position.number + 1, position.count):
        expected = f"-{position.number + 1:05}-of-{position.count:05}.gguf"
        raise GGUFError(
            f"{path}: is part {position.number + 1} of {position.count}, "
            f"but its name does not end in {expected}; rename it or give all parts"
        )
    return read_shards(name.siblings())


def read_shards(paths: Sequence[Path]) -> list[Shard]:
    """The shards at exactly these paths, checked to be the parts of one model in order."""
    missing = [path for path in paths if not path.exists()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise GGUFError(f"{missing[0]}: is missing{more}, of the {len(paths)} parts of the model")
    shards = [read_shard(path, index) for index, path in enumerate(paths)]
    for index, shard in enumerate(shards):
        _check_position(shard, index, paths)
    _check_tensors(shards)
    return shards


def _check_position(shard: Shard, index: int, paths: Sequence[Path]) -> None:
    position = SplitPosition.of(shard.path, shard.metadata)
    if position == SplitPosition(index, len(paths)):
        return
    if position.count > len(paths):
        have = {SplitPosition.of(path, read_shard(path).metadata).number for path in paths}
        absent = next(number for number in range(position.count) if number not in have)
        name = SplitName.parse(shard.path)
        called = f" ({name.sibling(absent + 1).name})" if name and name.count == position.count else ""
        raise GGUFError(
            f"{shard.path}: the model has {position.count} parts, {len(paths)} are given; "
            f"part {absent + 1}{called} is missing"
        )
    raise GGUFError(
        f"{shard.path}: is part {position.number + 1} of {position.count}, "
        f"but was given as part {index + 1} of {len(paths)}"
    )


def _check_tensors(shards: Sequence[Shard]) -> None:
    """Names are unique over all parts and their number is what the first part promises."""
    first, seen = shards[0], dict[str, Path]()
    for shard in shards:
        architecture = shard.metadata.text("general.architecture", None)
        if architecture not in (None, first.metadata.text("general.architecture", None)):
            raise GGUFError(f"{shard.path}: is of architecture {architecture!r}, unlike {first.path}")
        for tensor in shard.tensors:
            if tensor.name in seen:
                raise GGUFError(f"{shard.path}: tensor {tensor.name!r} is also in {seen[tensor.name]}")
            seen[tensor.name] = shard.path
    promised = first.metadata.integer("split.tensors.count", len(seen))
    if promised != len(seen):
        raise GGUFError(f"{first.path}: split.tensors.count is {promised}, the parts hold {len(seen)} tensors")

"""Gguf: a model's files as one table of tensors and one of metadata."""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ktd.engine.gguf.cursor import GGUFError, opened
from ktd.engine.gguf.shard import Shard
from ktd.engine.gguf.split import find_shards, read_shards


class Gguf:
    """An open model: `metadata` of the first shard, `tensors` of all, in the order they lie in the files."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.paths = tuple(shard.path for shard in shards)
        self.metadata = shards[0].metadata
        self.tensors = {tensor.name: tensor for shard in shards for tensor in shard.tensors}
        self.spans = shards[0].spans
        self.size = sum(shard.size for shard in shards)
        self._maps: dict[int, mmap.mmap] = {}

    @classmethod
    def open(cls, paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> "Gguf":
        """Read and check the header of one file, with its siblings if it is a part, or of all parts in order.

        Raises `GGUFError`.
        """
        if isinstance(paths, str | os.PathLike):
            return cls(find_shards(Path(paths)))
        if not paths:
            raise GGUFError("no file was given")
        return cls(read_shards([Path(path) for path in paths]))

    @property
    def architecture(self) -> str:
        return self.metadata.text("general.architecture")

    def data(self, name: str) -> memoryview:
        """The blocks of a tensor, mapped from its file: `Tensor.nbytes` bytes, read only."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise GGUFError(f"{self.paths[0]}: tensor {name!r} is missing")
        view = memoryview(self._map(tensor.shard))[tensor.offset : tensor.offset + tensor.nbytes]
        if len(view) < tensor.nbytes:
            raise GGUFError(f"{self.paths[tensor.shard]}: was cut inside tensor {name!r} since it was opened")
        return view

    def close(self) -> None:
        """Let go of the mapped files; one still seen through a view of `data` goes with its last view."""
        self._maps.clear()

    def __enter__(self) -> "Gguf":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _map(self, shard: int) -> mmap.mmap:
        if shard not in self._maps:
            with opened(self.paths[shard]) as descriptor:
                size = os.fstat(descriptor).st_size
                if not size:
                    raise GGUFError(f"{self.paths[shard]}: was emptied since it was opened")
                self._maps[shard] = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        return self._maps[shard]

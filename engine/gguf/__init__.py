"""GGUF files, read with every count, length and offset checked (v2 and v3, little endian, splits).

Source: the GGUF specification (ggml, docs/gguf.md). No byte of the file is trusted: whatever is wrong with it
comes out as `GGUFError`, which names the file and the place.
"""

from ktd.engine.gguf.beginning import Incomplete, read_beginning
from ktd.engine.gguf.cursor import GGUFError
from ktd.engine.gguf.file import Gguf
from ktd.engine.gguf.metadata import Array, Metadata, Value, ValueType
from ktd.engine.gguf.shard import Shard, Tensor
from ktd.engine.gguf.split import SplitName, SplitPosition, read_split
from ktd.engine.gguf.types import TensorType

__all__ = [
    "Array",
    "GGUFError",
    "Gguf",
    "Incomplete",
    "Metadata",
    "Shard",
    "SplitName",
    "SplitPosition",
    "Tensor",
    "TensorType",
    "Value",
    "ValueType",
    "read_beginning",
    "read_split",
]

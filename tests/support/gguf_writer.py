"""GGUF files put together byte by byte, right or wrong, with no library's opinion in between."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = range(13)
FORMATS = dict(zip(range(13), ["B", "b", "H", "h", "I", "i", "f", "B", "", "", "Q", "q", "d"], strict=True))

F32 = 0
Q8_0 = 8


def string(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def scalar(type: int, value: Any) -> bytes:
    return string(value) if type == STRING else struct.pack("<" + FORMATS[type], value)


def array(type: int, values: Iterable[Any]) -> bytes:
    items = list(values)
    return struct.pack("<IQ", type, len(items)) + b"".join(scalar(type, item) for item in items)


@dataclass
class RawTensor:
    """A tensor's entry and bytes; `offset` None puts it after the one before."""

    name: str | bytes
    shape: tuple[int, ...]
    type: int = F32
    data: bytes | None = None
    offset: int | None = None


@dataclass
class RawGguf:
    """A file as it will be written: `keys` are (name, type, value bytes)."""

    keys: list[tuple[str | bytes, int, bytes]] = field(default_factory=list)
    tensors: list[RawTensor] = field(default_factory=list)
    version: int = 3
    alignment: int = 32
    tensor_count: int | None = None
    key_count: int | None = None

    def key(self, name: str | bytes, type: int, value: Any) -> "RawGguf":
        """A copy with this key set (again); an ARRAY's value is its bytes."""
        keys = [key for key in self.keys if key[0] != name]
        raw = value if type == ARRAY else scalar(type, value)
        return replace(self, keys=[*keys, (name, type, raw)])

    def tensor(self, *tensors: RawTensor) -> "RawGguf":
        return replace(self, tensors=[*self.tensors, *tensors])

    def build(self) -> bytes:
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        keys = len(self.keys) if self.key_count is None else self.key_count
        head = b"GGUF" + struct.pack("<IQQ", self.version, tensors, keys)
        head += b"".join(string(name) + struct.pack("<I", type) + raw for name, type, raw in self.keys)
        infos, data = b"", b""
        for tensor in self.tensors:
            offset = len(data) if tensor.offset is None else tensor.offset
            infos += string(tensor.name) + struct.pack("<I", len(tensor.shape))
            infos += b"".join(struct.pack("<q", dim) for dim in tensor.shape)
            infos += struct.pack("<IQ", tensor.type, offset)
            data += self._padded(bytes(_size(tensor)) if tensor.data is None else tensor.data)
        return self._padded(head + infos) + data

    def write(self, path: Path) -> Path:
        path.write_bytes(self.build())
        return path

    def _padded(self, raw: bytes) -> bytes:
        return raw + bytes(-len(raw) % self.alignment)


def _size(tensor: RawTensor) -> int:
    weights = 1
    for dim in tensor.shape:
        weights *= dim
    return weights // 32 * 34 if tensor.type == Q8_0 else weights * 4


def small_model(architecture: str = "deepseek2") -> RawGguf:
    """A file that is a model to every reader that does not run it."""
    return (
        RawGguf()
        .key("general.architecture", STRING, architecture)
        .key("general.name", STRING, "small")
        .key(f"{architecture}.context_length", UINT32, 64)
        .key(f"{architecture}.embedding_length", UINT32, 32)
        .key(f"{architecture}.attention.layer_norm_rms_epsilon", FLOAT32, 1e-6)
        .key("tokenizer.ggml.model", STRING, "gpt2")
        .key("tokenizer.ggml.pre", STRING, "deepseek-v3")
        .key("tokenizer.ggml.tokens", ARRAY, array(STRING, ["a", "b", "é"]))
        .key("tokenizer.ggml.token_type", ARRAY, array(INT32, [1, 1, 3]))
        .key("tokenizer.ggml.add_bos_token", BOOL, 1)
        .tensor(
            RawTensor("token_embd.weight", (32, 3), Q8_0, bytes(range(102))),
            RawTensor("blk.0.attn_norm.weight", (32,)),
            RawTensor("blk.0.ffn_down.weight", (32, 2), Q8_0),
        )
    )


def write_shards(folder: Path, count: int, prefix: str = "model") -> list[Path]:
    """`small_model` with one tensor a shard, named and keyed as llama.cpp's splitter does."""
    whole = small_model()
    whole = whole.tensor(*(RawTensor(f"blk.{index}.extra.weight", (8,)) for index in range(count - 3)))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        part = replace(whole, tensors=[]) if number == 0 else RawGguf()
        last = number == count - 1
        part = part.tensor(*(whole.tensors[number:] if last else whole.tensors[number : number + 1]))
        part = part.key("split.no", UINT16, number).key("split.count", UINT16, count)
        part = part.key("split.tensors.count", INT32, len(whole.tensors))
        paths.append(part.write(folder / f"{prefix}-{number + 1:05}-of-{count:05}.gguf"))
    return paths

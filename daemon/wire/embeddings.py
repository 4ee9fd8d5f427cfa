"""Records about embeddings, in Ollama's dialect, its older one, and OpenAI's."""

import base64
import struct
from typing import Any, Literal

import msgspec

from ktd.daemon.embedder import Embedded, unit
from ktd.daemon.errors import BadRequest
from ktd.engine.messages import Prompt


class EmbedRequest(msgspec.Struct):
    """Of /api/embed."""

    model: str = ""
    input: Any = ""
    truncate: bool = True
    dimensions: int | None = None
    keep_alive: Any = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class Embeddings(msgspec.Struct, omit_defaults=True):
    """Durations are nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0


class OldRequest(msgspec.Struct):
    """Of /api/embeddings."""

    model: str = ""
    prompt: str = ""
    keep_alive: Any = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class OldEmbedding(msgspec.Struct):
    embedding: list[float]


class OpenAIRequest(msgspec.Struct):
    """Of /v1/embeddings."""

    model: str = ""
    input: Any = None
    dimensions: int | None = None
    encoding_format: str = "float"


class Vector(msgspec.Struct):
    """`embedding` may be base64 of little-endian float32."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class Usage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


class Vectors(msgspec.Struct):
    model: str
    data: list[Vector]
    usage: Usage
    object: Literal["list"] = "list"


def texts(input: Any) -> list[Prompt]:
    """Of /api/embed; nothing to embed is no text at all. Raises BadRequest."""
    listed = [input] if isinstance(input, str) else input
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise BadRequest("invalid input type")
    return [] if listed == [""] else [Prompt(text) for text in listed]


def texts_or_tokens(input: Any) -> list[Prompt]:
    """Of /v1/embeddings: a text, tokens, or a list of either. Raises BadRequest."""
    listed = [input] if isinstance(input, str) or _is_tokens(input) else input
    if not isinstance(listed, list) or not listed or not all(map(_is_input, listed)):
        raise BadRequest("invalid input")
    return [Prompt(each) if isinstance(each, str) else Prompt("", before=tuple(each)) for each in listed]


def embeddings(request: EmbedRequest, found: Embedded) -> Embeddings:
    """Raises BadRequest."""
    vectors = [unit(vector, request.dimensions or None) for vector in found.vectors]
    return Embeddings(request.model, vectors, found.total_ns, found.load_ns, found.tokens)


def vectors(request: OpenAIRequest, found: Embedded) -> Vectors:
    """Raises BadRequest."""
    units = (unit(vector, request.dimensions) for vector in found.vectors)
    encoded = [_base64(each) if request.encoding_format == "base64" else each for each in units]
    data = [Vector(index, each) for index, each in enumerate(encoded)]
    return Vectors(request.model, data, Usage(found.tokens, found.tokens))


def _base64(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _is_input(value: object) -> bool:
    return bool(value) and (isinstance(value, str) or _is_tokens(value))


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)

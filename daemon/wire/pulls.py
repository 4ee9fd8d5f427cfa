"""Records of what brings models: Ollama's pull, create and push, and ktd's own routes about hubs and files."""

from typing import Any

import msgspec


class PullRequest(msgspec.Struct):
    """Of /api/pull. All from `source` on is ktd's own."""

    model: str = ""
    name: str = ""
    stream: bool = True
    source: str = ""
    revision: str = ""
    include: list[str] = msgspec.field(default_factory=list)
    exclude: list[str] = msgspec.field(default_factory=list)
    token: str = ""


class Status(msgspec.Struct, omit_defaults=True):
    """A line of a pull or a create. `file` is ktd's own."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0
    file: str = ""


class DownloadRequest(msgspec.Struct):
    """Of POST /api/downloads: what is to become of an unfinished one; or `limit`, which changes those of all.

    `rate` is bytes a second, a number or text such as "20M"; 0 is none.
    """

    model: str = ""
    action: str = ""
    rate: int | str | None = None
    connections: int | None = None


class DownloadState(msgspec.Struct, omit_defaults=True):
    model: str
    state: str
    completed: int
    total: int
    updated_at: str
    error: str = ""


class Downloads(msgspec.Struct):
    """`rate` is bytes a second of all together, 0 where it is not limited."""

    downloads: list[DownloadState]
    rate: int
    connections: int


class FoundRepo(msgspec.Struct):
    repo: str
    source: str
    downloads: int | None
    updated: str | None


class Search(msgspec.Struct):
    repos: list[FoundRepo]
    problems: list[str]


class Quant(msgspec.Struct):
    """`bits` per weight; `needed` bytes of memory; `verdict` is "fits", "streams" (from the disk) or "too large"."""

    quant: str
    size: int
    bits: float | None
    needed: int
    verdict: str
    complete: bool
    files: list[str]


class Machine(msgspec.Struct):
    """Free bytes of memory, and of that on so many graphics cards."""

    ram: int
    vram: int
    cards: int


class Quants(msgspec.Struct):
    repo: str
    source: str
    architecture: str | None
    machine: Machine
    quants: list[Quant]


class CreateRequest(msgspec.Struct):
    """Of /api/create. `modelfile` is what Ollama once took, and ktd's own command line sends."""

    model: str = ""
    name: str = ""
    stream: bool = True
    from_: str = msgspec.field(default="", name="from")
    files: dict[str, str] = msgspec.field(default_factory=dict)
    adapters: dict[str, str] = msgspec.field(default_factory=dict)
    template: str = ""
    license: list[str] | str = ""
    system: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    messages: list[dict[str, Any]] = msgspec.field(default_factory=list)
    quantize: str = ""
    quantization: str = ""
    modelfile: str = ""


class VerifyRequest(msgspec.Struct):
    """Of POST /api/verify; no model means all."""

    model: str = ""
    repair: bool = False


class PruneRequest(msgspec.Struct):
    """Of POST /api/prune; `downloads` gives up unfinished downloads too."""

    downloads: bool = False


class Pruned(msgspec.Struct):
    """Bytes freed."""

    freed: int
    files: int

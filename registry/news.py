"""News: what work that takes long tells while it goes on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """A step that it has come to."""

    status: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step that takes long: bytes done, and bytes in all."""

    status: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """Bytes of a file that are here by now, or have been checked."""

    path: str
    digest: str  # 64 hex digits
    size: int
    received: int

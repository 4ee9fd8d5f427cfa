"""Hub: a place that models are pulled from, as the rest of the registry sees it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ktd.registry.errors import HubRefused

LONGEST_PATH = 1024
SHA256 = re.compile(r"[0-9a-f]{64}")
GIT_OID = re.compile(r"[0-9a-f]{40}")
BAD = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository. Large ones have a sha256, small ones at least the name git gives their bytes."""

    path: str
    size: int
    sha256: str | None = None  # 64 hex digits
    git_oid: str | None = None

    @property
    def digest(self) -> str:
        """64 hex digits, which every file has that is fetched to be a blob."""
        assert self.sha256 is not None, self.path
        return self.sha256

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @classmethod
    def of(cls, path: object, size: object, sha256: object = None, git_oid: object = None) -> "HubFile":
        """A file out of a hub's answer, which may be anything. Raises `HubRefused`."""
        if not isinstance(size, int) or size < 0:
            raise HubRefused(f"the hub lists {path!r:.200} with the size {size!r:.40}")
        return cls(checked_path(path), size, _matching(SHA256, sha256), _matching(GIT_OID, git_oid))


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds at one revision, and the repositories its card names as its origin."""

    repo: str
    revision: str  # files of it are asked for by this; a commit where the hub has one
    files: tuple[HubFile, ...]
    bases: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Found:
    """One result of a search."""

    source: str
    repo: str
    downloads: int | None
    updated: str | None  # a date


@dataclass(frozen=True, slots=True)
class Address:
    """Where a file's bytes are asked for; the headers may hold credentials and are for this host only."""

    url: str
    headers: Mapping[str, str]


class Hub(Protocol):
    """Both hubs answer these. The methods block; they raise `PullError`s only."""

    name: str  # "huggingface"
    label: str  # "Hugging Face"
    endpoint: str  # base URL

    def listing(self, repo: str, revision: str | None) -> Listing:
        """The files of a repository; None is its main branch."""

    def address(self, listing: Listing, file: HubFile) -> Address: ...

    def search(self, query: str, limit: int) -> list[Found]:
        """GGUF repositories, most downloaded first."""


def checked_path(path: object) -> str:
    """A listed path, if it stays below the folder it is put in on every system. Raises `HubRefused`."""
    if not isinstance(path, str) or not path or len(path) > LONGEST_PATH:
        raise HubRefused(f"the hub lists a file with the impossible name {path!r:.200}")
    parts = path.split("/")
    if BAD.search(path) or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        raise HubRefused(f"the hub lists a file whose name leads elsewhere: {path!r:.200}")
    return path


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    text = value.lower() if isinstance(value, str) else ""
    return text if pattern.fullmatch(text) else None


def base_models(value: object) -> tuple[str, ...]:
    """A card's `base_model`: one name, a list, or nothing."""
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(name for name in names if isinstance(name, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII))

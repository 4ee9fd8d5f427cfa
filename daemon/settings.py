"""Settings: what the environment says about the daemon, checked once at start.

Every setting is read from KTD_<NAME>; those that Ollama has too are also read from OLLAMA_<NAME>, so that an
existing installation's environment goes on working. KTD_ wins.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ktd.daemon import duration

T = TypeVar("T")

DEFAULT_PORT = 11434
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


class SettingsError(ValueError):
    """A variable whose value cannot be used; the text names both."""


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT  # 0: any free one
    keep_alive: float = 300.0  # seconds a model stays after its last request; inf: for ever
    context: int | None = None  # tokens; None: the engine chooses
    origins: tuple[str, ...] = ()  # allowed besides the built-in ones; `*` in an entry matches anything
    hosts: tuple[str, ...] = ()  # Host names allowed besides this machine's own
    max_queue: int = 512  # requests waiting or running before new ones are turned away
    max_loaded: int = 3  # models in memory at once
    database_url: str | None = None  # None: SQLite in `home`
    threads: int | None = None  # None: the engine chooses
    pull_connections: int = 4  # files that are fetched at once
    pull_rate: int | None = None  # bytes a second of all pulls together; None: as fast as it goes
    api_key: str | None = field(default=None, repr=False)  # for using models
    admin_key: str | None = field(default=None, repr=False)  # for changing which there are; None: the same

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> "Settings":
        """Raises SettingsError."""
        read = _Environment(environ)
        host, port = read("HOST", _address, ("127.0.0.1", DEFAULT_PORT))
        return Settings(
            home=read.own("HOME", _home, Path("~/.ktd").expanduser()),
            host=host,
            port=port,
            keep_alive=read("KEEP_ALIVE", duration.seconds, 300.0),
            context=read("CONTEXT_LENGTH", _count, 0) or None,
            origins=read("ORIGINS", _names, ()),
            hosts=read.own("ALLOWED_HOSTS", _names, ()),
            max_queue=read("MAX_QUEUE", _count, 0) or 512,
            max_loaded=read("MAX_LOADED_MODELS", _count, 0) or 3,
            database_url=read.own("DATABASE_URL", str, None),
            threads=read.own("THREADS", _count, 0) or None,
            pull_connections=read.own("PULL_CONNECTIONS", _count, 0) or 4,
            pull_rate=read.own("PULL_RATE", _bytes, 0) or None,
            api_key=read.own("API_KEY", _key, None),
            admin_key=read.own("ADMIN_KEY", _key, None),
        )


class _Environment:
    """Variables by name, trimmed of blanks and quotes; an empty one counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """KTD_<name>, else OLLAMA_<name>."""
        return self._first((f"KTD_{name}", f"OLLAMA_{name}"), parse, default)

    def own(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """KTD_<name> only: Ollama has no such variable, or means something else by it."""
        return self._first((f"KTD_{name}",), parse, default)

    def _first(self, names: tuple[str, ...], parse: Callable[[str], T], default: T) -> T:
        for name in names:
            if value := self._environ.get(name, "").strip(" \t\r\n\"'"):
                try:
                    return parse(value)
                except ValueError as error:
                    shown = "..." if parse is _key else value
                    raise SettingsError(f"{name}={shown}: {error}") from error
        return default


def _address(text: str) -> tuple[str, int]:
    """Host and port out of `host`, `host:port`, `:port`, `[v6]:port`, bare IPv6, or an http:// URL of these."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "", text
    if scheme not in ("", "http"):
        raise ValueError(f"the daemon serves plain http, not {scheme}")
    if rest.count(":") > 1 and not rest.startswith("["):
        rest = f"[{rest}]"
    parts = urlsplit(f"//{rest}")
    if parts.username is not None or re.search(r"[\s/?#]", parts.netloc):
        raise ValueError("not an address such as 127.0.0.1:11434")
    port = parts.port if parts.port is not None else (80 if scheme else DEFAULT_PORT)
    return parts.hostname or "127.0.0.1", port  # only a named host opens more than this machine


def _home(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _key(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{8,}", text):
        raise ValueError("not a key of at least eight printable ASCII characters without blanks")
    return text


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("not a whole number of at most nine digits")
    return int(text)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})\s*([KMG]?)(?:B(?:/s)?)?", text, re.ASCII | re.IGNORECASE)
    if not match:
        raise ValueError("not a number of bytes such as 500K, 20M or 1G")
    return int(match[1]) * UNITS[match[2].upper()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())

"""Values of settings as people write them. Every reader here raises ValueError, which says what is wrong."""

import re
from pathlib import Path
from typing import NamedTuple, get_args
from urllib.parse import urlsplit

from ktd.engine.messages import CacheType

DEFAULT_PORT = 11434
SCHEME_PORTS = {"http": 80, "https": 443}
STDERR = Path("-")
FLAGS = {"1": True, "true": True, "0": False, "false": False}
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


class Address(NamedTuple):
    host: str
    port: int
    tls: bool  # https:// was said


def address(text: str) -> Address:
    """Out of `host`, `host:port`, `:port`, `[v6]:port`, bare IPv6, or an http(s):// URL of these."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "", text
    if mark and scheme not in SCHEME_PORTS:
        raise ValueError(f"the daemon serves http and https, not {scheme}")
    if rest.count(":") > 1 and not rest.startswith("["):
        rest = f"[{rest}]"
    parts = urlsplit(f"//{rest}")
    if parts.username is not None or re.search(r"[\s/?#]", parts.netloc):
        raise ValueError("not an address such as 127.0.0.1:11434")
    port = parts.port if parts.port is not None else SCHEME_PORTS.get(scheme, DEFAULT_PORT)
    return Address(parts.hostname or "127.0.0.1", port, scheme == "https")  # only a named host opens more than this one


def cache_type(text: str) -> CacheType:
    for type in get_args(CacheType):
        if text.lower() == type:
            found: CacheType = type
            return found
    raise ValueError(f"not one of {', '.join(get_args(CacheType))}")


def port(text: str) -> int:
    number = int(text) if re.fullmatch(r"\d{1,5}", text, re.ASCII) else -1
    if not 0 <= number <= 65535:
        raise ValueError("not a port between 0 and 65535")
    return number


def path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def log(text: str) -> Path:
    """A file; STDERR for "-"."""
    return STDERR if text == "-" else path(text)


def key(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{8,}", text):
        raise ValueError("not a key of at least eight printable ASCII characters without blanks")
    return text


def flag(text: str) -> bool:
    if text.lower() not in FLAGS:
        raise ValueError("not true or false")
    return FLAGS[text.lower()]


def number(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("not a whole number of at most nine digits")
    return int(text)


def count(text: str) -> int | None:
    """A whole number; None, which is the default, for 0."""
    return number(text) or None


def rate(text: str) -> int | None:
    """Bytes; None for 0."""
    match = re.fullmatch(r"(\d{1,9})\s*([KMG]?)(?:B(?:/s)?)?", text, re.ASCII | re.IGNORECASE)
    if not match:
        raise ValueError("not a number of bytes such as 500K, 20M or 1G")
    return int(match[1]) * UNITS[match[2].upper()] or None


def devices(text: str) -> str:
    wanted = text.lower().replace(" ", "")
    if not re.fullmatch(r"auto|cpu|torch-cpu|cuda(:\d{1,2})?(,cuda:\d{1,2})*", wanted):
        raise ValueError("not cpu, auto, or GPUs such as cuda:0 or cuda:0,cuda:1")
    return wanted


def gpu_experts(text: str) -> str:
    if not re.fullmatch(r"auto|\d{1,4}(\s*layers)?|\d{1,4}(\.\d+)?\s*gi?b", text.strip(), re.IGNORECASE):
        raise ValueError("not auto, a number of layers, or a size such as 20GB")
    return text.strip()


def text_of_file(text: str) -> str:
    file = path(text)
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())

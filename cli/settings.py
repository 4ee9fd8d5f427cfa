"""What the environment tells the command line: where the daemon is, and where ktd keeps its files."""

import os
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_PORT = 11434
SCHEME_PORTS = {"http": 80, "https": 443}
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
LOOPBACK = {"localhost", "::1"}


def variable(name: str) -> str | None:
    """KTD_<name>, else OLLAMA_<name>, without blanks and quotes; empty counts as unset."""
    for prefix in ("KTD", "OLLAMA"):
        value = os.environ.get(f"{prefix}_{name}", "").strip().strip("\"'").strip()
        if value:
            return value
    return None


def base_url() -> str:
    """The daemon's address from KTD_HOST or OLLAMA_HOST. Raises ValueError naming what cannot be read."""
    return parse_host(variable("HOST") or "")


def parse_host(text: str) -> str:
    """`[scheme://]host[:port][/path]` as a base URL; a scheme without a port means that scheme's own port.

    >>> parse_host("0.0.0.0"), parse_host("https://box"), parse_host(":8000")
    ('http://127.0.0.1:11434', 'https://box:443', 'http://127.0.0.1:8000')
    """
    scheme, mark, rest = text.rpartition("://")
    scheme = scheme or "http"
    if scheme not in SCHEME_PORTS:
        raise ValueError(f"the daemon's address {text!r} must begin with http:// or https://")
    if rest.count(":") > 1 and not rest.startswith("["):
        rest = f"[{rest}]"
    parts = urlsplit(f"//{rest}")
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"the daemon's address {text!r} has no valid port") from None
    if port is None:
        port = SCHEME_PORTS[scheme] if mark else DEFAULT_PORT
    host = parts.hostname or "127.0.0.1"
    host = ANY_ADDRESS.get(host, host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"


def is_local(url: str) -> bool:
    """Whether a daemon at this address would run on this machine, so that a command may start it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "http" and (host in LOOPBACK or host.startswith("127."))


def home() -> Path:
    """The folder for models, logs and history: KTD_HOME, else ~/.ktd."""
    value = os.environ.get("KTD_HOME", "").strip()
    return Path(value).expanduser().absolute() if value else Path.home() / ".ktd"
